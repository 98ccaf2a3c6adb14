//! Which copies there are, and where their tables stand.

use daybook_eventlog::{Position, database::escape_nul};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::ReadModelsError;
use crate::{
    Projection,
    models::{Checkpoint, CopyId, StoredText, dialect},
};

/// What a copy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyState {
    /// It answers reads.
    Served,
    /// It is built beside the one that is served.
    Building,
}

impl CopyState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Building => "building",
        }
    }

    fn parse(name: &str) -> Result<Self, ReadModelsError> {
        let known = [Self::Served, Self::Building].into_iter().find(|state| state.name() == name);
        known.ok_or_else(|| ReadModelsError::Corrupt(format!("{name:?} is no state of a copy")))
    }
}

/// An entry of the catalog.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: CopyId,
    pub(super) state: CopyState,
    pub(super) version: u32,
    pub(super) tables: Vec<String>,
    pub(super) checkpoint: Checkpoint,
    /// Why the last copy that was built beside it was given up, if it was.
    pub(super) rebuild_failure: Option<String>,
}

type EntryRow = (String, String, i64, i64, Vec<String>, i64, Option<i64>, Option<StoredText>, Option<StoredText>);

impl Entry {
    /// All copies, or those of one name.
    pub(super) async fn all(
        connection: &mut PgConnection,
        schema: &str,
        name: Option<&str>,
    ) -> Result<Vec<Self>, ReadModelsError> {
        let sql = format!(
            "SELECT name, state, generation, version, tables, position, fault_position, fault_reason,
                    rebuild_failure
             FROM \"{schema}\".copies WHERE $1 IS NULL OR name = $1 ORDER BY name, generation"
        );
        let rows: Vec<EntryRow> = sqlx::query_as(AssertSqlSafe(sql)).bind(name).fetch_all(connection).await?;
        rows.into_iter().map(Self::from_row).collect()
    }

    fn from_row(row: EntryRow) -> Result<Self, ReadModelsError> {
        let (name, state, generation, version, tables, position, fault_position, fault_reason, rebuild_failure) = row;
        Ok(Self {
            id: CopyId { name, generation },
            state: CopyState::parse(&state)?,
            version: u32::try_from(version)
                .map_err(|_| ReadModelsError::Corrupt(format!("{version} is no version of a read model")))?,
            tables,
            checkpoint: Checkpoint::stored(position, fault_position, fault_reason.map(String::from)),
            rebuild_failure: rebuild_failure.map(String::from),
        })
    }

    pub(super) fn is(&self, name: &str, state: CopyState) -> bool {
        self.id.name == name && self.state == state
    }

    pub(super) fn position(&self) -> Position {
        self.checkpoint.position
    }
}

/// The schema that a copy's tables are in.
pub(super) fn schema_of(schema: &str, name: &str, state: CopyState) -> String {
    match state {
        CopyState::Served => schema.to_owned(),
        CopyState::Building => format!("{schema}_building_{name}"),
    }
}

/// A change of the catalog; no other node makes one at the same time.
pub(super) struct Change<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    schema: String,
}

impl<'c> Change<'c> {
    pub(super) async fn begin(connection: &'c mut PgConnection, schema: &str) -> Result<Self, ReadModelsError> {
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("daybook read models, catalog, {schema}"))
            .execute(&mut *transaction)
            .await?;
        Ok(Self { transaction, schema: schema.to_owned() })
    }

    pub(super) async fn commit(self) -> Result<(), ReadModelsError> {
        Ok(self.transaction.commit().await?)
    }

    pub(super) async fn entries(&mut self, name: Option<&str>) -> Result<Vec<Entry>, ReadModelsError> {
        Entry::all(&mut self.transaction, &self.schema, name).await
    }

    /// The first event of the log that the copies are of.
    pub(super) async fn first_event(&mut self) -> Result<Option<Uuid>, ReadModelsError> {
        let sql = format!("SELECT first_event FROM \"{}\".source", self.schema);
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&mut *self.transaction).await?)
    }

    pub(super) async fn note_first_event(&mut self, first_event: Uuid) -> Result<(), ReadModelsError> {
        let sql = format!("INSERT INTO \"{}\".source VALUES (1, $1)", self.schema);
        sqlx::query(AssertSqlSafe(sql)).bind(first_event).execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// Forgets every copy and the log that they were of.
    pub(super) async fn clear(&mut self) -> Result<(), ReadModelsError> {
        for entry in self.entries(None).await? {
            self.remove(&entry).await?;
        }
        self.run(format!("DELETE FROM \"{}\".source", self.schema)).await
    }

    /// A new copy, with its tables.
    pub(super) async fn add(
        &mut self,
        projection: &dyn Projection,
        state: CopyState,
    ) -> Result<CopyId, ReadModelsError> {
        let (name, schema) = (projection.name(), schema_of(&self.schema, projection.name(), state));
        let tables: Vec<String> = projection.tables().iter().map(|table| table.name.to_owned()).collect();
        if state == CopyState::Building {
            self.run(format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE; CREATE SCHEMA \"{schema}\"")).await?;
        }
        self.run(format!("SET LOCAL search_path TO \"{schema}\"; {}", dialect::postgres(projection.schema()))).await?;
        self.run(grant_to_analysts(&schema)).await?;
        let sql = format!(
            "INSERT INTO \"{}\".copies (name, state, version, tables) VALUES ($1, $2, $3, $4) RETURNING generation",
            self.schema
        );
        let generation: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(name)
            .bind(state.name())
            .bind(i64::from(projection.version()))
            .bind(tables)
            .fetch_one(&mut *self.transaction)
            .await?;
        Ok(CopyId { name: name.to_owned(), generation })
    }

    /// Takes a copy that is being built out of the catalog, and leaves its tables to whoever writes them now.
    /// Whether it was still being built.
    pub(super) async fn forget(&mut self, id: &CopyId) -> Result<bool, ReadModelsError> {
        let sql = format!("DELETE FROM \"{}\".copies WHERE generation = $1 AND state = 'building'", self.schema);
        let forgotten = sqlx::query(AssertSqlSafe(sql)).bind(id.generation).execute(&mut *self.transaction).await?;
        Ok(forgotten.rows_affected() > 0)
    }

    /// Where a copy is at this moment; nobody moves it until the change is made.
    pub(super) async fn hold(&mut self, entry: &Entry) -> Result<Checkpoint, ReadModelsError> {
        let sql = format!(
            "SELECT position, fault_position, fault_reason FROM \"{}\".copies WHERE generation = $1 FOR UPDATE",
            self.schema
        );
        let (position, fault_position, fault_reason): (i64, Option<i64>, Option<StoredText>) =
            sqlx::query_as(AssertSqlSafe(sql)).bind(entry.id.generation).fetch_one(&mut *self.transaction).await?;
        Ok(Checkpoint::stored(position, fault_position, fault_reason.map(String::from)))
    }

    /// The copy of `name` that is served has not stopped, as far as is stored; whether it had.
    pub(super) async fn forget_fault(&mut self, name: &str) -> Result<bool, ReadModelsError> {
        let sql = format!(
            "UPDATE \"{}\".copies SET fault_position = NULL, fault_reason = NULL
             WHERE name = $1 AND state = 'served' AND fault_position IS NOT NULL",
            self.schema
        );
        let changed = sqlx::query(AssertSqlSafe(sql)).bind(name).execute(&mut *self.transaction).await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Removes the tables of a copy of `name` that was being built, and that the catalog knows nothing of.
    pub(super) async fn remove_forgotten(&mut self, name: &str) -> Result<(), ReadModelsError> {
        let schema = schema_of(&self.schema, name, CopyState::Building);
        self.run(format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await
    }

    /// Notes why the last copy of `name` that was built beside the served one was given up, if it was.
    pub(super) async fn note_failure(&mut self, name: &str, reason: Option<&str>) -> Result<(), ReadModelsError> {
        let sql =
            format!("UPDATE \"{}\".copies SET rebuild_failure = $2 WHERE name = $1 AND state = 'served'", self.schema);
        let reason = reason.map(escape_nul);
        sqlx::query(AssertSqlSafe(sql)).bind(name).bind(reason).execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// Removes a copy and its tables.
    pub(super) async fn remove(&mut self, entry: &Entry) -> Result<(), ReadModelsError> {
        let schema = schema_of(&self.schema, &entry.id.name, entry.state);
        match entry.state {
            CopyState::Building => self.run(format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await?,
            CopyState::Served => {
                for table in &entry.tables {
                    self.run(format!("DROP TABLE IF EXISTS \"{schema}\".\"{table}\"")).await?;
                }
            }
        }
        let sql = format!("DELETE FROM \"{}\".copies WHERE generation = $1", self.schema);
        sqlx::query(AssertSqlSafe(sql)).bind(entry.id.generation).execute(&mut *self.transaction).await?;
        Ok(())
    }

    /// How long what comes waits for tables that others use.
    pub(super) async fn wait_for_locks(&mut self, milliseconds: u32) -> Result<(), ReadModelsError> {
        self.run(format!("SET LOCAL lock_timeout = '{milliseconds}ms'")).await
    }

    /// Puts the tables of `building` where they are served.
    pub(super) async fn serve(&mut self, building: &Entry) -> Result<(), ReadModelsError> {
        let from = schema_of(&self.schema, &building.id.name, CopyState::Building);
        for table in &building.tables {
            self.run(format!("ALTER TABLE \"{from}\".\"{table}\" SET SCHEMA \"{}\"", self.schema)).await?;
        }
        self.run(format!("DROP SCHEMA \"{from}\"")).await?;
        let sql = format!("UPDATE \"{}\".copies SET state = 'served' WHERE generation = $1", self.schema);
        sqlx::query(AssertSqlSafe(sql)).bind(building.id.generation).execute(&mut *self.transaction).await?;
        Ok(())
    }

    pub(super) async fn run(&mut self, sql: String) -> Result<(), ReadModelsError> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.transaction).await?;
        Ok(())
    }
}

/// What the log's analysts may see of events they may see of read models as well; where the role is not there, nobody
/// is granted anything. Tables keep it when they move.
fn grant_to_analysts(schema: &str) -> String {
    format!(
        "DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'daybook_reader') THEN
                GRANT USAGE ON SCHEMA \"{schema}\" TO daybook_reader;
                GRANT SELECT ON ALL TABLES IN SCHEMA \"{schema}\" TO daybook_reader;
            END IF;
        END $$"
    )
}
