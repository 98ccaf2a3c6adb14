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
use crate::surface::{Surface, UnknownFields};

/// What the actors of tills' events begin with; the terminal's serial number follows.
const ACTOR_PREFIX: &str = "terminal:";

/// What tills send and ask.
pub const TILLS: Surface = Surface {
    actor_prefix: Some(ACTOR_PREFIX),
    unknown_fields: UnknownFields::Ignored,
    request_headers: &["x-device-serial", "x-device-key"],
    ..Surface::new("Tills", tills)
};

/// The ledger of the shops' stock.
pub const LEDGER: Surface = Surface::new("Ledger", ledger_routes);

/// The route table of tills.
fn tills() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sync::sync))
        .routes(routes!(cancel::cancel))
        .routes(routes!(history::history))
        .routes(routes!(statistics::statistics))
        .routes(routes!(catalogue::articles))
}

/// The route table of the ledger.
fn ledger_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ledger::stocks))
        .routes(routes!(ledger::reconcile::reconcile))
        .routes(routes!(ledger::stock))
        .routes(routes!(ledger::movements::movements))
        .routes(routes!(ledger::alerts::alerts))
}
