//! How the values of a page are laid out: Parquet's encodings, the three that are used here besides plain.

use super::thrift::{varint, zigzag};

/// Values of one block of deltas, in miniblocks of a width of their own.
const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;

/// `DELTA_BINARY_PACKED`: what rises evenly takes next to nothing.
pub(super) fn delta(values: &[i64], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint(MINIBLOCKS as u64, out);
    varint(values.len() as u64, out);
    let Some(first) = values.first() else { return varint(0, out) };
    varint(zigzag(*first), out);
    let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    for block in deltas.chunks(BLOCK) {
        let least = block.iter().copied().min().unwrap_or(0);
        varint(zigzag(least), out);
        let miniblocks: Vec<Vec<u64>> = block
            .chunks(BLOCK / MINIBLOCKS)
            .map(|values| values.iter().map(|value| value.wrapping_sub(least).cast_unsigned()).collect())
            .collect();
        let widths: Vec<u8> =
            miniblocks.iter().map(|values| width(values.iter().copied().max().unwrap_or(0))).collect();
        out.extend((0..MINIBLOCKS).map(|place| widths.get(place).copied().unwrap_or(0)));
        for (values, width) in miniblocks.iter().zip(&widths) {
            // The last one is filled up with zeros.
            let filled = values.iter().copied().chain(std::iter::repeat(0)).take(BLOCK / MINIBLOCKS);
            pack(filled, *width, out);
        }
    }
}

/// `RLE_DICTIONARY`: places in the dictionary, runs of the same one counted, others packed.
pub(super) fn places(places: &[u32], dictionary: usize, out: &mut Vec<u8>) {
    let width = width(dictionary.saturating_sub(1) as u64).max(1);
    out.push(width);
    let mut single = Vec::with_capacity(places.len());
    for run in places.chunk_by(|a, b| a == b) {
        // Packed ones come in groups of eight: the run fills the last group up.
        let missing = single.len().next_multiple_of(8) - single.len();
        if run.len() < missing + 8 {
            single.extend_from_slice(run);
            continue;
        }
        let (filling, run) = run.split_at(missing);
        single.extend_from_slice(filling);
        packed_groups(&mut single, width, out);
        varint((run.len() as u64) << 1, out);
        out.extend_from_slice(&run[0].to_le_bytes()[..usize::from(width).div_ceil(8)]);
    }
    packed_groups(&mut single, width, out);
}

fn packed_groups(places: &mut Vec<u32>, width: u8, out: &mut Vec<u8>) {
    if places.is_empty() {
        return;
    }
    let groups = places.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let filled = places.drain(..).map(u64::from).chain(std::iter::repeat(0)).take(groups * 8);
    pack(filled, width, out);
}

/// The lowest `width` bits of each value, one after the other, from the lowest bit of the first byte on.
fn pack(values: impl Iterator<Item = u64>, width: u8, out: &mut Vec<u8>) {
    let (mut waiting, mut bits) = (0_u128, 0_u32);
    for value in values {
        waiting |= u128::from(value) << bits;
        bits += u32::from(width);
        while bits >= 8 {
            out.push(waiting.to_le_bytes()[0]);
            waiting >>= 8;
            bits -= 8;
        }
    }
    // Values come by multiples of eight, so nothing is left.
    debug_assert_eq!(bits, 0);
}

/// The bits that `largest` needs.
fn width(largest: u64) -> u8 {
    u8::try_from(u64::BITS - largest.leading_zeros()).unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    // The examples of the format's own description.
    #[test]
    fn what_rises_evenly_has_no_bits() {
        assert_eq!(encoded(|out| delta(&[1, 2, 3, 4, 5], out)), [128, 1, 4, 5, 2, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn deltas_are_packed_above_the_least_of_them() {
        let bytes = encoded(|out| delta(&[7, 5, 3, 1, 2, 3, 4, 5], out));
        assert_eq!(bytes[..10], [128, 1, 4, 8, 14, 3, 2, 0, 0, 0]);
        assert_eq!(bytes[10..], [0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_extremes_wrap() {
        // One delta of 1 after all: from the largest to the least.
        assert_eq!(encoded(|out| delta(&[i64::MAX, i64::MIN], out)).last_chunk(), Some(&[2, 0, 0, 0, 0]));
    }

    #[test]
    fn eight_different_places_are_packed_and_the_same_ones_counted() {
        let packed = encoded(|out| places(&[0, 1, 2, 3, 4, 5, 6, 7], 8, out));
        assert_eq!(packed, [3, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        assert_eq!(encoded(|out| places(&[4; 100], 8, out)), [3, 200, 1, 4]);
        assert_eq!(encoded(|out| places(&[0; 9], 1, out)), [1, 18, 0]);
        let mixed = encoded(|out| places(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2, out));
        assert_eq!(mixed, [1, 3, 1, 16, 0]);
    }
}
