//! One event.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use daybook_eventlog::Position;

use super::encode::{Batch, Format, Room};
use super::events::LogEvent;
use super::page;
use super::reader::LogReader;
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::{FieldValue as _, Integer};
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, NoQuery};
use crate::http::unread::log_unread;

/// The position in the path.
pub struct At(Position);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |Path(at)| at);
        let number = Integer::<0, { i64::MAX }>::from_text(&text);
        let number = number.map_err(|message| Problem::bad_field("position", message))?;
        Ok(Self(Position::new(number.get().cast_unsigned())))
    }
}

/// An event of the log
#[utoipa::path(
    get,
    path = "/api/v1/log/events/{position}",
    tag = "Log",
    params(("position" = u64, Path, minimum = 0, maximum = 9_223_372_036_854_775_807_u64)),
    responses((status = 200, description = "The event", body = LogEvent), ReadProblems, Forbidden)
)]
pub async fn event(
    State(app): State<App>,
    _: LogReader,
    At(position): At,
    After(after): After,
    _: NoQuery,
) -> Result<Response, Problem> {
    app.logged(after).await?;
    let event = app.log.event_at(position).await.map_err(log_unread)?;
    let event = event.ok_or_else(|| {
        let head = app.log.head();
        Problem::not_found(format!("The log has no event at position {position}: its head is {head}."))
    })?;
    let mut batch = Batch::new(Format::Items, Room { events: 1, bytes: usize::MAX });
    let _ = batch.add(&event.as_ref());
    Ok(page::json(batch.into_bytes()))
}
