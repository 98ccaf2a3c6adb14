//! What is handed to the log to be written, and what comes back.

use std::sync::Arc;

use uuid::Uuid;

use crate::{ExpectedVersion, NewEvent, Position, StreamId, Version};

/// The most events of one append.
pub const APPEND_EVENTS_MAX: usize = 20_000;
/// The most bytes of one event: data and metadata together.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// The longest name of an event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;

/// Events for one or several streams, written all or none.
#[derive(Default)]
pub struct Append {
    /// The streams and their events, in the order in which they are written.
    pub parts: Vec<StreamAppend>,
    /// The answer to keep for a repeated request, written with the events.
    pub remember: Option<Remember>,
}

/// Events for one stream.
pub struct StreamAppend {
    /// Where they go.
    pub stream: StreamId,
    /// What the writer believes of the stream.
    pub expected: ExpectedVersion,
    /// In order.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// Events for one stream.
    #[must_use]
    pub fn to(stream: StreamId, expected: ExpectedVersion, events: Vec<NewEvent>) -> Self {
        Self { parts: vec![StreamAppend { stream, expected, events }], remember: None }
    }

    /// Also keeps an answer.
    #[must_use]
    pub fn remembering(mut self, remember: Option<Remember>) -> Self {
        self.remember = remember;
        self
    }

    pub(crate) fn events(&self) -> usize {
        self.parts.iter().map(|part| part.events.len()).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().flat_map(|part| &part.events).map(NewEvent::bytes).sum::<usize>() + 256
    }
}

/// Where the events of an append stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The position of each event, in the order of the append.
    pub positions: Vec<Position>,
    /// The highest of them; the log's head when the append held no events.
    pub last: Position,
    /// All events were there already: nothing was written.
    pub repeated: bool,
}

/// What became of an append that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The events stand in the log.
    Appended(Appended),
    /// The request had been answered before: nothing was written, this is the first answer.
    Remembered(StoredAnswer),
}

/// Identifies a request that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Who asks.
    pub caller: String,
    /// Method and path.
    pub route: String,
    /// The caller's key.
    pub key: String,
    /// A digest of the request's body.
    pub fingerprint: [u8; 32],
}

/// An answer to be kept with an append, and how to make it once the positions are known.
pub struct Remember {
    /// The request that it answers.
    pub key: RequestKey,
    /// Called once, by the engine, inside the transaction: short and without IO.
    pub answer: Box<dyn FnOnce(&Appended) -> Answer + Send>,
}

/// What a caller was answered, encoded by whoever answers: the log keeps it and reads nothing in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer(pub Vec<u8>);

impl Answer {
    /// The answer as the engines' tables keep it: three digits that it begins with in the column `status`, the rest in
    /// `body`. Earlier releases stored a status and a body apart, and tables keep that shape, so that the answers of
    /// either release can be read by the other. An answer that begins otherwise has the status 0.
    pub(crate) fn columns(&self) -> (i32, &[u8]) {
        match self.0.split_first_chunk::<DIGITS>() {
            Some((digits, rest)) if digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit) => {
                (digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')), rest)
            }
            _ => (0, &self.0),
        }
    }

    /// The answer that these columns keep.
    pub(crate) fn of_columns(status: i32, body: Vec<u8>) -> Self {
        match status {
            0 => Self(body),
            number => Self([number.to_string().as_bytes(), &body].concat()),
        }
    }
}

/// How many digits of an answer have a column of their own.
const DIGITS: usize = 3;

/// An answer with the position its write ended at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// As it was given.
    pub answer: Answer,
    /// Of the last event that the request wrote.
    pub position: Position,
}

/// Why an append was not taken. Nothing of it was written, but for [`InDoubt`](Self::InDoubt).
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The stream is not as the writer believed.
    #[error("stream {stream} was expected at {expected:?}, its next version is {next}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the writer believed.
        expected: ExpectedVersion,
        /// The version its next event will have.
        next: Version,
    },
    /// An event id that stands in the log with other content.
    #[error("event id {id} is taken by another event at position {position}")]
    IdReused {
        /// The id.
        id: Uuid,
        /// Where the other event stands.
        position: Position,
    },
    /// The key was used for another request.
    #[error("the idempotency key was used for another request body")]
    KeyReused,
    /// The append breaks a bound of the log.
    #[error("{0}")]
    Invalid(String),
    /// More is waiting to be written than the log holds in memory; try again shortly.
    #[error("the log's write queue is full")]
    QueueFull,
    /// No room on the disk; the log goes on when there is some again.
    #[error("no room left to write to the log")]
    StorageFull(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The database could not be reached, or did not answer in time; try again shortly.
    #[error("the log's database is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The database went away while it was told to commit, and did not come back in time to be asked: the append may
    /// or may not have been written. The same events, or the same request key, sent again settle it.
    #[error("the log's database went away in the middle of a commit: it is not known whether the append was written")]
    InDoubt(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The log's name leads to no file any more, or to another one: what is written now would be lost.
    #[error(
        "the log's file was removed or replaced: stop the server, put the file back or restore a backup, and start again"
    )]
    FileGone,
    /// The engine failed.
    #[error("the log could not be written")]
    Storage(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_from_its_columns_as_it_was() {
        for bytes in ["", "2", "20", "201", "201{}", "2011", "000{}", "099", "x201", "20x{}", "{}", "\u{661}23"] {
            let answer = Answer(bytes.as_bytes().to_vec());
            let (status, body) = answer.columns();
            assert_eq!(Answer::of_columns(status, body.to_vec()), answer, "{bytes:?}");
        }
    }

    #[test]
    fn a_status_and_a_body_that_were_stored_apart_are_one_answer() {
        let answer = Answer(b"422{\"a\":1}".to_vec());
        assert_eq!(answer.columns(), (422, &b"{\"a\":1}"[..]));
        assert_eq!(Answer::of_columns(422, b"{\"a\":1}".to_vec()), answer);
    }
}
