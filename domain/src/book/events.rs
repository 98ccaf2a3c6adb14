//! What can happen to a book.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{self, DecodeError, DomainEvent, Stored, Upcaster};

/// An event of a book's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookEvent {
    /// A book was added.
    BookAdded(BookAdded),
    /// A book was changed.
    BookChanged(BookChanged),
}

/// A book was added by its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookAdded {
    /// The book.
    pub book_id: Uuid,
    /// The reader who added it.
    pub owner: Uuid,
    /// Its title.
    pub title: String,
    /// How many pages it has, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_pages: Option<u32>,
    /// Whether every reader may read it.
    pub shared: bool,
    /// When it was added.
    #[serde(with = "crate::instant")]
    pub added_at: DateTime<Utc>,
}

impl Stored for BookAdded {
    const TYPE: &'static str = "BookAdded";
    const SCHEMA_VERSION: u16 = 1;
}

/// A book was changed; the fields are the whole book afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookChanged {
    /// The book.
    pub book_id: Uuid,
    /// Its title.
    pub title: String,
    /// How many pages it has, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_pages: Option<u32>,
    /// Whether every reader may read it.
    pub shared: bool,
    /// When it was changed.
    #[serde(with = "crate::instant")]
    pub changed_at: DateTime<Utc>,
}

impl Stored for BookChanged {
    const TYPE: &'static str = "BookChanged";
    const SCHEMA_VERSION: u16 = 1;
}

/// No stored shape of a book is older than the current one.
const UPCASTERS: &[Upcaster] = &[];

impl BookEvent {
    /// The names of all events of this family.
    pub const TYPES: &[&str] = &[BookAdded::TYPE, BookChanged::TYPE];

    /// Reads stored data; `None` for a type that is not of this family.
    pub(crate) fn decode_own(event_type: &str, schema_version: u16, data: &[u8]) -> Option<Result<Self, DecodeError>> {
        Some(match event_type {
            BookAdded::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::BookAdded),
            BookChanged::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::BookChanged),
            _ => return None,
        })
    }
}

impl DomainEvent for BookEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::BookAdded(_) => BookAdded::TYPE,
            Self::BookChanged(_) => BookChanged::TYPE,
        }
    }

    fn schema_version(&self) -> u16 {
        match self {
            Self::BookAdded(_) => BookAdded::SCHEMA_VERSION,
            Self::BookChanged(_) => BookChanged::SCHEMA_VERSION,
        }
    }

    fn occurred_at(&self) -> DateTime<Utc> {
        match self {
            Self::BookAdded(added) => added.added_at,
            Self::BookChanged(changed) => changed.changed_at,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::BookAdded(added) => event::write(added),
            Self::BookChanged(changed) => event::write(changed),
        }
    }

    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_own(event_type, schema_version, data)
            .unwrap_or_else(|| Err(DecodeError::UnknownType(event_type.to_owned())))
    }
}
