//! One moment for several questions: whatever is written or takes over meanwhile, their answers belong together.

use std::{borrow::Cow, sync::Arc};

use daybook_eventlog::database::late;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, Transaction};
use tokio::sync::Mutex;

use super::{
    ReadModels, ReadModelsError, Reading,
    error::is_worth_asking_again,
    postgres::QUERY_MAX,
    query::{Argument, ModelRow, TRIES_MAX, on_postgres, on_sqlite},
    sqlite::FilesReading,
};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A transaction that only reads. It ends when this is dropped.
pub(super) enum Snapshot {
    Sqlite {
        transaction: Mutex<Transaction<'static, Sqlite>>,
        /// The files stay in place as long as they are read.
        _files: FilesReading,
    },
    Postgres(Arc<Mutex<Transaction<'static, Postgres>>>),
}

impl ReadModels {
    /// These read models as they are now, for an answer that takes several questions: all of them see the same
    /// moment. On a server only the tables of `projections` can be asked, whose copies have to be served.
    ///
    /// It holds one of the few connections. So ask it everything, drop it with the answer, and ask nothing else
    /// meanwhile.
    ///
    /// # Errors
    /// [`ReadModelsError`]
    pub async fn snapshot(&self, projections: &[&str]) -> Result<Self, ReadModelsError> {
        let snapshot = match self.reading() {
            Reading::Sqlite(files) => Snapshot::of_files(files).await?,
            Reading::Postgres(pool) => Snapshot::on_server(pool, lock(projections)).await?,
        };
        Ok(Self { snapshot: Some(Arc::new(snapshot)), ..Self::of(self.storage.clone()) })
    }
}

/// Keeps the tables of `projections` from being replaced: a take-over waits for this transaction.
fn lock(projections: &[&str]) -> String {
    let projections = crate::all().into_iter().filter(|projection| projections.contains(&projection.name()));
    let names = |table: &&'static crate::Table| format!("\"{}\"", table.name);
    let tables: Vec<String> = projections.flat_map(|projection| projection.tables().iter().map(names)).collect();
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "))
}

impl Snapshot {
    async fn of_files(files: FilesReading) -> Result<Self, ReadModelsError> {
        let mut transaction = files.pool().begin().await?;
        // Of each file the moment is that of the first look at it: one statement looks at all of them.
        let looks: Vec<String> =
            (0..files.copies().len()).map(|number| format!("SELECT position FROM copy_{number}.checkpoint")).collect();
        if !looks.is_empty() {
            sqlx::query(AssertSqlSafe(looks.join(" UNION ALL "))).fetch_all(&mut *transaction).await?;
        }
        Ok(Self::Sqlite { transaction: Mutex::new(transaction), _files: files })
    }

    async fn on_server(pool: PgPool, lock: String) -> Result<Self, ReadModelsError> {
        for _ in 1..TRIES_MAX {
            match begin(pool.clone(), lock.clone()).await {
                Err(error) if is_worth_asking_again(&error) => tracing::debug!(%error, "a snapshot is taken again"),
                begun => return Ok(Self::Postgres(Arc::new(Mutex::new(begun?)))),
            }
        }
        Ok(Self::Postgres(Arc::new(Mutex::new(begin(pool, lock).await?))))
    }

    pub(super) async fn fetch_all<T: ModelRow>(
        &self,
        sql: Cow<'static, str>,
        arguments: Vec<Argument>,
    ) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Self::Sqlite { transaction, .. } => {
                let mut transaction = transaction.lock().await;
                on_sqlite(sql, arguments).fetch_all(&mut **transaction).await
            }
            Self::Postgres(transaction) => {
                let transaction = Arc::clone(transaction);
                // The tables may be others than those that a statement was prepared for.
                let query = on_postgres(sql, arguments).persistent(false);
                in_a_task(async move { query.fetch_all(&mut **transaction.lock().await).await }).await
            }
        }
    }
}

/// Locks first: the moment is that of the first question after it.
async fn begin(pool: PgPool, lock: String) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    in_a_task(async move {
        let mut transaction = pool.begin_with(BEGIN).await?;
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
        sqlx::raw_sql("SELECT 1").execute(&mut *transaction).await?;
        Ok(transaction)
    })
    .await
}

/// In a task of its own: a caller that goes away in the middle leaves the connection whole.
async fn in_a_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    let bounded = async { tokio::time::timeout(QUERY_MAX, work).await.unwrap_or_else(|_| Err(late(QUERY_MAX))) };
    tokio::spawn(bounded).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
