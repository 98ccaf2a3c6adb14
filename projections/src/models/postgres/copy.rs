//! One copy of a projection's tables: a connection that writes it, as long as nobody else does.
//!
//! Every transaction moves the copy's position from where this writer believes it to be. Where another node has moved
//! it, nothing is written, now or later: that node keeps the copy now.

use std::{collections::HashMap, time::Duration};

use daybook_eventlog::database::{Connector, escape_nul, within};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    ReadModelsError,
    catalog::{CopyState, Entry, schema_of},
    patience::CHANGE_MAX,
};
use crate::{
    Projection,
    models::{Checkpoint, CopyId},
    table::{Changes, ColumnType},
};

/// How long a batch may take until the connection counts as lost.
const WRITE_MAX: Duration = Duration::from_secs(120);

/// The writing end of a copy.
pub(crate) struct PostgresCopy {
    pub(crate) id: CopyId,
    connector: Connector,
    connection: Option<PgConnection>,
    /// Where the connection finds the tables.
    state: CopyState,
    /// What the server says, as far as is known.
    stored: Checkpoint,
    /// What was being committed when the connection was lost: it may be stored or not.
    in_doubt: Option<Checkpoint>,
    /// The types of columns, by table and name.
    types: HashMap<(String, String), ColumnType>,
}

impl PostgresCopy {
    /// Opens a copy that the catalog knows.
    pub(super) async fn open(
        connector: &Connector,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<Self, ReadModelsError> {
        let opened = async {
            let (mut connection, entry) = connect(connector, &id).await?;
            let schema = schema_of(&connector.schema, &id.name, entry.state);
            let types = column_types(&mut connection, &schema, &entry.tables).await?;
            Ok::<_, ReadModelsError>((connection, entry, schema, types))
        };
        let (connection, Entry { state, checkpoint: stored, .. }, schema, types) = within(CHANGE_MAX, opened).await?;
        for (table, column) in
            projection.tables().iter().flat_map(|table| table.columns.iter().map(|column| (table.name, column.name)))
        {
            if !types.contains_key(&(table.to_owned(), column.to_owned())) {
                return Err(ReadModelsError::Corrupt(format!("{schema}.{table} has no usable column {column}")));
            }
        }
        let (connector, connection) = (connector.clone(), Some(connection));
        Ok(Self { id, connector, connection, state, stored, in_doubt: None, types })
    }

    pub(crate) fn stored(&self) -> &Checkpoint {
        &self.stored
    }

    /// The next write looks where the tables are.
    pub(crate) fn forget_connection(&mut self) {
        self.connection = None;
    }

    pub(crate) async fn write(&mut self, changes: &Changes, checkpoint: &Checkpoint) -> Result<(), ReadModelsError> {
        // While it is used it is not ours: a write that is given up in the middle takes its connection with it.
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (connection, entry) = within(CHANGE_MAX, connect(&self.connector, &self.id)).await?;
                self.state = entry.state;
                if self.in_doubt.take().is_some_and(|in_doubt| in_doubt == entry.checkpoint && in_doubt == *checkpoint)
                {
                    (self.stored, self.connection) = (entry.checkpoint, Some(connection));
                    return Ok(());
                }
                if entry.position() != self.stored.position {
                    return Err(ReadModelsError::Fenced(self.id.name.clone()));
                }
                connection
            }
        };
        let written = within(WRITE_MAX, self.write_on(connection, changes, checkpoint)).await;
        if written.is_ok() {
            self.stored = checkpoint.clone();
            self.in_doubt = None;
        }
        written
    }

    async fn write_on(
        &mut self,
        mut connection: PgConnection,
        changes: &Changes,
        checkpoint: &Checkpoint,
    ) -> Result<(), ReadModelsError> {
        let written = if changes.0.is_empty() {
            self.in_doubt = Some(checkpoint.clone());
            self.move_on(&mut connection, checkpoint).await
        } else {
            self.write_rows(&mut connection, changes, checkpoint).await
        };
        match &written {
            Ok(()) => self.connection = Some(connection),
            Err(ReadModelsError::Storage(sqlx::Error::Database(_)) | ReadModelsError::Row(_)) => {
                // It says so itself: nothing was committed. When it is going, the roll back fails as well.
                if sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.is_ok() {
                    self.in_doubt = None;
                    self.connection = Some(connection);
                }
            }
            Err(_) => {}
        }
        written
    }

    async fn write_rows(
        &mut self,
        connection: &mut PgConnection,
        changes: &Changes,
        checkpoint: &Checkpoint,
    ) -> Result<(), ReadModelsError> {
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
        // First of all, so that nobody's rows come between ours.
        self.move_on(connection, checkpoint).await?;
        for change in &changes.0 {
            let columns = change.columns.iter().map(|place| change.table.columns[*place].name);
            let types: Vec<ColumnType> = columns
                .filter_map(|name| self.types.get(&(change.table.name.to_owned(), name.to_owned())))
                .copied()
                .collect();
            let sql = change.sql_of_arrays(&types);
            for part in change.parts() {
                let arrays =
                    change.arrays(part, &types).map_err(|mismatch| ReadModelsError::Row(mismatch.to_string()))?;
                let query = sqlx::query(AssertSqlSafe(sql.clone()));
                let query = arrays.into_iter().fold(query, |query, column| column.bind(query));
                query.execute(&mut *connection).await?;
            }
        }
        self.in_doubt = Some(checkpoint.clone());
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
        Ok(())
    }

    /// Moves the copy's position, unless somebody else has.
    async fn move_on(&self, connection: &mut PgConnection, checkpoint: &Checkpoint) -> Result<(), ReadModelsError> {
        let sql = format!(
            "UPDATE \"{}\".copies SET position = $1, fault_position = $2, fault_reason = $3
             WHERE name = $4 AND generation = $5 AND position = $6 AND state = $7",
            self.connector.schema
        );
        let (position, fault_position, fault_reason) = checkpoint.columns();
        let moved = sqlx::query(AssertSqlSafe(sql))
            .bind(position)
            .bind(fault_position)
            .bind(fault_reason.map(escape_nul))
            .bind(&self.id.name)
            .bind(self.id.generation)
            .bind(self.stored.columns().0)
            .bind(self.state.name())
            .execute(connection)
            .await?;
        if moved.rows_affected() == 1 { Ok(()) } else { Err(ReadModelsError::Fenced(self.id.name.clone())) }
    }

    /// As if the connection had been lost while `in_doubt` was committed.
    #[cfg(test)]
    pub(super) fn lose_the_answer(&mut self, stored: Checkpoint, in_doubt: Option<Checkpoint>) {
        (self.connection, self.stored, self.in_doubt) = (None, stored, in_doubt);
    }

    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection {
            // A connection that cannot be closed cleanly ends with the process.
            let _ = connection.close().await;
        }
    }
}

/// A connection that finds the copy's tables by their names, and what the catalog says of the copy.
async fn connect(connector: &Connector, id: &CopyId) -> Result<(PgConnection, Entry), ReadModelsError> {
    // What a crash of the server takes away is folded again: rows and position go together.
    let mut connection = connector.connect_with("writer", [("synchronous_commit", "off")]).await?;
    let entries = Entry::all(&mut connection, &connector.schema, Some(&id.name)).await?;
    let Some(entry) = entries.into_iter().find(|entry| entry.id == *id) else {
        return Err(ReadModelsError::Fenced(id.name.clone()));
    };
    if entry.state == CopyState::Building {
        let schema = schema_of(&connector.schema, &id.name, entry.state);
        let find = format!("SET search_path TO \"{schema}\"");
        sqlx::raw_sql(AssertSqlSafe(find)).execute(&mut connection).await?;
    }
    Ok((connection, entry))
}

async fn column_types(
    connection: &mut PgConnection,
    schema: &str,
    tables: &[String],
) -> Result<HashMap<(String, String), ColumnType>, ReadModelsError> {
    let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL) FROM pg_attribute a \
               JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = ANY($2) AND a.attnum > 0 AND NOT a.attisdropped";
    let rows: Vec<(String, String, String)> =
        sqlx::query_as(sql).bind(schema).bind(tables).fetch_all(connection).await?;
    let types = rows.into_iter().filter_map(|(table, column, name)| Some(((table, column), ColumnType::parse(&name)?)));
    Ok(types.collect())
}
