//! What a verification finds: where, and what.

use std::fmt;

use crate::{Position, StreamId, Version};

/// One thing that is wrong. Its text says where and what, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The first and the last position that it is about; the same one twice for a single event.
    pub positions: Option<(Position, Position)>,
    /// The stream, when it is about one.
    pub stream: Option<StreamId>,
    /// The version in that stream, when it is about one event.
    pub version: Option<Version>,
    /// What is wrong there.
    pub damage: Damage,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// What stands there, or the checksum of it, is not what was written.
    Changed,
    /// No event stands there.
    Missing,
    /// The file cannot be read there; SQLite's words.
    Unreadable(String),
    /// Events that the head does not know.
    BeyondHead {
        /// What the head says.
        head: Position,
    },
    /// Recorded before the event in front of it.
    RecordedBack,
    /// The event has neither metadata nor a position to take them from, or both.
    MetadataTwiceOrNever,
    /// The event takes its metadata from another position than the nearest before it that has some.
    MetadataAt {
        /// Where it takes them from.
        at: i64,
        /// Where the nearest are, if there are any.
        nearest: Option<Position>,
    },
    /// A column of an event holds what no column of its kind can hold.
    Value {
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The note of the last position.
    Head(String),
    /// An index does not say what the events say.
    Index {
        /// Its table.
        table: &'static str,
        /// What differs.
        why: String,
    },
    /// A table, view, index or trigger is not as this build makes it.
    Schema(String),
    /// SQLite's own check of the file; its words.
    Structure(String),
    /// The copy of the stream's state does not fit its checksum.
    Snapshot,
    /// Not the event that somebody wrote down.
    Anchor {
        /// The checksum that was written down.
        expected: u64,
        /// The checksum there now; `None` when there is no event.
        found: Option<u64>,
    },
}

impl Finding {
    pub(crate) fn of(damage: Damage) -> Self {
        Self { positions: None, stream: None, version: None, damage }
    }

    pub(crate) fn at(position: Position, damage: Damage) -> Self {
        Self::between(position, position, damage)
    }

    pub(crate) fn between(first: Position, last: Position, damage: Damage) -> Self {
        Self { positions: Some((first, last)), ..Self::of(damage) }
    }

    pub(crate) fn index(table: &'static str, why: String) -> Self {
        Self::of(Damage::Index { table, why })
    }

    pub(crate) fn in_stream(self, stream: Option<StreamId>, version: Option<Version>) -> Self {
        Self { stream, version, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.positions {
            Some((first, last)) if first == last => write!(f, "position {first}")?,
            Some((first, last)) => write!(f, "positions {first} to {last}")?,
            None => f.write_str("log")?,
        }
        match (&self.stream, self.version) {
            (Some(stream), Some(version)) => write!(f, " (stream {stream}, version {version})")?,
            (Some(stream), None) => write!(f, " (stream {stream})")?,
            (None, _) => {}
        }
        write!(f, ": {}", self.damage)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str(
                "the event does not fit its checksum: it was changed or moved, or the checksum before it was",
            ),
            Self::Missing => f.write_str("no event is there; the one after cannot be checked either"),
            Self::Unreadable(why) => {
                write!(f, "cannot be read, so that the event after cannot be checked either: {why}")
            }
            Self::BeyondHead { head } => write!(f, "after the log's head, which is noted as {head}"),
            Self::RecordedBack => f.write_str("recorded before the event in front of it"),
            Self::MetadataTwiceOrNever => {
                f.write_str("an event has either metadata or the position of another event's, never both or none")
            }
            Self::MetadataAt { at, nearest: Some(nearest) } => {
                write!(f, "takes its metadata from position {at}, the nearest before it are at {nearest}")
            }
            Self::MetadataAt { at, nearest: None } => {
                write!(f, "takes its metadata from position {at}, but there are none before it")
            }
            Self::Value { column, why } => write!(f, "{column} {why}"),
            Self::Head(why) => write!(f, "the note of the last position does not fit: {why}"),
            Self::Index { table, why } => write!(f, "the index {table} does not fit the events: {why}"),
            Self::Schema(why) => f.write_str(why),
            Self::Structure(why) => write!(f, "SQLite finds the file damaged: {why}"),
            Self::Snapshot => f.write_str(
                "the copy of the stream's state does not fit its checksum; it is not used and can be deleted from \
                 the table snapshots",
            ),
            Self::Anchor { expected, found: Some(found) } => write!(
                f,
                "the event has checksum {found:016x}, but {expected:016x} was written down: this is another log, or \
                 its past was changed"
            ),
            Self::Anchor { expected, found: None } => write!(
                f,
                "no event is there, but checksum {expected:016x} was written down: this is another log, or an older \
                 copy, or it lost its tail"
            ),
        }
    }
}

/// The parts of a verification. Each keeps only so many findings, so that none hides what another has found; at most
/// 100 are kept in all.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Events = 60,
    Ends = 9,
    Streams = 8,
    Ids = 7,
    Kinds = 6,
    Around = 10,
}

/// Keeps the first findings of each part and counts the others.
#[derive(Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    more: u64,
    /// No more are kept than this, until the next part begins.
    kept_max: usize,
}

impl Findings {
    pub(crate) fn begin(&mut self, part: Part) {
        self.kept_max = self.kept.len() + part as usize;
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.kept.last_mut().is_some_and(|last| last.goes_on_with(&finding)) {
            return;
        }
        if self.kept.len() < self.kept_max {
            self.kept.push(finding);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.kept, self.more)
    }
}

impl Finding {
    /// Takes `next` into itself when it is the same damage at the position after this one's.
    fn goes_on_with(&mut self, next: &Self) -> bool {
        // Each changed event is worth a line of its own.
        if self.damage != next.damage || self.damage == Damage::Changed {
            return false;
        }
        match (self.positions.as_mut(), next.positions) {
            (Some((_, last)), Some((first, next_last))) if last.plus(1) == first => *last = next_last,
            _ => return false,
        }
        if self.stream != next.stream {
            self.stream = None;
        }
        self.version = None;
        true
    }
}
