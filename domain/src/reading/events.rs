//! What can happen to a reader.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::values::{DeviceType, EndReason, Percent};
use crate::event::{self, DecodeError, DomainEvent, Stored, Upcaster};

/// An event of a reader's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderEvent {
    /// A session started.
    ReadingSessionStarted(ReadingSessionStarted),
    /// The reader of the active session said where they are.
    ReadingSessionUpdated(ReadingSessionUpdated),
    /// A session ended.
    ReadingSessionEnded(ReadingSessionEnded),
    /// The reader's profile changed.
    ReaderProfileChanged(ReaderProfileChanged),
}

/// A session started; it is the reader's active one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingSessionStarted {
    /// The session.
    pub session_id: Uuid,
    /// The reader.
    pub user_id: Uuid,
    /// The book.
    pub book_id: Uuid,
    /// When it started.
    #[serde(with = "crate::instant")]
    pub started_at: DateTime<Utc>,
    /// Where in the book it started.
    pub start_position: Percent,
    /// What it is read on, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<DeviceType>,
    /// The reader's zone at that time.
    pub timezone: Tz,
}

impl Stored for ReadingSessionStarted {
    const TYPE: &'static str = "ReadingSessionStarted";
    const SCHEMA_VERSION: u16 = 2;
}

/// The reader of the active session said where they are, perhaps before where they started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingSessionUpdated {
    /// The session.
    pub session_id: Uuid,
    /// Where in the book they are.
    pub position: Percent,
    /// When they said so.
    #[serde(with = "crate::instant")]
    pub reported_at: DateTime<Utc>,
}

impl Stored for ReadingSessionUpdated {
    const TYPE: &'static str = "ReadingSessionUpdated";
    const SCHEMA_VERSION: u16 = 1;
}

/// A session ended; the event tells the whole session, so that statistics need no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingSessionEnded {
    /// The session.
    pub session_id: Uuid,
    /// The reader.
    pub user_id: Uuid,
    /// The book.
    pub book_id: Uuid,
    /// When it started.
    #[serde(with = "crate::instant")]
    pub started_at: DateTime<Utc>,
    /// When it ended; never before it started.
    #[serde(with = "crate::instant")]
    pub ended_at: DateTime<Utc>,
    /// Where in the book it started.
    pub start_position: Percent,
    /// Where in the book it ended, perhaps before where it started.
    pub end_position: Percent,
    /// What it was read on, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<DeviceType>,
    /// The zone whose calendar the session counts in.
    pub timezone: Tz,
    /// Why it ended.
    pub reason: EndReason,
    /// What the device calls a session that was read offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Uuid>,
}

impl Stored for ReadingSessionEnded {
    const TYPE: &'static str = "ReadingSessionEnded";
    const SCHEMA_VERSION: u16 = 2;
}

/// The reader's profile changed; the fields are the whole profile afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderProfileChanged {
    /// The reader.
    pub user_id: Uuid,
    /// The reader's own zone, when they gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Tz>,
    /// How the reader wants to be called, when they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// When it changed.
    #[serde(with = "crate::instant")]
    pub changed_at: DateTime<Utc>,
}

impl Stored for ReaderProfileChanged {
    const TYPE: &'static str = "ReaderProfileChanged";
    const SCHEMA_VERSION: u16 = 1;
}

/// Version 1 is the shape of the system that Daybook replaces: it knew no zones.
const UPCASTERS: &[Upcaster] = &[
    Upcaster { event_type: ReadingSessionStarted::TYPE, from: 1, step: set_utc },
    Upcaster { event_type: ReadingSessionEnded::TYPE, from: 1, step: set_utc },
];

fn set_utc(data: &mut Value) {
    if let Value::Object(fields) = data {
        fields.insert("timezone".to_owned(), Value::from(Tz::UTC.name()));
    }
}

impl ReaderEvent {
    /// The names of all events of this family.
    pub const TYPES: &[&str] = &[
        ReadingSessionStarted::TYPE,
        ReadingSessionUpdated::TYPE,
        ReadingSessionEnded::TYPE,
        ReaderProfileChanged::TYPE,
    ];

    /// Reads stored data; `None` for a type that is not of this family.
    pub(crate) fn decode_own(event_type: &str, schema_version: u16, data: &[u8]) -> Option<Result<Self, DecodeError>> {
        Some(match event_type {
            ReadingSessionStarted::TYPE => {
                event::read(UPCASTERS, schema_version, data).map(Self::ReadingSessionStarted)
            }
            ReadingSessionUpdated::TYPE => {
                event::read(UPCASTERS, schema_version, data).map(Self::ReadingSessionUpdated)
            }
            ReadingSessionEnded::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ReadingSessionEnded),
            ReaderProfileChanged::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ReaderProfileChanged),
            _ => return None,
        })
    }
}

impl DomainEvent for ReaderEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ReadingSessionStarted(_) => ReadingSessionStarted::TYPE,
            Self::ReadingSessionUpdated(_) => ReadingSessionUpdated::TYPE,
            Self::ReadingSessionEnded(_) => ReadingSessionEnded::TYPE,
            Self::ReaderProfileChanged(_) => ReaderProfileChanged::TYPE,
        }
    }

    fn schema_version(&self) -> u16 {
        match self {
            Self::ReadingSessionStarted(_) => ReadingSessionStarted::SCHEMA_VERSION,
            Self::ReadingSessionUpdated(_) => ReadingSessionUpdated::SCHEMA_VERSION,
            Self::ReadingSessionEnded(_) => ReadingSessionEnded::SCHEMA_VERSION,
            Self::ReaderProfileChanged(_) => ReaderProfileChanged::SCHEMA_VERSION,
        }
    }

    fn occurred_at(&self) -> DateTime<Utc> {
        match self {
            Self::ReadingSessionStarted(started) => started.started_at,
            Self::ReadingSessionUpdated(updated) => updated.reported_at,
            Self::ReadingSessionEnded(ended) => ended.ended_at,
            Self::ReaderProfileChanged(changed) => changed.changed_at,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::ReadingSessionStarted(started) => event::write(started),
            Self::ReadingSessionUpdated(updated) => event::write(updated),
            Self::ReadingSessionEnded(ended) => event::write(ended),
            Self::ReaderProfileChanged(changed) => event::write(changed),
        }
    }

    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_own(event_type, schema_version, data)
            .unwrap_or_else(|| Err(DecodeError::UnknownType(event_type.to_owned())))
    }
}
