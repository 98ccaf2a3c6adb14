//! Administration: shops, their terminals and articles, and the documents that move their stock.
//!
//! All of it is for the role admin. What tills send and what the ledger tells is not here.

mod adjustments;
mod articles;
mod author;
mod documents;
mod page;
mod path;
mod receipts;
mod refusal;
mod shops;
mod terminals;
mod transfers;
mod two_streams;
mod values;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::surface::Surface;

/// The surface.
pub const SURFACE: Surface = Surface::new("Administration", routes);

/// The route table.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(shops::list, shops::post))
        .routes(routes!(shops::get, shops::put))
        .routes(routes!(terminals::list, terminals::post))
        .routes(routes!(terminals::get, terminals::put))
        .routes(routes!(articles::list, articles::post))
        .routes(routes!(articles::get, articles::put))
        .routes(routes!(receipts::list, receipts::post))
        .routes(routes!(receipts::get))
        .routes(routes!(adjustments::list, adjustments::post))
        .routes(routes!(adjustments::get))
        .routes(routes!(transfers::list, transfers::post))
        .routes(routes!(transfers::get))
}
