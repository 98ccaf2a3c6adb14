//! What stands behind the numbers in `events`, as far as this node has seen it. Streams and kinds are never renamed, so
//! that nothing here grows stale.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use quick_cache::sync::Cache;
use sqlx::{PgConnection, Row as _};

use super::super::{connection::rows, error::StatementError};
use super::copy::Row;
use crate::{
    Filter, Position, StreamId,
    database::{Connector, of_name},
};

/// Streams kept in memory, by their numbers and by their names.
const STREAMS_MAX: usize = 65_536;

pub(super) struct Names {
    by_number: Cache<i64, StreamId>,
    by_name: Cache<StreamId, i64>,
    kinds: Mutex<Known>,
}

/// The kinds that are known.
#[derive(Clone, Default)]
struct Known {
    kinds: Arc<Vec<Kind>>,
    /// None is missing that has an event up to here.
    up_to: Position,
}

#[derive(Clone)]
pub(super) struct Kind {
    pub(super) id: i64,
    category: Arc<str>,
    pub(super) event_type: Arc<str>,
}

/// The names that some rows need.
pub(super) struct NamesOf {
    pub(super) streams: HashMap<i64, StreamId>,
    pub(super) kinds: Arc<Vec<Kind>>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { by_number: Cache::new(STREAMS_MAX), by_name: Cache::new(STREAMS_MAX), kinds: Mutex::default() }
    }

    /// The names that `events` need, looked up together when they are not known.
    pub(super) async fn of(
        &self,
        events: &[Row],
        connection: &mut PgConnection,
        connector: &Connector,
    ) -> Result<NamesOf, StatementError> {
        let mut streams = HashMap::new();
        let mut missing = Vec::new();
        let mut kinds = self.known().kinds;
        let (mut last_stream, mut last_kind, mut unknown_kind) = (None, None, false);
        for row in events {
            let (stream, kind) = (row.stream_id(), row.kind_id());
            if stream != last_stream
                && let Some(id) = stream
                && !streams.contains_key(&id)
            {
                match self.by_number.get(&id) {
                    Some(name) => drop(streams.insert(id, name)),
                    None => missing.push(id),
                }
            }
            if kind != last_kind {
                unknown_kind |= kind.is_some_and(|id| !kinds.iter().any(|kind| kind.id == id));
            }
            (last_stream, last_kind) = (stream, kind);
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            let query = sqlx::query("SELECT stream_id, name FROM streams WHERE stream_id = ANY($1)").bind(missing);
            for row in rows(connection, connector.patience, query).await? {
                let (id, name) = (row.try_get(0)?, StreamId::from(row.try_get::<String, _>(1)?));
                self.by_number.insert(id, name.clone());
                streams.insert(id, name);
            }
        }
        if unknown_kind {
            kinds = self.load_kinds(Position::START, connection, connector).await?;
        }
        Ok(NamesOf { streams, kinds })
    }

    /// The number of a stream; none when it has no event.
    pub(super) async fn stream_number(
        &self,
        stream: &StreamId,
        connection: &mut PgConnection,
        connector: &Connector,
    ) -> Result<Option<i64>, StatementError> {
        if let Some(id) = self.by_name.get(stream) {
            return Ok(Some(id));
        }
        let query = sqlx::query("SELECT stream_id FROM streams WHERE name = $1").bind(of_name(stream.as_str()));
        let found = rows(connection, connector.patience, query).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let id = row.try_get(0)?;
        self.by_name.insert(stream.clone(), id);
        self.by_number.insert(id, stream.clone());
        Ok(Some(id))
    }

    /// The kinds that `filter` takes of events up to `high`; `head` is known to be committed, and no less.
    pub(super) async fn kinds_of(
        &self,
        (filter, high, head): (&Filter, Position, Position),
        connection: &mut PgConnection,
        connector: &Connector,
    ) -> Result<Vec<i64>, StatementError> {
        let known = self.known();
        let kinds =
            if known.up_to >= high { known.kinds } else { self.load_kinds(head, connection, connector).await? };
        Ok(kinds.iter().filter(|kind| filter.takes(&kind.category, &kind.event_type)).map(|kind| kind.id).collect())
    }

    fn known(&self) -> Known {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `head`: a position that is known to be committed.
    async fn load_kinds(
        &self,
        head: Position,
        connection: &mut PgConnection,
        connector: &Connector,
    ) -> Result<Arc<Vec<Kind>>, StatementError> {
        let query = sqlx::query("SELECT kind_id, category, event_type FROM kinds ORDER BY kind_id");
        let kind = |row: &sqlx::postgres::PgRow| -> Result<Kind, sqlx::Error> {
            let text = |column: usize| row.try_get::<String, _>(column).map(Arc::from);
            Ok(Kind { id: row.try_get(0)?, category: text(1)?, event_type: text(2)? })
        };
        let found = rows(connection, connector.patience, query).await?;
        let kinds = Arc::new(found.iter().map(kind).collect::<Result<Vec<_>, _>>()?);
        let mut known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        // Another reader may have been faster, and know more.
        if kinds.len() >= known.kinds.len() {
            known.kinds = Arc::clone(&kinds);
            known.up_to = known.up_to.max(head);
        }
        drop(known);
        Ok(kinds)
    }
}
