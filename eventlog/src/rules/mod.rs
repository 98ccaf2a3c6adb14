//! What may be written to a log, decided once for all engines: whether an append or an import is taken, refused or
//! answered from what is there.
//!
//! The rules look nothing up. They ask an engine for [`Facts`], and the engine answers from wherever it keeps them: the
//! embedded one from its file, one look-up at a time; the one on a server from what it has asked for beforehand. How
//! rows are written is the engine's business too.

mod append;
mod bounds;
mod import;
#[cfg(test)]
mod tests;

use std::time::Duration;

use uuid::Uuid;

pub(crate) use self::{
    append::{Decision, Known, appended, decide, fresh},
    bounds::{check_append, check_import_size, check_recorded},
    import::check_import,
};
use crate::{KeyLookup, NewEvent, Position, RequestKey, StoredAnswer, StreamId, Version};

/// Answers to repeated requests are kept at least this long.
pub(crate) const ANSWERS_KEPT: Duration = Duration::from_hours(48);
/// How often older answers are looked for.
pub(crate) const PURGE_EVERY: Duration = Duration::from_mins(5);
/// How many of them are removed at once.
pub(crate) const PURGE_ROWS_MAX: i64 = 5_000;
/// When they are looked for again after so many were found.
pub(crate) const PURGE_AGAIN: Duration = Duration::from_secs(1);

/// What the rules have to know of a log, as it stands right before the append or the import in question: with
/// everything that was written before it in the same transaction.
pub(crate) trait Facts {
    /// Why a fact cannot be had. With it the whole transaction fails.
    type Failure;

    /// What the log knows of a request that carries a key.
    fn kept(&mut self, key: &RequestKey) -> Result<KeyLookup, Self::Failure>;

    /// The version that the stream's next event has; 0 when there is no stream.
    fn next_version(&mut self, stream: &StreamId) -> Result<Version, Self::Failure>;

    /// Whether any of the events' ids is taken. It may say yes when none is, so that an engine can answer quickly, but
    /// never no when one is.
    fn may_be_taken(&mut self, events: &[NewEvent]) -> Result<bool, Self::Failure>;

    /// Where the event with this id stands, if there is one.
    fn position_of(&mut self, id: Uuid) -> Result<Option<Position>, Self::Failure>;

    /// Whether what the event with this id, which stands at `position`, holds is as `is_same` wants it.
    fn holds(
        &mut self,
        id: Uuid,
        position: Position,
        is_same: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<bool, Self::Failure>;

    /// An id that no taken one is above, of those that the rules may ask for; `None` when none of them is taken.
    fn highest_id(&mut self) -> Result<Option<u128>, Self::Failure>;
}

/// What makes an event the same as another one. Who sent it, and when, may differ.
pub(crate) struct Content<'a> {
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: i64,
    pub(crate) data: &'a str,
}

/// Why nothing is written.
pub(crate) enum Stop<R, F> {
    /// The rules refuse it. What else is in the transaction is not touched.
    Refused(R),
    /// A fact could not be had: the whole transaction is lost.
    Failed(F),
}

/// When events that come in now are recorded: never before what is there, also when the clock is put back.
pub(crate) fn recorded_at(now_micros: i64, last_micros: i64) -> i64 {
    now_micros.max(last_micros)
}

/// What a request with this `fingerprint` is to be told, when another one with the same key was answered with `stored`.
pub(crate) fn compare(fingerprint: &[u8], kept: Option<(impl AsRef<[u8]>, StoredAnswer)>) -> KeyLookup {
    match kept {
        None => KeyLookup::Unknown,
        Some((of, stored)) if of.as_ref() == fingerprint => KeyLookup::Answered(stored),
        Some(_) => KeyLookup::OtherBody,
    }
}
