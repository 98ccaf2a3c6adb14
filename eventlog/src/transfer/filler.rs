//! Events that another log recorded, written into a log: thousands in one commit, while the next ones are read.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{APPEND_EVENTS_MAX, ImportError, Log, Position, RecordedEvent};

/// Bytes that are written in one go, unless one part has more.
const COMMIT_BYTES: u64 = 16 << 20;

/// A log that is being filled. Memory holds two commits: the one being written, and the one being gathered.
pub struct Filler<'a> {
    log: &'a Log,
    waiting: Vec<RecordedEvent>,
    waiting_bytes: u64,
    writing: Option<(JoinHandle<Result<Position, ImportError>>, u64)>,
    done: Filled,
}

/// What is on disk of a log that is being filled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filled {
    /// The log's head.
    pub head: Position,
    /// Bytes that were handed in with what was written.
    pub bytes: u64,
}

impl<'a> Filler<'a> {
    /// Nothing handed in yet.
    #[must_use]
    pub fn new(log: &'a Log) -> Self {
        let done = Filled { head: log.head(), bytes: 0 };
        Self { log, waiting: Vec::new(), waiting_bytes: 0, writing: None, done }
    }

    /// Takes the next events, `bytes` large; answers what is on disk by now.
    ///
    /// # Errors
    /// [`ImportError`] when an earlier commit failed: nothing after that commit was written.
    pub async fn take(&mut self, events: Vec<RecordedEvent>, bytes: u64) -> Result<Filled, ImportError> {
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
    ///
    /// # Errors
    /// [`ImportError`] when a commit failed: nothing after the commit before it was written.
    pub async fn finish(mut self) -> Result<Filled, ImportError> {
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
        self.done = Filled { head, bytes: self.done.bytes + bytes };
        Ok(())
    }
}
