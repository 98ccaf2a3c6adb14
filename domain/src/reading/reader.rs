//! What has to be remembered of a reader to decide.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::events::{ReadingSessionEnded, ReadingSessionStarted};
use super::values::{DeviceType, EndReason, Percent};

/// A reader: who they are and what they are doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// What the reader told about themselves.
    pub profile: Profile,
    /// What the reader is doing.
    pub session: Situation,
}

/// What the reader told about themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The reader's own zone.
    pub timezone: Option<Tz>,
    /// How the reader wants to be called.
    pub display_name: Option<String>,
}

/// What a reader is doing: never more than one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Situation {
    /// Not reading.
    #[default]
    Idle,
    /// Reading, in the one active session.
    Reading(ActiveSession),
}

/// A session that has started and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSession {
    /// The session.
    pub session_id: Uuid,
    /// The reader.
    pub user_id: Uuid,
    /// The book.
    pub book_id: Uuid,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Where in the book it started.
    pub start_position: Percent,
    /// What it is read on, when known.
    pub device_type: Option<DeviceType>,
    /// The reader's zone when it started.
    pub timezone: Tz,
    /// The last reported position; where it started until one is reported.
    pub position: Percent,
    /// The last sign of life: the start, or the last report.
    pub last_seen_at: DateTime<Utc>,
}

impl Situation {
    /// The active session, if it is the one called `session_id`.
    #[must_use]
    pub fn active(&self, session_id: Uuid) -> Option<&ActiveSession> {
        match self {
            Self::Reading(active) if active.session_id == session_id => Some(active),
            Self::Reading(_) | Self::Idle => None,
        }
    }
}

impl ActiveSession {
    /// The session as it stands right after its start.
    pub(super) fn begun_by(started: &ReadingSessionStarted) -> Self {
        Self {
            session_id: started.session_id,
            user_id: started.user_id,
            book_id: started.book_id,
            started_at: started.started_at,
            start_position: started.start_position,
            device_type: started.device_type,
            timezone: started.timezone,
            position: started.start_position,
            last_seen_at: started.started_at,
        }
    }

    /// The session's end at `ended_at`, at its last reported position and in its own zone.
    pub(super) fn ended(&self, ended_at: DateTime<Utc>, reason: EndReason) -> ReadingSessionEnded {
        ReadingSessionEnded {
            session_id: self.session_id,
            user_id: self.user_id,
            book_id: self.book_id,
            started_at: self.started_at,
            ended_at,
            start_position: self.start_position,
            end_position: self.position,
            device_type: self.device_type,
            timezone: self.timezone,
            reason,
            client_id: None,
        }
    }
}
