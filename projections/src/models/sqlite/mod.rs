//! The folder of the read models: a file for each copy of a projection's tables, and a catalog of them.
//!
//! Queries know nothing of that: their connections have all served copies attached, and tables are found by name.
//! A copy that takes over is a new set of attached files, and so of connections; reads that have begun finish on
//! the old ones.

mod catalog;
mod copy;
mod rows;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use daybook_eventlog::Position;
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

use self::catalog::{Catalog, CopyState, Entry};
pub(crate) use self::copy::SqliteCopy;
use super::{CopyId, READ_MODELS_FOLDER, ReadModelsError, Source};
use crate::Projection;

const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a retired copy is looked at for whether somebody still reads it.
const RETIRED_LOOK_EVERY: Duration = Duration::from_millis(50);

/// The read models in files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SqliteModels(Arc<Folder>);

struct Folder {
    path: PathBuf,
    catalog: Mutex<Catalog>,
    reading: RwLock<FilesReading>,
}

/// Connections to the copies that are served at this moment; while one is held, they stay there.
#[derive(Clone)]
pub(crate) struct FilesReading(Arc<Served>);

struct Served {
    pool: SqlitePool,
    copies: Vec<CopyId>,
}

impl FilesReading {
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.0.pool
    }
}

impl SqliteModels {
    /// Opens the read models in the data folder `data`, or makes them.
    pub(crate) async fn open(data: &Path) -> Result<Self, ReadModelsError> {
        let path = data.join(READ_MODELS_FOLDER);
        if let Err(source) = std::fs::create_dir_all(&path) {
            return Err(ReadModelsError::Folder { path, source });
        }
        let catalog = Catalog::open(&path).await?;
        Self::with(path, catalog).await
    }

    /// Opens the read models in `data` beside a server that may be writing them.
    pub(crate) async fn open_to_read(data: &Path) -> Result<Self, ReadModelsError> {
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
        Ok(Self(Arc::new(Folder { path, catalog: Mutex::new(catalog), reading })))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Connections for queries.
    pub(crate) fn reading(&self) -> FilesReading {
        self.0.reading.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the connections of readers.
    pub(crate) async fn close(&self) {
        self.reading().pool().close().await;
    }

    /// The copies of `projections` that are to be served: those of the catalog, or new ones where there is none of
    /// the present version. Copies of another log (told by its first event and its head) are thrown away.
    pub(crate) async fn prepare(
        &self,
        projections: &[Arc<dyn Projection>],
        Source { first_event, head }: Source,
    ) -> Result<Vec<SqliteCopy>, ReadModelsError> {
        let mut catalog = self.0.catalog.lock().await;
        if !catalog.is_of(first_event).await? || self.is_ahead_of(&mut catalog, head).await? {
            tracing::warn!("the read models were built from another log: building them anew");
            catalog.clear().await?;
            catalog.is_of(first_event).await?;
        }
        let mut entries = catalog.entries().await?;
        let mut served = Vec::with_capacity(projections.len());
        for projection in projections {
            let of_this = |entry: &&Entry| {
                entry.id.name == projection.name()
                    && entry.version == projection.version()
                    && entry.state != CopyState::Building
            };
            // A served one before retired ones: an older build finds its copy while a newer one is still being built.
            let best = entries
                .iter()
                .filter(of_this)
                .max_by_key(|entry| (entry.state == CopyState::Served, entry.id.generation));
            let id = match best {
                Some(entry) => entry.id.clone(),
                None => {
                    tracing::info!(projection = projection.name(), version = projection.version(), "making its tables");
                    catalog.add(&**projection, CopyState::Retired).await?
                }
            };
            let copy = SqliteCopy::open(&self.0.path, id, &**projection).await?;
            if best.is_none_or(|entry| entry.state != CopyState::Served) {
                catalog.serve(&copy.id).await?;
            }
            served.push(copy);
        }
        entries = catalog.entries().await?;
        for entry in &entries {
            let known = projections.iter().find(|projection| projection.name() == entry.id.name);
            // What is left of projections that are no more, and what was being built by another version.
            let is_stale =
                known.is_none_or(|known| entry.state == CopyState::Building && entry.version != known.version());
            if is_stale {
                catalog.remove(&entry.id).await?;
            }
        }
        self.sweep(&catalog.entries().await?);
        drop(catalog);
        self.swap(served.iter().map(|copy| copy.id.clone()).collect());
        Ok(served)
    }

    /// A copy is further than the log: it belongs to another one, or to a future that was restored away.
    async fn is_ahead_of(&self, catalog: &mut Catalog, head: Position) -> Result<bool, ReadModelsError> {
        for entry in catalog.entries().await? {
            let file = entry.id.file(&self.0.path);
            if file.exists() {
                let mut connection = connect(&file).await?;
                let stored = copy::checkpoint(&mut connection).await.unwrap_or_default();
                if stored.is_some_and(|stored| stored.position > head) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Removes files that the catalog knows nothing of: what a crash left behind.
    fn sweep(&self, entries: &[Entry]) {
        let known: Vec<PathBuf> = entries.iter().map(|entry| entry.id.file(&self.0.path)).collect();
        let catalog = Catalog::file(&self.0.path);
        for file in std::fs::read_dir(&self.0.path).into_iter().flatten().flatten() {
            let path = file.path();
            let is_ours = known
                .iter()
                .chain([&catalog])
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
        let entries = self.0.catalog.lock().await.entries().await?;
        let building = entries.into_iter().filter(|entry| entry.state == CopyState::Building).filter_map(|entry| {
            let projection = projections.iter().find(|projection| projection.name() == entry.id.name)?;
            Some((Arc::clone(projection), entry.id))
        });
        Ok(building.collect())
    }

    /// A copy to be built beside the one that is served.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        self.0.catalog.lock().await.add(projection, CopyState::Building).await
    }

    /// The writing end of a copy that the catalog knows.
    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<SqliteCopy, ReadModelsError> {
        SqliteCopy::open(&self.0.path, id, projection).await
    }

    /// `id` is served from now on: queries that begin after this see it and nothing of the one before, those under
    /// way see the one before and nothing of it.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.0.catalog.lock().await.serve(id).await?;
        let mut copies = self.reading().0.copies.clone();
        match copies.iter_mut().find(|copy| copy.name == id.name) {
            Some(copy) => *copy = id.clone(),
            None => copies.push(id.clone()),
        }
        let before = self.swap(copies);
        let models = self.clone();
        let name = id.name.clone();
        tokio::spawn(async move {
            while Arc::strong_count(&before.0) > 1 {
                tokio::time::sleep(RETIRED_LOOK_EVERY).await;
            }
            before.pool().close().await;
            models.forget_retired(&name).await;
        });
        Ok(())
    }

    /// Removes the copies of `name` that others have taken over from.
    pub(crate) async fn forget_retired(&self, name: &str) {
        let mut catalog = self.0.catalog.lock().await;
        let entries = catalog.entries().await.unwrap_or_default();
        let retired = entries.iter().filter(|entry| entry.id.name == name && entry.state == CopyState::Retired);
        for entry in retired {
            self.throw_away(&mut catalog, &entry.id).await;
        }
    }

    /// Gives up a copy that was being built.
    pub(crate) async fn give_up(&self, id: &CopyId) {
        let mut catalog = self.0.catalog.lock().await;
        self.throw_away(&mut catalog, id).await;
    }

    async fn throw_away(&self, catalog: &mut Catalog, id: &CopyId) {
        if let Err(error) = catalog.remove(id).await {
            tracing::warn!(copy = ?id, %error, "a copy stays in the catalog until the next start");
            return;
        }
        let file = id.file(&self.0.path);
        for suffix in ["", "-wal", "-shm"] {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(file = %file.display(), %error, "a copy's file stays until the next start");
                }
                _ => {}
            }
        }
    }

    fn swap(&self, copies: Vec<CopyId>) -> FilesReading {
        let fresh = reading(&self.0.path, copies);
        std::mem::replace(&mut *self.0.reading.write().unwrap_or_else(PoisonError::into_inner), fresh)
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
fn reading(folder: &Path, copies: Vec<CopyId>) -> FilesReading {
    let files: Arc<[String]> = copies.iter().map(|copy| copy.file(folder).to_string_lossy().into_owned()).collect();
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let files = Arc::clone(&files);
            Box::pin(async move {
                for (number, file) in files.iter().enumerate() {
                    let attach = format!("ATTACH DATABASE $1 AS copy_{number}");
                    sqlx::query(sqlx::AssertSqlSafe(attach)).bind(file).execute(&mut *connection).await?;
                    let cache = format!("PRAGMA copy_{number}.cache_size = -4096");
                    sqlx::raw_sql(sqlx::AssertSqlSafe(cache)).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options(&Catalog::file(folder)).pragma("query_only", "ON"));
    FilesReading(Arc::new(Served { pool, copies }))
}
