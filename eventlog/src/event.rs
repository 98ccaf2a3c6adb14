//! Events on their way into the log and out of it.

use std::{borrow::Cow, sync::Arc};

use chrono::{DateTime, Utc};
use daybook_domain::event::DomainEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Position, StreamId, Version};

/// Who and what caused an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who asked: a token's subject, a terminal, or `system:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The same for everything that one request or run caused: the request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What caused this very event: the request, or the event that was reacted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
}

impl Metadata {
    /// The stored form, shared by all events of one cause.
    #[must_use]
    pub fn encode(&self) -> Arc<str> {
        // A struct of strings always serialises.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned()).into()
    }
}

/// An event to be appended.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Unique for ever; appending it again answers the first position.
    pub id: Uuid,
    /// Past tense: `ReadingSessionStarted`.
    pub event_type: Cow<'static, str>,
    /// The version of the shape of `data`.
    pub schema_version: u16,
    /// JSON.
    pub data: String,
    /// JSON, see [`Metadata`].
    pub metadata: Arc<str>,
    /// When it happened out there.
    pub occurred_at: DateTime<Utc>,
}

impl NewEvent {
    /// Makes `events` ready to be appended, with fresh ids, as caused by `metadata`.
    pub fn from_domain<E: DomainEvent>(events: &[E], metadata: &Arc<str>) -> Vec<Self> {
        let mut ids = FreshIds::new();
        let encode = |event: &E| Self {
            id: ids.next(),
            event_type: Cow::Borrowed(event.event_type()),
            schema_version: event.schema_version(),
            data: String::from_utf8(event.encode()).unwrap_or_default(),
            metadata: event.remark().map_or_else(|| Arc::clone(metadata), |remark| with_remark(metadata, remark)),
            occurred_at: event.occurred_at(),
        };
        events.iter().map(encode).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + self.metadata.len() + self.event_type.len() + 64
    }
}

/// The metadata with one more member.
fn with_remark(metadata: &str, (name, value): (&str, serde_json::Value)) -> Arc<str> {
    let mut members: serde_json::Map<_, _> = serde_json::from_str(metadata).unwrap_or_default();
    members.insert(name.to_owned(), value);
    serde_json::Value::Object(members).to_string().into()
}

/// Fresh event ids: a UUID v7 and the numbers that follow it, so that the ids of one append are one run in the
/// index of ids.
struct FreshIds(u128);

impl FreshIds {
    fn new() -> Self {
        // With the top one of the 62 random low bits cleared, counting up never reaches the variant bits.
        Self(Uuid::now_v7().as_u128() & !(1 << 61))
    }

    fn next(&mut self) -> Uuid {
        let id = Uuid::from_u128(self.0);
        self.0 += 1;
        id
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Place in the log, from 1, gapless.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Place in its stream, from 0, gapless.
    pub version: Version,
    /// Unique for ever.
    pub id: Uuid,
    /// Past tense: `ReadingSessionStarted`.
    pub event_type: Arc<str>,
    /// The version of the shape of `data`.
    pub schema_version: u16,
    /// JSON.
    pub data: String,
    /// JSON, see [`Metadata`].
    pub metadata: String,
    /// When it happened out there.
    pub occurred_at: DateTime<Utc>,
    /// When the log took it; never before the time of a lower position.
    pub recorded_at: DateTime<Utc>,
}

impl RecordedEvent {
    /// The event as a reader sees it.
    #[must_use]
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            position: self.position,
            stream: &self.stream,
            version: self.version,
            id: self.id,
            event_type: &self.event_type,
            schema_version: self.schema_version,
            data: &self.data,
            metadata: &self.metadata,
            occurred_at: self.occurred_at.timestamp_micros(),
            recorded_at: self.recorded_at.timestamp_micros(),
        }
    }
}

/// An event while it is read: borrowed from the engine, so that a reader which keeps nothing copies nothing.
pub struct EventRef<'a> {
    /// Place in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: &'a StreamId,
    /// Place in its stream.
    pub version: Version,
    /// Unique for ever.
    pub id: Uuid,
    /// Past tense.
    pub event_type: &'a Arc<str>,
    /// The version of the shape of `data`.
    pub schema_version: u16,
    /// JSON.
    pub data: &'a str,
    /// JSON, see [`Metadata`].
    pub metadata: &'a str,
    /// Microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    /// Microseconds since 1970-01-01 UTC.
    pub recorded_at: i64,
}

impl EventRef<'_> {
    /// A copy that outlives the read.
    #[must_use]
    pub fn to_recorded(&self) -> RecordedEvent {
        RecordedEvent {
            position: self.position,
            stream: self.stream.clone(),
            version: self.version,
            id: self.id,
            event_type: Arc::clone(self.event_type),
            schema_version: self.schema_version,
            data: self.data.to_owned(),
            metadata: self.metadata.to_owned(),
            occurred_at: from_micros(self.occurred_at),
            recorded_at: from_micros(self.recorded_at),
        }
    }
}

/// The time `micros` microseconds after 1970-01-01 UTC; the epoch itself for what no calendar holds.
#[must_use]
pub fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
