//! One stream.

use std::ops::ControlFlow;

use axum::extract::{Path, State};
use axum::response::Response;
use daybook_eventlog::{Direction, EventRef, Filter, Log, READ_EVENTS_MAX, ReadError, StreamId, Version};
use futures::stream::{self, StreamExt as _};
use utoipa::{IntoParams, ToSchema};

use super::accept::Accept;
use super::encode::{Batch, Format, Room};
use super::events::LogEvent;
use super::open::Streams;
use super::query::{Order, StreamAsked};
use super::reader::LogReader;
use super::{lineage, ndjson, page};
use crate::app::App;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::unread::log_unread;
use crate::http::{Problem, ProblemBody};

/// Which of the stream's events, and how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `StreamAsked` reads it")]
pub struct StreamQuery {
    /// Goes on after this version; with `order=desc` below it. Without it from the beginning of either way. A version
    /// beyond the stream's last one is 409.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    after: Option<u64>,
    /// The most events of a page. Lines have no pages.
    #[param(minimum = 1, maximum = 5000, default = 500)]
    limit: Option<u32>,
    /// Only these types: up to 100 names with commas between them.
    #[param(min_length = 1)]
    types: Option<String>,
    /// Oldest first, or newest first.
    #[param(inline, default = "asc")]
    order: Option<Order>,
    /// An anchor that was noted earlier (`anchor` of the head): 409 when the log does not begin like that.
    #[param(example = "12345:0f3a9c0d5be17a42")]
    anchor: Option<String>,
}

/// A page of a stream.
#[derive(ToSchema)]
#[schema(as = StreamPage)]
#[expect(dead_code, reason = "describes the answer")]
pub struct StreamPage {
    stream: String,
    events: Vec<LogEvent>,
    /// The version of the stream's last event when it was asked.
    last_version: u64,
    /// Everything wanted up to this version (downwards: down to it) was answered: pass it as `after` to go on.
    next_after: u64,
}

/// Events of a stream
///
/// A page of JSON, or with `Accept: application/x-ndjson` all of it, a line an event. Upwards there is more until
/// `next_after` is `last_version`, downwards until it is 0.
#[utoipa::path(
    get,
    path = "/api/v1/log/streams/{stream}",
    tag = "Log",
    params(("stream" = String, Path, example = "shop-2"), StreamQuery),
    responses(
        (status = 200, description = "Events", content((StreamPage = "application/json"), (String = "application/x-ndjson"))),
        ReadProblems,
        Forbidden,
        (status = 409, description = "The version or the anchor belongs to another history of the log", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn stream(
    State(app): State<App>,
    LogReader(caller): LogReader,
    Path(name): Path<String>,
    After(after): After,
    accept: Accept,
    Query(query): Query,
) -> Result<Response, Problem> {
    let asked = StreamAsked::parse(&query)?;
    app.logged(after).await?;
    lineage::begins_with(&app.log, asked.anchor).await?;
    let stream = StreamId::from(name);
    let last = app.log.last_version(&stream).await.map_err(log_unread)?;
    let last = last.ok_or_else(|| Problem::not_found("There is no such stream."))?;
    lineage::version_reached(asked.after.unwrap_or(0), last)?;
    let mut walk = Walk::new(stream, &asked, last);
    if accept == Accept::Lines {
        return ndjson::answer(&app.streams, &caller, lines(&app.streams, walk));
    }
    // A name always serialises.
    let name = serde_json::to_string(walk.stream.as_str()).unwrap_or_default();
    let mut batch = page::begun(&format!("{{\"stream\":{name},\"events\":["), asked.limit);
    while walk.next.is_some() && !batch.is_full() {
        batch = walk.step(&app.log, batch).await.map_err(log_unread)?;
    }
    let mut body = batch.into_bytes();
    let next_after = walk.next_after(asked.after);
    body.extend_from_slice(format!("],\"last_version\":{last},\"next_after\":{next_after}}}").as_bytes());
    Ok(page::json(body))
}

fn lines(streams: &Streams, walk: Walk) -> ndjson::Lines {
    let begin = (streams.clone(), walk);
    let steps = stream::try_unfold(begin, |(streams, mut walk)| async move {
        if walk.next.is_none() {
            return Ok(None);
        }
        let batch = {
            let _turn = streams.reader().turn().await?;
            walk.step(streams.log(), Batch::new(Format::Lines, Room::CHUNK)).await?
        };
        Ok(Some((batch.into_bytes().into(), (streams, walk))))
    });
    steps.boxed()
}

/// A way through the versions of a stream.
struct Walk {
    stream: StreamId,
    direction: Direction,
    filter: Filter,
    /// The version that is looked at next; none when it is over.
    next: Option<Version>,
    /// The last one that is looked at.
    until: Version,
}

impl Walk {
    fn new(stream: StreamId, asked: &StreamAsked, last: Version) -> Self {
        let (next, until) = match (asked.direction, asked.after) {
            (Direction::Forward, None) => (Some(0), last),
            (Direction::Forward, Some(after)) => ((after < last).then(|| after + 1), last),
            (Direction::Backward, None) => (Some(last), 0),
            (Direction::Backward, Some(after)) => (after.min(last + 1).checked_sub(1), 0),
        };
        Self { stream, direction: asked.direction, filter: asked.filter.clone(), next, until }
    }

    /// One read of the log: adds what is wanted and moves on.
    async fn step(&mut self, log: &Log, batch: Batch) -> Result<Batch, ReadError> {
        let (direction, until, filter) = (self.direction, self.until, self.filter.clone());
        let category = self.stream.category().to_owned();
        let fold = move |(mut batch, _): (Batch, Option<Version>), event: &EventRef<'_>| {
            // What came after the request is left for the next one.
            if direction == Direction::Forward && event.version > until {
                return ControlFlow::Break((batch, Some(until)));
            }
            let full = filter.takes(&category, event.event_type) && batch.add(event).is_break();
            let folded = (batch, Some(event.version));
            if full { ControlFlow::Break(folded) } else { ControlFlow::Continue(folded) }
        };
        let folded = log.fold_stream(&self.stream, self.next, direction, READ_EVENTS_MAX, (batch, None), fold).await?;
        let (ControlFlow::Continue((batch, seen)) | ControlFlow::Break((batch, seen))) = folded;
        self.next = seen.filter(|seen| *seen != self.until).map(|seen| match direction {
            Direction::Forward => seen + 1,
            Direction::Backward => seen - 1,
        });
        Ok(batch)
    }

    fn next_after(&self, after: Option<Version>) -> Version {
        match (self.direction, self.next) {
            (Direction::Forward, Some(next)) => next.saturating_sub(1),
            (Direction::Forward, None) => self.until.max(after.unwrap_or(0)),
            (Direction::Backward, Some(next)) => next + 1,
            (Direction::Backward, None) => self.until,
        }
    }
}
