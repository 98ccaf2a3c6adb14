//! Every event this build can read, whatever family it belongs to.

use crate::book::BookEvent;
use crate::event::DecodeError;
use crate::reading::ReaderEvent;
use crate::registry::RegistryEvent;
use crate::shop::ShopEvent;

/// An event of any family, for whoever reads the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something that happened to a reader.
    Reader(ReaderEvent),
    /// Something that happened to a book.
    Book(BookEvent),
    /// Something that happened to a shop.
    Shop(ShopEvent),
    /// Something that happened to the register of shops.
    Registry(RegistryEvent),
}

/// The names of all events, family by family.
const FAMILIES: &[&[&str]] = &[ReaderEvent::TYPES, BookEvent::TYPES, ShopEvent::TYPES, RegistryEvent::TYPES];

impl Event {
    /// The names of all events of this build, family by family.
    pub const TYPES: &[&str] = &one_list::<{ count(FAMILIES) }>(FAMILIES);

    /// Reads stored data; `None` for a type that no family of this build knows.
    ///
    /// # Errors
    /// The type is known, but the data is of a newer version or does not have the shape of its version.
    pub fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Option<Self>, DecodeError> {
        // One look at the name a family, and no allocation for a name that is not of it.
        ReaderEvent::decode_own(event_type, schema_version, data)
            .map(|decoded| decoded.map(Self::Reader))
            .or_else(|| Some(ShopEvent::decode_own(event_type, schema_version, data)?.map(Self::Shop)))
            .or_else(|| Some(BookEvent::decode_own(event_type, schema_version, data)?.map(Self::Book)))
            .or_else(|| Some(RegistryEvent::decode_own(event_type, schema_version, data)?.map(Self::Registry)))
            .transpose()
    }
}

const fn count(families: &[&[&str]]) -> usize {
    let mut names = 0;
    let mut family = 0;
    while family < families.len() {
        names += families[family].len();
        family += 1;
    }
    names
}

/// All names of `families`, of which there are `NAMES`.
const fn one_list<const NAMES: usize>(families: &[&[&'static str]]) -> [&'static str; NAMES] {
    let mut list = [""; NAMES];
    let (mut at, mut family) = (0, 0);
    while family < families.len() {
        let mut name = 0;
        while name < families[family].len() {
            list[at] = families[family][name];
            at += 1;
            name += 1;
        }
        family += 1;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_lists_every_family_in_full() {
        let families = [ReaderEvent::TYPES, BookEvent::TYPES, ShopEvent::TYPES, RegistryEvent::TYPES];
        assert_eq!(Event::TYPES, families.concat());
    }

    #[test]
    fn every_name_of_the_catalog_is_read_and_belongs_to_one_family() {
        for (place, name) in Event::TYPES.iter().enumerate() {
            assert!(!Event::TYPES[..place].contains(name), "{name} is there twice");
            let error = Event::decode(name, u16::MAX, b"").err();
            assert!(matches!(&error, Some(DecodeError::FromTheFuture { event_type, .. }) if event_type == name));
        }
    }
}
