//! Events as PostgreSQL's binary COPY sends them: read where they lie, without a copy.

use bytes::Bytes;
use uuid::Uuid;

/// What an event is made of, in the order in which [`Row`] expects it.
pub(super) const COLUMNS: &str =
    "position, stream_id, version, kind_id, occurred_at, recorded_at, schema_version, id, metadata, data";

/// How many they are, and how many of the first ones are numbers of eight bytes.
const COLUMNS_COUNT: u16 = 10;
const BIGINTS: usize = 6;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The signature, the flags, and the length of an extension that is never there.
const HEADER_BYTES: usize = 19;
/// Number of columns; then each with its length before it.
const START: usize = 2;
const BIGINT: usize = 12;

/// One row as it came: the server sends each in a message of its own.
pub(super) struct Row(Bytes);

/// An event's columns.
pub(super) struct Columns<'a> {
    pub(super) position: i64,
    pub(super) stream_id: i64,
    pub(super) version: i64,
    pub(super) kind_id: i64,
    pub(super) occurred_at: i64,
    pub(super) recorded_at: i64,
    pub(super) schema_version: u16,
    pub(super) id: Uuid,
    pub(super) metadata: &'a str,
    pub(super) data: &'a str,
}

impl Row {
    /// The row of a message; none for the one that ends them.
    pub(super) fn of(mut message: Bytes) -> Option<Self> {
        if message.starts_with(SIGNATURE) {
            message = message.split_off(HEADER_BYTES.min(message.len()));
        }
        (message.get(..START) == Some(&COLUMNS_COUNT.to_be_bytes())).then_some(Self(message))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn stream_id(&self) -> Option<i64> {
        self.bigint(1)
    }

    pub(super) fn kind_id(&self) -> Option<i64> {
        self.bigint(3)
    }

    /// All columns; nothing when they are not what they should be.
    pub(super) fn columns(&self) -> Option<Columns<'_>> {
        let mut rest = self.0.get(START + BIGINTS * BIGINT..)?;
        let schema_version = u32::from_be_bytes(take(&mut rest)?.try_into().ok()?);
        let id = Uuid::from_slice(take(&mut rest)?).ok()?;
        let metadata = std::str::from_utf8(take(&mut rest)?).ok()?;
        let data = std::str::from_utf8(take(&mut rest)?).ok()?;
        Some(Columns {
            position: self.bigint(0)?,
            stream_id: self.bigint(1)?,
            version: self.bigint(2)?,
            kind_id: self.bigint(3)?,
            occurred_at: self.bigint(4)?,
            recorded_at: self.bigint(5)?,
            schema_version: u16::try_from(schema_version).ok()?,
            id,
            metadata,
            data,
        })
    }

    fn bigint(&self, column: usize) -> Option<i64> {
        let start = START + column * BIGINT;
        let (length, value) = self.0.get(start..start + BIGINT)?.split_first_chunk()?;
        (u32::from_be_bytes(*length) == 8).then_some(i64::from_be_bytes(value.try_into().ok()?))
    }
}

/// The next column; nothing when it is NULL or cut off.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (value, after) = after.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(data: Option<&str>) -> Vec<u8> {
        let mut row = COLUMNS_COUNT.to_be_bytes().to_vec();
        for number in 1..=6_i64 {
            row.extend(8_u32.to_be_bytes());
            row.extend(number.to_be_bytes());
        }
        row.extend(4_u32.to_be_bytes());
        row.extend(7_u32.to_be_bytes());
        row.extend(16_u32.to_be_bytes());
        row.extend(8_u128.to_be_bytes());
        for text in [Some("{}"), data] {
            row.extend(text.map_or(-1, |text| i32::try_from(text.len()).unwrap()).to_be_bytes());
            row.extend(text.unwrap_or_default().as_bytes());
        }
        row
    }

    #[test]
    fn a_row_is_read_with_and_without_the_header() {
        let mut first = [SIGNATURE, &[0; 8]].concat();
        first.extend(message(Some("{\"é\":1}")));
        for message in [first, message(Some("{\"é\":1}"))] {
            let row = Row::of(message.into()).unwrap();
            let columns = row.columns().unwrap();
            assert_eq!((columns.position, row.stream_id(), columns.version, row.kind_id()), (1, Some(2), 3, Some(4)));
            assert_eq!((columns.occurred_at, columns.recorded_at, columns.schema_version), (5, 6, 7));
            assert_eq!((columns.id, columns.metadata, columns.data), (Uuid::from_u128(8), "{}", "{\"é\":1}"));
        }
    }

    #[test]
    fn the_end_is_no_row_and_what_is_cut_off_has_no_columns() {
        assert!(Row::of((-1_i16).to_be_bytes().to_vec().into()).is_none());
        let whole = message(Some("{\"n\":1}"));
        for cut in START..whole.len() {
            assert!(Row::of(whole[..cut].to_vec().into()).unwrap().columns().is_none(), "{cut}");
        }
        assert!(Row::of(message(None).into()).unwrap().columns().is_none());
    }
}
