//! Projections in the open: how far each read model is, and building it anew.

mod commands;
mod offline;
mod status;

use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::offline::ProjectionsCommand;
use crate::app::App;
use crate::surface::Surface;

/// The surface.
pub const SURFACE: Surface = Surface::new("Projections", routes);

/// The route table.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status::list))
        .routes(routes!(status::get))
        .routes(routes!(commands::rebuild))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::resume))
}
