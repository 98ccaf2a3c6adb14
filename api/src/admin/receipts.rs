//! Goods that come in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use daybook_domain::shop::{LINES_MAX, Money, QUANTITY_MAX, ReceiptOrder, ShopCommand, ShopDecider, ShopEvent};
use daybook_eventlog::Decided;
use daybook_projections::shop::documents::{self, Kind};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::author::Admin;
use super::documents::{self as served, StockReceipt};
use super::page::{Page, PageQuery};
use super::path::{NumberPath, ShopPath};
use super::refusal::problem;
use super::two_streams::stream;
use super::values::{DOCUMENT_CHARS_MAX, ID_MAX, optional_money, optional_money_schema};
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::write::{Body, Write, answer, respond};

/// Goods to take in.
#[derive(ToSchema)]
#[schema(as = NewStockReceipt)]
pub struct ReceiptToWrite {
    /// What it is called on paper.
    #[schema(min_length = 1, max_length = 200)]
    document: String,
    #[schema(value_type = Vec<ReceiptLineToWrite>, min_items = 1, max_items = 1000)]
    lines: Vec<ReceiptOrder>,
}

/// What came of one article.
#[derive(ToSchema)]
#[schema(as = NewStockReceiptLine)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the line; it is read as the domain's own")]
struct ReceiptLineToWrite {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    article_id: i64,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    quantity: i64,
    /// What one unit cost the shop, when known.
    #[schema(schema_with = optional_money_schema, required = false)]
    unit_cost: Option<Money>,
}

impl Body for ReceiptToWrite {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            document: fields.string("document", 1..=DOCUMENT_CHARS_MAX),
            lines: fields.objects("lines", 1..=LINES_MAX, |line| ReceiptOrder {
                article_id: line.integer("article_id", 1..=ID_MAX),
                quantity: line.integer("quantity", 1..=QUANTITY_MAX),
                unit_cost: optional_money(line, "unit_cost"),
            }),
        }
    }
}

/// The receipts of a shop, oldest first
#[utoipa::path(
    get,
    operation_id = "list_stock_receipts",
    path = "/api/v1/admin/shops/{id}/stock-receipts",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), PageQuery),
    responses((status = 200, description = "A page of receipts", body = Page<StockReceipt>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    ShopPath(shop_id): ShopPath,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    served::list(&app, shop_id, Kind::Receipt, after, &query).await
}

/// One receipt of a shop
#[utoipa::path(
    get,
    operation_id = "get_stock_receipt",
    path = "/api/v1/admin/shops/{id}/stock-receipts/{receipt_id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("receipt_id" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The receipt", body = StockReceipt), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    NumberPath(shop_id, id): NumberPath,
    After(after): After,
) -> Result<Json<Box<RawValue>>, Problem> {
    served::get(&app, shop_id, Kind::Receipt, id, after).await
}

/// Take goods in
#[utoipa::path(
    post,
    operation_id = "receive_stock",
    path = "/api/v1/admin/shops/{id}/stock-receipts",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = ReceiptToWrite,
    responses((status = 201, description = "The receipt", body = StockReceipt), WriteProblems)
)]
pub async fn post(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, ReceiptToWrite>,
) -> Result<Response, Problem> {
    let ReceiptToWrite { document, lines } = request.body;
    let command = ShopCommand::ReceiveStock { document, lines, now: Utc::now() };
    let user = request.cause.metadata.actor.clone();
    let written = move |decided: Decided<'_, ShopDecider>| {
        let position = decided.appended.positions.first().copied();
        let receipt = decided.events.iter().find_map(|event| match event {
            ShopEvent::StockReceived(received) => Some(documents::receipt(received, position, user.as_deref())),
            _ => None,
        });
        answer(StatusCode::CREATED, &receipt)
    };
    let executed = app.shops.execute(&stream(shop_id), &command, &request.cause, written).await;
    executed.map(respond).map_err(problem)
}
