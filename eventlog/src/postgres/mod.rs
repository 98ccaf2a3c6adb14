//! The engine on a PostgreSQL server: any number of nodes, each a writing task, a listening task and a few connections
//! that read, share one log.
//!
//! What nodes must agree on is agreed on in the database alone: positions, versions and ids are given out and checked
//! while the row `head` is locked. What a node remembers (numbers of names, its head) is what can never change, or may
//! only be behind.

mod connection;
mod error;
mod head;
mod options;
mod reader;
mod schema;
mod text;
mod writer;

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc as channel,
};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinError},
};

pub(crate) use self::reader::ReadPool;
use self::{
    connection::Connector,
    head::Head,
    writer::{Job, Writer},
};
pub use self::{
    error::{ServerError, is_away},
    options::PostgresOptions,
    schema::{Migrated, migrate},
};
use crate::{
    Append, AppendError, AppendOutcome, ImportError, Position, ReadError, RecordedEvent, Snapshot,
    queue::{QUEUE_APPENDS_MAX, Room},
};

/// Threads on which this engine reads and writes.
const THREADS: usize = 4;

pub(crate) struct PostgresEngine {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    queued_bytes: Arc<AtomicUsize>,
    writable: Arc<AtomicBool>,
    readers: Arc<ReadPool>,
    head: watch::Receiver<Position>,
    follower: Option<AbortHandle>,
    /// Of an engine that follows nobody.
    own_head: Mutex<Option<Arc<Head>>>,
    /// Ends with the writer.
    writer: Mutex<Option<channel::Receiver<()>>>,
    /// The engine's own: what callers do with events holds up nobody else's tasks, and a log outlives the runtime that
    /// opened it.
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    place: String,
}

impl PostgresEngine {
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Self, ServerError> {
        let connector = Connector::new(options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("log-postgres")
            .enable_all()
            .build()
            .map_err(|error| ServerError::Options(error.to_string()))?;
        let handle = runtime.handle().clone();
        let runtime = Background(Some(runtime));
        let prepare = {
            let (connector, options) = (connector.clone(), options.clone());
            async move { schema::prepare(&connector, &options).await }
        };
        let prepared = handle.spawn(prepare).await;
        let (_, position) = prepared.map_err(|error| ServerError::Options(error.to_string()))??;
        let head = Arc::new(Head::new(position));
        let watch = head.watch();
        let writable = Arc::new(AtomicBool::new(true));
        let (jobs, waiting) = mpsc::channel(QUEUE_APPENDS_MAX);
        let (done, writer) = channel::channel();
        let write = Writer::new(connector.clone(), Arc::clone(&head), Arc::clone(&writable));
        handle.spawn(async move {
            write.run(waiting).await;
            drop::<channel::Sender<()>>(done);
        });
        // Readers do not keep the head: it ends, and with it every subscription, when the log is closed.
        let weak: Weak<Head> = Arc::downgrade(&head);
        let readers = Arc::new(ReadPool::new(connector.clone(), options.readers_max, weak));
        let place = connector.place().to_owned();
        let follower = handle.spawn(head::follow(head, connector, options.schema.clone())).abort_handle();
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            queued_bytes: Arc::default(),
            writable,
            readers,
            head: watch,
            follower: Some(follower),
            own_head: Mutex::default(),
            writer: Mutex::new(Some(writer)),
            runtime: Mutex::new(runtime.take()),
            handle,
            place,
        })
    }

    pub(crate) async fn append(&self, append: Append) -> Result<AppendOutcome, AppendError> {
        let bytes = append.bytes();
        let jobs = self.jobs().ok_or(AppendError::Closed)?;
        let room = Room::take(&self.queued_bytes, bytes).ok_or(AppendError::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::Append { append, reply, room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
        })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    pub(crate) async fn import(&self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        let bytes = events.iter().map(|event| event.data.len() + event.metadata.len() + 256).sum();
        let jobs = self.jobs().ok_or(ImportError::Closed)?;
        let room = Room::take(&self.queued_bytes, bytes).ok_or(ImportError::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        jobs.try_send(Job::Import { events, reply, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ImportError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => ImportError::Closed,
        })?;
        answer.await.unwrap_or(Err(ImportError::Closed))
    }

    /// An engine that reads, on connections of its own and up to the present head, for as long as this one is open.
    pub(crate) async fn beside(&self) -> Result<Self, ReadError> {
        let position = self.read(|pool| async move { pool.stored_head().await }).await?;
        let head = Arc::new(Head::new(position));
        let readers = self.readers.beside(Arc::downgrade(&head));
        Ok(Self {
            jobs: Mutex::default(),
            queued_bytes: Arc::default(),
            writable: Arc::default(),
            readers: Arc::new(readers),
            head: head.watch(),
            follower: None,
            own_head: Mutex::new(Some(head)),
            writer: Mutex::default(),
            runtime: Mutex::default(),
            handle: self.handle.clone(),
            place: self.place.clone(),
        })
    }

    /// Runs a read on the engine's threads.
    pub(crate) async fn read<T: Send + 'static, F: Future<Output = Result<T, ReadError>> + Send + 'static>(
        &self,
        read: impl FnOnce(Arc<ReadPool>) -> F,
    ) -> Result<T, ReadError> {
        match self.handle.spawn(read(Arc::clone(&self.readers))).await {
            Ok(result) => result,
            Err(error) => match JoinError::try_into_panic(error) {
                // A bug in what the caller does with an event is the caller's.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(ReadError::Closed),
            },
        }
    }

    pub(crate) fn head(&self) -> &watch::Receiver<Position> {
        &self.head
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

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Writes what is waiting, then lets go of the server.
    pub(crate) fn close(&self) {
        self.readers.close();
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nothing is ever sent: this waits for the writer's end, which its patience bounds.
            let _ = writer.recv();
        }
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        drop(self.own_head.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(Background(self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }

    fn jobs(&self) -> Option<mpsc::Sender<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        self.close();
    }
}

/// A runtime that ends without waiting: a log may be dropped on a thread that must not block.
struct Background(Option<Runtime>);

impl Background {
    fn take(mut self) -> Option<Runtime> {
        self.0.take()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
