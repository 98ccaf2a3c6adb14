//! Events as they come.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use daybook_eventlog::{Position, reached};
use utoipa::IntoParams;

use super::query::SubscriptionAsked;
use super::reader::LogReader;
use super::{lineage, producer};
use crate::app::App;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::{Problem, ProblemBody};

const LAST_EVENT_ID: &str = "Last-Event-ID";
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
// Proxies that collect answers before they pass them on would hold events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `Last-Event-ID`: the position after which a client that comes back goes on.
pub struct LastEventId(Option<Position>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut sent = parts.headers.get_all(LAST_EVENT_ID).iter();
        let Some(value) = sent.next() else { return Ok(Self(None)) };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (digits.and_then(|text| text.parse::<i64>().ok()), sent.next()) {
            (Some(position), None) => Ok(Self(Some(Position::new(position.cast_unsigned())))),
            _ => Err(Problem::bad_field(LAST_EVENT_ID, "must be one position: a whole number")),
        }
    }
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `SubscriptionAsked` reads it")]
pub struct SubscriptionQuery {
    /// Begins after this position; `Last-Event-ID` wins over it. A position beyond the head is 409.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, default = 0)]
    after: Option<u64>,
    /// Only these types: up to 100 names with commas between them.
    #[param(min_length = 1)]
    types: Option<String>,
    /// Only streams of these categories: up to 100 names with commas between them.
    #[param(min_length = 1)]
    category: Option<String>,
    /// Only this stream.
    #[param(min_length = 1, max_length = 255)]
    stream: Option<String>,
    /// An anchor that was noted earlier (`anchor` of the head): 409 when the log does not begin like that.
    #[param(example = "12345:0f3a9c0d5be17a42")]
    anchor: Option<String>,
}

/// Events as they come
///
/// Server-sent events: first what is there, then what comes, each event once and in order. `id` is the position and
/// `data` the event as in the pages. A comment comes after 15 s of silence. A client that falls behind by 4 MiB or
/// 10 s is cut off with a last event of the type `cut-off`, whose data has the `reason` and the position to
/// `resume_after`; so is one whose token has expired, and everybody when the server stops.
#[utoipa::path(
    get,
    path = "/api/v1/log/subscribe",
    tag = "Log",
    params(
        SubscriptionQuery,
        ("Last-Event-ID" = Option<u64>, Header, minimum = 0, maximum = 9_223_372_036_854_775_807_u64,
         description = "The id of the last event that was received")
    ),
    responses(
        (status = 200, description = "An answer without an end", body = String, content_type = "text/event-stream"),
        ReadProblems,
        Forbidden,
        (status = 409, description = "The position or the anchor belongs to another history of the log", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn subscribe(
    State(app): State<App>,
    LogReader(caller): LogReader,
    LastEventId(last): LastEventId,
    After(after): After,
    Query(query): Query,
) -> Result<Response, Problem> {
    let asked = SubscriptionAsked::parse(&query)?;
    app.logged(after).await?;
    let after = last.unwrap_or(Position::new(asked.after));
    reached(after, app.log.head())?;
    lineage::begins_with(&app.log, asked.anchor).await?;
    let place = app.streams.subscription()?;
    let frames = producer::subscribe(&app.streams, &caller, after, asked.filter, place);
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, NO_STORE),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
