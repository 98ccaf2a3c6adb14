//! The log over HTTP, for whoever analyses or audits it: pages, whole streams of it, and a subscription.
//!
//! Events leave as they are stored. Nothing here decodes them, and nothing here writes.

mod accept;
mod chunks;
mod encode;
mod event;
mod events;
mod head;
mod lineage;
mod ndjson;
mod open;
mod page;
mod producer;
mod query;
mod queue;
mod reader;
mod stream;
mod subscribe;
mod tail;

pub use open::Streams;
pub(crate) use producer::{CUT_OFF_TOTAL, SUBSCRIBERS};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The route table.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(head::head))
        .routes(routes!(events::events))
        .routes(routes!(event::event))
        .routes(routes!(stream::stream))
        .routes(routes!(subscribe::subscribe))
}
