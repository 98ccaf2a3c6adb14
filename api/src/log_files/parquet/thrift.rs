//! Thrift's compact protocol, as much of it as the headers and the footer of a Parquet file need.

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// One struct being written: its fields, by rising ids.
#[derive(Default)]
pub(super) struct Struct {
    bytes: Vec<u8>,
    last_id: u8,
}

impl Struct {
    pub(super) fn bool(mut self, id: u8, value: bool) -> Self {
        self.field(id, if value { TRUE } else { FALSE });
        self
    }

    pub(super) fn i16(self, id: u8, value: i16) -> Self {
        self.number(id, I16, value.into())
    }

    pub(super) fn i32(self, id: u8, value: i32) -> Self {
        self.number(id, I32, value.into())
    }

    pub(super) fn i64(self, id: u8, value: i64) -> Self {
        self.number(id, I64, value)
    }

    pub(super) fn binary(mut self, id: u8, value: &[u8]) -> Self {
        self.field(id, BINARY);
        binary(value, &mut self.bytes);
        self
    }

    pub(super) fn inner(mut self, id: u8, value: Struct) -> Self {
        self.field(id, STRUCT);
        self.bytes.extend(value.finish());
        self
    }

    pub(super) fn structs(mut self, id: u8, values: impl ExactSizeIterator<Item = Struct>) -> Self {
        self.list(id, STRUCT, values.len());
        for value in values {
            self.bytes.extend(value.finish());
        }
        self
    }

    pub(super) fn i32s(mut self, id: u8, values: &[i32]) -> Self {
        self.list(id, I32, values.len());
        for value in values {
            varint(zigzag(i64::from(*value)), &mut self.bytes);
        }
        self
    }

    pub(super) fn text(mut self, id: u8, values: &[&str]) -> Self {
        self.list(id, BINARY, values.len());
        for value in values {
            binary(value.as_bytes(), &mut self.bytes);
        }
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }

    fn number(mut self, id: u8, kind: u8, value: i64) -> Self {
        self.field(id, kind);
        varint(zigzag(value), &mut self.bytes);
        self
    }

    fn list(&mut self, id: u8, kind: u8, length: usize) {
        self.field(id, LIST);
        match u8::try_from(length) {
            Ok(short) if short < 15 => self.bytes.push(short << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                varint(length as u64, &mut self.bytes);
            }
        }
    }

    fn field(&mut self, id: u8, kind: u8) {
        debug_assert!(id > self.last_id && id - self.last_id < 16, "fields are written by rising ids");
        self.bytes.push((id - self.last_id) << 4 | kind);
        self.last_id = id;
    }
}

fn binary(value: &[u8], out: &mut Vec<u8>) {
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Small numbers of either sign as small numbers.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Seven bits a byte, the lowest first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while let [low, ..] = value.to_le_bytes()
        && value >= 0x80
    {
        out.push(low | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_when_they_are_small() {
        let encoded = |value| {
            let mut out = Vec::new();
            varint(value, &mut out);
            out
        };
        assert_eq!(
            (encoded(0), encoded(127), encoded(128), encoded(300)),
            (vec![0], vec![127], vec![128, 1], vec![172, 2])
        );
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
    }

    #[test]
    fn a_struct_is_its_fields_and_a_stop() {
        let inner = Struct::default().bool(1, true).bool(2, false);
        let bytes = Struct::default().i32(1, -1).binary(3, b"ab").inner(4, inner).i32s(5, &[1]).finish();
        assert_eq!(bytes, [0x15, 1, 0x28, 2, b'a', b'b', 0x1c, 0x11, 0x12, 0, 0x19, 0x15, 2, 0]);
    }

    #[test]
    fn a_long_list_tells_its_length_apart() {
        let bytes = Struct::default().i32s(1, &[0; 15]).finish();
        assert_eq!(bytes[..3], [0x19, 0xf5, 15]);
    }
}
