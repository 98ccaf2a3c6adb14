//! The read models' tables, wherever they are: files in a folder, or a schema on a PostgreSQL server that any number of
//! nodes share.
//!
//! Both keep several copies of a projection's tables apart, serve one of each, and let another one take over in one
//! step. Queries ([`query`]) know nothing of that: they find the tables that are served by name.

mod copy;
mod dialect;
mod error;
mod postgres;
mod query;
mod rows;
mod sqlite;
mod text;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use daybook_eventlog::{Log, Position};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) use self::{
    copy::{Checkpoint, CopyId, ProjectionCopy},
    text::{StoredText, escaped},
};
pub use self::{
    error::ReadModelsError,
    postgres::{Leadership, PostgresModelsOptions},
    rows::{Differences, Standing},
};
use self::{
    postgres::PostgresModels,
    sqlite::{FilesReading, SqliteModels},
};
use crate::Projection;

/// The read models' folder in the data folder. It may be deleted while nothing runs: the next start builds it anew.
pub const READ_MODELS_FOLDER: &str = "read-models";

/// The read models' tables. Cheap to clone.
#[derive(Clone)]
pub struct ReadModels(Storage);

#[derive(Clone)]
enum Storage {
    Sqlite(SqliteModels),
    Postgres(PostgresModels),
}

/// Connections to the copies that are served; while one is held, they stay there.
#[derive(Clone)]
pub(crate) enum Reading {
    Sqlite(FilesReading),
    Postgres(PgPool),
}

/// What tells one log from another: its first event, and how far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    first_event: Option<Uuid>,
    head: Position,
}

impl Source {
    async fn of(log: &Log) -> Result<Self, ReadModelsError> {
        let first = log.event_at(Position::new(1)).await.map_err(ReadModelsError::Log)?;
        Ok(Self { first_event: first.map(|event| event.id), head: log.head() })
    }
}

/// How far the copies of a projection are, as everybody who shares the read models can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPositions {
    /// The version of the code that keeps the served copy.
    pub version: u32,
    /// The last position that the served copy has applied.
    pub position: Position,
    /// Where and why it stopped, if it did.
    pub fault: Option<(Position, String)>,
    /// The last position that the copy has applied which is being built beside it.
    pub building: Option<Position>,
}

impl ReadModels {
    /// Opens the read models in the data folder `data`, or makes them.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn open(data: &Path) -> Result<Self, ReadModelsError> {
        SqliteModels::open(data).await.map(|models| Self(Storage::Sqlite(models)))
    }

    /// Opens the read models in `data` beside a server that may be writing them.
    ///
    /// # Errors
    /// [`ReadModelsError`]: among others when there are none.
    pub async fn open_to_read(data: &Path) -> Result<Self, ReadModelsError> {
        SqliteModels::open_to_read(data).await.map(|models| Self(Storage::Sqlite(models)))
    }

    /// Opens the read models on a PostgreSQL server, together with any number of other nodes; makes their catalog when
    /// the options allow that. It may be called by all nodes at the same time.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn connect(options: &PostgresModelsOptions) -> Result<Self, ReadModelsError> {
        PostgresModels::connect(options).await.map(|models| Self(Storage::Postgres(models)))
    }

    /// Whether other nodes read them, and may write them when they lead.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Storage::Postgres(_))
    }

    /// Where they stand, in words: a folder, or a server without its password.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.0 {
            Storage::Sqlite(models) => models.path().display().to_string(),
            Storage::Postgres(models) => models.place().to_owned(),
        }
    }

    /// How far all copies are, by the projection's name.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn positions(&self) -> Result<BTreeMap<String, CopyPositions>, ReadModelsError> {
        match &self.0 {
            Storage::Sqlite(models) => models.positions().await,
            Storage::Postgres(models) => models.positions().await,
        }
    }

    /// How far the copies of `projections` are that are of their present version.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn standings(&self, projections: &[Arc<dyn Projection>]) -> Result<Vec<Standing>, ReadModelsError> {
        match &self.0 {
            Storage::Sqlite(models) => models.standings(projections).await,
            Storage::Postgres(models) => models.standings(projections).await,
        }
    }

    /// Asks to be the one node that keeps the read models; `None` while another one is. In a folder, which only one
    /// process has open, the answer is always yes.
    ///
    /// # Errors
    /// [`ReadModelsError`] when nobody can be asked.
    pub async fn try_lead(&self) -> Result<Option<Leadership>, ReadModelsError> {
        match &self.0 {
            Storage::Sqlite(_) => Ok(Some(Leadership::undisputed())),
            Storage::Postgres(models) => models.try_lead().await,
        }
    }

    /// Closes the connections of readers.
    pub async fn close(&self) {
        match &self.0 {
            Storage::Sqlite(models) => models.close().await,
            Storage::Postgres(models) => models.close().await,
        }
    }

    /// Connections for queries.
    pub(crate) fn reading(&self) -> Reading {
        match &self.0 {
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
        match &self.0 {
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
        match &self.0 {
            Storage::Sqlite(models) => models.unfinished(projections).await,
            Storage::Postgres(models) => models.unfinished(projections).await,
        }
    }

    /// A copy to be built beside the one that is served.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        match &self.0 {
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
        match &self.0 {
            Storage::Sqlite(models) => models.open_copy(id, projection).await.map(ProjectionCopy::Sqlite),
            Storage::Postgres(models) => {
                models.open_copy(id, projection).await.map(Box::new).map(ProjectionCopy::Postgres)
            }
        }
    }

    /// `id` is served from now on: queries that begin after this see it and nothing of the one before, those under
    /// way see the one before and nothing of it.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        match &self.0 {
            Storage::Sqlite(models) => models.take_over(id).await,
            Storage::Postgres(models) => models.take_over(id).await,
        }
    }

    /// Removes the copies of `name` that others have taken over from, where that is not part of taking over.
    pub(crate) async fn forget_retired(&self, name: &str) {
        match &self.0 {
            Storage::Sqlite(models) => models.forget_retired(name).await,
            Storage::Postgres(_) => {}
        }
    }

    /// Gives up a copy that was being built.
    pub(crate) async fn give_up(&self, id: &CopyId) {
        match &self.0 {
            Storage::Sqlite(models) => models.give_up(id).await,
            Storage::Postgres(models) => models.give_up(id).await,
        }
    }
}
