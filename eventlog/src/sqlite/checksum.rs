//! Checksums of what only this engine keeps.

use xxhash_rust::xxh3::Xxh3Default;

/// The checksum of the copy of a state.
pub(super) fn of_snapshot(shape: &str, next: i64, state: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&(shape.len() as u64).to_le_bytes());
    hash.update(shape.as_bytes());
    hash.update(&next.to_le_bytes());
    hash.update(state);
    hash.digest()
}
