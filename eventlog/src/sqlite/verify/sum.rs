//! Sums that tell whether two sides hold the same, in whichever order.

use xxhash_rust::xxh3::xxh3_128;

/// A sum of hashes, which does not depend on their order: two sides that add up to the same hold the same.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sum(u128);

impl Sum {
    pub(super) fn add(&mut self, a: i64, b: i64, c: i64) {
        let mut bytes = [0; 24];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip([a, b, c]) {
            *place = number.to_le_bytes();
        }
        self.0 = self.0.wrapping_add(xxh3_128(&bytes));
    }

    pub(super) fn add_id(&mut self, id: u128, position: i64) {
        let bytes = id.to_be_bytes();
        let (high, low) = bytes.split_at(8);
        let number = |half: &[u8]| half.try_into().map(i64::from_be_bytes).unwrap_or_default();
        self.add(number(high), number(low), position);
    }
}
