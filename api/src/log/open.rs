//! What is open: the bodies that are being streamed, what they share, and how they end.

use std::sync::Arc;
use std::time::Duration;

use daybook_eventlog::Log;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::chunks::ChunkReader;
use super::tail::Tail;
use crate::auth::Caller;
use crate::http::Problem;

/// Subscriptions at the same time.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Answers of lines at the same time.
const LINES_MAX: usize = 256;
const RETRY_AFTER_S: u64 = 5;
/// A token that is good for longer than that never ends a body: timers do not reach further.
const EXPIRY_MAX: Duration = Duration::from_hours(24 * 365);

/// The open streams of the log, and what they share. Cheap to clone.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

struct Shared {
    log: Log,
    reader: ChunkReader,
    tail: Tail,
    subscriptions: Arc<Semaphore>,
    lines: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// A place among the open streams; given back when it is dropped.
pub struct Place(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

/// What ends a body from outside.
pub struct Ends {
    /// The token is over then.
    pub expires: Option<Instant>,
    /// True when the server is stopping.
    pub stopping: watch::Receiver<bool>,
}

/// What has ended a body from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Expired,
    Stopping,
}

impl Streams {
    /// Nothing is open yet.
    #[must_use]
    pub fn new(log: Log) -> Self {
        let reader = ChunkReader::new(log.clone());
        Self(Arc::new(Shared {
            tail: Tail::new(log.clone()),
            log,
            reader,
            subscriptions: Arc::new(Semaphore::new(SUBSCRIPTIONS_MAX)),
            lines: Arc::new(Semaphore::new(LINES_MAX)),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Ends everything that is open, and whatever is opened from now on.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    pub(super) fn log(&self) -> &Log {
        &self.0.log
    }

    pub(super) fn reader(&self) -> &ChunkReader {
        &self.0.reader
    }

    pub(super) fn tail(&self) -> &Tail {
        &self.0.tail
    }

    /// A place for a subscription; 503 when there is none.
    pub(super) fn subscription(&self) -> Result<Place, Problem> {
        place(&self.0.subscriptions, "There are as many subscriptions as the server takes: try again later.")
    }

    /// Subscriptions that are not over.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        SUBSCRIPTIONS_MAX - self.0.subscriptions.available_permits()
    }

    /// A place for an answer of lines; 503 when there is none.
    pub(super) fn lines(&self) -> Result<Place, Problem> {
        place(&self.0.lines, "There are as many downloads as the server takes: try again later.")
    }

    /// What ends a body of this caller.
    pub(super) fn ends(&self, caller: &Caller) -> Ends {
        Ends { expires: deadline(caller), stopping: self.0.stopping.subscribe() }
    }
}

impl Ends {
    /// Waits for the token's end or the server's.
    pub async fn reached(&mut self) -> Ended {
        tokio::select! {
            () = until(self.expires) => Ended::Expired,
            // The sender is gone only when the server is.
            _ = self.stopping.wait_for(|stopping| *stopping) => Ended::Stopping,
        }
    }
}

impl Ended {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Expired => "token expired",
            Self::Stopping => "server stopping",
        }
    }
}

/// Sleeps until then; for ever without a moment.
pub async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn place(places: &Arc<Semaphore>, full: &'static str) -> Result<Place, Problem> {
    let permit = Arc::clone(places).try_acquire_owned();
    permit.map(Place).map_err(|_| Problem::unavailable(full, RETRY_AFTER_S))
}

fn deadline(caller: &Caller) -> Option<Instant> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(caller.expires_at).saturating_sub(now);
    (left < EXPIRY_MAX).then(|| Instant::now() + left)
}
