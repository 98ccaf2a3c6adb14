//! How events are named, encoded and read back, whatever version they were written in.

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

pub use crate::catalog::Event;

/// An event that can be written to the log and read back from it.
pub trait DomainEvent: Sized + Clone + Send + Sync + 'static {
    /// The stored name, past tense: `ReadingSessionStarted`.
    fn event_type(&self) -> &'static str;

    /// The version of the JSON shape that [`encode`](Self::encode) writes.
    fn schema_version(&self) -> u16;

    /// When it happened out there, as far as the event itself says so.
    fn occurred_at(&self) -> chrono::DateTime<chrono::Utc>;

    /// A remark for the event's metadata, under a name of its own; most events have none.
    fn remark(&self) -> Option<(&'static str, Value)> {
        None
    }

    /// The event's data as JSON.
    fn encode(&self) -> Vec<u8>;

    /// Reads stored data of any schema version up to the current one.
    ///
    /// # Errors
    /// See [`DecodeError`].
    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError>;
}

/// Why stored data is not an event of this build.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No event of this family has that name.
    #[error("no event is called {0:?} here")]
    UnknownType(String),
    /// The data was written by a newer build.
    #[error("{event_type} has schema version {stored}, this build knows up to {known}")]
    FromTheFuture {
        /// The event's name.
        event_type: String,
        /// The version it was stored with.
        stored: u16,
        /// The newest version this build reads.
        known: u16,
    },
    /// The JSON does not have the shape its version promises.
    #[error("data of {event_type} does not fit schema version {schema_version}")]
    Malformed {
        /// The event's name.
        event_type: String,
        /// The version it was stored with.
        schema_version: u16,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// One step of a stored shape's way to the present: JSON of version `from` in, JSON of version `from + 1` out.
#[derive(Clone, Copy)]
pub struct Upcaster {
    /// The event it reads.
    pub event_type: &'static str,
    /// The schema version it reads.
    pub from: u16,
    /// The step.
    pub step: fn(&mut Value),
}

/// One event's data: the struct whose JSON is stored.
pub trait Stored: Serialize + DeserializeOwned {
    /// The stored name.
    const TYPE: &'static str;
    /// The version of the shape that the struct has now, counted from 1.
    const SCHEMA_VERSION: u16;
}

/// The stored JSON of `event`.
#[expect(clippy::expect_used, reason = "an event is plain fields: writing it to memory has nothing to fail on")]
pub(crate) fn write<E: Stored>(event: &E) -> Vec<u8> {
    /// More than any event without long texts needs, so that a usual one is written without growing.
    const EVENT_BYTES_USUAL_MAX: usize = 1024;

    let mut data = Vec::with_capacity(EVENT_BYTES_USUAL_MAX);
    serde_json::to_writer(&mut data, event).expect("an event is plain fields");
    data
}

/// Reads `data` of any version up to the current one; the current one straight from the bytes, an older one through
/// the steps of `upcasters`.
pub(crate) fn read<E: Stored>(upcasters: &[Upcaster], schema_version: u16, data: &[u8]) -> Result<E, DecodeError> {
    if schema_version > E::SCHEMA_VERSION {
        return Err(DecodeError::FromTheFuture {
            event_type: E::TYPE.to_owned(),
            stored: schema_version,
            known: E::SCHEMA_VERSION,
        });
    }
    let event = if schema_version == E::SCHEMA_VERSION {
        serde_json::from_slice(data)
    } else {
        upcast::<E>(upcasters, schema_version, data).and_then(serde_json::from_value)
    };
    event.map_err(|source| DecodeError::Malformed { event_type: E::TYPE.to_owned(), schema_version, source })
}

fn upcast<E: Stored>(upcasters: &[Upcaster], stored: u16, data: &[u8]) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::from_slice(data)?;
    for version in stored..E::SCHEMA_VERSION {
        let upcaster = upcasters
            .iter()
            .find(|upcaster| upcaster.event_type == E::TYPE && upcaster.from == version)
            .ok_or_else(|| serde_json::Error::custom(format_args!("no upcaster reads version {version}")))?;
        (upcaster.step)(&mut value);
    }
    Ok(value)
}
