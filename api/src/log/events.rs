//! Pages of the log, or all of it.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use daybook_eventlog::{Position, reached};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::accept::Accept;
use super::query::{EventsAsked, Order};
use super::reader::LogReader;
use super::{lineage, ndjson, page};
use crate::app::App;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::unread::log_unread;
use crate::http::{Problem, ProblemBody};

/// Which events, and how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `EventsAsked` reads it")]
pub struct EventsQuery {
    /// Goes on after this position; with `order=desc` below it. 0 is the beginning of either way. A position beyond the
    /// head is 409.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, default = 0)]
    after: Option<u64>,
    /// The most events of a page. Lines have no pages.
    #[param(minimum = 1, maximum = 5000, default = 500)]
    limit: Option<u32>,
    /// Only these types: up to 100 names with commas between them.
    #[param(min_length = 1, example = "VenteRecorded,StockReceived")]
    types: Option<String>,
    /// Only streams of these categories, which is what stands before the first `-` of their names: up to 100.
    #[param(min_length = 1, example = "shop")]
    category: Option<String>,
    /// Only this stream.
    #[param(min_length = 1, max_length = 255, example = "shop-2")]
    stream: Option<String>,
    /// Recorded at this moment or later.
    from: Option<DateTime<Utc>>,
    /// Recorded before this moment.
    to: Option<DateTime<Utc>>,
    /// Oldest first, or newest first.
    #[param(inline, default = "asc")]
    order: Option<Order>,
    /// An anchor that was noted earlier (`anchor` of the head): 409 when the log does not begin like that.
    #[param(example = "12345:0f3a9c0d5be17a42")]
    anchor: Option<String>,
}

/// An event as it stands in the log.
#[derive(ToSchema)]
#[schema(as = LogEvent)]
#[expect(dead_code, reason = "describes the answer; events leave as they were encoded where they were read")]
pub struct LogEvent {
    /// Place in the log, from 1, without gaps.
    #[schema(minimum = 1)]
    position: u64,
    /// The stream that it belongs to.
    stream: String,
    /// Place in its stream, from 0, without gaps.
    version: u64,
    id: Uuid,
    /// What happened.
    r#type: String,
    /// The version of the shape of `data`.
    schema_version: u16,
    /// As it was stored.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
    /// Where it comes from: `actor`, `correlation_id`, `causation_id`, and remarks.
    #[schema(value_type = Object)]
    metadata: Box<RawValue>,
    /// When it happened out there.
    occurred_at: DateTime<Utc>,
    /// When the log took it.
    recorded_at: DateTime<Utc>,
}

/// A page of the log.
#[derive(ToSchema)]
#[schema(as = LogPage)]
#[expect(dead_code, reason = "describes the answer")]
pub struct LogPage {
    events: Vec<LogEvent>,
    /// The last position of the log when it was asked.
    head: u64,
    /// Everything wanted up to here (downwards: down to here) was answered: pass it as `after` to go on. The head, or
    /// downwards 1, when that is all.
    next_after: u64,
}

/// Events of the log
///
/// A page of JSON, or with `Accept: application/x-ndjson` everything up to the head, a line an event. A page may hold
/// fewer events than its limit, when they are large, and more may follow: upwards until `next_after` is the head,
/// downwards until it is 1.
#[utoipa::path(
    get,
    path = "/api/v1/log/events",
    tag = "Log",
    params(EventsQuery),
    responses(
        (status = 200, description = "Events", content((LogPage = "application/json"), (String = "application/x-ndjson"))),
        ReadProblems,
        Forbidden,
        (status = 409, description = "The position or the anchor belongs to another history of the log", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn events(
    State(app): State<App>,
    LogReader(caller): LogReader,
    After(after): After,
    accept: Accept,
    Query(query): Query,
) -> Result<Response, Problem> {
    let asked = EventsAsked::parse(&query)?;
    app.logged(after).await?;
    let head = app.log.head();
    reached(Position::new(asked.after), head)?;
    lineage::begins_with(&app.log, asked.anchor).await?;
    let scan = page::scan(&app.log, &asked, head).await.map_err(log_unread)?;
    if accept == Accept::Lines {
        return ndjson::events(&app.streams, &caller, scan);
    }
    let (batch, next_after) = page::fill(&app.log, scan, asked.limit, head).await.map_err(log_unread)?;
    let mut body = batch.into_bytes();
    body.extend_from_slice(format!("],\"head\":{head},\"next_after\":{next_after}}}").as_bytes());
    Ok(page::json(body))
}
