//! The rows of a copy as text: for comparing two builds of the same read model, value by value.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
};

use daybook_eventlog::Position;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqliteConnection, TypeInfo, ValueRef, sqlite::SqliteRow};

use super::{Checkpoint, CopyId, CopyState, ReadModels, ReadModelsError, connect, copy};
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
    connection: SqliteConnection,
    pub(crate) checkpoint: Checkpoint,
}

impl ReadModels {
    /// Every row of a projection's tables as text, table by table in the order of their keys.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn dump(&self, projection: &dyn Projection) -> Result<Vec<String>, ReadModelsError> {
        let mut lines = Vec::new();
        let reading = self.reading();
        for table in projection.tables() {
            lines.extend(rows(reading.pool(), table).try_collect::<Vec<_>>().await?);
        }
        Ok(lines)
    }

    /// The copy of `projection` that the catalog says is served, if there is one of its version.
    pub(crate) async fn freeze(&self, projection: &dyn Projection) -> Result<Option<FrozenCopy>, ReadModelsError> {
        let entries = self.0.catalog.lock().await.entries().await?;
        let served = entries.into_iter().find(|entry| {
            entry.id.name == projection.name()
                && entry.version == projection.version()
                && entry.state == CopyState::Served
        });
        let Some(served) = served else { return Ok(None) };
        let mut connection = connect(&self.file(&served.id)).await?;
        // The first read of a transaction decides what all of it sees.
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        let checkpoint = copy::checkpoint(&mut connection).await?;
        Ok(checkpoint.map(|checkpoint| FrozenCopy { connection, checkpoint }))
    }

    /// How far the copies of `projections` are, as their files say.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn standings(&self, projections: &[Arc<dyn Projection>]) -> Result<Vec<Standing>, ReadModelsError> {
        let entries = self.0.catalog.lock().await.entries().await?;
        let mut standings = Vec::with_capacity(projections.len());
        for projection in projections {
            let (name, version) = (projection.name(), projection.version());
            let mut standing = Standing { name, version, served: None, building: None };
            for entry in entries.iter().filter(|entry| entry.id.name == name && entry.version == version) {
                let file = self.file(&entry.id);
                if entry.state == CopyState::Retired || !file.exists() {
                    continue;
                }
                let mut connection = connect(&file).await?;
                let Some(checkpoint) = copy::checkpoint(&mut connection).await? else { continue };
                match entry.state {
                    CopyState::Served => standing.served = Some((checkpoint.position, checkpoint.fault)),
                    CopyState::Building | CopyState::Retired => standing.building = Some(checkpoint.position),
                }
            }
            standings.push(standing);
        }
        Ok(standings)
    }

    /// Compares what is served with a copy that was built from nothing.
    pub(crate) async fn compare(
        &self,
        frozen: &mut FrozenCopy,
        rebuilt: &Path,
        projection: &dyn Projection,
    ) -> Result<Differences, ReadModelsError> {
        let mut connection = connect(rebuilt).await?;
        let mut differences = Differences::default();
        for table in projection.tables() {
            let served = rows(&mut frozen.connection, table);
            compare(served, rows(&mut connection, table), &mut differences).await?;
        }
        connection.close().await?;
        Ok(differences)
    }

    /// Where a copy lies.
    pub(crate) fn file(&self, id: &CopyId) -> PathBuf {
        id.file(&self.0.path)
    }
}

/// Two sorted lists, row by row. Rows are told apart by their text: after a difference, the lists come together
/// again at the next row that both have, as far as a bounded look ahead shows.
async fn compare(
    mut served: BoxStream<'_, Result<String, ReadModelsError>>,
    mut rebuilt: BoxStream<'_, Result<String, ReadModelsError>>,
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
fn rows<'e, E: Executor<'e, Database = sqlx::Sqlite> + 'e>(
    executor: E,
    table: &'static Table,
) -> BoxStream<'e, Result<String, ReadModelsError>> {
    let sql = table.sql_of_all_rows();
    sqlx::query(AssertSqlSafe(sql))
        .fetch(executor)
        .map(move |row| row.map_err(ReadModelsError::from).and_then(|row| text_of(table, &row)))
        .boxed()
}

fn text_of(table: &Table, row: &SqliteRow) -> Result<String, ReadModelsError> {
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
    Ok(line)
}
