//! What stands behind the numbers in `events`: names of streams, categories and types.

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use rusqlite::OptionalExtension;

use super::ReadConnection;
use crate::{ReadError, StreamId};

/// Names of streams kept in memory, by their numbers.
const STREAM_NAMES_MAX: usize = 65_536;

/// What stands behind the numbers in `events`. Streams and kinds are never renamed, so nothing here grows stale.
pub(super) struct Names {
    streams: Cache<i64, StreamId>,
    kinds: Mutex<Arc<Vec<Kind>>>,
}

#[derive(Clone)]
pub(super) struct Kind {
    pub(super) id: i64,
    pub(super) category: Arc<str>,
    pub(super) event_type: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self { streams: Cache::new(STREAM_NAMES_MAX), kinds: Mutex::default() }
    }
}

impl ReadConnection {
    pub(super) fn kinds(&self) -> Arc<Vec<Kind>> {
        Arc::clone(&self.names.kinds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn load_kinds(&self) -> Result<Arc<Vec<Kind>>, ReadError> {
        let mut select = self.connection.prepare_cached("SELECT kind_id, category, event_type FROM kinds")?;
        let kinds = select
            .query_map([], |row| {
                let text = |column| row.get::<_, String>(column).map(Arc::from);
                Ok(Kind { id: row.get(0)?, category: text(1)?, event_type: text(2)? })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let kinds = Arc::new(kinds);
        *self.names.kinds.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&kinds);
        Ok(kinds)
    }

    pub(super) fn stream_number(&self, stream: &StreamId) -> Result<Option<i64>, ReadError> {
        let mut find = self.connection.prepare_cached("SELECT stream_id FROM streams WHERE name = ?1")?;
        Ok(find.query_row([stream.as_str()], |row| row.get(0)).optional()?)
    }

    pub(super) fn stream_name(&self, stream_id: i64) -> Result<StreamId, ReadError> {
        if let Some(name) = self.names.streams.get(&stream_id) {
            return Ok(name);
        }
        let mut find = self.connection.prepare_cached("SELECT name FROM streams WHERE stream_id = ?1")?;
        let name: String = find.query_row([stream_id], |row| row.get(0)).optional()?.ok_or_else(|| {
            ReadError::Corrupt(format!("stream {stream_id} of an event is not in the table of streams"))
        })?;
        let name = StreamId::from(name);
        self.names.streams.insert(stream_id, name.clone());
        Ok(name)
    }
}
