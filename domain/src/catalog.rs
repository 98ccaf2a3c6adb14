//! Every event this build can read, whatever family it belongs to.

use crate::book::BookEvent;
use crate::event::{DecodeError, DomainEvent};
use crate::reading::ReaderEvent;

/// An event of any family, for whoever reads the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something that happened to a reader.
    Reader(ReaderEvent),
    /// Something that happened to a book.
    Book(BookEvent),
}

impl Event {
    /// The names of all events of this build, family by family.
    pub const TYPES: &[&str] = &[
        ReaderEvent::TYPES[0],
        ReaderEvent::TYPES[1],
        ReaderEvent::TYPES[2],
        ReaderEvent::TYPES[3],
        BookEvent::TYPES[0],
        BookEvent::TYPES[1],
    ];

    /// Reads stored data; `None` for a type that no family of this build knows.
    ///
    /// # Errors
    /// The type is known, but the data is of a newer version or does not have the shape of its version.
    pub fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Option<Self>, DecodeError> {
        if ReaderEvent::TYPES.contains(&event_type) {
            ReaderEvent::decode(event_type, schema_version, data).map(|event| Some(Self::Reader(event)))
        } else if BookEvent::TYPES.contains(&event_type) {
            BookEvent::decode(event_type, schema_version, data).map(|event| Some(Self::Book(event)))
        } else {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_lists_every_family_in_full() {
        assert_eq!(Event::TYPES, [ReaderEvent::TYPES, BookEvent::TYPES].concat());
    }
}
