//! The bounds of what waits to be written, on every engine.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Appends waiting for the writer.
pub(crate) const QUEUE_APPENDS_MAX: usize = 8_192;
/// Bytes of events waiting for the writer.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Events taken into one transaction, unless a single append holds more.
pub(crate) const GROUP_EVENTS_MAX: usize = 8_192;
/// Bytes taken into one transaction, unless a single append holds more.
pub(crate) const GROUP_BYTES_MAX: usize = 16 << 20;

/// Bytes of the queue's bound, given back when the append has been answered.
pub(crate) struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    pub(crate) fn take(queued: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let room = Self { queued: Arc::clone(queued), bytes };
        let before = queued.fetch_add(bytes, Ordering::AcqRel);
        // An append larger than the whole bound still goes through when it is alone.
        (before == 0 || before + bytes <= QUEUE_BYTES_MAX).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
