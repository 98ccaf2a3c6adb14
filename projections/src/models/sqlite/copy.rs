//! One copy of a projection's tables: a file with one connection that writes it.

use std::{path::Path, time::Duration};

use daybook_eventlog::{Position, make_private_file};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteSynchronous};

use super::{ReadModelsError, options};
use crate::{
    Projection,
    models::{Checkpoint, CopyId},
    table::{Changes, Value},
};

/// When what is written to a copy is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    /// As the engine needs it to keep the file whole, whatever happens.
    AtCheckpoints,
    /// When it is built: whoever builds it syncs the file then. Syncs of a build would hold up those of the log.
    AtTheEnd,
}

/// The writing end of a copy.
pub(crate) struct SqliteCopy {
    pub(crate) id: CopyId,
    connection: SqliteConnection,
    /// What the file says.
    stored: Checkpoint,
}

impl SqliteCopy {
    /// Opens the copy's file in `folder`, or makes it with the projection's tables.
    pub(crate) async fn open(
        folder: &Path,
        id: CopyId,
        projection: &dyn Projection,
        synced: Synced,
    ) -> Result<Self, ReadModelsError> {
        let file = id.file(folder);
        make_private_file(&file).map_err(|source| ReadModelsError::Folder { path: file.clone(), source })?;
        // Nobody else writes it; a foreign lock is waited out by whoever writes, not here.
        let options = options(&file)
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(1))
            .synchronous(match synced {
                Synced::AtCheckpoints => SqliteSynchronous::Normal,
                Synced::AtTheEnd => SqliteSynchronous::Off,
            })
            .pragma("cache_size", "-32768");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(include_str!("../../../../migrations/sqlite/read_models_copy.sql"))
            .execute(&mut connection)
            .await?;
        let stored = match checkpoint(&mut connection).await? {
            Some(stored) => {
                look_at_tables(&mut connection, projection).await?;
                stored
            }
            None => {
                let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::raw_sql(projection.schema()).execute(&mut *transaction).await?;
                sqlx::raw_sql("INSERT INTO checkpoint (one, position) VALUES (1, 0)")
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                Checkpoint { position: Position::START, fault: None }
            }
        };
        Ok(Self { id, connection, stored })
    }

    /// What the file says of how far it is.
    pub(crate) fn stored(&self) -> &Checkpoint {
        &self.stored
    }

    /// Writes rows and checkpoint in one transaction.
    pub(crate) async fn write(&mut self, changes: &Changes, checkpoint: &Checkpoint) -> Result<(), ReadModelsError> {
        // Not sqlx's own transaction: on a full disk SQLite rolls back by itself, sqlx does not notice, and no later
        // begin would go through.
        if begin(&mut self.connection).await.is_err() {
            // A write that was given up in the middle may have left its transaction open.
            roll_back(&mut self.connection).await;
            begin(&mut self.connection).await?;
        }
        let written = write_rows(&mut self.connection, changes, checkpoint, self.stored.position).await;
        match &written {
            Ok(()) => self.stored = checkpoint.clone(),
            Err(_) => roll_back(&mut self.connection).await,
        }
        written
    }

    /// Folds the write-ahead log into the file and closes it.
    pub(crate) async fn close(mut self) {
        roll_back(&mut self.connection).await;
        // Somebody who reads the file may be in the way: not worth waiting for.
        let fold = "PRAGMA busy_timeout = 500; PRAGMA wal_checkpoint(TRUNCATE)";
        if let Err(error) = sqlx::raw_sql(fold).execute(&mut self.connection).await {
            tracing::warn!(%error, "a read model's WAL could not be folded into its file; the next start does it");
        }
        // A connection that cannot be closed cleanly ends with the process.
        let _ = self.connection.close().await;
    }
}

/// Whether the projection's tables can be asked.
async fn look_at_tables(connection: &mut SqliteConnection, projection: &dyn Projection) -> Result<(), ReadModelsError> {
    for table in projection.tables() {
        let columns: Vec<String> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let sql = format!("SELECT {} FROM \"{}\" LIMIT 0", columns.join(", "), table.name);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Where a copy's file says it is; `None` when it was never finished being made.
pub(crate) async fn checkpoint(connection: &mut SqliteConnection) -> Result<Option<Checkpoint>, ReadModelsError> {
    let stored: Option<(i64, Option<i64>, Option<String>)> =
        sqlx::query_as("SELECT position, fault_position, fault_reason FROM checkpoint")
            .fetch_optional(connection)
            .await?;
    Ok(stored
        .map(|(position, fault_position, fault_reason)| Checkpoint::stored(position, fault_position, fault_reason)))
}

/// Writes inside the transaction that `connection` has begun, and commits it.
async fn write_rows(
    connection: &mut SqliteConnection,
    changes: &Changes,
    checkpoint: &Checkpoint,
    before: Position,
) -> Result<(), ReadModelsError> {
    for change in &changes.0 {
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
            query.execute(&mut *connection).await?;
        }
    }
    let (position, fault_position, fault_reason) = checkpoint.columns();
    // Rows may add up: what another writer has applied must not be applied again.
    let sql = "UPDATE checkpoint SET position = $1, fault_position = $2, fault_reason = $3 WHERE position = $4";
    let moved = sqlx::query(sql)
        .bind(position)
        .bind(fault_position)
        .bind(fault_reason)
        .bind(before.get().cast_signed())
        .execute(&mut *connection)
        .await?;
    if moved.rows_affected() != 1 {
        return Err(ReadModelsError::Corrupt(format!("somebody else has moved a checkpoint from {before}")));
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    Ok(())
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

/// Ends a transaction that may be open.
async fn roll_back(connection: &mut SqliteConnection) {
    // Without an open transaction there is nothing to take back, and that is no failure.
    let _ = sqlx::raw_sql("ROLLBACK").execute(connection).await;
}
