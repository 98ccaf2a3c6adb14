//! The read models' tables, wherever they are: files in a folder, or a schema on a PostgreSQL server that any number of
//! nodes share.
//!
//! Both keep several copies of a projection's tables apart, serve one of each, and let another one take over in one
//! step. Queries ([`query`]) know nothing of that: they find the tables that are served by name.

mod copy;
mod dialect;
mod error;
mod jobs;
mod postgres;
mod query;
mod rows;
mod snapshot;
mod sqlite;
mod text;

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use daybook_eventlog::{Log, Position};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) use self::postgres::{CopyPositions, Leadership, PostgresModels};
pub(crate) use self::{
    copy::{Checkpoint, CopyId, ProjectionCopy},
    text::StoredText,
};
pub use self::{
    error::ReadModelsError,
    jobs::JobRecord,
    postgres::PostgresModelsOptions,
    rows::{Differences, Standing},
};
use self::{
    snapshot::Snapshot,
    sqlite::{FilesReading, SqliteModels},
};
use crate::Projection;

/// The read models' folder in the data folder. It may be deleted while nothing runs: the next start builds it anew.
pub const READ_MODELS_FOLDER: &str = "read-models";

/// How often a take-over is tried that others' queries are in the way of, and how long they are let through in between.
pub(crate) const TAKE_OVER_TRIES_MAX: u32 = 30;
pub(crate) const TAKE_OVER_PAUSE: Duration = Duration::from_millis(200);

/// The read models' tables. Cheap to clone.
pub struct ReadModels {
    storage: Storage,
    pinned: RwLock<Option<Reading>>,
    /// What all questions are put to, where there is one.
    snapshot: Option<Arc<Snapshot>>,
}

impl Clone for ReadModels {
    fn clone(&self) -> Self {
        Self::of(self.storage.clone())
    }
}

#[derive(Clone)]
enum Storage {
    Sqlite(SqliteModels),
    Postgres(PostgresModels),
}

/// Connections to the copies that are served. In a folder, they stay there while this is held.
#[derive(Clone)]
pub(crate) enum Reading {
    Sqlite(FilesReading),
    Postgres(PgPool),
}

/// What tells one log from another: its first event, and how far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) first_event: Option<Uuid>,
    pub(crate) head: Position,
}

impl Source {
    pub(crate) async fn of(log: &Log) -> Result<Self, ReadModelsError> {
        let first = log.event_at(Position::new(1)).await.map_err(ReadModelsError::Log)?;
        let head = log.stored_head().await.map_err(ReadModelsError::Log)?;
        Ok(Self { first_event: first.map(|event| event.id), head })
    }
}

impl ReadModels {
    /// Opens the read models in the data folder `data`, or makes them.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn open(data: &Path) -> Result<Self, ReadModelsError> {
        SqliteModels::open(data).await.map(|models| Self::of(Storage::Sqlite(models)))
    }

    /// Opens the read models in `data` beside a server that may be writing them.
    ///
    /// # Errors
    /// [`ReadModelsError`]: among others when there are none.
    pub async fn open_to_read(data: &Path) -> Result<Self, ReadModelsError> {
        SqliteModels::open_to_read(data).await.map(|models| Self::of(Storage::Sqlite(models)))
    }

    /// Opens the read models on a PostgreSQL server, together with any number of other nodes; makes their catalog when
    /// the options allow that. It may be called by all nodes at the same time.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn connect(options: &PostgresModelsOptions) -> Result<Self, ReadModelsError> {
        PostgresModels::connect(options).await.map(|models| Self::of(Storage::Postgres(models)))
    }

    fn of(storage: Storage) -> Self {
        Self { storage, pinned: RwLock::default(), snapshot: None }
    }

    /// The server that other nodes keep and read them on too, if there is one.
    pub(crate) fn shared(&self) -> Option<&PostgresModels> {
        match &self.storage {
            Storage::Sqlite(_) => None,
            Storage::Postgres(models) => Some(models),
        }
    }

    /// From now on this clone asks the copies that are served at this moment, also when others take over meanwhile:
    /// so that all that one request asks is answered by the same ones. On a server it is each query that is answered
    /// by one set of copies.
    pub fn pin(&self) {
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = Some(self.served());
    }

    /// Where they stand, in words: a folder, or a server without its password.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.storage {
            Storage::Sqlite(models) => models.path().display().to_string(),
            Storage::Postgres(models) => models.place().to_owned(),
        }
    }

    /// How far the copies of `projections` are that are of their present version.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn standings(&self, projections: &[Arc<dyn Projection>]) -> Result<Vec<Standing>, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.standings(projections).await,
            Storage::Postgres(models) => models.standings(projections).await,
        }
    }

    /// Closes the connections of readers.
    pub async fn close(&self) {
        match &self.storage {
            Storage::Sqlite(models) => models.close().await,
            Storage::Postgres(models) => models.close().await,
        }
    }

    /// Connections for queries.
    pub(crate) fn reading(&self) -> Reading {
        let pinned = self.pinned.read().unwrap_or_else(PoisonError::into_inner).clone();
        pinned.unwrap_or_else(|| self.served())
    }

    /// Connections to what is served now.
    fn served(&self) -> Reading {
        match &self.storage {
            Storage::Sqlite(models) => Reading::Sqlite(models.reading()),
            Storage::Postgres(models) => Reading::Postgres(models.reading()),
        }
    }

    /// The copies of `projections` that are served: those that are there, or new ones where there is none. Copies of
    /// another log are thrown away.
    ///
    /// Where there is one of an older version, a folder serves a new one from now on; on a server, where older nodes
    /// may still read the one there is, the new one is among the [`unfinished`](Self::unfinished), and its projection
    /// is left out here.
    pub(crate) async fn prepare(
        &self,
        projections: &[Arc<dyn Projection>],
        log: &Log,
    ) -> Result<Vec<(Arc<dyn Projection>, ProjectionCopy)>, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => {
                let copies = models.prepare(projections, Source::of(log).await?).await?;
                Ok(projections.iter().map(Arc::clone).zip(copies.into_iter().map(ProjectionCopy::Sqlite)).collect())
            }
            Storage::Postgres(models) => {
                let copies = models.prepare(projections, log).await?.into_iter();
                Ok(copies.map(|(projection, copy)| (projection, ProjectionCopy::Postgres(Box::new(copy)))).collect())
            }
        }
    }

    /// The copies of `projections` that somebody had begun to build.
    pub(crate) async fn unfinished(
        &self,
        projections: &[Arc<dyn Projection>],
    ) -> Result<Vec<(Arc<dyn Projection>, CopyId)>, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.unfinished(projections).await,
            Storage::Postgres(models) => models.unfinished(projections).await,
        }
    }

    /// A copy to be built beside the one that is served.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.begin_beside(projection).await,
            Storage::Postgres(models) => models.begin_beside(projection).await,
        }
    }

    /// The writing end of a copy that the catalog knows.
    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<ProjectionCopy, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.open_copy(id, projection).await.map(ProjectionCopy::Sqlite),
            Storage::Postgres(models) => {
                models.open_copy(id, projection).await.map(Box::new).map(ProjectionCopy::Postgres)
            }
        }
    }

    /// The writing end of a copy that is being built: what is written to it is only on the disk for certain after
    /// [`sync`](Self::sync).
    pub(crate) async fn open_build(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<ProjectionCopy, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.open_build(id, projection).await.map(ProjectionCopy::Sqlite),
            Storage::Postgres(_) => self.open_copy(id, projection).await,
        }
    }

    /// Puts a closed copy that was built on the disk.
    pub(crate) async fn sync(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.sync(id).await,
            Storage::Postgres(models) => {
                // The server writes what it commits in the order of the commits: a take-over cannot outlive what it is
                // of, and nothing has to be waited for.
                models.analyze(id).await;
                Ok(())
            }
        }
    }

    /// `id` is served from now on: queries that begin after this see it and nothing of the one before, those under
    /// way see the one before and nothing of it.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.take_over(id).await,
            Storage::Postgres(models) => models.take_over(id).await,
        }
    }

    /// The same, where nobody else has anything to do meanwhile: as often as it takes.
    pub(crate) async fn take_over_in_the_end(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let mut tries = 0;
        loop {
            match self.take_over(id).await {
                Err(error) if error.may_pass() && tries < TAKE_OVER_TRIES_MAX => tries += 1,
                taken => return taken,
            }
            tokio::time::sleep(TAKE_OVER_PAUSE).await;
        }
    }

    /// Removes the copies of `name` that others have taken over from, where that is not part of taking over.
    pub(crate) async fn forget_retired(&self, name: &str) {
        match &self.storage {
            Storage::Sqlite(models) => models.forget_retired(name).await,
            Storage::Postgres(_) => {}
        }
    }

    /// Notes which log the copies are of, once it has an event.
    pub(crate) async fn note_source(&self, first_event: Uuid) -> Result<(), ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.note_source(first_event).await,
            Storage::Postgres(models) => models.note_source(first_event).await,
        }
    }

    /// Takes a copy that is being built out of the catalog: it does not come back, not even after a crash. Whether it
    /// was still being built.
    pub(crate) async fn forget(&self, id: &CopyId) -> Result<bool, ReadModelsError> {
        match &self.storage {
            Storage::Sqlite(models) => models.forget(id).await.map(|()| true),
            Storage::Postgres(models) => models.forget(id).await,
        }
    }

    /// Gives up a copy that was being built.
    pub(crate) async fn give_up(&self, id: &CopyId) {
        match &self.storage {
            Storage::Sqlite(models) => models.give_up(id).await,
            Storage::Postgres(models) => models.give_up(id).await,
        }
    }
}
