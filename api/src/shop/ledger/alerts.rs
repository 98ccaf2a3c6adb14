//! Crossings into low and negative stock.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use daybook_projections::shop::{ledger, register};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Ids, ListQuery, READERS, cut, failed, limit, shop};
use crate::app::App;
use crate::auth::Caller;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::{Problem, instant};

/// Crossings into low or negative stock.
#[derive(Serialize, ToSchema)]
pub struct Alerts {
    /// Oldest first.
    items: Vec<AlertItem>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A crossing into low or negative stock.
#[derive(Serialize, ToSchema)]
pub struct AlertItem {
    article_id: i64,
    /// `low` or `negative`
    #[schema(example = "low")]
    kind: String,
    /// After the movement.
    stock: i64,
    /// What was crossed.
    threshold: i64,
    /// When it was recorded.
    #[serde(with = "instant")]
    at: DateTime<Utc>,
    /// Of the event that caused it.
    position: i64,
}

/// Crossings into low or negative stock
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/alerts",
    tag = "Ledger",
    params(("shop" = i64, Path), ListQuery),
    responses((status = 200, description = "A page of alerts", body = Alerts), ReadProblems, Forbidden)
)]
pub async fn alerts(
    State(app): State<App>,
    Ids([shop_id]): Ids<1>,
    After(after_position): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Alerts>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let after = fields.optional_string("after", 1..=64);
    let limit = limit(&mut fields);
    let place = after.as_deref().map(alert_place);
    if place == Some(None) {
        fields.invalid("after", "must be the next of an answer");
    }
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    shop(&app, shop_id).await?;
    let place = place.flatten().unwrap_or((0, 0, ""));
    let mut rows = ledger::alerts(&app.models, shop_id, place, limit + 1).await.map_err(failed)?;
    let next = cut(&mut rows, limit, |row| format!("{}-{}-{}", row.position, row.line, row.kind));
    let item = |row: ledger::AlertRow| AlertItem {
        article_id: row.article_id,
        kind: row.kind,
        stock: row.stock,
        threshold: row.threshold,
        at: row.at,
        position: row.position,
    };
    Ok(Json(Alerts { items: rows.into_iter().map(item).collect(), next }))
}

fn alert_place(text: &str) -> Option<(i64, i64, &str)> {
    let mut parts = text.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}
