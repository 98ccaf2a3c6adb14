//! The folder of the read models: a file for each copy of a projection's tables, and a catalog of them.
//!
//! Queries know nothing of that: their connections have all served copies attached, and tables are found by name.
//! A copy that takes over is a new set of attached files, and so of connections; reads that have begun finish on
//! the old ones.

mod catalog;
mod copy;
mod rows;

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use daybook_eventlog::{Position, ReadError};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::catalog::{Catalog, CopyState, Entry};
pub use self::rows::{Differences, Standing};
pub(crate) use self::{
    catalog::{Checkpoint, CopyId},
    copy::ProjectionCopy,
};
use crate::Projection;

/// The read models' folder in the data folder. It may be deleted while nothing runs: the next start builds it anew.
pub const READ_MODELS_FOLDER: &str = "read-models";

const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a retired copy is looked at for whether somebody still reads it.
const RETIRED_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why the read models could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelsError {
    /// The engine failed.
    #[error("the read models could not be reached")]
    Storage(#[from] sqlx::Error),
    /// Their folder or a file in it could not be used.
    #[error("cannot use {path}")]
    Folder {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The log they are built from could not be read.
    #[error("the log to build the read models from could not be read")]
    Log(#[source] ReadError),
    /// What is stored cannot be.
    #[error("the read models are damaged: {0}; stop the server and delete their folder to build them anew")]
    Corrupt(String),
}

impl ReadModelsError {
    /// Whether what is in the way may pass by itself: a full disk, a busy file. Trying again would not help otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        /// SQLite's primary result codes BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN and PROTOCOL.
        const OF_THE_MOMENT: [i32; 8] = [5, 6, 7, 9, 10, 13, 14, 15];
        match self {
            Self::Storage(sqlx::Error::Database(error)) => {
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                code.is_some_and(|code| OF_THE_MOMENT.contains(&(code & 0xff)))
            }
            Self::Storage(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) | Self::Folder { .. } | Self::Log(_) => true,
            Self::Storage(_) | Self::Corrupt(_) => false,
        }
    }
}

/// The read models' tables. Cheap to clone.
pub struct ReadModels {
    folder: Arc<Folder>,
    pinned: RwLock<Option<Reading>>,
}

impl Clone for ReadModels {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.folder))
    }
}

struct Folder {
    path: PathBuf,
    catalog: Mutex<Catalog>,
    reading: RwLock<Reading>,
    /// What was served before, as long as somebody reads it.
    earlier: std::sync::Mutex<Vec<Weak<Served>>>,
}

/// Connections to the copies that are served at this moment; while one is held, they stay there.
#[derive(Clone)]
pub struct Reading(Arc<Served>);

struct Served {
    pool: SqlitePool,
    copies: Vec<CopyId>,
}

impl Deref for Reading {
    type Target = SqlitePool;

    fn deref(&self) -> &SqlitePool {
        &self.0.pool
    }
}

impl ReadModels {
    /// Opens the read models in the data folder `data`, or makes them.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn open(data: &Path) -> Result<Self, ReadModelsError> {
        let path = data.join(READ_MODELS_FOLDER);
        if let Err(source) = std::fs::create_dir_all(&path) {
            return Err(ReadModelsError::Folder { path, source });
        }
        let catalog = Catalog::open(&path).await?;
        Self::with(path, catalog).await
    }

    /// Opens the read models in `data` beside a server that may be writing them.
    ///
    /// # Errors
    /// [`ReadModelsError`]: among others when there are none.
    pub async fn open_to_read(data: &Path) -> Result<Self, ReadModelsError> {
        let path = data.join(READ_MODELS_FOLDER);
        let file = Catalog::file(&path);
        if let Err(source) = std::fs::metadata(&file) {
            return Err(ReadModelsError::Folder { path: file, source });
        }
        let catalog = Catalog::open_to_read(&path).await?;
        Self::with(path, catalog).await
    }

    async fn with(path: PathBuf, mut catalog: Catalog) -> Result<Self, ReadModelsError> {
        let served = |entry: Entry| (entry.state == CopyState::Served).then_some(entry.id);
        let mut copies: Vec<CopyId> = catalog.entries().await?.into_iter().filter_map(served).collect();
        copies.retain(|copy| copy.file(&path).exists());
        let reading = RwLock::new(reading(&path, copies));
        let folder = Folder { path, catalog: Mutex::new(catalog), reading, earlier: std::sync::Mutex::default() };
        Ok(Self::of(Arc::new(folder)))
    }

    fn of(folder: Arc<Folder>) -> Self {
        Self { folder, pinned: RwLock::default() }
    }

    /// From now on this clone asks the copies that are served at this moment, also when others take over meanwhile:
    /// so that all that one request asks is answered by the same ones.
    pub fn pin(&self) {
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = Some(self.served());
    }

    /// Connections for queries.
    #[must_use]
    pub fn pool(&self) -> Reading {
        let pinned = self.pinned.read().unwrap_or_else(PoisonError::into_inner).clone();
        pinned.unwrap_or_else(|| self.served())
    }

    /// Connections to what is served now.
    fn served(&self) -> Reading {
        self.folder.reading.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Closes the connections of readers.
    pub async fn close(&self) {
        self.served().close().await;
    }

    /// The copies of `projections` that are to be served: those of the catalog, or new ones where there is none of
    /// the present version. Copies of another log (told by its first event and its head) are thrown away.
    pub(crate) async fn prepare(
        &self,
        projections: &[Arc<dyn Projection>],
        (first_event, head): (Option<Uuid>, Position),
    ) -> Result<Vec<ProjectionCopy>, ReadModelsError> {
        let mut catalog = self.folder.catalog.lock().await;
        if !catalog.is_of(first_event).await? || self.is_ahead_of(&mut catalog, head).await? {
            tracing::warn!("the read models were built from another log: building them anew");
            catalog.clear().await?;
            catalog.is_of(first_event).await?;
        }
        for entry in catalog.entries().await? {
            let known = projections.iter().find(|projection| projection.name() == entry.id.name);
            // What is left of projections that are no more, and what was being built by another version.
            let is_stale =
                known.is_none_or(|known| entry.state == CopyState::Building && entry.version != known.version());
            if is_stale {
                catalog.remove(&entry.id).await?;
            }
        }
        let entries = catalog.entries().await?;
        self.sweep(&entries);
        let mut served = Vec::with_capacity(projections.len());
        for projection in projections {
            served.push(self.open_served(&mut catalog, &entries, &**projection).await?);
        }
        drop(catalog);
        drop(self.swap(served.iter().map(|copy| copy.id.clone()).collect()));
        // What cannot be read is better known now than at the first request.
        drop(self.served().acquire().await?);
        Ok(served)
    }

    /// The copy that is served from now on.
    async fn open_served(
        &self,
        catalog: &mut Catalog,
        entries: &[Entry],
        projection: &dyn Projection,
    ) -> Result<ProjectionCopy, ReadModelsError> {
        let of_this = |entry: &&Entry| {
            entry.id.name == projection.name()
                && entry.version == projection.version()
                && entry.state != CopyState::Building
        };
        // A served one before retired ones: an older build finds its copy while a newer one is still being built.
        let preferred = |entry: &&Entry| (entry.state == CopyState::Served, entry.id.generation);
        if let Some(entry) = entries.iter().filter(of_this).max_by_key(preferred) {
            match ProjectionCopy::open(&self.folder.path, entry.id.clone(), projection).await {
                Ok(copy) => {
                    if entry.state != CopyState::Served {
                        catalog.serve(&copy.id).await?;
                    }
                    return Ok(copy);
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        projection = projection.name(),
                        "its file is damaged: building it anew"
                    );
                    catalog.remove(&entry.id).await?;
                    self.remove_files(&entry.id)?;
                }
            }
        }
        tracing::info!(projection = projection.name(), version = projection.version(), "making its tables");
        // Not served before its tables are there.
        let id = self.new_copy(catalog, projection, CopyState::Retired).await?;
        let copy = ProjectionCopy::open(&self.folder.path, id, projection).await?;
        catalog.serve(&copy.id).await?;
        Ok(copy)
    }

    async fn new_copy(
        &self,
        catalog: &mut Catalog,
        projection: &dyn Projection,
        state: CopyState,
    ) -> Result<CopyId, ReadModelsError> {
        let id = catalog.add(projection, state).await?;
        // A crash may have left the file of an older copy with this number: a new one begins with nothing.
        self.remove_files(&id)?;
        Ok(id)
    }

    /// Notes which log the copies are of, once it has an event.
    pub(crate) async fn note_source(&self, first_event: Uuid) -> Result<(), ReadModelsError> {
        self.folder.catalog.lock().await.is_of(Some(first_event)).await.map(drop)
    }

    /// A copy is further than the log: it belongs to another one, or to a future that was restored away.
    async fn is_ahead_of(&self, catalog: &mut Catalog, head: Position) -> Result<bool, ReadModelsError> {
        for entry in catalog.entries().await? {
            // One that cannot be read says nothing here, and is dealt with when it is opened.
            if let Ok(mut connection) = connect(&entry.id.file(&self.folder.path)).await
                && let Ok(Some(stored)) = copy::checkpoint(&mut connection).await
                && stored.position > head
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes files that the catalog knows nothing of: what a crash left behind.
    fn sweep(&self, entries: &[Entry]) {
        let catalog = Catalog::file(&self.folder.path);
        let known: Vec<PathBuf> =
            entries.iter().map(|entry| entry.id.file(&self.folder.path)).chain([catalog]).collect();
        for file in std::fs::read_dir(&self.folder.path).into_iter().flatten().flatten() {
            let path = file.path();
            let is_ours = known
                .iter()
                .any(|known| path.as_os_str().as_encoded_bytes().starts_with(known.as_os_str().as_encoded_bytes()));
            if !is_ours && let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "what an old copy left behind could not be removed");
            }
        }
    }

    /// The copies that were being built when the process ended, of `projections`.
    pub(crate) async fn unfinished(
        &self,
        projections: &[Arc<dyn Projection>],
    ) -> Result<Vec<(Arc<dyn Projection>, CopyId)>, ReadModelsError> {
        let entries = self.folder.catalog.lock().await.entries().await?;
        let building = entries.into_iter().filter(|entry| entry.state == CopyState::Building).filter_map(|entry| {
            let projection = projections.iter().find(|projection| projection.name() == entry.id.name)?;
            Some((Arc::clone(projection), entry.id))
        });
        Ok(building.collect())
    }

    /// A copy to be built beside the one that is served.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        let mut catalog = self.folder.catalog.lock().await;
        self.new_copy(&mut catalog, projection, CopyState::Building).await
    }

    /// The writing end of a copy that the catalog knows.
    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<ProjectionCopy, ReadModelsError> {
        ProjectionCopy::open(&self.folder.path, id, projection).await
    }

    /// `id` is served from now on: queries that begin after this see it and nothing of the one before, those under
    /// way see the one before and nothing of it.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.folder.catalog.lock().await.serve(id).await?;
        let mut copies = self.served().0.copies.clone();
        match copies.iter_mut().find(|copy| copy.name == id.name) {
            Some(copy) => *copy = id.clone(),
            None => copies.push(id.clone()),
        }
        drop(self.swap(copies));
        let models = self.clone();
        let name = id.name.clone();
        tokio::spawn(async move { models.forget_retired(&name).await });
        Ok(())
    }

    /// Removes the copies of `name` that others have taken over from, once nobody reads them any more.
    pub(crate) async fn forget_retired(&self, name: &str) {
        while self.is_earlier_read() {
            tokio::time::sleep(RETIRED_LOOK_EVERY).await;
        }
        let mut catalog = self.folder.catalog.lock().await;
        let entries = catalog.entries().await.unwrap_or_default();
        let retired = entries.iter().filter(|entry| entry.id.name == name && entry.state == CopyState::Retired);
        for entry in retired {
            self.throw_away(&mut catalog, &entry.id).await;
        }
    }

    /// Whether somebody still reads what was served before the last take-over.
    fn is_earlier_read(&self) -> bool {
        let mut earlier = self.folder.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|served| served.strong_count() > 0);
        !earlier.is_empty()
    }

    /// Gives up a copy that was being built.
    pub(crate) async fn give_up(&self, id: &CopyId) {
        let mut catalog = self.folder.catalog.lock().await;
        self.throw_away(&mut catalog, id).await;
    }

    /// Takes a copy out of the catalog: it does not come back, not even after a crash.
    pub(crate) async fn forget(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.folder.catalog.lock().await.remove(id).await
    }

    /// Files first: there may be no room left to change the catalog. An entry without a file is a copy at the start.
    async fn throw_away(&self, catalog: &mut Catalog, id: &CopyId) {
        if let Err(error) = self.remove_files(id) {
            tracing::warn!(%error, "what is left of a copy goes at the next start");
        }
        if let Err(error) = catalog.remove(id).await {
            tracing::warn!(copy = ?id, %error, "a copy stays in the catalog");
        }
    }

    fn remove_files(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let file = id.file(&self.folder.path);
        for suffix in ["-wal", "-shm", ""] {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ReadModelsError::Folder { path: name.into(), source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn swap(&self, copies: Vec<CopyId>) -> Reading {
        let fresh = reading(&self.folder.path, copies);
        let before =
            std::mem::replace(&mut *self.folder.reading.write().unwrap_or_else(PoisonError::into_inner), fresh);
        self.folder.earlier.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&before.0));
        before
    }
}

/// What every connection to a file of the read models has in common.
fn options(file: &Path) -> SqliteConnectOptions {
    // What is lost with the power is folded from the log again: NORMAL keeps the file whole, and that is enough.
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
        .pragma("temp_store", "MEMORY")
        // As large as the WAL may stay: folding it into the file less often saves writing pages that change again.
        .pragma("wal_autocheckpoint", "16000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(256)
}

/// A connection that only reads `file`.
async fn connect(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnection::connect_with(&options(file).pragma("query_only", "ON")).await
}

/// Connections that have `copies` attached.
fn reading(folder: &Path, copies: Vec<CopyId>) -> Reading {
    let files: Arc<[String]> = copies.iter().map(|copy| copy.file(folder).to_string_lossy().into_owned()).collect();
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(BUSY_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let files = Arc::clone(&files);
            Box::pin(async move {
                for (number, file) in files.iter().enumerate() {
                    let attach = format!("ATTACH DATABASE $1 AS copy_{number}");
                    sqlx::query(sqlx::AssertSqlSafe(attach)).bind(file).execute(&mut *connection).await?;
                    let cache = format!("PRAGMA copy_{number}.cache_size = -2048");
                    sqlx::raw_sql(sqlx::AssertSqlSafe(cache)).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options(&Catalog::file(folder)).pragma("query_only", "ON"));
    Reading(Arc::new(Served { pool, copies }))
}
