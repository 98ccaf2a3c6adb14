//! Read models on a server: a schema with the catalog and the tables that are served, and a schema for each copy that
//! is built beside them.
//!
//! A copy takes over in one transaction, in which its tables move into the first schema: queries, which find tables by
//! name, see all of the one or all of the other.

mod catalog;
mod copy;
mod format;
mod lead;
mod options;
mod patience;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use daybook_eventlog::{
    Log,
    database::{Connector, within},
};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

pub use self::options::PostgresModelsOptions;
use self::{
    catalog::{Change, CopyState, Entry, schema_of},
    patience::CHANGE_MAX,
};
pub(crate) use self::{copy::PostgresCopy, lead::Leadership, patience::QUERY_MAX, rows::CopyPositions};
use super::{CopyId, ReadModelsError, Source};
use crate::Projection;

/// How long a take-over waits for the queries of others, while those that come after it wait with it.
const TAKE_OVER_LOCK_MS: u32 = 300;
/// Now and then it waits longer: the server's own vacuum lets go of a table when somebody has waited for a second.
const TAKE_OVER_LONG_LOCK_MS: u32 = 1_500;
const TAKE_OVER_LONG_EVERY: u32 = 5;
/// How long connections that are in use are waited for at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How long a copy that is given up is waited for, which a batch may be being written to.
const FORGET_LOCK_MS: u32 = 20_000;

/// The read models on a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PostgresModels(Arc<Server>);

struct Server {
    connector: Connector,
    /// Only used from the runtime that opened the read models: a connection stays with the runtime that made it.
    pool: PgPool,
    /// Take-overs that were tried.
    take_overs: AtomicU32,
}

impl PostgresModels {
    pub(crate) async fn connect(options: &PostgresModelsOptions) -> Result<Self, ReadModelsError> {
        let connector = options::connector(options)?;
        format::prepare(&connector, options.make).await?;
        let pool = options::pool(&connector, options.readers_max);
        Ok(Self(Arc::new(Server { connector, pool, take_overs: AtomicU32::new(0) })))
    }

    pub(crate) fn place(&self) -> &str {
        &self.0.connector.place
    }

    pub(crate) fn reading(&self) -> PgPool {
        self.0.pool.clone()
    }

    pub(crate) async fn close(&self) {
        // Those that are not given back in time end with the process.
        let _ = tokio::time::timeout(CLOSE_MAX, self.0.pool.close()).await;
    }

    pub(crate) async fn try_lead(&self) -> Result<Option<Leadership>, ReadModelsError> {
        Leadership::take(&self.0.connector).await
    }

    /// The copies of `projections` that are served and of their present version. Where there is none, one is made:
    /// served at once where nothing is yet, and else to be built beside what is.
    pub(crate) async fn prepare(
        &self,
        projections: &[Arc<dyn Projection>],
        log: &Log,
    ) -> Result<Vec<(Arc<dyn Projection>, PostgresCopy)>, ReadModelsError> {
        let entries = self
            .change(async |change| {
                let entries = change.entries(None).await?;
                // After the copies' positions: others may have applied more of the log than was there a moment ago.
                let source = Source::of(log).await?;
                let known = change.first_event().await?;
                let is_ahead = entries.iter().any(|entry| entry.position() > source.head);
                if is_ahead || known.is_some() && known != source.first_event {
                    tracing::warn!("the read models were built from another log: building them anew");
                    change.clear().await?;
                }
                if let (None, Some(first_event)) = (change.first_event().await?, source.first_event) {
                    change.note_first_event(first_event).await?;
                }
                for projection in projections {
                    make_missing(change, &**projection).await?;
                }
                change.entries(None).await
            })
            .await?;
        let mut copies = Vec::with_capacity(projections.len());
        for projection in projections {
            let is_current = |entry: &&Entry| {
                entry.is(projection.name(), CopyState::Served) && entry.version == projection.version()
            };
            if let Some(entry) = entries.iter().find(is_current) {
                let copy = match self.open_copy(entry.id.clone(), &**projection).await {
                    Err(error @ ReadModelsError::Corrupt(_)) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            projection = projection.name(),
                            "its tables are damaged: building them anew"
                        );
                        self.open_copy(self.replace(&entry.id, &**projection).await?, &**projection).await?
                    }
                    opened => opened?,
                };
                copies.push((Arc::clone(projection), copy));
            }
        }
        Ok(copies)
    }

    /// An empty copy that is served instead of a damaged one.
    async fn replace(&self, damaged: &CopyId, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        self.change(async |change| {
            let entries = change.entries(Some(&damaged.name)).await?;
            let Some(entry) = entries.iter().find(|entry| entry.id == *damaged) else {
                return Err(ReadModelsError::Fenced(damaged.name.clone()));
            };
            change.remove(entry).await?;
            change.add(projection, CopyState::Served).await
        })
        .await
    }

    pub(crate) async fn unfinished(
        &self,
        projections: &[Arc<dyn Projection>],
    ) -> Result<Vec<(Arc<dyn Projection>, CopyId)>, ReadModelsError> {
        let building = self.entries().await?.into_iter().filter_map(|entry| {
            let is_it = |projection: &&Arc<dyn Projection>| {
                entry.is(projection.name(), CopyState::Building) && entry.version == projection.version()
            };
            let projection = projections.iter().find(is_it)?;
            Some((Arc::clone(projection), entry.id.clone()))
        });
        Ok(building.collect())
    }

    /// A copy to be built, unless there is one.
    pub(crate) async fn begin_beside(&self, projection: &dyn Projection) -> Result<CopyId, ReadModelsError> {
        self.change(async |change| {
            let entries = change.entries(Some(projection.name())).await?;
            if let Some(newer) = entries.iter().find(|entry| entry.version > projection.version()) {
                let (name, known) = (projection.name().to_owned(), projection.version());
                return Err(ReadModelsError::TooNew { name, found: newer.version, known });
            }
            for entry in entries.iter().filter(|entry| entry.state == CopyState::Building) {
                if entry.version == projection.version() {
                    return Err(ReadModelsError::Rebuilding(projection.name().to_owned()));
                }
                change.remove(entry).await?;
            }
            change.note_failure(projection.name(), None).await?;
            change.add(projection, CopyState::Building).await
        })
        .await
    }

    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<PostgresCopy, ReadModelsError> {
        PostgresCopy::open(&self.0.connector, id, projection).await
    }

    /// Comes between the queries of others, if they let it: it waits only a moment, while those that come after it wait
    /// with it. An error that may pass is one to try again after.
    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let is_long =
            self.0.take_overs.fetch_add(1, Ordering::Relaxed) % TAKE_OVER_LONG_EVERY == TAKE_OVER_LONG_EVERY - 1;
        let patience = if is_long { TAKE_OVER_LONG_LOCK_MS } else { TAKE_OVER_LOCK_MS };
        self.change(async |change| {
            let entries = change.entries(Some(&id.name)).await?;
            let fenced = || ReadModelsError::Fenced(id.name.clone());
            let fresh = entries.iter().find(|entry| entry.id == *id).ok_or_else(fenced)?;
            // The answer to a commit was lost.
            if fresh.state == CopyState::Served {
                return Ok(());
            }
            change.wait_for_locks(patience).await?;
            for served in entries.iter().filter(|entry| entry.state == CopyState::Served) {
                let stored = change.hold(served).await?;
                // Somebody else keeps the one that is served: who has read it must not see less afterwards.
                let is_of_this = served.version == fresh.version && stored.fault.is_none();
                if is_of_this && stored.position > fresh.position() {
                    return Err(fenced());
                }
                change.remove(served).await?;
            }
            change.serve(fresh).await
        })
        .await
    }

    /// So that the first queries are planned for what is there.
    pub(crate) async fn analyze(&self, id: &CopyId) {
        let analyzed = async {
            let connector = &self.0.connector;
            let mut connection = connector.connect("catalog").await?;
            let schema = schema_of(&connector.schema, &id.name, CopyState::Building);
            for entry in Entry::all(&mut connection, &connector.schema, Some(&id.name)).await? {
                for table in entry.tables.iter().filter(|_| entry.id == *id && entry.state == CopyState::Building) {
                    let sql = format!("ANALYZE \"{schema}\".\"{table}\"");
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                }
            }
            Ok::<_, ReadModelsError>(())
        };
        if let Err(error) = analyzed.await {
            tracing::debug!(%error, copy = ?id, "its tables are planned for by guessing, until the server has looked");
        }
    }

    pub(crate) async fn note_source(&self, first_event: Uuid) -> Result<(), ReadModelsError> {
        self.change(async |change| match change.first_event().await? {
            None => change.note_first_event(first_event).await,
            Some(_) => Ok(()),
        })
        .await
    }

    /// Whoever builds it hears of it at the next write, and removes its tables. Whether it was still being built.
    pub(crate) async fn forget(&self, id: &CopyId) -> Result<bool, ReadModelsError> {
        self.change(async |change| {
            change.wait_for_locks(FORGET_LOCK_MS).await?;
            change.forget(id).await
        })
        .await
    }

    pub(crate) async fn give_up(&self, id: &CopyId) {
        let given_up = self.change(async |change| {
            let entries = change.entries(Some(&id.name)).await?;
            match entries.iter().find(|entry| entry.state == CopyState::Building) {
                Some(entry) if entry.id == *id => change.remove(entry).await,
                // The tables are of another one by now.
                Some(_) => Ok(()),
                None => change.remove_forgotten(&id.name).await,
            }
        });
        if let Err(error) = given_up.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, copy = ?id, "a copy that nobody wants stays until the next one is built");
        }
    }

    /// Whether the copy is still to be built, by whomever.
    pub(crate) async fn is_building(&self, id: &CopyId) -> Result<bool, ReadModelsError> {
        Ok(self.entries().await?.iter().any(|entry| entry.id == *id && entry.state == CopyState::Building))
    }

    /// The copy of `name` that is served is to try again where it stopped; whether it had.
    pub(crate) async fn try_again(&self, name: &str) -> Result<bool, ReadModelsError> {
        self.change(async |change| change.forget_fault(name).await).await
    }

    /// Notes why the last copy of `name` that was built was given up.
    pub(crate) async fn note_failure(&self, name: &str, reason: &str) -> Result<(), ReadModelsError> {
        self.change(async |change| change.note_failure(name, Some(reason)).await).await
    }

    async fn entries(&self) -> Result<Vec<Entry>, ReadModelsError> {
        let look = async {
            let mut connection = self.0.connector.connect("catalog").await?;
            Entry::all(&mut connection, &self.0.connector.schema, None).await
        };
        within(CHANGE_MAX, look).await
    }

    /// Changes the catalog, all of it or nothing; no other node does at the same time.
    async fn change<T>(
        &self,
        work: impl AsyncFnOnce(&mut Change<'_>) -> Result<T, ReadModelsError>,
    ) -> Result<T, ReadModelsError> {
        let connector = &self.0.connector;
        let changed = async {
            let mut connection = connector.connect("catalog").await?;
            let mut change = Change::begin(&mut connection, &connector.schema).await?;
            let done = work(&mut change).await?;
            change.commit().await?;
            Ok(done)
        };
        within(CHANGE_MAX, changed).await
    }
}

/// What is missing of a projection: its tables, or a copy of its present version beside the older one that is served.
/// What is of a newer version is none of this build's business.
async fn make_missing(change: &mut Change<'_>, projection: &dyn Projection) -> Result<(), ReadModelsError> {
    let (name, version) = (projection.name(), projection.version());
    let mut entries = change.entries(Some(name)).await?;
    let is_stale = |entry: &mut Entry| entry.state == CopyState::Building && entry.version < version;
    for entry in entries.extract_if(.., is_stale) {
        change.remove(&entry).await?;
    }
    let is_building = entries.iter().any(|entry| entry.state == CopyState::Building);
    let state = match entries.iter().find(|entry| entry.state == CopyState::Served) {
        Some(served) if served.version > version => {
            let found = served.version;
            tracing::warn!(projection = name, version, found, "a newer build keeps this read model: it is left alone");
            return Ok(());
        }
        Some(served) if served.version == version || is_building => return Ok(()),
        Some(_) => CopyState::Building,
        None => CopyState::Served,
    };
    tracing::info!(projection = name, version, "making its tables");
    change.add(projection, state).await.map(drop)
}
