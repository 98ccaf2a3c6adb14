//! The embedded engine: one SQLite file, one thread that writes it, a few connections that read it.

mod backup;
mod calls;
mod checksum;
mod lock;
mod place;
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
    place::{make_data_folder, make_private_file},
    verify::{Verified, VerifyError, verify, verify_file},
};
use self::{place::LogFile, reader::ReadPool, versions::Versions, writer::Writer};
use crate::{Position, ReadError, queue::Queue};

/// The log's file in the data folder.
pub const LOG_FILE: &str = "log.sqlite3";

/// What is only there beside a log, and what to call it.
const LEFT_BY_A_LOG: [(&str, &str); 3] =
    [("log.sqlite3-wal", "its write-ahead log"), ("read-models", "read models"), ("jwt.key", "a key for tokens")];

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
    /// The folder was in use, and its log is gone.
    #[error(
        "{folder} has no {LOG_FILE}, but it has {found}: its log was moved or removed. Put the log back, restore a backup, \
         remove what is left of it, or choose another folder with --data"
    )]
    LogMissing {
        /// The data folder.
        folder: PathBuf,
        /// What a log left there.
        found: &'static str,
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
    /// The file cannot be read without writing beside it, and this account may not.
    #[error(
        "{path} has a write-ahead log that this account may not use: run the command as the account that owns the \
         folder, or start and stop the server once, which moves everything into the log's file"
    )]
    WalInTheWay {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
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
        make_data_folder(folder).map_err(in_folder)?;
        let lock = lock::lock(folder)?;
        let path = folder.join(LOG_FILE);
        refuse_missing(folder, &path)?;
        let file = LogFile::lock(folder, &path)?;
        let in_engine = |source| OpenError::Engine { path: path.clone(), source };
        let connection = schema::open_for_writing(&path)?;
        let writable = Arc::new(AtomicBool::new(true));
        let writer = Writer::new(connection, file, Arc::clone(&writable)).map_err(in_engine)?;
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

/// Looks whether a server could open the log in `folder`, and makes nothing. Answers whether there is a log; where there
/// is none, a start makes one.
///
/// # Errors
/// [`OpenError`] when a start would fail: another process has the folder open, the log is gone from a folder that had
/// one, or the file is not a log that this build can use.
pub fn check_folder(folder: &Path) -> Result<bool, OpenError> {
    let path = folder.join(LOG_FILE);
    refuse_missing(folder, &path)?;
    if !path.exists() {
        return Ok(false);
    }
    let _lock = LogFile::lock(folder, &path)?;
    schema::check(&path)?;
    Ok(true)
}

/// Refuses to make a new log where another one has been: it would hide that the other one is gone.
fn refuse_missing(folder: &Path, log: &Path) -> Result<(), OpenError> {
    if log.exists() {
        return Ok(());
    }
    match LEFT_BY_A_LOG.into_iter().find(|(name, _)| folder.join(name).exists()) {
        Some((_, found)) => Err(OpenError::LogMissing { folder: folder.to_owned(), found }),
        None => Ok(()),
    }
}

impl Drop for SqliteEngine {
    fn drop(&mut self) {
        self.close();
    }
}
