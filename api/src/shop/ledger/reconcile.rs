//! Every balance computed anew from the log.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use daybook_domain::event::Event;
use daybook_domain::shop::{ArticleId, ShopEvent, ShopId};
use daybook_eventlog::{EventRef, Filter, Position};
use daybook_projections::shop::{ledger, register};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Ids, READERS, failed, shop};
use crate::app::App;
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, NoQuery};
use crate::http::unread::log_unread;
use crate::shop::terminal::stream;

/// Events of the log looked at in one go.
const RECONCILE_PAGE_EVENTS: usize = 10_000;

/// What recomputing the balances found.
#[derive(Serialize, ToSchema)]
pub struct Reconciliation {
    /// Articles looked at.
    checked: usize,
    /// Where the ledger and the log differ; empty when all is well.
    differences: Vec<Difference>,
}

/// An article whose balance is wrong.
#[derive(Serialize, ToSchema)]
pub struct Difference {
    article_id: i64,
    /// What the log's events add up to.
    log: i64,
    /// What the ledger's movements add up to.
    movements: i64,
    /// The stock that the ledger shows.
    stock: i64,
}

/// Recompute each balance from the log
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock/reconcile",
    tag = "Ledger",
    params(("shop" = i64, Path)),
    responses((status = 200, description = "What differs", body = Reconciliation), ReadProblems, Forbidden)
)]
pub async fn reconcile(
    State(app): State<App>,
    Ids([shop_id]): Ids<1>,
    After(after): After,
    caller: Caller,
    _: NoQuery,
) -> Result<Json<Reconciliation>, Problem> {
    caller.must_be(&READERS)?;
    app.caught_up(&[ledger::NAME, register::NAME], after).await?;
    shop(&app, shop_id).await?;
    // Both sides are added up to the same position, so that sales meanwhile do not count as differences.
    let until = app.log.head();
    app.reached(&[ledger::NAME], until).await?;
    let mut log = balances_in_log(&app, shop_id, until).await?;
    let mut ledger = ledger::balances(&app.models, shop_id, until.get()).await.map_err(failed)?;
    for article in log.keys().copied().collect::<Vec<_>>() {
        ledger.entry(article).or_insert((0, 0));
    }
    let checked = ledger.len();
    let differences = ledger
        .into_iter()
        .map(|(article_id, (movements, stock))| {
            let log = log.remove(&article_id).unwrap_or(0);
            Difference { article_id, log, movements, stock }
        })
        .filter(|found| found.log != found.movements || found.log != found.stock)
        .collect();
    Ok(Json(Reconciliation { checked, differences }))
}

async fn balances_in_log(app: &App, shop_id: ShopId, until: Position) -> Result<BTreeMap<ArticleId, i64>, Problem> {
    let filter = Filter { stream: Some(stream(shop_id)), ..Filter::default() };
    let mut balances = BTreeMap::new();
    let mut after = Position::START;
    while after < until {
        let deltas = |event: &EventRef<'_>| {
            let decoded = Event::decode(event.event_type, event.schema_version, event.data.as_bytes());
            (event.position, decoded.map(|decoded| decoded.map(|event| deltas(&event)).unwrap_or_default()))
        };
        let page = app.log.read_all_with(after, RECONCILE_PAGE_EVENTS, &filter, deltas).await;
        let page = page.map_err(log_unread)?;
        for (position, deltas) in page.events {
            if position > until {
                break;
            }
            for (article, delta) in deltas.map_err(|error| Problem::internal(&error))? {
                *balances.entry(article).or_insert(0) += delta;
            }
        }
        after = page.next_after;
    }
    Ok(balances)
}

fn deltas(event: &Event) -> Vec<(ArticleId, i64)> {
    let Event::Shop(event) = event else { return Vec::new() };
    match event {
        ShopEvent::StockReceived(e) => e.lines.iter().map(|line| (line.article_id, line.quantity)).collect(),
        ShopEvent::StockAdjusted(e) => e.lines.iter().map(|line| (line.article_id, line.delta)).collect(),
        ShopEvent::StockTransferredOut(e) => e.lines.iter().map(|line| (line.article_id, -line.quantity)).collect(),
        ShopEvent::StockTransferredIn(e) => e.lines.iter().map(|line| (line.article_id, line.quantity)).collect(),
        ShopEvent::SaleRecorded(e) => e.lines.iter().map(|line| (line.article_id, -line.quantite)).collect(),
        ShopEvent::SaleCancelled(e) => e.lines.iter().map(|line| (line.article_id, line.quantite)).collect(),
        ShopEvent::ShopOpened(_)
        | ShopEvent::ShopChanged(_)
        | ShopEvent::TerminalRegistered(_)
        | ShopEvent::TerminalChanged(_)
        | ShopEvent::ArticleAdded(_)
        | ShopEvent::ArticleChanged(_) => Vec::new(),
    }
}
