//! The movements of an article.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use daybook_projections::shop::ledger::{self, Basis, MovementFilter};
use daybook_projections::shop::register;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{BasisField, BasisName, Ids, READERS, article, cut, failed, limit};
use crate::app::App;
use crate::auth::Caller;
use crate::http::fields::{FieldValue, Fields};
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::{Problem, instant};

/// Which movements are shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `movements` reads it")]
pub struct MovementsQuery {
    /// Not before.
    from: Option<DateTime<Utc>>,
    /// Before.
    to: Option<DateTime<Utc>>,
    #[param(inline)]
    basis: Option<BasisName>,
    #[param(inline)]
    r#type: Option<MovementType>,
    /// A `next`: goes on there.
    after: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// What moved the stock.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "the document's list of types")]
pub enum MovementType {
    Receipt,
    Vente,
    Retour,
    Adjustment,
    TransferOut,
    TransferIn,
}

/// An article's movements.
#[derive(Serialize, ToSchema)]
pub struct Movements {
    /// In the order of the log.
    items: Vec<Movement>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A change of stock.
#[derive(Serialize, ToSchema)]
pub struct Movement {
    /// Of its event in the log.
    position: i64,
    event_id: Uuid,
    shop_id: i64,
    article_id: i64,
    #[schema(value_type = MovementType)]
    r#type: String,
    delta: i64,
    stock_before: i64,
    stock_after: i64,
    /// An invoice number, a delivery note …
    document: String,
    /// Place in the document, from 1.
    line: i64,
    /// The terminal that caused it.
    #[schema(required)]
    terminal: Option<String>,
    /// The user who caused it.
    #[schema(required)]
    user: Option<String>,
    #[serde(with = "instant")]
    occurred_at: DateTime<Utc>,
    #[serde(with = "instant")]
    recorded_at: DateTime<Utc>,
    #[schema(required)]
    reason: Option<String>,
    /// The position of the movement that it takes back.
    #[schema(required)]
    reversal_of: Option<i64>,
    /// When it was counted, of an ADJUSTMENT to an earlier count.
    #[serde(with = "instant::option", skip_serializing_if = "Option::is_none")]
    counted_at: Option<DateTime<Utc>>,
    /// Of a TRANSFER_OUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_shop: Option<i64>,
    /// Of a TRANSFER_IN.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_shop: Option<i64>,
}

impl From<ledger::Movement> for Movement {
    fn from(row: ledger::Movement) -> Self {
        let incoming = row.kind == "TRANSFER_IN";
        Self {
            position: row.position,
            event_id: row.event_id,
            shop_id: row.shop_id,
            article_id: row.article_id,
            r#type: row.kind,
            delta: row.delta,
            stock_before: row.stock_before,
            stock_after: row.stock_after,
            document: row.document,
            line: row.line,
            terminal: row.terminal,
            user: row.user,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            reason: row.reason,
            reversal_of: row.reversal_of,
            counted_at: row.counted_at,
            to_shop: row.other_shop.filter(|_| !incoming),
            from_shop: row.other_shop.filter(|_| incoming),
        }
    }
}

/// An article's movements
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock/{article}/movements",
    tag = "Ledger",
    params(("shop" = i64, Path), ("article" = i64, Path), MovementsQuery),
    responses((status = 200, description = "A page of movements", body = Movements), ReadProblems, Forbidden)
)]
pub async fn movements(
    State(app): State<App>,
    Ids([shop_id, article_id]): Ids<2>,
    After(after_position): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Movements>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let basis = fields.optional::<BasisField>("basis").map_or(Basis::Recorded, |BasisField(basis)| basis);
    let kind = fields.optional::<TypeField>("type").map(|TypeField(kind)| kind.to_owned());
    let after = fields.optional::<LinePlace>("after").map(|LinePlace(position, line)| (position, line));
    let filter = MovementFilter { from: fields.optional("from"), to: fields.optional("to"), kind, after };
    let limit = limit(&mut fields);
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    article(&app, shop_id, article_id).await?;
    let mut rows =
        ledger::movements(&app.models, shop_id, article_id, basis, &filter, limit + 1).await.map_err(failed)?;
    let next = cut(&mut rows, limit, |row| format!("{}-{}", row.position, row.line));
    Ok(Json(Movements { items: rows.into_iter().map(Movement::from).collect(), next }))
}

struct TypeField(&'static str);

impl FieldValue for TypeField {
    fn placeholder() -> Self {
        Self("VENTE")
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        const TYPES: [&str; 6] = ["RECEIPT", "VENTE", "RETOUR", "ADJUSTMENT", "TRANSFER_OUT", "TRANSFER_IN"];
        let known = TYPES.into_iter().find(|known| *known == text);
        known.map(Self).ok_or_else(|| format!("must be one of {}", TYPES.join(", ")))
    }
}

/// Where a page of movements ended: position and line.
struct LinePlace(i64, i64);

impl FieldValue for LinePlace {
    fn placeholder() -> Self {
        Self(0, 0)
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let place =
            text.split_once('-').and_then(|(position, line)| Some(Self(position.parse().ok()?, line.parse().ok()?)));
        place.ok_or_else(|| "must be the next of an answer".to_owned())
    }
}
