//! The file of the read models: connections, tables, checkpoints.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use daybook_eventlog::{Position, ReadError};
use sqlx::{
    AssertSqlSafe, Connection, Row, SqliteConnection, SqlitePool, TypeInfo, ValueRef,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    Projection,
    table::{Changes, Value},
};

/// The read models' file in the data folder. It may be deleted while nothing runs: the next start builds it anew.
pub const READ_MODELS_FILE: &str = "read-models.sqlite3";

const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the read models could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelsError {
    /// The engine failed.
    #[error("the read models could not be reached")]
    Storage(#[from] sqlx::Error),
    /// The log they are built from could not be read.
    #[error("the log to build the read models from could not be read")]
    Log(#[source] ReadError),
    /// What is stored cannot be.
    #[error("the read models are damaged: {0}; stop the server and delete their file to build them anew")]
    Corrupt(String),
}

/// The read models' tables. Cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    readers: SqlitePool,
    writer: Arc<Mutex<SqliteConnection>>,
    path: Arc<PathBuf>,
}

/// Where a projection stands, as stored with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) fault: Option<(Position, String)>,
}

impl ReadModels {
    /// Opens the read models in `folder`, or makes them.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn open(folder: &Path) -> Result<Self, ReadModelsError> {
        let path = folder.join(READ_MODELS_FILE);
        // What is lost with the power is folded from the log again: NORMAL keeps the file whole, and that is enough.
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(false)
            .pragma("temp_store", "MEMORY")
            // As large as the WAL may stay: folding it into the file less often saves writing pages that change again.
            .pragma("wal_autocheckpoint", "16000")
            .pragma("journal_size_limit", "67108864")
            .statement_cache_capacity(256);
        let mut writer = SqliteConnection::connect_with(&options.clone().pragma("cache_size", "-65536")).await?;
        sqlx::raw_sql(include_str!("../../migrations/sqlite/read_models/0000_projections.sql"))
            .execute(&mut writer)
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("query_only", "ON").pragma("cache_size", "-8192"));
        Ok(Self { readers, writer: Arc::new(Mutex::new(writer)), path: Arc::new(path) })
    }

    /// Connections for queries.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.readers
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        roll_back(&mut writer).await;
        if let Err(error) = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await {
            tracing::warn!(%error, "the read models' WAL could not be folded into the file; the next start does it");
        }
    }

    /// Makes the tables of `projections` that are new or of another version, and says where each stands. Those that
    /// are ahead of the log belong to another log: they are made anew, too.
    pub(crate) async fn prepare(
        &self,
        projections: &[Arc<dyn Projection>],
        (first_event, head): (Option<Uuid>, Position),
    ) -> Result<Vec<Checkpoint>, ReadModelsError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        type Stored = (String, u32, i64, Option<i64>, Option<String>);
        let stored: Vec<Stored> =
            sqlx::query_as("SELECT name, version, checkpoint, fault_position, fault_reason FROM projections")
                .fetch_all(&mut *transaction)
                .await?;
        let source: Option<Uuid> =
            sqlx::query_scalar("SELECT first_event FROM source").fetch_optional(&mut *transaction).await?;
        let ahead = stored.iter().any(|(_, _, checkpoint, _, _)| checkpoint.cast_unsigned() > head.get());
        let foreign = ahead || (source.is_some() && source != first_event);
        if foreign {
            tracing::warn!("the read models were built from another log: building them anew");
        }
        if let Some(first_event) = first_event {
            sqlx::query(
                "INSERT INTO source VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET first_event = excluded.first_event",
            )
            .bind(first_event)
            .execute(&mut *transaction)
            .await?;
        }
        let mut stored: HashMap<String, _> = stored.into_iter().map(|row| (row.0.clone(), row)).collect();
        let mut checkpoints = Vec::with_capacity(projections.len());
        for projection in projections {
            match stored.remove(projection.name()) {
                Some((_, version, checkpoint, fault_position, fault_reason))
                    if version == projection.version() && !foreign =>
                {
                    let position = Position::new(checkpoint.cast_unsigned());
                    let fault_position = fault_position.map(|position| Position::new(position.cast_unsigned()));
                    checkpoints.push(Checkpoint { position, fault: fault_position.zip(fault_reason) });
                }
                _ => {
                    tracing::info!(projection = projection.name(), version = projection.version(), "making its tables");
                    for table in projection.tables() {
                        let sql = format!("DROP TABLE IF EXISTS {}", table.name);
                        sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
                    }
                    sqlx::raw_sql(projection.schema()).execute(&mut *transaction).await?;
                    sqlx::query(
                        "INSERT INTO projections (name, version, checkpoint) VALUES ($1, $2, 0) ON CONFLICT (name) DO \
                         UPDATE SET version = excluded.version, checkpoint = 0, fault_position = NULL, fault_reason = NULL",
                    )
                    .bind(projection.name())
                    .bind(projection.version())
                    .execute(&mut *transaction)
                    .await?;
                    checkpoints.push(Checkpoint { position: Position::START, fault: None });
                }
            }
        }
        // What is left belongs to projections that are no more.
        for name in stored.into_keys() {
            sqlx::query("DELETE FROM projections WHERE name = $1").bind(name).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(checkpoints)
    }

    /// Writes rows and checkpoints in one transaction.
    pub(crate) async fn write(&self, folded: &[(&'static str, Changes, Checkpoint)]) -> Result<(), ReadModelsError> {
        let mut writer = self.writer.lock().await;
        // Not sqlx's own transaction: on a full disk SQLite rolls back by itself, sqlx does not notice, and no later
        // begin would go through.
        if begin(&mut writer).await.is_err() {
            // A write that was given up in the middle may have left its transaction open.
            roll_back(&mut writer).await;
            begin(&mut writer).await?;
        }
        let written = write_rows(&mut writer, folded).await;
        if written.is_err() {
            roll_back(&mut writer).await;
        }
        written
    }

    /// Every row of a projection's tables as text, table by table in the order of their keys: for comparing two
    /// builds of the same read model, value by value.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn dump(&self, projection: &dyn Projection) -> Result<Vec<String>, ReadModelsError> {
        let mut lines = Vec::new();
        for table in projection.tables() {
            let names =
                |columns: &[crate::Column]| columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
            let (all, key) = (names(table.columns), names(&table.columns[..table.key]));
            let sql = format!("SELECT {all} FROM {} ORDER BY {key}", table.name);
            for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.readers).await? {
                let mut line = table.name.to_owned();
                for column in 0..row.len() {
                    let value = row.try_get_raw(column)?;
                    let text = if value.is_null() {
                        "null".to_owned()
                    } else {
                        match value.type_info().name() {
                            "INTEGER" => row.try_get::<i64, _>(column)?.to_string(),
                            "BLOB" => format!("{:02x?}", row.try_get::<Vec<u8>, _>(column)?),
                            _ => format!("{:?}", row.try_get::<String, _>(column)?),
                        }
                    };
                    line.push('|');
                    line.push_str(&text);
                }
                lines.push(line);
            }
        }
        Ok(lines)
    }
}

/// Writes inside the transaction that `writer` has begun, and commits it.
async fn write_rows(
    writer: &mut SqliteConnection,
    folded: &[(&'static str, Changes, Checkpoint)],
) -> Result<(), ReadModelsError> {
    for change in folded.iter().flat_map(|(_, changes, _)| &changes.0) {
        for (sql, values) in change.statements() {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for value in values {
                query = match value {
                    Value::Null => query.bind(None::<i64>),
                    Value::Int(number) => query.bind(*number),
                    Value::Word(word) => query.bind(*word),
                    Value::Text(text) => query.bind(text.clone()),
                    Value::Id(id) => query.bind(*id),
                };
            }
            query.execute(&mut *writer).await?;
        }
    }
    for (name, _, checkpoint) in folded {
        let (position, reason) = checkpoint.fault.clone().unzip();
        sqlx::query("UPDATE projections SET checkpoint = $2, fault_position = $3, fault_reason = $4 WHERE name = $1")
            .bind(*name)
            .bind(checkpoint.position.get().cast_signed())
            .bind(position.map(|position| position.get().cast_signed()))
            .bind(reason)
            .execute(&mut *writer)
            .await?;
    }
    sqlx::raw_sql("COMMIT").execute(&mut *writer).await?;
    Ok(())
}

async fn begin(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(writer).await.map(drop)
}

/// Ends a transaction that may be open.
async fn roll_back(writer: &mut SqliteConnection) {
    // Without an open transaction there is nothing to take back, and that is no failure.
    let _ = sqlx::raw_sql("ROLLBACK").execute(writer).await;
}
