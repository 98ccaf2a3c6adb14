//! Shops: what tills send and ask, and the ledger of their stock.

mod cancel;
mod catalogue;
mod history;
mod ledger;
mod parse;
mod period;
mod refusal;
mod statistics;
mod sync;
mod terminal;
mod vente;

use axum::http::HeaderMap;
pub use refusal::schemas;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::http::KnowsTerminal;

/// Whether a serial number is that of an active terminal, for counting its requests.
pub fn knows_terminal(app: App) -> KnowsTerminal {
    Box::new(move |serial| {
        let app = app.clone();
        Box::pin(async move { terminal::shop_of(&app, &serial).await.is_ok_and(|shop| shop.is_some()) })
    })
}

/// Whether the headers are those of a terminal which may work, with its key where it has one.
pub async fn is_terminal(app: &App, headers: &HeaderMap) -> bool {
    terminal::Terminal::of(app, headers).await.is_ok()
}

/// The route table.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sync::sync))
        .routes(routes!(cancel::cancel))
        .routes(routes!(history::history))
        .routes(routes!(statistics::statistics))
        .routes(routes!(catalogue::articles))
        .routes(routes!(ledger::stocks))
        .routes(routes!(ledger::reconcile::reconcile))
        .routes(routes!(ledger::stock))
        .routes(routes!(ledger::movements::movements))
        .routes(routes!(ledger::alerts::alerts))
}
