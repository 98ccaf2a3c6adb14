//! Which copies of read models there are: a small file beside them.

use std::path::{Path, PathBuf};

use daybook_eventlog::make_private_file;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteSynchronous};
use uuid::Uuid;

use super::{ReadModelsError, options};
use crate::{Projection, models::CopyId};

/// The catalog's file in the folder of the read models.
const FILE: &str = "catalog.sqlite3";

impl CopyId {
    /// The copy's file.
    pub(super) fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{}.sqlite3", self.name, self.generation))
    }
}

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// It answers reads.
    Served,
    /// It is built beside the one that is served.
    Building,
    /// Another one has taken over.
    Retired,
}

impl CopyState {
    fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Building => "building",
            Self::Retired => "retired",
        }
    }

    fn parse(name: &str) -> Result<Self, ReadModelsError> {
        let known = [Self::Served, Self::Building, Self::Retired].into_iter().find(|state| state.name() == name);
        known.ok_or_else(|| ReadModelsError::Corrupt(format!("{name:?} is no state of a copy")))
    }
}

/// An entry of the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: CopyId,
    pub(crate) version: u32,
    pub(crate) state: CopyState,
}

/// The catalog, and the folder that it lies in with the copies.
pub(crate) struct Catalog {
    connection: SqliteConnection,
}

impl Catalog {
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Opens the catalog in `folder`, or makes it.
    pub(crate) async fn open(folder: &Path) -> Result<Self, ReadModelsError> {
        let file = Self::file(folder);
        make_private_file(&file).map_err(|source| ReadModelsError::Folder { path: file.clone(), source })?;
        // Files are removed because of what it says: it is on the disk before.
        let options = options(&file).create_if_missing(true).synchronous(SqliteSynchronous::Full);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(include_str!("../../../../migrations/sqlite/read_models_catalog.sql"))
            .execute(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    /// Opens the catalog in `folder` beside whoever writes it.
    pub(crate) async fn open_to_read(folder: &Path) -> Result<Self, ReadModelsError> {
        let options = options(&Self::file(folder)).pragma("query_only", "ON");
        Ok(Self { connection: SqliteConnection::connect_with(&options).await? })
    }

    pub(crate) async fn entries(&mut self) -> Result<Vec<Entry>, ReadModelsError> {
        let rows: Vec<(String, i64, u32, String)> =
            sqlx::query_as("SELECT name, generation, version, state FROM copies ORDER BY name, generation")
                .fetch_all(&mut self.connection)
                .await?;
        let entry = |(name, generation, version, state): (String, i64, u32, String)| {
            Ok(Entry { id: CopyId { name, generation }, version, state: CopyState::parse(&state)? })
        };
        rows.into_iter().map(entry).collect()
    }

    /// Whether the copies are of the log that begins with `first_event`; notes it when they are of none yet.
    pub(crate) async fn is_of(&mut self, first_event: Option<Uuid>) -> Result<bool, ReadModelsError> {
        let source: Option<Uuid> =
            sqlx::query_scalar("SELECT first_event FROM source").fetch_optional(&mut self.connection).await?;
        if source.is_none()
            && let Some(first_event) = first_event
        {
            sqlx::query("INSERT INTO source VALUES (1, $1)").bind(first_event).execute(&mut self.connection).await?;
        }
        Ok(source.is_none() || source == first_event)
    }

    /// Forgets every copy and the log that they were of.
    pub(crate) async fn clear(&mut self) -> Result<(), ReadModelsError> {
        sqlx::raw_sql("BEGIN IMMEDIATE; DELETE FROM copies; DELETE FROM builds; DELETE FROM source; COMMIT")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// A new copy.
    pub(crate) async fn add(
        &mut self,
        projection: &dyn Projection,
        state: CopyState,
    ) -> Result<CopyId, ReadModelsError> {
        // Numbers come again when their copies are gone.
        let generation: i64 = sqlx::query_scalar(
            "INSERT INTO copies (name, generation, version, state)
             SELECT $1, coalesce(max(generation), 0) + 1, $2, $3 FROM copies WHERE name = $1 RETURNING generation",
        )
        .bind(projection.name())
        .bind(projection.version())
        .bind(state.name())
        .fetch_one(&mut self.connection)
        .await?;
        Ok(CopyId { name: projection.name().to_owned(), generation })
    }

    /// Notes since which start of the system a copy has been built.
    pub(crate) async fn note_boot(&mut self, id: &CopyId, boot: &str) -> Result<(), ReadModelsError> {
        sqlx::query(
            "INSERT INTO builds VALUES ($1, $2, $3) ON CONFLICT (name, generation) DO UPDATE SET boot = excluded.boot",
        )
        .bind(&id.name)
        .bind(id.generation)
        .bind(boot)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// The start of the system since which a copy has been built.
    pub(crate) async fn boot(&mut self, id: &CopyId) -> Result<Option<String>, ReadModelsError> {
        let boot = sqlx::query_scalar("SELECT boot FROM builds WHERE name = $1 AND generation = $2")
            .bind(&id.name)
            .bind(id.generation)
            .fetch_optional(&mut self.connection)
            .await?;
        Ok(boot)
    }

    /// From now on `id` is the one of its name that is served.
    pub(crate) async fn serve(&mut self, id: &CopyId) -> Result<(), ReadModelsError> {
        let served = sqlx::query(
            "UPDATE copies SET state = CASE WHEN generation = $2 THEN 'served' ELSE 'retired' END
             WHERE name = $1 AND (generation = $2 OR state = 'served')
             AND EXISTS (SELECT 1 FROM copies WHERE name = $1 AND generation = $2)",
        )
        .bind(&id.name)
        .bind(id.generation)
        .execute(&mut self.connection)
        .await?;
        match served.rows_affected() {
            0 => Err(ReadModelsError::Corrupt(format!("the catalog has no copy {} of {}", id.generation, id.name))),
            _ => Ok(()),
        }
    }

    pub(crate) async fn remove(&mut self, id: &CopyId) -> Result<(), ReadModelsError> {
        for table in ["copies", "builds"] {
            let delete = format!("DELETE FROM {table} WHERE name = $1 AND generation = $2");
            sqlx::query(sqlx::AssertSqlSafe(delete))
                .bind(&id.name)
                .bind(id.generation)
                .execute(&mut self.connection)
                .await?;
        }
        Ok(())
    }
}
