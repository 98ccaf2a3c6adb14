//! How far streams are, for whoever wants to know without a look into the file.

use std::sync::{Mutex, PoisonError};

use quick_cache::sync::Cache;

use crate::{StreamId, Version};

/// Streams remembered.
const STREAMS_MAX: usize = 65_536;

/// The next versions of streams written or read lately. This process is the only one that writes, so they hold.
pub(crate) struct Versions {
    streams: Cache<StreamId, Version>,
    /// What a reader has learned must not take the place of what the writer has committed meanwhile.
    changes: Mutex<()>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self { streams: Cache::new(STREAMS_MAX), changes: Mutex::new(()) }
    }

    /// The version the stream's next event will have, if it is remembered.
    pub(crate) fn next(&self, stream: &StreamId) -> Option<Version> {
        self.streams.get(stream)
    }

    /// Takes over what a transaction has written.
    pub(super) fn committed(&self, streams: impl Iterator<Item = (StreamId, Version)>) {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for (stream, next) in streams {
            self.streams.insert(stream, next);
        }
    }

    /// Remembers what a reader found, unless the writer knows better.
    pub(crate) fn learned(&self, stream: &StreamId, next: Version) {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.streams.get(stream).is_none() {
            self.streams.insert(stream.clone(), next);
        }
    }
}
