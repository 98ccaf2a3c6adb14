//! The rows of a copy as text: for comparing two builds of the same read model, value by value, on whichever engines.

use std::collections::VecDeque;

use daybook_eventlog::Position;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Decode, Executor, PgConnection, Postgres, Row, Sqlite, SqliteConnection, Type,
    TypeInfo, ValueRef,
};
use uuid::Uuid;

use super::{Checkpoint, ReadModels, ReadModelsError, Reading, Storage, StoredText};
use crate::{Projection, Table};

/// Differences that are told one by one; the rest is counted.
const TOLD_MAX: usize = 20;

/// What two builds of a read model disagree about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that both have, and that are the same.
    pub same: u64,
    /// Rows that only one has, or that differ.
    pub different: u64,
    /// The first of those: `only served: table|value|…` or `only rebuilt: …`.
    pub told: Vec<String>,
}

/// How far the copies of a projection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The projection's name.
    pub name: &'static str,
    /// The version of its code.
    pub version: u32,
    /// Of the served copy, if there is one of this version: the last position applied, and where and why it stopped.
    pub served: Option<(Position, Option<(Position, String)>)>,
    /// Of the copy that is being built beside it, if there is one.
    pub building: Option<Position>,
}

impl Differences {
    fn tell(&mut self, whose: &str, line: &str) {
        self.different += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(format!("{whose}: {line}"));
        }
    }
}

/// A copy that is served, as it is at one moment, whatever is written meanwhile.
pub(crate) struct FrozenCopy {
    connection: FrozenConnection,
    pub(crate) checkpoint: Checkpoint,
}

enum FrozenConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

type Lines<'a> = BoxStream<'a, Result<String, ReadModelsError>>;

impl ReadModels {
    /// Every row of a projection's tables as text, table by table in the order of their keys. It is the same text on
    /// every engine.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn dump(&self, projection: &dyn Projection) -> Result<Vec<String>, ReadModelsError> {
        let mut lines = Vec::new();
        let reading = self.reading();
        for table in projection.tables() {
            lines.extend(reading.lines(table).try_collect::<Vec<_>>().await?);
        }
        Ok(lines)
    }

    /// The copy of `projection` that is served, if there is one of its version.
    pub(crate) async fn freeze(&self, projection: &dyn Projection) -> Result<Option<FrozenCopy>, ReadModelsError> {
        Ok(match &self.storage {
            Storage::Sqlite(models) => models.freeze(projection).await?.map(|(connection, checkpoint)| FrozenCopy {
                connection: FrozenConnection::Sqlite(connection),
                checkpoint,
            }),
            Storage::Postgres(models) => models.freeze(projection).await?.map(|(connection, checkpoint)| FrozenCopy {
                connection: FrozenConnection::Postgres(connection),
                checkpoint,
            }),
        })
    }

    /// Compares what was served with what these read models, which were built from nothing, serve.
    pub(crate) async fn compare(
        &self,
        frozen: &mut FrozenCopy,
        projection: &dyn Projection,
    ) -> Result<Differences, ReadModelsError> {
        let reading = self.reading();
        let mut differences = Differences::default();
        for table in projection.tables() {
            let served = match &mut frozen.connection {
                FrozenConnection::Sqlite(connection) => sqlite_lines(connection, table),
                FrozenConnection::Postgres(connection) => postgres_lines(connection, table),
            };
            compare(served, reading.lines(table), &mut differences).await?;
        }
        Ok(differences)
    }
}

impl Reading {
    fn lines(&self, table: &'static Table) -> Lines<'_> {
        match self {
            Self::Sqlite(files) => sqlite_lines(files.pool(), table),
            Self::Postgres(pool) => postgres_lines(pool, table),
        }
    }
}

/// Two sorted lists, row by row. Rows are told apart by their text: after a difference, the lists come together
/// again at the next row that both have, as far as a bounded look ahead shows.
async fn compare(
    mut served: Lines<'_>,
    mut rebuilt: Lines<'_>,
    differences: &mut Differences,
) -> Result<(), ReadModelsError> {
    const AHEAD: usize = 64;
    let (mut left, mut right) = (VecDeque::new(), VecDeque::new());
    loop {
        while left.len() < AHEAD
            && let Some(line) = served.try_next().await?
        {
            left.push_back(line);
        }
        while right.len() < AHEAD
            && let Some(line) = rebuilt.try_next().await?
        {
            right.push_back(line);
        }
        match (left.front(), right.front()) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) if a == b => {
                differences.same += 1;
                left.pop_front();
                right.pop_front();
            }
            (Some(a), b) => {
                // Only one side has it when the other does not come to it soon.
                let extra = b.is_some_and(|b| left.contains(b)) || !right.contains(a);
                if extra && let Some(line) = left.pop_front() {
                    differences.tell("only served", &line);
                } else if let Some(line) = right.pop_front() {
                    differences.tell("only rebuilt", &line);
                }
            }
            (None, Some(_)) => {
                if let Some(line) = right.pop_front() {
                    differences.tell("only rebuilt", &line);
                }
            }
        }
    }
}

/// The rows of `table` in the order of its key.
fn sqlite_lines<'e>(executor: impl Executor<'e, Database = Sqlite> + 'e, table: &'static Table) -> Lines<'e> {
    let rows = sqlx::query(AssertSqlSafe(table.sql_of_all_rows())).fetch(executor);
    rows.map(|row| line(table, &row?)).boxed()
}

fn postgres_lines<'e>(executor: impl Executor<'e, Database = Postgres> + 'e, table: &'static Table) -> Lines<'e> {
    let rows = sqlx::query(AssertSqlSafe(table.sql_of_all_rows())).fetch(executor);
    rows.map(|row| line(table, &row?)).boxed()
}

fn line<R: Row>(table: &Table, row: &R) -> Result<String, ReadModelsError>
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> StoredText: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Uuid: Decode<'r, R::Database> + Type<R::Database>,
{
    let mut line = table.name.to_owned();
    for column in 0..row.len() {
        let value = row.try_get_raw(column)?;
        let text = if value.is_null() {
            "null".to_owned()
        } else {
            match value.type_info().name() {
                "INTEGER" | "INT8" => row.try_get::<i64, _>(column)?.to_string(),
                "BLOB" | "UUID" => format!("{:02x?}", row.try_get::<Uuid, _>(column)?.as_bytes()),
                _ => format!("{:?}", row.try_get::<StoredText, _>(column)?.0),
            }
        };
        line.push('|');
        line.push_str(&text);
    }
    Ok(line)
}
