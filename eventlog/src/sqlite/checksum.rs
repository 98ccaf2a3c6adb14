//! Checksums: what they cover, and how.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// What an event's checksum covers: every column by its meaning, not by the numbers this file gives to names.
pub(super) struct Content<'a> {
    /// The checksum of the event before; 0 before the first one.
    pub(super) before: u64,
    pub(super) position: u64,
    pub(super) version: u64,
    pub(super) schema_version: u16,
    /// Microseconds, as is `recorded_at`.
    pub(super) occurred_at: i64,
    pub(super) recorded_at: i64,
    pub(super) id: &'a [u8; 16],
    pub(super) stream: &'a [u8],
    pub(super) event_type: &'a [u8],
    pub(super) metadata: &'a [u8],
    pub(super) data: &'a [u8],
}

/// Makes events' checksums, in memory that it uses again.
pub(super) struct Checksums {
    bytes: Vec<u8>,
}

impl Checksums {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(512) }
    }

    /// Each text goes in with its length, so that no two events read alike.
    pub(super) fn of(&mut self, content: &Content<'_>) -> u64 {
        let bytes = &mut self.bytes;
        bytes.clear();
        for number in [
            content.before,
            content.position,
            content.version,
            u64::from(content.schema_version),
            content.occurred_at.cast_unsigned(),
            content.recorded_at.cast_unsigned(),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(content.id);
        for text in [content.stream, content.event_type, content.metadata, content.data] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
        xxh3_64(bytes)
    }
}

/// The checksum of the copy of a state.
pub(super) fn of_snapshot(shape: &str, next: i64, state: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&(shape.len() as u64).to_le_bytes());
    hash.update(shape.as_bytes());
    hash.update(&next.to_le_bytes());
    hash.update(state);
    hash.digest()
}
