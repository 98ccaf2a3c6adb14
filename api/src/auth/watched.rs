//! A key read from a file, and read again when the file changes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use super::KeyError;
use super::key::VerifyingKey;

const LOOK_INTERVAL_MS: u64 = 1_000;

/// Turns the file's content into a key, or says what is wrong with it.
type Parse = fn(Vec<u8>) -> Result<VerifyingKey, &'static str>;
type Stamp = Option<(SystemTime, u64)>;

/// A key file. Looked at once a second at most, and only while tokens come.
pub(super) struct WatchedKey {
    path: PathBuf,
    parse: Parse,
    started: Instant,
    looked_ms: AtomicU64,
    current: RwLock<(Stamp, VerifyingKey)>,
}

impl WatchedKey {
    pub(super) fn open(path: &Path, parse: Parse) -> Result<Self, KeyError> {
        let stamp = stamp(path);
        let key = read(path, parse)?;
        Ok(Self {
            path: path.to_owned(),
            parse,
            started: Instant::now(),
            looked_ms: AtomicU64::new(0),
            current: RwLock::new((stamp, key)),
        })
    }

    /// The key in force. One caller a second waits for a look at the file, on a thread that may block.
    pub(super) async fn get(self: &Arc<Self>) -> VerifyingKey {
        if self.is_my_turn_to_look() {
            let watched = Arc::clone(self);
            // The task fails only when it panics or the runtime ends: the key in force serves then too.
            let _ = tokio::task::spawn_blocking(move || watched.look()).await;
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn is_my_turn_to_look(&self) -> bool {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(looked_ms) >= LOOK_INTERVAL_MS
            && self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn look(&self) {
        let stamp = stamp(&self.path);
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == stamp {
            return;
        }
        // Read after the stamp was taken: a change in between is seen by the next look.
        let read = read(&self.path, self.parse);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.0 = stamp;
        match read {
            Ok(key) => {
                current.1 = key;
                tracing::info!(path = %self.path.display(), "the key file has changed and is in force");
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the key in force is kept"),
        }
    }
}

fn read(path: &Path, parse: Parse) -> Result<VerifyingKey, KeyError> {
    let content = std::fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    parse(content).map_err(|problem| KeyError::Content { path: path.to_owned(), problem })
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
