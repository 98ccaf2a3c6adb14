//! Events that another log recorded, on their way into a log: written by thousands while the next ones are read.

use std::sync::Arc;

use daybook_eventlog::{APPEND_EVENTS_MAX, ImportError, Log, Position, RecordedEvent};
use tokio::task::JoinHandle;

/// Bytes that are written in one go, unless one part has more.
const COMMIT_BYTES: u64 = 16 << 20;

/// A log that is being filled. It holds two commits in memory: one on its way, one that is coming together.
pub(super) struct Filler<'a> {
    log: &'a Log,
    waiting: Vec<RecordedEvent>,
    waiting_bytes: u64,
    writing: Option<(JoinHandle<Result<Position, ImportError>>, u64)>,
    done: Done,
}

/// What is on disk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// The log's head.
    pub(super) head: Position,
    /// Bytes that were handed in with what was written.
    pub(super) bytes: u64,
}

impl<'a> Filler<'a> {
    pub(super) fn new(log: &'a Log) -> Self {
        let done = Done { head: log.head(), bytes: 0 };
        Self { log, waiting: Vec::new(), waiting_bytes: 0, writing: None, done }
    }

    /// Takes the next events, of so many bytes; answers what is on disk by now.
    pub(super) async fn take(&mut self, events: Vec<RecordedEvent>, bytes: u64) -> Result<Done, ImportError> {
        let is_full =
            self.waiting.len() + events.len() > APPEND_EVENTS_MAX || self.waiting_bytes + bytes > COMMIT_BYTES;
        if is_full && !self.waiting.is_empty() {
            self.write().await?;
        }
        self.waiting_bytes += bytes;
        self.waiting.extend(events);
        Ok(self.done)
    }

    /// Writes the rest; answers what is on disk then.
    pub(super) async fn finish(mut self) -> Result<Done, ImportError> {
        if !self.waiting.is_empty() {
            self.write().await?;
        }
        self.written().await?;
        Ok(self.done)
    }

    /// Begins to write what is waiting, once what is being written is on disk.
    async fn write(&mut self) -> Result<(), ImportError> {
        self.written().await?;
        let (log, events) = (self.log.clone(), std::mem::take(&mut self.waiting));
        let bytes = std::mem::take(&mut self.waiting_bytes);
        self.writing = Some((tokio::spawn(async move { log.import(events).await }), bytes));
        Ok(())
    }

    async fn written(&mut self) -> Result<(), ImportError> {
        let Some((writing, bytes)) = self.writing.take() else { return Ok(()) };
        let head = writing.await.map_err(|interrupted| ImportError::Storage(Arc::new(interrupted)))??;
        self.done = Done { head, bytes: self.done.bytes + bytes };
        Ok(())
    }
}
