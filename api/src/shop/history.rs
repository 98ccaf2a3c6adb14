//! A shop's sales, newest first.

use axum::Json;
use axum::extract::State;
use daybook_projections::shop::{register, sales};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::period::{Bound, period};
use super::refusal::{ReadRefusals, Refusal};
use super::terminal::Terminal;
use super::vente::Vente;
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::read::{After, Query};

const LIMIT_MAX: i64 = 1_000;
const LIMIT_DEFAULT: i64 = 50;

/// Which sales are shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `history` reads it")]
pub struct HistoryQuery {
    /// The first day, or moment (RFC 3339). A sale's day is the one of the shop's zone when it was recorded.
    date_debut: Option<String>,
    /// The last day, or moment; included.
    date_fin: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// A `next`: goes on there.
    after: Option<String>,
    /// The terminal's shop; any other is refused.
    boutique_id: Option<i64>,
}

/// A page of sales.
#[derive(Serialize, ToSchema)]
pub struct Historique {
    success: bool,
    boutique_id: i64,
    boutique_nom: String,
    statistiques: HistoriqueStatistiques,
    /// Newest first.
    ventes: Vec<Vente>,
    /// Sales in this answer.
    count: usize,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// Over the whole filter: paid sales that were not cancelled.
#[derive(Serialize, ToSchema)]
pub struct HistoriqueStatistiques {
    total_ventes: i64,
    #[schema(example = "40000.00")]
    chiffre_affaires: String,
}

/// The shop's sales, newest first
#[utoipa::path(
    get,
    operation_id = "sales_history",
    path = "/api/v2/simple/ventes/historique",
    tag = "Tills",
    security(("terminal" = [])),
    params(HistoryQuery),
    responses((status = 200, description = "A page of sales", body = Historique), ReadRefusals)
)]
pub async fn history(
    State(app): State<App>,
    After(after_position): After,
    Query(query): Query,
    terminal: Terminal,
) -> Result<Json<Historique>, Refusal> {
    let mut fields = Fields::from_query(&query).ignoring_unknown();
    let boutique: Option<i64> = fields.optional_integer("boutique_id", i64::MIN..=i64::MAX);
    let limit = fields.optional_integer("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    let first = fields.optional_string("date_debut", 1..=64);
    let last = fields.optional_string("date_fin", 1..=64);
    let below = fields.optional_string("after", 1..=64);
    fields.finish().map_err(|_| {
        Refusal::invalid_parameter("Paramètre invalide: limit va de 1 à 1000, boutique_id est un nombre")
    })?;
    let bound = |text: Option<String>| match text.as_deref().map(Bound::parse) {
        None => Ok(None),
        Some(Some(bound)) => Ok(Some(bound)),
        Some(None) => Err(Refusal::invalid_parameter("Date invalide: AAAA-MM-JJ ou RFC 3339 est attendu")),
    };
    let (first, last) = (bound(first)?, bound(last)?);
    let below = below
        .map(|text| cursor(&text).ok_or_else(|| Refusal::invalid_parameter("Paramètre after invalide")))
        .transpose()?;
    if boutique.is_some_and(|boutique| boutique != terminal.shop_id) {
        return Err(Refusal::other_shop());
    }

    app.caught_up(&[sales::NAME, register::NAME], after_position).await?;
    let shop = register::shop(&app.models, terminal.shop_id).await?.ok_or_else(Refusal::terminal_not_found)?;
    let wanted = period(first, last);
    let limit = u32::try_from(limit).unwrap_or(1);
    let mut page = sales::page(&app.models, shop.id, wanted, below, limit + 1).await?;
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next =
        page.last().filter(|_| more).map(|last| format!("{}-{}", last.sold_at.timestamp_micros(), last.position));
    // Whole days are summed up already; only moments need a look at each sale.
    let whole_days = [first, last].into_iter().flatten().all(|bound| bound.day().is_some());
    let turnover = if whole_days {
        let day = |bound: Option<Bound>| bound.and_then(Bound::day);
        sales::turnover_of_days(&app.models, shop.id, day(first), day(last)).await?
    } else {
        sales::turnover(&app.models, shop.id, wanted).await?
    };
    Ok(Json(Historique {
        success: true,
        boutique_id: shop.id,
        boutique_nom: shop.name,
        statistiques: HistoriqueStatistiques { total_ventes: turnover.nombre, chiffre_affaires: turnover.amount() },
        count: page.len(),
        ventes: page.into_iter().map(Vente::from).collect(),
        next,
    }))
}

fn cursor(text: &str) -> Option<(i64, i64)> {
    let (sold_at, position) = text.rsplit_once('-')?;
    Some((sold_at.parse().ok()?, position.parse().ok()?))
}
