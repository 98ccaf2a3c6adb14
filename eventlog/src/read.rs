//! What every engine and every reader of the log share: which part is read, what a read answers, and why one fails.

use std::{ops::ControlFlow, sync::Arc};

use crate::{EventRef, Filter, Position, RecordedEvent, StoredAnswer, StreamId, Version};

/// The most events of one page of a read.
pub const READ_EVENTS_MAX: usize = 20_000;
/// A read ends with the event that fills so many bytes of data and metadata: no page holds more than these and that
/// event, however many events were asked for.
pub const READ_BYTES_MAX: usize = 4 << 20;

/// Which way events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// What the log knows of a request that carried a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLookup {
    /// It was not answered yet.
    Unknown,
    /// It was answered so.
    Answered(StoredAnswer),
    /// Its key was used with another body.
    OtherBody,
}

/// A copy of a stream's state: it can be thrown away at any time.
pub(crate) struct Snapshot {
    pub(crate) stream: StreamId,
    /// Names the shape of `state`.
    pub(crate) shape: String,
    /// The version of the first event that is not in it.
    pub(crate) next: Version,
    pub(crate) state: Vec<u8>,
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The database could not be reached, or did not answer in time; try again shortly.
    #[error("the log's database is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The engine failed.
    #[error("the log could not be read")]
    Storage(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// A page of a read of the whole log.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T = RecordedEvent> {
    /// What was wanted, in the order of positions.
    pub events: Vec<T>,
    /// Up to here everything wanted has been read: go on after it. A page without events may still have moved on.
    pub next_after: Position,
}

/// A part of the log to be read: which way, from where, how far, how much, what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Which way.
    pub direction: Direction,
    /// Where it begins, without that position itself: forwards what is above it, backwards what is below.
    pub after: Position,
    /// The last position that is read.
    pub until: Position,
    /// The most events, bounded by [`READ_EVENTS_MAX`]; [`READ_BYTES_MAX`] bounds them as well.
    pub limit: usize,
    /// Which of them.
    pub filter: Filter,
}

impl Scan {
    /// Forwards, everything after `after` up to `until`.
    #[must_use]
    pub fn forward(after: Position, until: Position, filter: Filter) -> Self {
        Self { direction: Direction::Forward, after, until, limit: usize::MAX, filter }
    }

    /// Backwards, everything below `below` down to the first event.
    #[must_use]
    pub fn backward(below: Position, filter: Filter) -> Self {
        Self { direction: Direction::Backward, after: below, until: Position::new(1), limit: usize::MAX, filter }
    }

    /// At most `limit` events.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether nothing is left to read after a scan that came to `after`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.direction {
            Direction::Forward => self.after >= self.until,
            Direction::Backward => self.after <= self.until,
        }
    }
}

/// A read of a stream, without what becomes of its events.
pub(crate) struct StreamRead {
    pub(crate) stream: StreamId,
    pub(crate) from: Option<Version>,
    pub(crate) direction: Direction,
    pub(crate) limit: usize,
}

/// Folds one more event, unless the fold has come to its end.
pub(crate) fn step<S>(
    folded: &mut Option<ControlFlow<S, S>>,
    event: &EventRef<'_>,
    fold: &impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S>,
) -> ControlFlow<()> {
    *folded = folded.take().map(|flow| match flow {
        ControlFlow::Continue(state) => fold(state, event),
        stopped @ ControlFlow::Break(_) => stopped,
    });
    match folded {
        Some(ControlFlow::Continue(_)) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}
