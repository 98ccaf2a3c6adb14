//! The embedded engine: one SQLite file, one thread that writes it, a few connections that read it.

mod backup;
mod calls;
mod checksum;
mod lock;
mod reader;
mod schema;
mod verify;
mod versions;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    thread::JoinHandle,
};

use tokio::sync::watch;

pub use self::{
    backup::{BackupError, RestoreError, Restoring, backup, restore},
    lock::{FolderInUse, FolderLock, lock_folder},
    verify::{Verified, VerifyError, verify, verify_file},
};
use self::{reader::ReadPool, versions::Versions, writer::Writer};
use crate::{Position, ReadError, queue::Queue};

/// The log's file in the data folder.
pub const LOG_FILE: &str = "log.sqlite3";

/// Why the embedded log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the folder open.
    #[error(transparent)]
    InUse(#[from] FolderInUse),
    /// The folder or a file in it could not be reached.
    #[error("cannot use {path}")]
    Folder {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is no log of Daybook.
    #[error("{path} is a SQLite file, but no log of Daybook: choose another data folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer build.
    #[error("{path} has format {found}, this build knows up to {known}: use a newer daybook")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The newest format this build reads.
        known: i64,
    },
    /// The log's last event is not the one that was committed last.
    #[error("{path} is damaged: its head says position {head}, its last event has {last}; restore a backup")]
    TailLost {
        /// The file.
        path: PathBuf,
        /// What the head says.
        head: Position,
        /// What is there.
        last: Position,
    },
    /// SQLite failed.
    #[error("cannot open the log {path}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

pub(crate) struct SqliteEngine {
    pub(crate) queue: Queue,
    readers: ReadPool,
    pub(crate) head: watch::Receiver<Position>,
    versions: Arc<Versions>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
}

impl SqliteEngine {
    /// Opens the log in `folder`, which is made when it is missing, and keeps every other process out of it.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let in_folder = |source| OpenError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(in_folder)?;
        let lock = lock::lock(folder)?;
        let path = folder.join(LOG_FILE);
        let in_engine = |source| OpenError::Engine { path: path.clone(), source };
        let connection = schema::open_for_writing(&path)?;
        let writable = Arc::new(AtomicBool::new(true));
        let writer = Writer::new(connection, Arc::clone(&writable)).map_err(in_engine)?;
        if writer.head() != writer.last_event().map_err(in_engine)? {
            let last = writer.last_event().map_err(in_engine)?;
            return Err(OpenError::TailLost { path, head: writer.head(), last });
        }
        let head = writer.watch_head();
        let versions = writer.versions();
        let (queue, waiting) = Queue::new(writable);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                writer.run(waiting);
                drop(lock);
            })
            .map_err(in_folder)?;
        Ok(Self { queue, readers: ReadPool::new(&path), head, versions, thread: Mutex::new(Some(thread)), path })
    }

    /// Opens the log in `folder` beside whoever writes it.
    pub(crate) fn open_to_read(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(LOG_FILE);
        if let Err(source) = fs::metadata(&path) {
            return Err(OpenError::Folder { path, source });
        }
        schema::open_to_examine(&path)?;
        let readers = ReadPool::new(&path);
        let head = readers.head().map_err(|source| OpenError::Engine { path: path.clone(), source })?;
        Ok(Self {
            queue: Queue::default(),
            readers,
            head: watch::Sender::new(head).subscribe(),
            versions: Arc::new(Versions::new()),
            thread: Mutex::default(),
            path,
        })
    }

    /// Writes what is waiting, then closes the file.
    pub(crate) fn close(&self) {
        self.readers.close();
        self.queue.close();
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's writer had panicked");
        }
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        self.close();
    }
}
