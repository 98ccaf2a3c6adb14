//! The engine on a PostgreSQL server: any number of nodes, each a writing task, a listening task and a few connections
//! that read, share one log.
//!
//! What nodes must agree on is agreed on in the database alone: positions, versions and ids are given out and checked
//! while the row `head` is locked. What a node remembers (numbers of names, its head) is what can never change, or may
//! only be behind.

mod calls;
mod connection;
mod error;
mod head;
mod options;
mod reader;
mod schema;
mod writer;

use std::sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicBool, mpsc as channel};

use tokio::{
    runtime::Runtime,
    sync::watch,
    task::{AbortHandle, JoinError},
};

pub use self::{
    error::ServerError,
    options::PostgresOptions,
    schema::{Migrated, migrate},
};
use self::{head::Head, reader::ReadPool, writer::Writer};
use crate::{Position, ReadError, queue::Queue};

/// Threads on which this engine reads and writes.
const THREADS: usize = 4;

pub(crate) struct PostgresEngine {
    pub(crate) queue: Queue,
    readers: Arc<ReadPool>,
    pub(crate) head: watch::Receiver<Position>,
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
        let connector = connection::connector(options)?;
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
        let (queue, waiting) = Queue::new(Arc::clone(&writable));
        let (done, writer) = channel::channel();
        let write = Writer::new(connector.clone(), Arc::clone(&head), writable);
        handle.spawn(async move {
            write.run(waiting).await;
            drop::<channel::Sender<()>>(done);
        });
        // Readers do not keep the head: it ends, and with it every subscription, when the log is closed.
        let weak: Weak<Head> = Arc::downgrade(&head);
        let readers = Arc::new(ReadPool::new(connector.clone(), options.readers_max, weak));
        let place = connector.place.clone();
        let follower = handle.spawn(head::follow(head, connector, options.schema.clone())).abort_handle();
        Ok(Self {
            queue,
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

    /// An engine that reads, on connections of its own and up to the present head, for as long as this one is open.
    pub(crate) async fn beside(&self) -> Result<Self, ReadError> {
        let position = self.read(|pool| async move { pool.stored_head().await }).await?;
        let head = Arc::new(Head::new(position));
        let readers = self.readers.beside(Arc::downgrade(&head));
        Ok(Self {
            queue: Queue::default(),
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
    async fn read<T: Send + 'static, F: Future<Output = Result<T, ReadError>> + Send + 'static>(
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

    /// Writes what is waiting, then lets go of the server.
    pub(crate) fn close(&self) {
        self.readers.close();
        self.queue.close();
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
