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

pub use refusal::schemas;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

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
