//! Pages: as many events as were asked for, and where the next page begins.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use daybook_eventlog::{Direction, Log, Position, ReadError, Scan};

use super::encode::{Batch, Format, Room};
use super::query::EventsAsked;

/// A page takes no further event after this many bytes, however many were asked for.
pub const PAGE_BYTES_MAX: usize = 16 << 20;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where the asked part of the log lies, up to `head` at most.
pub async fn scan(log: &Log, asked: &EventsAsked, head: Position) -> Result<Scan, ReadError> {
    // Positions of the last event that is too early, and of the last that is early enough.
    let too_early = match asked.from {
        Some(from) => log.last_before(from).await?.min(head),
        None => Position::START,
    };
    let last = match asked.to {
        Some(to) => log.last_before(to).await?.min(head),
        None => head,
    };
    let after = Position::new(asked.after);
    Ok(match asked.direction {
        Direction::Forward => Scan::forward(after.max(too_early), last, asked.filter.clone()),
        Direction::Backward => {
            let below = if asked.after == 0 { last.plus(1) } else { after.min(last.plus(1)) };
            Scan { until: too_early.plus(1), ..Scan::backward(below, asked.filter.clone()) }
        }
    })
}

/// Reads on until the page is full or the scan is over; says where the next page begins.
pub async fn fill(log: &Log, mut scan: Scan, limit: usize, head: Position) -> Result<(Batch, Position), ReadError> {
    let mut batch = begun("{\"events\":[", limit);
    while !scan.is_over() && !batch.is_full() {
        let part = scan.clone().limit(batch.events_left());
        (batch, scan.after) = log.fold_until(part, batch, Batch::add).await?;
    }
    let next_after = match scan.direction {
        // What is left up to the head was recorded too late, and what is left below too early: nobody wants it.
        Direction::Forward if scan.is_over() => scan.after.max(head),
        Direction::Backward if scan.is_over() => Position::new(1),
        _ => scan.after,
    };
    Ok((batch, next_after))
}

/// A page with so many places, after the bytes before its events.
pub fn begun(before: &str, limit: usize) -> Batch {
    let room = Room { events: limit, bytes: PAGE_BYTES_MAX };
    Batch::new(Format::Items, room).begun_with(before)
}

/// Bytes that are JSON already.
pub fn json(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON), (header::VARY, HeaderValue::from_static("accept"))], bytes).into_response()
}
