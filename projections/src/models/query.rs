//! Questions to the read models: one SQL text, whichever engine holds the tables.
//!
//! What a text may use is what both engines read alike: numbered places (`$1`), `"user"` in quotes, sums cast to
//! `BIGINT`, truths as 0 and 1.

use std::{borrow::Cow, sync::Arc};

use daybook_eventlog::database::{escape_nul, late};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Decode, FromRow, PgPool, Postgres, Row, Sqlite, Type,
    postgres::{PgArguments, PgRow},
    query::QueryAs,
    sqlite::{SqliteArguments, SqliteRow},
};
use uuid::Uuid;

use super::{
    ReadModels, ReadModelsError, Reading, error::is_worth_asking_again, postgres::QUERY_MAX, snapshot::Snapshot,
};

/// How often a server is asked, when it is the connection that fails.
pub(super) const TRIES_MAX: usize = 3;

/// What a row of either engine can be made into.
pub(crate) trait ModelRow:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static> ModelRow for T {}

/// A value for a place in the text. It has its type even where it is missing.
#[derive(Debug, Clone)]
pub(crate) enum Argument {
    Int(Option<i64>),
    Text(Option<String>),
    Id(Option<Uuid>),
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u32> for Argument {
    fn from(number: u32) -> Self {
        Self::Int(Some(i64::from(number)))
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Some(text).into()
    }
}

impl From<Option<String>> for Argument {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<Uuid> for Argument {
    fn from(id: Uuid) -> Self {
        Self::Id(Some(id))
    }
}

impl From<Option<Uuid>> for Argument {
    fn from(id: Option<Uuid>) -> Self {
        Self::Id(id)
    }
}

impl ReadModels {
    /// A question; the copies it is asked of stay in place until it is answered.
    pub(crate) fn query(&self, sql: impl Into<Cow<'static, str>>) -> ModelQuery {
        let asked = self.snapshot.clone().map_or_else(|| Asked::Now(self.reading()), Asked::Snapshot);
        ModelQuery { asked, sql: sql.into(), arguments: Vec::new() }
    }
}

/// What a question is put to.
enum Asked {
    /// What is served when it is put.
    Now(Reading),
    Snapshot(Arc<Snapshot>),
}

/// A question to the read models.
pub(crate) struct ModelQuery {
    asked: Asked,
    sql: Cow<'static, str>,
    arguments: Vec<Argument>,
}

impl ModelQuery {
    /// The value for the next place.
    pub(crate) fn bind(mut self, argument: impl Into<Argument>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Values for the next places.
    pub(crate) fn bind_all<A: Into<Argument>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(A::into));
        self
    }

    pub(crate) async fn fetch_all<T: ModelRow>(self) -> Result<Vec<T>, ReadModelsError> {
        let Self { asked, sql, arguments } = self;
        Ok(match asked {
            Asked::Now(Reading::Sqlite(files)) => on_sqlite(sql, arguments).fetch_all(files.pool()).await?,
            Asked::Now(Reading::Postgres(pool)) => fetch_on_postgres(&pool, sql, arguments).await?,
            Asked::Snapshot(snapshot) => snapshot.fetch_all(sql, arguments).await?,
        })
    }

    pub(crate) async fn fetch_optional<T: ModelRow>(self) -> Result<Option<T>, ReadModelsError> {
        let Self { asked, sql, arguments } = self;
        Ok(match asked {
            Asked::Now(Reading::Sqlite(files)) => on_sqlite(sql, arguments).fetch_optional(files.pool()).await?,
            Asked::Now(Reading::Postgres(pool)) => fetch_on_postgres(&pool, sql, arguments).await?.into_iter().next(),
            Asked::Snapshot(snapshot) => snapshot.fetch_all(sql, arguments).await?.into_iter().next(),
        })
    }

    pub(crate) async fn fetch_one<T: ModelRow>(self) -> Result<T, ReadModelsError> {
        self.fetch_optional().await?.ok_or(ReadModelsError::Storage(sqlx::Error::RowNotFound))
    }

    /// The rows of a page, and the number that the question `all` answers with the same values, all of one moment:
    /// whatever takes over meanwhile, they belong together.
    pub(crate) async fn fetch_page<T: ModelRow>(mut self, all: &str) -> Result<(Vec<T>, u64), ReadModelsError> {
        // A page without rows has its number as well.
        self.sql = format!(
            "SELECT page.*, counted.\"number\" \
             FROM (SELECT ({all}) AS \"number\") counted \
             LEFT JOIN (SELECT found.*, 1 AS is_row FROM ({}) found) page ON 1 = 1",
            self.sql
        )
        .into();
        let rows: Vec<PageRow<T>> = self.fetch_all().await?;
        let number = rows.first().map_or(0, |row| row.number);
        Ok((rows.into_iter().filter_map(|row| row.row).collect(), number.cast_unsigned()))
    }
}

/// A row of a page, or what stands for none, with the number of all.
struct PageRow<T> {
    row: Option<T>,
    number: i64,
}

impl<'r, R, T> FromRow<'r, R> for PageRow<T>
where
    R: Row,
    T: FromRow<'r, R>,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let is_row: Option<i32> = row.try_get("is_row")?;
        let number = row.try_get("number")?;
        Ok(Self { row: is_row.map(|_| T::from_row(row)).transpose()?, number })
    }
}

pub(super) fn on_sqlite<T: ModelRow>(
    sql: Cow<'static, str>,
    arguments: Vec<Argument>,
) -> QueryAs<'static, Sqlite, T, SqliteArguments> {
    arguments.into_iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, argument| match argument {
        Argument::Int(number) => query.bind(number),
        Argument::Text(text) => query.bind(text),
        Argument::Id(id) => query.bind(id),
    })
}

pub(super) fn on_postgres<T: ModelRow>(
    sql: Cow<'static, str>,
    arguments: Vec<Argument>,
) -> QueryAs<'static, Postgres, T, PgArguments> {
    arguments.into_iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, argument| match argument {
        Argument::Int(number) => query.bind(number),
        Argument::Text(text) => query.bind(text.map(|text| escape_nul(&text).into_owned())),
        Argument::Id(id) => query.bind(id),
    })
}

/// Asks the server, and again on another connection when this one has been lost.
async fn fetch_on_postgres<T: ModelRow>(
    pool: &PgPool,
    sql: Cow<'static, str>,
    arguments: Vec<Argument>,
) -> Result<Vec<T>, sqlx::Error> {
    for _ in 1..TRIES_MAX {
        match ask(pool, on_postgres(sql.clone(), arguments.clone())).await {
            Err(error) if is_worth_asking_again(&error) => tracing::debug!(%error, "a query is put again"),
            answer => return answer,
        }
    }
    // The tables may be others than those that a statement was prepared for.
    ask(pool, on_postgres(sql, arguments).persistent(false)).await
}

/// In a task of its own: a caller that goes away in the middle leaves a connection behind that is as good as new.
async fn ask<T: ModelRow>(
    pool: &PgPool,
    query: QueryAs<'static, Postgres, T, PgArguments>,
) -> Result<Vec<T>, sqlx::Error> {
    let pool = pool.clone();
    let asked = tokio::spawn(async move {
        let mut connection = pool.acquire().await?;
        match tokio::time::timeout(QUERY_MAX, query.fetch_all(&mut *connection)).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(connection.detach());
                Err(late(QUERY_MAX))
            }
        }
    });
    asked.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
