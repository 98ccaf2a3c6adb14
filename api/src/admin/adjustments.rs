//! Corrections of stock.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use daybook_domain::instant::to_micros;
use daybook_domain::shop::{
    AdjustmentOrder, Correction, LINES_MAX, QUANTITY_MAX, STOCK_MAX, ShopCommand, ShopDecider, ShopEvent, StockAdjusted,
};
use daybook_eventlog::Decided;
use daybook_projections::shop::documents::{self, Kind};
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
use crate::http::write::{Body, Write, answer, problem, respond};
use crate::http::{Problem, ProblemBody};

const REASON_CHARS_MAX: usize = 500;

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
    lines: Vec<AdjustmentOrder>,
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
}

impl Body for AdjustmentToWrite {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            document: fields.string("document", 1..=DOCUMENT_CHARS_MAX),
            reason: fields.string("reason", 1..=REASON_CHARS_MAX),
            lines: fields.objects("lines", 1..=LINES_MAX, |line| AdjustmentOrder {
                article_id: line.integer("article_id", 1..=ID_MAX),
                correction: correction(line),
            }),
        }
    }
}

/// Exactly one of `delta` and `counted`.
fn correction(line: &mut Fields<'_>) -> Correction {
    if line.is_given("counted") && !line.is_given("delta") {
        return Correction::Counted(line.integer("counted", 0..=STOCK_MAX));
    }
    if line.is_given("counted") {
        line.invalid("counted", "must be left out where delta is given");
        line.optional_integer("counted", i64::MIN..=i64::MAX);
    }
    Correction::Delta(line.integer("delta", -QUANTITY_MAX..=QUANTITY_MAX))
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
/// Each line says by how much, or what was counted; later lines go by the stock that earlier ones have left. Where the
/// stock of all lines is right already, nothing is written, and the answer has neither id nor lines.
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
    let command = ShopCommand::AdjustStock { document, reason, lines, now };
    let written = move |decided: Decided<'_, ShopDecider>| {
        let position = decided.appended.positions.first().copied();
        let adjusted = decided.events.iter().find_map(|event| match event {
            ShopEvent::StockAdjusted(adjusted) => Some(adjusted),
            _ => None,
        });
        let status = if adjusted.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        answer(status, &documents::adjustment(adjusted.unwrap_or(&nothing), position, user.as_deref()))
    };
    let executed = app.shops.execute(&stream(shop_id), &command, &request.cause, written).await;
    executed.map(respond).map_err(|error| problem(error, |rejection| refused(&rejection, "delta")))
}
