//! Where the log ends.

use axum::Json;
use axum::extract::State;
use chrono::SecondsFormat;
use serde::Serialize;
use utoipa::ToSchema;

use super::reader::LogReader;
use crate::app::App;
use crate::http::Problem;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, NoQuery};
use crate::http::unread::log_unread;

/// The log's last event.
#[derive(Serialize, ToSchema)]
#[schema(as = LogHead)]
pub struct Head {
    /// Its position; 0 when there is none.
    head: u64,
    /// The head and the checksum that covers every event up to it. Note it, and pass it as `anchor` later to make sure
    /// that the log is still the same one.
    #[schema(example = "12345:0f3a9c0d5be17a42")]
    anchor: String,
    /// When the log took it.
    #[schema(required, format = DateTime)]
    recorded_at: Option<String>,
}

/// Where the log ends
#[utoipa::path(
    get,
    path = "/api/v1/log/head",
    tag = "Log",
    responses((status = 200, description = "The last position", body = Head), ReadProblems, Forbidden)
)]
pub async fn head(
    State(app): State<App>,
    _: LogReader,
    After(after): After,
    _: NoQuery,
) -> Result<Json<Head>, Problem> {
    app.logged(after).await?;
    let anchor = app.log.anchor().await.map_err(log_unread)?;
    let event = app.log.event_at(anchor.position).await.map_err(log_unread)?;
    let recorded_at = event.map(|event| event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true));
    Ok(Json(Head { head: anchor.position.get(), anchor: anchor.to_string(), recorded_at }))
}
