//! What a reader, or the server on their behalf, may ask for, and the ways to be refused.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::values::{DeviceType, Percent};

/// A command to a reader's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderCommand {
    /// Start a session; ends the active one, if there is one.
    Start {
        /// The new session: an id never used before.
        session_id: Uuid,
        /// The reader.
        user_id: Uuid,
        /// The book; the caller has seen that the reader may read it.
        book_id: Uuid,
        /// Where in the book the reader starts.
        start_position: Percent,
        /// What it is read on, when known.
        device_type: Option<DeviceType>,
        /// The zone the request came with; without one, the profile's, else UTC.
        timezone: Option<Tz>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Report where the reader is, perhaps before where they started.
    Update {
        /// The active session.
        session_id: Uuid,
        /// Where in the book the reader is.
        position: Percent,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// End the active session.
    End {
        /// The active session.
        session_id: Uuid,
        /// Where in the book the reader stops: not before where they started.
        position: Percent,
        /// The zone the request came with; without one, the session's.
        timezone: Option<Tz>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// End a session that has given no sign of life for `idle_after`; nothing when it is not active any more.
    EndIdle {
        /// The session.
        session_id: Uuid,
        /// How long without a sign of life makes a session idle.
        idle_after: TimeDelta,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Record finished sessions of a device that was offline; the active session goes on.
    RecordOffline {
        /// The reader.
        user_id: Uuid,
        /// The zone of sessions that have none of their own; without one, the profile's, else UTC.
        timezone: Option<Tz>,
        /// The sessions, each one good and not recorded before.
        sessions: Vec<OfflineSession>,
    },
    /// Change the profile: `None` leaves a field as it is, `Some(None)` clears it.
    ChangeProfile {
        /// The reader.
        user_id: Uuid,
        /// The reader's own zone.
        timezone: Option<Option<Tz>>,
        /// How the reader wants to be called.
        display_name: Option<Option<String>>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
}

/// A finished session of a device that was offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineSession {
    /// The session: [`offline_session_id`](super::offline_session_id).
    pub session_id: Uuid,
    /// What the device calls it.
    pub client_id: Uuid,
    /// The book.
    pub book_id: Uuid,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; not before it started.
    pub ended_at: DateTime<Utc>,
    /// Where in the book it started.
    pub start_position: Percent,
    /// Where in the book it ended.
    pub end_position: Percent,
    /// What it was read on, when known.
    pub device_type: Option<DeviceType>,
    /// The zone whose calendar it counts in, when the device named one.
    pub timezone: Option<Tz>,
}

/// Why a reader's command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReaderRejection {
    /// The session is not the reader's active one.
    #[error("the session {session_id} is not active")]
    NotActive {
        /// The session.
        session_id: Uuid,
    },
    /// A session does not end before where it started.
    #[error("the session cannot end at {end}: it started at {start}")]
    EndsBeforeItsStart {
        /// Where in the book it started.
        start: Percent,
        /// Where in the book it was to end.
        end: Percent,
    },
    /// The session gave a sign of life too recently to be idle.
    #[error("the session {session_id} is not idle")]
    NotIdle {
        /// The session.
        session_id: Uuid,
    },
}
