//! Taking over events that another log recorded: what is refused, and why.

use std::sync::Arc;

use uuid::Uuid;

use crate::{Position, StreamId, Version};

/// Why an import was not taken. Nothing of the call was written, but for [`InDoubt`](Self::InDoubt).
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// An event cannot stand where it says.
    #[error("the event at position {position} cannot be imported: {refusal}")]
    Refused {
        /// Where the event says that it stands.
        position: Position,
        /// What is wrong with it.
        refusal: ImportRefusal,
    },
    /// More events than one call takes.
    #[error("an import holds at most {} events a call, not {events}: hand them in in parts", crate::APPEND_EVENTS_MAX)]
    TooMany {
        /// How many there were.
        events: usize,
    },
    /// More is waiting to be written than the log holds in memory; try again shortly.
    #[error("the log's write queue is full")]
    QueueFull,
    /// No room on the disk; the same call can be made again when there is some.
    #[error("no room left to write to the log")]
    StorageFull(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The database could not be reached, or did not answer in time; the same call can be made again.
    #[error("the log's database is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The database went away while it was told to commit: look at the log's head before going on.
    #[error("the log's database went away in the middle of a commit: it is not known whether the import was written")]
    InDoubt(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The engine failed.
    #[error("the log could not be written")]
    Storage(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// What is wrong with an event that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefusal {
    /// It is not the next position of this log.
    #[error("the next position of this log is {next}")]
    Position {
        /// The position that can be written next.
        next: Position,
    },
    /// It is not the next version of its stream.
    #[error("it has version {version} of stream {stream}, whose next version is {next}")]
    Version {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: Version,
        /// The version that can be written next.
        next: Version,
    },
    /// Its id stands in the log already.
    #[error("its id {id} is taken by the event at position {position}")]
    IdTaken {
        /// The id.
        id: Uuid,
        /// Where the other event stands.
        position: Position,
    },
    /// It was recorded before the event in front of it.
    #[error("it was recorded before the event in front of it")]
    RecordedAt,
    /// A time that the log cannot keep as it is.
    #[error("its {time} is finer than a microsecond, or beyond what the log can keep")]
    Time {
        /// `occurred_at` or `recorded_at`.
        time: &'static str,
    },
    /// It breaks a bound of the log.
    #[error("{0}")]
    Bound(String),
}
