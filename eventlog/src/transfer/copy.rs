//! A log copied into another one that is empty or holds its beginning: every event as it stands.

use std::pin::pin;

use futures::TryStreamExt as _;

use super::filler::Filler;
use crate::{Anchor, Beyond, EventRef, Filter, ImportError, ImportRefusal, Log, Position, ReadError, RecordedEvent};

/// Bytes of an event besides its data and metadata, about.
const ENVELOPE_BYTES: u64 = 128;

/// What was copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// Where the target ended before.
    pub from: Position,
    /// Where both end now, with what covers everything up to there.
    pub until: Anchor,
    /// Bytes copied, about.
    pub bytes: u64,
}

/// Why a log was not copied, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target holds something else.
    #[error(
        "{target} holds another log: its event at position {at} is not that of {origin}; nothing was written. Copy into \
         an empty folder or database"
    )]
    Foreign {
        /// Where the source is.
        origin: String,
        /// Where the target is.
        target: String,
        /// The position at which they differ.
        at: Position,
    },
    /// The target holds more than the source.
    #[error(
        "{target} goes on where {origin} ends, so it is no earlier copy. Nothing was written; has the copy been served, \
         or {origin} restored?"
    )]
    Ahead {
        /// Where the source is.
        origin: String,
        /// Where the target is.
        target: String,
        /// How far the target goes beyond the source.
        #[source]
        beyond: Beyond,
    },
    /// Somebody else has written to the target.
    #[error(
        "somebody else writes to {target}: what is there was left as it is. Stop the nodes that serve it, and run the \
         same command again"
    )]
    Served {
        /// Where the target is.
        target: String,
        /// What the target refused.
        #[source]
        source: ImportError,
    },
    /// The source holds what no log takes.
    #[error("{origin} is damaged, verify it with daybook log verify; {done} of its events are in the target")]
    Damaged {
        /// Where the source is.
        origin: String,
        /// The last position that the target has.
        done: Position,
        /// What the target refused.
        #[source]
        source: ImportError,
    },
    /// The target could not be written.
    #[error(
        "{target} could not be written: run the same command again, and it goes on where it was, after position {done}"
    )]
    Write {
        /// Where the target is.
        target: String,
        /// The last position that the target has.
        done: Position,
        /// What failed.
        #[source]
        source: ImportError,
    },
    /// A log could not be read.
    #[error("a log could not be read: run the same command again, and it goes on where it was")]
    Read(#[from] ReadError),
    /// They were copied, and are not the same.
    #[error("the copy ends with {found}, where {origin} has {expected}: verify both with daybook log verify")]
    Different {
        /// Where the source is.
        origin: String,
        /// What the source ends with.
        expected: Anchor,
        /// What the target ends with.
        found: Anchor,
    },
}

/// Copies what `target` does not have yet of `source` as it is now, then compares the checksums of both ends. Calls
/// `at` with how many events of how many are written.
///
/// # Errors
/// [`CopyError`] when the target holds something else, a log cannot be read or written, or both ends differ afterwards.
/// An interrupted copy goes on where it was when it is called again.
pub async fn copy(source: &Log, target: &Log, at: impl Fn(u64, u64)) -> Result<Copied, CopyError> {
    let head = source.stored_head().await?;
    let until = source.anchor_at(head).await?.ok_or_else(|| ReadError::Corrupt(format!("no event is at {head}")))?;
    let from = common(source, target, until).await?;
    let bytes = fill(source, target, (from, until.position), at).await?;
    let found = target.anchor().await?;
    if found != until {
        return Err(CopyError::Different { origin: source.place(), expected: until, found });
    }
    Ok(Copied { from, until, bytes })
}

/// Where the target ends; refuses one that is no beginning of the source. A checksum covers every event before it, so
/// that comparing one compares all.
async fn common(source: &Log, target: &Log, until: Anchor) -> Result<Position, CopyError> {
    let (origin, place) = (source.place(), target.place());
    let has = target.anchor().await?;
    let at = has.position.min(until.position);
    if target.anchor_at(at).await? != source.anchor_at(at).await? {
        return Err(CopyError::Foreign { origin, target: place, at });
    }
    if has.position > until.position {
        let beyond = Beyond { position: has.position, head: until.position };
        return Err(CopyError::Ahead { origin, target: place, beyond });
    }
    Ok(has.position)
}

/// Reads ahead of what is being written. Memory holds two commits and what is read side by side.
async fn fill(
    source: &Log,
    target: &Log,
    (from, until): (Position, Position),
    at: impl Fn(u64, u64),
) -> Result<u64, CopyError> {
    let total = until.get().saturating_sub(from.get());
    let add = |(events, bytes): &mut Part, event: &EventRef<'_>| {
        *bytes += (event.data.len() + event.metadata.len()) as u64 + ENVELOPE_BYTES;
        events.push(event.to_recorded());
    };
    let mut parts = pin!(source.parts(from, until, Filter::all(), Part::default, add));
    let mut filler = Filler::new(target);
    let mut reached = from;
    let failed = |done, error| failure(source, target, done, error);
    while let Some((_, (events, bytes))) = parts.try_next().await? {
        reached = filler.take(events, bytes).await.map_err(|error| failed(reached, error))?.head;
        at(reached.get().saturating_sub(from.get()), total);
    }
    let done = filler.finish().await.map_err(|error| failed(reached, error))?;
    Ok(done.bytes)
}

/// Events that were read together, and their bytes.
type Part = (Vec<RecordedEvent>, u64);

fn failure(origin: &Log, target: &Log, done: Position, error: ImportError) -> CopyError {
    let place = target.place();
    match &error {
        // Other events came in between: the next position, an id or a version is taken.
        ImportError::Refused { refusal: ImportRefusal::Position { next }, .. } if *next > done => {
            CopyError::Served { target: place, source: error }
        }
        ImportError::Refused { .. } => CopyError::Damaged { origin: origin.place(), done, source: error },
        _ => CopyError::Write { target: place, done, source: error },
    }
}
