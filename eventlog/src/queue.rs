//! What waits for an engine's one writer, and the bounds of that: the same on every engine.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{Append, AppendError, AppendOutcome, ImportError, Position, RecordedEvent, Snapshot};

/// Appends waiting for the writer.
const QUEUE_APPENDS_MAX: usize = 8_192;
/// Bytes of events waiting for the writer.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Events taken into one transaction, unless a single append holds more.
pub(crate) const GROUP_EVENTS_MAX: usize = 8_192;
/// Bytes taken into one transaction, unless a single append holds more.
pub(crate) const GROUP_BYTES_MAX: usize = 16 << 20;

pub(crate) type Reply = oneshot::Sender<Result<AppendOutcome, AppendError>>;

/// What a writer is asked.
pub(crate) enum Job {
    Append {
        append: Append,
        reply: Reply,
        room: Room,
    },
    /// Writes events that another log recorded.
    Import {
        events: Vec<RecordedEvent>,
        reply: oneshot::Sender<Result<Position, ImportError>>,
        _room: Room,
    },
    /// Keeps a copy of a state.
    Snapshot(Snapshot),
    /// Tries a small write; answers whether it went through.
    Probe {
        reply: oneshot::Sender<bool>,
    },
}

/// The way to a writer. One that was made by `default` has none: it is closed.
#[derive(Default)]
pub(crate) struct Queue {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    queued_bytes: Arc<AtomicUsize>,
    writable: Arc<AtomicBool>,
}

impl Queue {
    /// With what its writer is to work on. `writable`: whether the writer's last write went through.
    pub(crate) fn new(writable: Arc<AtomicBool>) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, waiting) = mpsc::channel(QUEUE_APPENDS_MAX);
        (Self { jobs: Mutex::new(Some(jobs)), queued_bytes: Arc::default(), writable }, waiting)
    }

    pub(crate) async fn append(&self, append: Append) -> Result<AppendOutcome, AppendError> {
        let bytes = append.bytes();
        let jobs = self.jobs().ok_or(AppendError::Closed)?;
        let room = Room::take(&self.queued_bytes, bytes).ok_or(AppendError::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::Append { append, reply, room }).map_err(|error| match error {
            TrySendError::Full(_) => AppendError::QueueFull,
            TrySendError::Closed(_) => AppendError::Closed,
        })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    pub(crate) async fn import(&self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        let bytes = events.iter().map(|event| event.data.len() + event.metadata.len() + 256).sum();
        let jobs = self.jobs().ok_or(ImportError::Closed)?;
        let room = Room::take(&self.queued_bytes, bytes).ok_or(ImportError::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::Import { events, reply, _room: room }).map_err(|error| match error {
            TrySendError::Full(_) => ImportError::QueueFull,
            TrySendError::Closed(_) => ImportError::Closed,
        })?;
        answer.await.unwrap_or(Err(ImportError::Closed))
    }

    /// Hands a copy of a state to the writer, unless it has better things to do.
    pub(crate) fn keep_snapshot(&self, snapshot: Snapshot) {
        if let Some(jobs) = self.jobs()
            && jobs.try_send(Job::Snapshot(snapshot)).is_err()
        {
            tracing::debug!("a state's copy was not kept: the write queue is full");
        }
    }

    /// Whether the log takes writes: looks for itself when the last write failed.
    pub(crate) async fn is_writable(&self) -> bool {
        if self.writable.load(Ordering::Acquire) {
            return self.jobs().is_some_and(|jobs| !jobs.is_closed());
        }
        let Some(jobs) = self.jobs() else { return false };
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::Probe { reply }).is_ok() && answer.await.unwrap_or(false)
    }

    /// Appends that wait for the writer.
    pub(crate) fn queued(&self) -> usize {
        self.jobs().map_or(0, |jobs| QUEUE_APPENDS_MAX - jobs.capacity())
    }

    /// Takes nothing any more; the writer ends with what is waiting.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn jobs(&self) -> Option<mpsc::Sender<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Bytes of the queue's bound, given back when the append has been answered.
pub(crate) struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn take(queued: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
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
