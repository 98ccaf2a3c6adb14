//! Stock that moves from shop to shop.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use daybook_domain::shop::{LINES_MAX, QUANTITY_MAX, ShopCommand, ShopDecider, ShopEvent, TransferOrder};
use daybook_eventlog::Decided;
use daybook_projections::shop::documents::{self, Kind};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::author::Admin;
use super::documents::{self as served, StockTransfer};
use super::page::{Page, PageQuery};
use super::path::{NumberPath, ShopPath};
use super::two_streams;
use super::values::{DOCUMENT_CHARS_MAX, ID_MAX};
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::write::{Body, Write, answer, respond};
use crate::http::{Problem, ProblemBody};

/// Stock to move.
#[derive(ToSchema)]
#[schema(as = NewStockTransfer)]
pub struct TransferToWrite {
    /// What it is called on paper.
    #[schema(min_length = 1, max_length = 200)]
    document: String,
    /// Another shop.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    to_shop: i64,
    #[schema(value_type = Vec<TransferLineToWrite>, min_items = 1, max_items = 1000)]
    lines: Vec<TransferOrder>,
}

/// What moves of one article.
#[derive(ToSchema)]
#[schema(as = NewStockTransferLine)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the line; it is read as the domain's own")]
struct TransferLineToWrite {
    /// An active article of this shop.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    article_id: i64,
    /// An active article of the other shop.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    to_article_id: i64,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    quantity: i64,
}

impl Body for TransferToWrite {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            document: fields.string("document", 1..=DOCUMENT_CHARS_MAX),
            to_shop: fields.integer("to_shop", 1..=ID_MAX),
            lines: fields.objects("lines", 1..=LINES_MAX, |line| TransferOrder {
                article_id: line.integer("article_id", 1..=ID_MAX),
                other_article_id: line.integer("to_article_id", 1..=ID_MAX),
                quantity: line.integer("quantity", 1..=QUANTITY_MAX),
            }),
        }
    }
}

/// The transfers that a shop has sent, oldest first
#[utoipa::path(
    get,
    operation_id = "list_stock_transfers",
    path = "/api/v1/admin/shops/{id}/stock-transfers",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), PageQuery),
    responses((status = 200, description = "A page of transfers", body = Page<StockTransfer>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    ShopPath(shop_id): ShopPath,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    served::list(&app, shop_id, Kind::Transfer, after, &query).await
}

/// One transfer that a shop has sent
#[utoipa::path(
    get,
    operation_id = "get_stock_transfer",
    path = "/api/v1/admin/shops/{id}/stock-transfers/{transfer_id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("transfer_id" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The transfer", body = StockTransfer), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    NumberPath(shop_id, id): NumberPath,
    After(after): After,
) -> Result<Json<Box<RawValue>>, Problem> {
    served::get(&app, shop_id, Kind::Transfer, id, after).await
}

/// Send stock to another shop
///
/// It leaves this shop and comes to the other one at once, or nothing happens. What the shop does not have it cannot
/// send, also when it may sell it.
#[utoipa::path(
    post,
    operation_id = "transfer_stock",
    path = "/api/v1/admin/shops/{id}/stock-transfers",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = TransferToWrite,
    responses(
        (status = 201, description = "The transfer", body = StockTransfer),
        WriteProblems,
        (status = 409, description = "The stock of this shop would go below zero", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn post(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, TransferToWrite>,
) -> Result<Response, Problem> {
    let (TransferToWrite { document, to_shop, lines: send }, now) = (request.body, Utc::now());
    let receive = send.iter().map(|order| TransferOrder {
        article_id: order.other_article_id,
        other_article_id: order.article_id,
        quantity: order.quantity,
    });
    let (receive, also) = (receive.collect(), document.clone());
    let receive = ShopCommand::TransferIn { from_shop: shop_id, document: also, lines: receive, now };
    let send = ShopCommand::TransferOut { to_shop, document, lines: send, now };
    let user = request.cause.metadata.actor.clone();
    let written = move |decided: Decided<'_, ShopDecider>| {
        let position = decided.appended.positions.first().copied();
        let transfer = decided.events.iter().find_map(|event| match event {
            ShopEvent::StockTransferredOut(sent) => Some(documents::transfer(sent, position, user.as_deref())),
            _ => None,
        });
        answer(StatusCode::CREATED, &transfer)
    };
    let executed = two_streams::between(&app, (shop_id, &send), (to_shop, &receive), &request.cause, written).await;
    executed.map(respond)
}
