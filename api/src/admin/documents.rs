//! What the documents that move stock have in common: how they are found again, and how they look in the OpenAPI
//! document. Their JSON itself is made by the read model.

use axum::Json;
use chrono::{DateTime, Utc};
use daybook_domain::shop::ShopId;
use daybook_eventlog::Position;
use daybook_projections::shop::documents::{self, Kind};
use daybook_projections::shop::register;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::page::{Page, paging};
use super::refusal::no_document;
use super::shops;
use crate::app::App;
use crate::http::Problem;
use crate::http::unread::models_unread;

/// A shop's documents of one kind, in the order in which they were written.
pub async fn list(
    app: &App,
    shop_id: ShopId,
    kind: Kind,
    after: Option<Position>,
    query: &str,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    let paging = paging(query)?;
    app.caught_up(&[register::NAME, documents::NAME], after).await?;
    shops::known(app, shop_id).await?;
    let documents = documents::documents(&app.models, shop_id, kind, paging.skip(), paging.page_size).await;
    let (documents, total) = documents.map_err(models_unread)?;
    Ok(Json(Page::new(paging, documents, total)))
}

/// One of them.
pub async fn get(
    app: &App,
    shop_id: ShopId,
    kind: Kind,
    id: i64,
    after: Option<Position>,
) -> Result<Json<Box<RawValue>>, Problem> {
    app.caught_up(&[register::NAME, documents::NAME], after).await?;
    shops::known(app, shop_id).await?;
    let document = documents::document(&app.models, shop_id, kind, id).await;
    document.map_err(models_unread)?.map(Json).ok_or_else(no_document)
}

/// Goods that came in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockReceipt {
    /// The same as `position`.
    id: i64,
    shop_id: i64,
    /// What it is called on paper.
    document: String,
    at: DateTime<Utc>,
    /// Who wrote it.
    #[schema(required)]
    user: Option<String>,
    /// In the log.
    position: i64,
    lines: Vec<StockReceiptLine>,
}

/// What came of one article.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockReceiptLine {
    /// From 1.
    #[schema(minimum = 1)]
    line: i64,
    article_id: i64,
    #[schema(minimum = 1)]
    quantity: i64,
    /// What one unit cost the shop, when known.
    #[schema(required, pattern = r"^\d+\.\d{2}$", example = "31500.00")]
    unit_cost: Option<String>,
    stock_before: i64,
    stock_after: i64,
}

/// A correction of stock.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockAdjustment {
    /// The same as `position`.
    #[schema(required)]
    id: Option<i64>,
    shop_id: i64,
    /// What it is called on paper.
    document: String,
    reason: String,
    at: DateTime<Utc>,
    /// Who wrote it.
    #[schema(required)]
    user: Option<String>,
    /// In the log; null when every `delta` was given as 0 and nothing was written.
    #[schema(required)]
    position: Option<i64>,
    /// What was corrected or counted.
    lines: Vec<StockAdjustmentLine>,
}

/// The correction of one article.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockAdjustmentLine {
    /// From 1, without lines whose `delta` was given as 0.
    #[schema(minimum = 1)]
    line: i64,
    article_id: i64,
    /// 0 of a count that equals the stock.
    delta: i64,
    /// What was counted, when the correction comes from counting.
    #[schema(required)]
    counted: Option<i64>,
    /// When it was counted: `delta` is the difference to the stock that was recorded at that moment.
    #[schema(required)]
    counted_at: Option<DateTime<Utc>>,
    stock_before: i64,
    stock_after: i64,
}

/// Stock that moved from this shop to another one.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockTransfer {
    /// The same as `position`.
    id: i64,
    shop_id: i64,
    to_shop: i64,
    /// What it is called on paper.
    document: String,
    at: DateTime<Utc>,
    /// Who wrote it.
    #[schema(required)]
    user: Option<String>,
    /// In the log, of the event of this shop.
    position: i64,
    lines: Vec<StockTransferLine>,
}

/// What moved of one article.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer; the read model makes it")]
pub struct StockTransferLine {
    /// From 1.
    #[schema(minimum = 1)]
    line: i64,
    article_id: i64,
    /// The article as the other shop calls it.
    to_article_id: i64,
    #[schema(minimum = 1)]
    quantity: i64,
    /// Of this shop.
    stock_before: i64,
    /// Of this shop.
    stock_after: i64,
}
