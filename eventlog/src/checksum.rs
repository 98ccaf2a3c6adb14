//! Checksums: what they cover, and how. The same on every engine, so that a log can move from one to another.

use xxhash_rust::xxh3::xxh3_64;

/// What an event's checksum covers: every column by its meaning, not by the numbers a store gives to names.
pub(crate) struct Content<'a> {
    /// The checksum of the event before; 0 before the first one.
    pub(crate) before: u64,
    pub(crate) position: u64,
    pub(crate) version: u64,
    pub(crate) schema_version: u16,
    /// Microseconds, as is `recorded_at`.
    pub(crate) occurred_at: i64,
    pub(crate) recorded_at: i64,
    pub(crate) id: &'a [u8; 16],
    pub(crate) stream: &'a [u8],
    pub(crate) event_type: &'a [u8],
    pub(crate) metadata: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Makes events' checksums, in memory that it uses again.
pub(crate) struct Checksums {
    bytes: Vec<u8>,
}

impl Checksums {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(512) }
    }

    /// Each text goes in with its length, so that no two events read alike.
    pub(crate) fn of(&mut self, content: &Content<'_>) -> u64 {
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
