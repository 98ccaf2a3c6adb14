//! The reading app's surface: sessions, books, profile, statistics.

mod batch;
mod books;
mod history;
mod language;
mod profile;
mod reader;
mod session;
mod sessions;
mod statistics;
mod sweep;
mod values;
mod zone;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::surface::Surface;

/// The surface.
pub const SURFACE: Surface =
    Surface { jobs: |app, settings| vec![sweep::job(app, settings)], ..Surface::new("Reading", routes) };

/// The route table.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sessions::start))
        .routes(routes!(sessions::update))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::active))
        .routes(routes!(history::history))
        .routes(routes!(batch::record))
        .routes(routes!(books::list))
        .routes(routes!(books::get, books::put))
        .routes(routes!(profile::get, profile::put))
        .routes(routes!(statistics::weekly))
        .routes(routes!(statistics::streak))
        .routes(routes!(statistics::patterns))
        .routes(routes!(statistics::overview))
}
