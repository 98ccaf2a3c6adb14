//! Places in the log and in a stream.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the log: from 1, gapless, in commit order. 0 stands for "before the first event".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The place `number`; what does not fit an engine's signed 64 bits becomes the largest that does.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(if number > i64::MAX as u64 { i64::MAX as u64 } else { number })
    }

    /// The place as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self::new(self.0.saturating_add(count))
    }

    /// The place before; the start has none but itself.
    pub(crate) const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub(crate) const fn to_sql(self) -> i64 {
        self.0.cast_signed()
    }

    pub(crate) const fn from_sql(stored: i64) -> Self {
        Self(stored.cast_unsigned())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a stream: from 0, gapless.
pub type Version = u64;

/// What a writer believes of a stream when it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// The stream has no event yet.
    NoStream,
    /// The stream's last event has this version.
    Exact(Version),
    /// Whatever the stream holds.
    Any,
}

impl ExpectedVersion {
    /// What to expect of a stream whose next event will have the version `next`.
    #[must_use]
    pub const fn before(next: Version) -> Self {
        match next {
            0 => Self::NoStream,
            _ => Self::Exact(next - 1),
        }
    }

    /// Whether a stream whose next event will have the version `next` is as expected.
    #[must_use]
    pub const fn holds_for(self, next: Version) -> bool {
        match self {
            Self::NoStream => next == 0,
            Self::Exact(last) => next > 0 && next - 1 == last,
            Self::Any => true,
        }
    }
}

/// A position that a log has not reached: it belongs to another history of the log, for example to one that was
/// restored from an earlier backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position} is beyond the log's head, which is {head}: it belongs to another history of the log")]
pub struct Beyond {
    /// The position that was named.
    pub position: Position,
    /// The log's head.
    pub head: Position,
}

/// Refuses a position beyond the head.
///
/// # Errors
/// [`Beyond`] when `position` is above `head`.
pub fn reached(position: Position, head: Position) -> Result<(), Beyond> {
    if position > head { Err(Beyond { position, head }) } else { Ok(()) }
}
