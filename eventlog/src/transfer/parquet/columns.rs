//! The events of one part of the log, column by column.

use std::ops::Range;

use ::parquet::data_type::ByteArray;
use bytes::Bytes;
use uuid::Uuid;

use crate::EventRef;

/// The events of one part of the log, column by column.
#[derive(Default)]
pub(in crate::transfer) struct Columns {
    pub(super) position: Vec<i64>,
    pub(super) stream: Texts,
    pub(super) category: Texts,
    pub(super) version: Vec<i64>,
    pub(super) id: Texts,
    pub(super) event_type: Texts,
    pub(super) schema_version: Vec<i32>,
    pub(super) data: Texts,
    pub(super) metadata: Texts,
    pub(super) occurred_at: Vec<i64>,
    pub(super) recorded_at: Vec<i64>,
}

impl Columns {
    pub(in crate::transfer) fn add(&mut self, event: &EventRef<'_>) {
        self.position.push(event.position.get().cast_signed());
        self.stream.add(event.stream.as_str().as_bytes());
        self.category.add(event.stream.category().as_bytes());
        self.version.push(event.version.cast_signed());
        self.id.add(event.id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        self.event_type.add(event.event_type.as_bytes());
        self.schema_version.push(event.schema_version.into());
        self.data.add(event.data.as_bytes());
        self.metadata.add(event.metadata.as_bytes());
        self.occurred_at.push(event.occurred_at);
        self.recorded_at.push(event.recorded_at);
    }

    pub(in crate::transfer) fn rows(&self) -> usize {
        self.position.len()
    }

    /// Of texts; the other columns are bounded by the rows.
    pub(super) fn bytes(&self) -> usize {
        [&self.stream, &self.category, &self.id, &self.event_type, &self.data, &self.metadata]
            .map(|texts| texts.bytes.len())
            .iter()
            .sum()
    }
}

/// Values of one column, in one piece of memory.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// One for each value.
    places: Vec<Range<usize>>,
}

impl Texts {
    fn add(&mut self, text: &[u8]) {
        // The value before is often the same.
        let place = match self.places.last() {
            Some(last) if self.bytes[last.clone()] == *text => last.clone(),
            _ => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(text);
                start..self.bytes.len()
            }
        };
        self.places.push(place);
    }

    /// The values as the writer takes them; their bytes are not copied.
    pub(super) fn values(self) -> Vec<ByteArray> {
        let bytes = Bytes::from(self.bytes);
        self.places.into_iter().map(|place| ByteArray::from(bytes.slice(place))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_neighbours_share_their_bytes() {
        let mut texts = Texts::default();
        ["a", "", "bc", "bc", "a"].iter().for_each(|text| texts.add(text.as_bytes()));
        assert_eq!(texts.bytes, b"abca");
        assert_eq!(texts.values(), ["a", "", "bc", "bc", "a"].map(ByteArray::from));
    }
}
