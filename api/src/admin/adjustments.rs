//! Corrections of stock.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use daybook_domain::instant::to_micros;
use daybook_domain::shop::{
    AdjustmentOrder, ArticleId, Correction, Count, CountedAt, LINES_MAX, QUANTITY_MAX, STOCK_MAX, Shop, ShopCommand,
    ShopDecider, ShopEvent, ShopId, StockAdjusted,
};
use daybook_eventlog::{Decided, LookUp, Render};
use daybook_projections::shop::documents::{self, Kind};
use daybook_projections::shop::ledger;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::author::Admin;
use super::documents::{self as served, StockAdjustment};
use super::page::{Page, PageQuery};
use super::path::{NumberPath, ShopPath};
use super::refusal::refused;
use super::two_streams::stream;
use super::values::{DOCUMENT_CHARS_MAX, ID_MAX};
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::{log_unread, models_unread};
use crate::http::write::{Body, Write, answer, problem, respond};
use crate::http::{Problem, ProblemBody};

const REASON_CHARS_MAX: usize = 500;
/// How far the clock of who counted may be ahead.
const CLOCK_AHEAD_MAX: TimeDelta = TimeDelta::seconds(30);

/// A correction to make.
#[derive(ToSchema)]
#[schema(as = NewStockAdjustment)]
pub struct AdjustmentToWrite {
    /// What it is called on paper.
    #[schema(min_length = 1, max_length = 200)]
    document: String,
    /// Why it is made.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    #[schema(value_type = Vec<AdjustmentLineToWrite>, min_items = 1, max_items = 1000)]
    lines: Vec<Asked>,
}

/// A line as it was sent; what it is compared with is looked up.
#[derive(Clone, Copy)]
struct Asked {
    article_id: ArticleId,
    correction: AskedCorrection,
}

#[derive(Clone, Copy)]
enum AskedCorrection {
    Delta(i64),
    Counted { units: i64, at: Option<DateTime<Utc>> },
}

/// The correction of one article.
#[derive(ToSchema)]
#[schema(as = NewStockAdjustmentLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the line; it is read as the domain's own")]
enum AdjustmentLineToWrite {
    Delta(DeltaToWrite),
    Counted(CountedToWrite),
}

/// So many units more, or fewer.
#[derive(ToSchema)]
#[schema(as = NewStockAdjustmentDelta)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the line; it is read as the domain's own")]
struct DeltaToWrite {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    article_id: i64,
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
    delta: i64,
}

/// What the stock was counted to be.
#[derive(ToSchema)]
#[schema(as = NewStockAdjustmentCount)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the line; it is read as the domain's own")]
struct CountedToWrite {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    article_id: i64,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    counted: i64,
    /// When it was counted, if not now: the difference is to the stock that was recorded at that moment, so that what was
    /// sold since stays sold. Not in the future, and not before the article was added.
    counted_at: Option<DateTime<Utc>>,
}

impl Body for AdjustmentToWrite {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            document: fields.string("document", 1..=DOCUMENT_CHARS_MAX),
            reason: fields.string("reason", 1..=REASON_CHARS_MAX),
            lines: fields.objects("lines", 1..=LINES_MAX, |line| Asked {
                article_id: line.integer("article_id", 1..=ID_MAX),
                correction: correction(line),
            }),
        }
    }
}

/// Exactly one of `delta` and `counted`.
fn correction(line: &mut Fields<'_>) -> AskedCorrection {
    if line.is_given("counted") && !line.is_given("delta") {
        return AskedCorrection::Counted { units: line.integer("counted", 0..=STOCK_MAX), at: counted_at(line) };
    }
    for name in ["counted", "counted_at"] {
        if line.is_given(name) {
            line.invalid(name, "must be left out where delta is given");
            line.optional::<Value>(name);
        }
    }
    AskedCorrection::Delta(line.integer("delta", -QUANTITY_MAX..=QUANTITY_MAX))
}

/// A clock that is a little ahead counts as now.
fn counted_at(line: &mut Fields<'_>) -> Option<DateTime<Utc>> {
    let (at, now) = (line.optional::<DateTime<Utc>>("counted_at")?, Utc::now());
    if at - now > CLOCK_AHEAD_MAX {
        line.invalid("counted_at", "must not be in the future");
    }
    Some(at.min(now))
}

/// The adjustments of a shop, oldest first
#[utoipa::path(
    get,
    operation_id = "list_stock_adjustments",
    path = "/api/v1/admin/shops/{id}/stock-adjustments",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), PageQuery),
    responses((status = 200, description = "A page of adjustments", body = Page<StockAdjustment>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    ShopPath(shop_id): ShopPath,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    served::list(&app, shop_id, Kind::Adjustment, after, &query).await
}

/// One adjustment of a shop
#[utoipa::path(
    get,
    operation_id = "get_stock_adjustment",
    path = "/api/v1/admin/shops/{id}/stock-adjustments/{adjustment_id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("adjustment_id" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The adjustment", body = StockAdjustment), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    NumberPath(shop_id, id): NumberPath,
    After(after): After,
) -> Result<Json<Box<RawValue>>, Problem> {
    served::get(&app, shop_id, Kind::Adjustment, id, after).await
}

/// Correct the stock
///
/// Each line says by how much, or what was counted; later lines go by the stock that earlier ones have left. A count is
/// recorded also when it equals the stock: its `delta` is 0, and it is no movement. Where `delta` is given as 0 in every
/// line, nothing is written, and the answer has neither id nor lines.
#[utoipa::path(
    post,
    operation_id = "adjust_stock",
    path = "/api/v1/admin/shops/{id}/stock-adjustments",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = AdjustmentToWrite,
    responses(
        (status = 201, description = "The adjustment", body = StockAdjustment),
        (status = 200, description = "Nothing to adjust: `id` and `position` are null", body = StockAdjustment),
        WriteProblems,
        (status = 409, description = "The stock would go below zero, which the shop does not allow", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn post(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, AdjustmentToWrite>,
) -> Result<Response, Problem> {
    let (AdjustmentToWrite { document, reason, lines }, now) = (request.body, Utc::now());
    let (user, nothing) = (
        request.cause.metadata.actor.clone(),
        StockAdjusted {
            shop_id,
            document: document.clone(),
            reason: reason.clone(),
            lines: Vec::new(),
            adjusted_at: to_micros(now),
        },
    );
    let written = move |decided: Decided<'_, ShopDecider>| {
        let position = decided.appended.positions.first().copied();
        let adjusted = decided.events.iter().find_map(|event| match event {
            ShopEvent::StockAdjusted(adjusted) => Some(adjusted),
            _ => None,
        });
        let status = if adjusted.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        answer(status, &documents::adjustment(adjusted.unwrap_or(&nothing), position, user.as_deref()))
    };
    let refused = |error| problem(error, |rejection| refused(&rejection, "delta"));
    let order = Order { document, reason, lines, now };
    if order.lines.iter().all(|line| !line.is_of_the_past()) {
        let command = order.command(&HashMap::new());
        let executed = app.shops.execute(&stream(shop_id), &command, &request.cause, written).await;
        return executed.map(respond).map_err(refused);
    }
    let past = Past { app: &app, shop_id, order: &order, written: Arc::new(written) };
    let executed = app.shops.execute_with(&stream(shop_id), &request.cause, &past).await;
    executed.map(respond).map_err(|error| error.or_else(refused))
}

/// Counts of the past on their way to a decision.
struct Past<'a> {
    app: &'a App,
    shop_id: ShopId,
    order: &'a Order,
    written: Render<ShopDecider>,
}

impl LookUp<ShopDecider> for Past<'_> {
    type Failure = Problem;

    async fn prepare(&self) -> Result<(), Problem> {
        Ok(self.app.caught_up(&[ledger::NAME], None).await?)
    }

    /// With the lock held the shop does not change, and what another node writes meanwhile is a conflict.
    async fn look_up(&self, _: &Shop) -> Result<(ShopCommand, Render<ShopDecider>), Problem> {
        self.app.caught_up(&[ledger::NAME], None).await?;
        let stocks = recorded_stocks(self.app, self.shop_id, &self.order.lines).await?;
        Ok((self.order.command(&stocks), Arc::clone(&self.written)))
    }
}

/// What is to be adjusted.
struct Order {
    document: String,
    reason: String,
    lines: Vec<Asked>,
    now: DateTime<Utc>,
}

impl Order {
    fn command(&self, stocks: &HashMap<(ArticleId, DateTime<Utc>), i64>) -> ShopCommand {
        let order = |line: &Asked| AdjustmentOrder {
            article_id: line.article_id,
            correction: match line.correction {
                AskedCorrection::Delta(delta) => Correction::Delta(delta),
                AskedCorrection::Counted { units, at } => {
                    let stock = |at| stocks.get(&(line.article_id, at)).copied().unwrap_or(0);
                    Correction::Counted(Count { units, at: at.map(|at| CountedAt { at, stock: stock(at) }) })
                }
            },
        };
        ShopCommand::AdjustStock {
            document: self.document.clone(),
            reason: self.reason.clone(),
            lines: self.lines.iter().map(order).collect(),
            now: self.now,
        }
    }
}

impl Asked {
    fn is_of_the_past(&self) -> bool {
        matches!(self.correction, AskedCorrection::Counted { at: Some(_), .. })
    }
}

/// The stock of each counted article that was recorded when it was counted.
async fn recorded_stocks(
    app: &App,
    shop_id: ShopId,
    lines: &[Asked],
) -> Result<HashMap<(ArticleId, DateTime<Utc>), i64>, Problem> {
    let mut stocks = HashMap::new();
    for line in lines {
        let AskedCorrection::Counted { at: Some(at), .. } = line.correction else { continue };
        let until = app.recorded_by(at).await.map_err(log_unread)?;
        let stock = ledger::stock_up_to(&app.models, shop_id, line.article_id, until).await.map_err(models_unread)?;
        stocks.insert((line.article_id, at), stock.0);
    }
    Ok(stocks)
}
