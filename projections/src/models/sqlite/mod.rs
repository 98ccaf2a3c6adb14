//! The folder of the read models: a file for each copy of a projection's tables, and a catalog of them.
//!
//! Queries know nothing of that: their connections have all served copies attached, and tables are found by name.
//! A copy that takes over is a new set of attached files, and so of connections; reads that have begun finish on
//! the old ones.

mod catalog;
mod copy;
mod reading;
mod rows;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use daybook_eventlog::{Position, make_data_folder};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::{
    catalog::{Catalog, CopyState, Entry},
    copy::Synced,
    reading::Served,
};
pub(crate) use self::{copy::SqliteCopy, reading::FilesReading};
use super::{CopyId, READ_MODELS_FOLDER, ReadModelsError, Source};
use crate::Projection;

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
    /// What was served before, as long as somebody reads it.
    earlier: std::sync::Mutex<Vec<Weak<Served>>>,
}

impl SqliteModels {
    /// Opens the read models in the data folder `data`, or makes them.
    pub(crate) async fn open(data: &Path) -> Result<Self, ReadModelsError> {
        let path = folder_in(data)?;
        if let Err(source) = make_data_folder(&path) {
            return Err(ReadModelsError::Folder { path, source });
        }
        let catalog = Catalog::open(&path).await?;
        Self::with(path, catalog).await
    }

    /// Opens the read models in `data` beside a server that may be writing them.
    pub(crate) async fn open_to_read(data: &Path) -> Result<Self, ReadModelsError> {
        let path = folder_in(data)?;
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
        let reading = RwLock::new(FilesReading::of(&path, copies));
        let folder = Folder { path, catalog: Mutex::new(catalog), reading, earlier: std::sync::Mutex::default() };
        Ok(Self(Arc::new(folder)))
    }

    /// Where they lie.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Connections to what is served now.
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
        let fresh = FilesReading::of(&self.0.path, served.iter().map(|copy| copy.id.clone()).collect());
        // What cannot be read is better known now than at the first request.
        drop(fresh.pool().acquire().await?);
        self.swap(fresh);
        Ok(served)
    }

    /// The copy that is served from now on.
    async fn open_served(
        &self,
        catalog: &mut Catalog,
        entries: &[Entry],
        projection: &dyn Projection,
    ) -> Result<SqliteCopy, ReadModelsError> {
        let of_this = |entry: &&Entry| {
            entry.id.name == projection.name()
                && entry.version == projection.version()
                && entry.state != CopyState::Building
        };
        // A served one before retired ones: an older build finds its copy while a newer one is still being built.
        let preferred = |entry: &&Entry| (entry.state == CopyState::Served, entry.id.generation);
        if let Some(entry) = entries.iter().filter(of_this).max_by_key(preferred) {
            match SqliteCopy::open(&self.0.path, entry.id.clone(), projection, Synced::AtCheckpoints).await {
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
                    self.remove_files(&entry.id).await?;
                }
            }
        }
        tracing::info!(projection = projection.name(), version = projection.version(), "making its tables");
        // Not served before its tables are there.
        let id = self.new_copy(catalog, projection, CopyState::Retired).await?;
        let copy = SqliteCopy::open(&self.0.path, id, projection, Synced::AtCheckpoints).await?;
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
        self.remove_files(&id).await?;
        Ok(id)
    }

    /// Notes which log the copies are of, once it has an event.
    pub(crate) async fn note_source(&self, first_event: Uuid) -> Result<(), ReadModelsError> {
        self.0.catalog.lock().await.is_of(Some(first_event)).await.map(drop)
    }

    /// A copy is further than the log: it belongs to another one, or to a future that was restored away.
    async fn is_ahead_of(&self, catalog: &mut Catalog, head: Position) -> Result<bool, ReadModelsError> {
        for entry in catalog.entries().await? {
            // One that cannot be read says nothing here, and is dealt with when it is opened.
            if let Ok(mut connection) = connect(&entry.id.file(&self.0.path)).await
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
        let catalog = Catalog::file(&self.0.path);
        let known: Vec<PathBuf> = entries.iter().map(|entry| entry.id.file(&self.0.path)).chain([catalog]).collect();
        for file in std::fs::read_dir(&self.0.path).into_iter().flatten().flatten() {
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
        let mut catalog = self.0.catalog.lock().await;
        let mut unfinished = Vec::new();
        for entry in catalog.entries().await?.into_iter().filter(|entry| entry.state == CopyState::Building) {
            let known = projections.iter().find(|projection| projection.name() == entry.id.name);
            let Some(projection) = known else { continue };
            // What the system had not written when it went down may be missing in the middle of the file.
            if catalog.boot(&entry.id).await?.is_some_and(|since| since != boot()) {
                tracing::info!(projection = projection.name(), "the system was restarted: its rebuild begins anew");
                self.remove_files(&entry.id).await?;
            }
            unfinished.push((Arc::clone(projection), entry.id));
        }
        Ok(unfinished)
    }

    /// A copy to be built beside the one that is served.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        let mut catalog = self.0.catalog.lock().await;
        self.new_copy(&mut catalog, projection, CopyState::Building).await
    }

    /// The writing end of a copy that the catalog knows.
    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<SqliteCopy, ReadModelsError> {
        SqliteCopy::open(&self.0.path, id, projection, Synced::AtCheckpoints).await
    }

    /// The writing end of a copy that is being built, which does without syncs until [`sync`](Self::sync).
    pub(crate) async fn open_build(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<SqliteCopy, ReadModelsError> {
        self.0.catalog.lock().await.note_boot(&id, &boot()).await?;
        SqliteCopy::open(&self.0.path, id, projection, Synced::AtTheEnd).await
    }

    /// Puts a closed copy that was built on the disk.
    pub(crate) async fn sync(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        on_files(id.file(&self.0.path), |file| std::fs::File::open(file)?.sync_all()).await
    }

    /// `id` is served from now on: queries that begin after this see it and nothing of the one before, those under
    /// way see the one before and nothing of it.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.0.catalog.lock().await.serve(id).await?;
        let mut copies = self.reading().copies().to_vec();
        match copies.iter_mut().find(|copy| copy.name == id.name) {
            Some(copy) => *copy = id.clone(),
            None => copies.push(id.clone()),
        }
        let fresh = FilesReading::of(&self.0.path, copies);
        fresh.warm().await;
        self.swap(fresh);
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
        let mut catalog = self.0.catalog.lock().await;
        let entries = catalog.entries().await.unwrap_or_default();
        let retired = entries.iter().filter(|entry| entry.id.name == name && entry.state == CopyState::Retired);
        for entry in retired {
            self.throw_away(&mut catalog, &entry.id).await;
        }
    }

    /// Whether somebody still reads what was served before the last take-over.
    fn is_earlier_read(&self) -> bool {
        let mut earlier = self.0.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|served| served.strong_count() > 0);
        !earlier.is_empty()
    }

    /// Gives up a copy that was being built.
    pub(crate) async fn give_up(&self, id: &CopyId) {
        let mut catalog = self.0.catalog.lock().await;
        self.throw_away(&mut catalog, id).await;
    }

    /// Takes a copy out of the catalog: it does not come back, not even after a crash.
    pub(crate) async fn forget(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.0.catalog.lock().await.remove(id).await
    }

    /// Files first: there may be no room left to change the catalog. An entry without a file is a copy at the start.
    async fn throw_away(&self, catalog: &mut Catalog, id: &CopyId) {
        if let Err(error) = self.remove_files(id).await {
            tracing::warn!(%error, "what is left of a copy goes at the next start");
        }
        if let Err(error) = catalog.remove(id).await {
            tracing::warn!(copy = ?id, %error, "a copy stays in the catalog");
        }
    }

    async fn remove_files(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let file = id.file(&self.0.path);
        on_files(file, |file| {
            ["-wal", "-shm", ""].into_iter().try_for_each(|suffix| {
                let mut name = file.as_os_str().to_owned();
                name.push(suffix);
                match std::fs::remove_file(name) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    removed => removed,
                }
            })
        })
        .await
    }

    fn swap(&self, fresh: FilesReading) {
        let before = std::mem::replace(&mut *self.0.reading.write().unwrap_or_else(PoisonError::into_inner), fresh);
        self.0.earlier.lock().unwrap_or_else(PoisonError::into_inner).push(before.downgrade());
    }
}

/// What may take as long as a file is large.
async fn on_files(
    path: PathBuf,
    work: impl FnOnce(&Path) -> std::io::Result<()> + Send + 'static,
) -> Result<(), ReadModelsError> {
    let file = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&file)).await.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|source| ReadModelsError::Folder { path, source })
}

/// Names this start of the system; another one each time where the system does not say.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| Uuid::new_v4().to_string(), |id| id.trim().to_owned())
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

/// The folder of the read models in the data folder `data`, as an absolute path: SQLite would take a relative one that
/// begins with `file:` for a URI.
fn folder_in(data: &Path) -> Result<PathBuf, ReadModelsError> {
    let data = std::path::absolute(data).map_err(|source| ReadModelsError::Folder { path: data.to_owned(), source })?;
    Ok(data.join(READ_MODELS_FOLDER))
}
