//! Which copies of read models there are: a small file beside them.

use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use super::{super::CopyId, ReadModelsError, options};
use crate::Projection;

/// The catalog's file in the folder of the read models.
const FILE: &str = "catalog.sqlite3";

impl CopyId {
    pub(super) fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{}.sqlite3", self.name, self.generation))
    }
}

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyState {
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
pub(super) struct Entry {
    pub(super) id: CopyId,
    pub(super) version: u32,
    pub(super) state: CopyState,
}

/// The catalog, and the folder that it lies in with the copies.
pub(super) struct Catalog {
    connection: SqliteConnection,
}

impl Catalog {
    pub(super) fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Opens the catalog in `folder`, or makes it.
    pub(super) async fn open(folder: &Path) -> Result<Self, ReadModelsError> {
        let mut connection =
            SqliteConnection::connect_with(&options(&Self::file(folder)).create_if_missing(true)).await?;
        sqlx::raw_sql(include_str!("../../../../migrations/sqlite/read_models_catalog.sql"))
            .execute(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    /// Opens the catalog in `folder` beside whoever writes it.
    pub(super) async fn open_to_read(folder: &Path) -> Result<Self, ReadModelsError> {
        let options = options(&Self::file(folder)).pragma("query_only", "ON");
        Ok(Self { connection: SqliteConnection::connect_with(&options).await? })
    }

    pub(super) async fn entries(&mut self) -> Result<Vec<Entry>, ReadModelsError> {
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
    pub(super) async fn is_of(&mut self, first_event: Option<Uuid>) -> Result<bool, ReadModelsError> {
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
    pub(super) async fn clear(&mut self) -> Result<(), ReadModelsError> {
        sqlx::raw_sql("BEGIN IMMEDIATE; DELETE FROM copies; DELETE FROM source; COMMIT")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// A new copy.
    pub(super) async fn add(
        &mut self,
        projection: &dyn Projection,
        state: CopyState,
    ) -> Result<CopyId, ReadModelsError> {
        // Old generations may be gone, but their numbers do not come again while one of them is left.
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

    /// From now on `id` is the one of its name that is served.
    pub(super) async fn serve(&mut self, id: &CopyId) -> Result<(), ReadModelsError> {
        sqlx::query(
            "UPDATE copies SET state = CASE WHEN generation = $2 THEN 'served' ELSE 'retired' END
             WHERE name = $1 AND (generation = $2 OR state = 'served')",
        )
        .bind(&id.name)
        .bind(id.generation)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn remove(&mut self, id: &CopyId) -> Result<(), ReadModelsError> {
        sqlx::query("DELETE FROM copies WHERE name = $1 AND generation = $2")
            .bind(&id.name)
            .bind(id.generation)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}
