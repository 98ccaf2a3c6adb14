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
mod rows;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

pub use self::options::PostgresModelsOptions;
use self::{
    catalog::{Change, CopyState, Entry, schema_of},
    options::Connector,
};
pub(crate) use self::{copy::PostgresCopy, lead::Leadership, rows::CopyPositions};
use super::{CopyId, ReadModelsError, Source};
use crate::Projection;

/// How long a node's own view of the log may be behind what another node has applied of it.
const LOG_VIEW_BEHIND_MAX: Duration = Duration::from_secs(5);
/// How often a take-over tries to come between the queries of others. Each time those that come after it wait with it,
/// so it waits only a moment, and lets them through before it tries again.
const TAKE_OVER_TRIES_MAX: u32 = 30;
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(200);
const TAKE_OVER_LOCK_MS_MAX: u32 = 300;

/// The read models on a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PostgresModels(Arc<Server>);

struct Server {
    connector: Connector,
    /// Only used from the runtime that opened the read models: a connection stays with the runtime that made it.
    pool: PgPool,
}

impl PostgresModels {
    pub(crate) async fn connect(options: &PostgresModelsOptions) -> Result<Self, ReadModelsError> {
        let connector = Connector::new(options)?;
        format::prepare(&connector, options.make).await?;
        let pool = connector.pool();
        Ok(Self(Arc::new(Server { connector, pool })))
    }

    pub(crate) fn place(&self) -> &str {
        &self.0.connector.place
    }

    pub(crate) fn reading(&self) -> PgPool {
        self.0.pool.clone()
    }

    pub(crate) async fn close(&self) {
        self.0.pool.close().await;
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
        let connector = &self.0.connector;
        let mut connection = connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &connector.schema).await?;
        let entries = change.entries(None).await?;
        for projection in projections {
            refuse_newer(&entries, &**projection)?;
        }
        let source = source(log, entries.iter().map(Entry::position).max()).await?;
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
            make_missing(&mut change, &**projection).await?;
        }
        let entries = change.entries(None).await?;
        change.commit().await?;
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
        let connector = &self.0.connector;
        let mut connection = connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &connector.schema).await?;
        let entries = change.entries(Some(&damaged.name)).await?;
        let Some(entry) = entries.iter().find(|entry| entry.id == *damaged) else {
            return Err(ReadModelsError::Fenced(damaged.name.clone()));
        };
        change.remove(entry).await?;
        let id = change.add(projection, CopyState::Served).await?;
        change.commit().await?;
        Ok(id)
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
        let connector = &self.0.connector;
        let mut connection = connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &connector.schema).await?;
        let entries = change.entries(Some(projection.name())).await?;
        refuse_newer(&entries, projection)?;
        for entry in entries.iter().filter(|entry| entry.state == CopyState::Building) {
            if entry.version == projection.version() {
                return Err(ReadModelsError::Rebuilding(projection.name().to_owned()));
            }
            change.remove(entry).await?;
        }
        change.note_failure(projection.name(), None).await?;
        let id = change.add(projection, CopyState::Building).await?;
        change.commit().await?;
        Ok(id)
    }

    pub(crate) async fn open_copy(
        &self,
        id: CopyId,
        projection: &dyn Projection,
    ) -> Result<PostgresCopy, ReadModelsError> {
        PostgresCopy::open(&self.0.connector, id, projection).await
    }

    pub(crate) async fn take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        self.analyze(id).await;
        let mut tries = 1;
        loop {
            match self.try_take_over(id).await {
                // The answer to the commit was lost, or a query of somebody's takes long.
                Err(error) if error.may_pass() && tries < TAKE_OVER_TRIES_MAX => {
                    tracing::info!(error = &error as &dyn std::error::Error, copy = ?id, "it takes over in a moment");
                    tokio::time::sleep(TAKE_OVER_PAUSE).await;
                }
                taken => return taken,
            }
            tries += 1;
        }
    }

    async fn try_take_over(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let connector = &self.0.connector;
        let mut connection = connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &connector.schema).await?;
        let entries = change.entries(Some(&id.name)).await?;
        let Some(fresh) = entries.iter().find(|entry| entry.id == *id) else {
            return Err(ReadModelsError::Fenced(id.name.clone()));
        };
        if fresh.state == CopyState::Served {
            return Ok(());
        }
        change.wait_for_locks(TAKE_OVER_LOCK_MS_MAX).await?;
        for entry in entries.iter().filter(|entry| entry.state == CopyState::Served) {
            change.remove(entry).await?;
        }
        change.serve(fresh).await?;
        change.commit().await
    }

    /// So that the first queries are planned for what is there.
    async fn analyze(&self, id: &CopyId) {
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
        let mut connection = self.0.connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &self.0.connector.schema).await?;
        if change.first_event().await?.is_none() {
            change.note_first_event(first_event).await?;
        }
        change.commit().await
    }

    /// Whoever builds it hears of it at the next write, and removes its tables.
    pub(crate) async fn forget(&self, id: &CopyId) -> Result<(), ReadModelsError> {
        let mut connection = self.0.connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &self.0.connector.schema).await?;
        change.forget(id).await?;
        change.commit().await
    }

    pub(crate) async fn give_up(&self, id: &CopyId) {
        let given_up = async {
            let connector = &self.0.connector;
            let mut connection = connector.connect("catalog").await?;
            let mut change = Change::begin(&mut connection, &connector.schema).await?;
            let entries = change.entries(Some(&id.name)).await?;
            match entries.iter().find(|entry| entry.state == CopyState::Building) {
                Some(entry) if entry.id == *id => change.remove(entry).await?,
                // The tables are of another one by now.
                Some(_) => {}
                None => change.remove_forgotten(&id.name).await?,
            }
            change.commit().await
        };
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
        let sql = format!(
            "UPDATE \"{}\".copies SET fault_position = NULL, fault_reason = NULL
             WHERE name = $1 AND state = 'served' AND fault_position IS NOT NULL",
            self.0.connector.schema
        );
        let resumed = sqlx::query(AssertSqlSafe(sql)).bind(name).execute(&self.0.pool).await?;
        Ok(resumed.rows_affected() > 0)
    }

    /// Notes why the last copy of `name` that was built was given up.
    pub(crate) async fn note_failure(&self, name: &str, reason: &str) -> Result<(), ReadModelsError> {
        let mut connection = self.0.connector.connect("catalog").await?;
        let mut change = Change::begin(&mut connection, &self.0.connector.schema).await?;
        change.note_failure(name, Some(reason)).await?;
        change.commit().await
    }

    async fn entries(&self) -> Result<Vec<Entry>, ReadModelsError> {
        let mut connection = self.0.connector.connect("catalog").await?;
        Entry::all(&mut connection, &self.0.connector.schema, None).await
    }
}

/// A copy of a newer version than this build's is none of its business, and neither is the projection.
fn refuse_newer(entries: &[Entry], projection: &dyn Projection) -> Result<(), ReadModelsError> {
    let newest = entries.iter().filter(|entry| entry.id.name == projection.name()).map(|entry| entry.version).max();
    match newest {
        Some(found) if found > projection.version() => {
            Err(ReadModelsError::TooNew { name: projection.name().to_owned(), found, known: projection.version() })
        }
        _ => Ok(()),
    }
}

async fn make_missing(change: &mut Change<'_>, projection: &dyn Projection) -> Result<(), ReadModelsError> {
    let (name, version) = (projection.name(), projection.version());
    let mut entries = change.entries(Some(name)).await?;
    for entry in entries.extract_if(.., |entry| entry.state == CopyState::Building && entry.version != version) {
        change.remove(&entry).await?;
    }
    let is_building = entries.iter().any(|entry| entry.state == CopyState::Building);
    let state = match entries.iter().find(|entry| entry.state == CopyState::Served) {
        Some(served) if served.version == version || is_building => return Ok(()),
        Some(_) => CopyState::Building,
        None => CopyState::Served,
    };
    tracing::info!(projection = name, version, "making its tables");
    change.add(projection, state).await.map(drop)
}

/// What is known of the log. Other nodes may have applied more of it than this one has heard of: `applied` is waited
/// for, before the read models count as another log's.
async fn source(log: &Log, applied: Option<Position>) -> Result<Source, ReadModelsError> {
    if let Some(applied) = applied {
        let mut head = log.watch_head();
        // In vain where it is another log, and that is told by comparing.
        let _ = tokio::time::timeout(LOG_VIEW_BEHIND_MAX, head.wait_for(|head| *head >= applied)).await;
    }
    Source::of(log).await
}
