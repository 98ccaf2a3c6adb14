//! Connections for queries: all copies that are served are attached to each.

use std::{
    path::Path,
    sync::{Arc, Weak},
};

use futures::future::join_all;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};

use super::{BUSY_TIMEOUT, catalog::Catalog, options};
use crate::models::CopyId;

const CONNECTIONS_MAX: u32 = 4;

/// Connections to the copies that are served at this moment; while one is held, they stay there.
#[derive(Clone)]
pub(crate) struct FilesReading(Arc<Served>);

pub(super) struct Served {
    pool: SqlitePool,
    copies: Vec<CopyId>,
}

impl FilesReading {
    /// Connections that have `copies`, which lie in `folder`, attached. They are opened when they are needed.
    pub(super) fn of(folder: &Path, copies: Vec<CopyId>) -> Self {
        let files: Arc<[String]> = copies.iter().map(|copy| copy.file(folder).to_string_lossy().into_owned()).collect();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(BUSY_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                let files = Arc::clone(&files);
                Box::pin(async move {
                    for (number, file) in files.iter().enumerate() {
                        let attach = format!("ATTACH DATABASE $1 AS copy_{number}");
                        sqlx::query(sqlx::AssertSqlSafe(attach)).bind(file).execute(&mut *connection).await?;
                        let cache = format!("PRAGMA copy_{number}.cache_size = -2048");
                        sqlx::raw_sql(sqlx::AssertSqlSafe(cache)).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options(&Catalog::file(folder)).pragma("query_only", "ON"));
        Self(Arc::new(Served { pool, copies }))
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.0.pool
    }

    /// The copies.
    pub(in crate::models) fn copies(&self) -> &[CopyId] {
        &self.0.copies
    }

    /// To look whether anybody still reads by these.
    pub(super) fn downgrade(&self) -> Weak<Served> {
        Arc::downgrade(&self.0)
    }

    /// Opens all connections, so that nobody who reads has to wait for that.
    pub(super) async fn warm(&self) {
        // What cannot be opened shows when it is needed.
        drop(join_all((0..CONNECTIONS_MAX).map(|_| self.0.pool.acquire())).await);
    }
}
