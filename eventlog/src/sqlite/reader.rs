//! Reading the file: a few connections of their own, which never hold the writer up.

mod names;
mod pool;
mod scan;

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, Statement, types::ValueRef};
use uuid::Uuid;

use self::names::Names;
pub(crate) use self::pool::ReadPool;
use super::{checksum, schema};
use crate::{
    Anchor, Direction, EventRef, Position, ReadError, RequestKey, Snapshot, StoredAnswer, StreamId, Version,
    append::Answer, read::KeyLookup, rules::compare,
};

/// Positions in one block of the index of kinds.
pub(super) const BLOCK_POSITIONS: u64 = 1_024;

const COLUMNS: &str = "SELECT position, stream_id, version, kind_id, schema_version, id, occurred_at, recorded_at, \
                       metadata, data, metadata_at FROM events";

/// One connection. Every call is a snapshot of its own.
pub(crate) struct ReadConnection {
    connection: Connection,
    names: Arc<Names>,
}

impl ReadConnection {
    /// Visits a stream's events from the version `from` on (or down from it), at most `limit`.
    pub(crate) fn read_stream(
        &self,
        stream: &StreamId,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        mut visit: impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let Some(stream_id) = self.stream_number(stream)? else { return Ok(()) };
        let from = match (from, direction) {
            (Some(from), _) => i64::try_from(from).unwrap_or(i64::MAX),
            (None, Direction::Forward) => 0,
            (None, Direction::Backward) => i64::MAX,
        };
        let sql = match direction {
            // The run that holds `from` may begin before it.
            Direction::Forward => {
                "SELECT version, position, count FROM stream_runs WHERE stream_id = ?1 AND version >= coalesce(
                 (SELECT max(version) FROM stream_runs WHERE stream_id = ?1 AND version <= ?2), 0) ORDER BY version"
            }
            Direction::Backward => {
                "SELECT version, position, count FROM stream_runs WHERE stream_id = ?1 AND version <= ?2
                 ORDER BY version DESC"
            }
        };
        let mut runs = self.connection.prepare_cached(sql)?;
        let mut runs = runs.query((stream_id, from))?;
        let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
        while let Some(run) = runs.next()?
            && left > 0
        {
            let (version, position, count): (i64, i64, i64) = (run.get(0)?, run.get(1)?, run.get(2)?);
            let (low, high) = match direction {
                Direction::Forward => (position + (from - version).clamp(0, count), position + count - 1),
                Direction::Backward => {
                    (position, position + count.min(from.saturating_sub(version).saturating_add(1)) - 1)
                }
            };
            let (sql, low, high) = match direction {
                Direction::Forward => {
                    ("position >= ?1 AND position <= ?2 ORDER BY position", low, high.min(low.saturating_add(left - 1)))
                }
                Direction::Backward => (
                    "position >= ?1 AND position <= ?2 ORDER BY position DESC",
                    low.max(high.saturating_sub(left - 1)),
                    high,
                ),
            };
            let mut events = self.connection.prepare_cached(&format!("{COLUMNS} WHERE {sql}"))?;
            let mut visited = 0;
            let flow = self.visit_rows(&mut events, (low, high), None, usize::MAX, &mut visited, &mut visit)?;
            left -= i64::try_from(visited).unwrap_or(i64::MAX);
            if flow.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// The version that the stream's next event will have; `None` when it has no event.
    pub(crate) fn stream_head(&self, stream: &StreamId) -> Result<Option<Version>, ReadError> {
        let Some(stream_id) = self.stream_number(stream)? else { return Ok(None) };
        let last = self
            .connection
            .prepare_cached(
                "SELECT version + count FROM stream_runs WHERE stream_id = ?1 ORDER BY version DESC LIMIT 1",
            )?
            .query_row([stream_id], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(last.map(i64::cast_unsigned))
    }

    /// The kept copy of a stream's state.
    pub(crate) fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        let Some(stream_id) = self.stream_number(&stream)? else { return Ok(None) };
        let snapshot = self
            .connection
            .prepare_cached("SELECT shape, next, state, checksum FROM snapshots WHERE stream_id = ?1")?
            .query_row([stream_id], |row| {
                let (shape, next, state): (String, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let fits = checksum::of_snapshot(&shape, next, &state) == row.get::<_, i64>(3)?.cast_unsigned();
                Ok((fits, Snapshot { stream, shape, next: next.cast_unsigned(), state }))
            })
            .optional()?;
        Ok(snapshot.and_then(|(fits, snapshot)| {
            if !fits {
                tracing::warn!(stream = %snapshot.stream, "a state's copy does not fit its checksum: not used");
            }
            fits.then_some(snapshot)
        }))
    }

    /// The answer kept for a request, unless its body was another one.
    pub(crate) fn remembered(&self, request: &RequestKey) -> Result<KeyLookup, ReadError> {
        Ok(lookup_key(&self.connection, request)?)
    }

    /// The last position and its checksum.
    pub(crate) fn anchor(&self) -> Result<Anchor, ReadError> {
        Ok(schema::anchor(&self.connection)?)
    }

    /// The checksum of the event at `position`.
    pub(crate) fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        let mut find = self.connection.prepare_cached("SELECT checksum FROM events WHERE position = ?1")?;
        let checksum = find.query_row([position.to_sql()], |row| row.get::<_, i64>(0)).optional()?;
        Ok(checksum.map(|checksum| Anchor { position, checksum: checksum.cast_unsigned() }))
    }

    fn head(&self) -> Result<Position, ReadError> {
        let head = self.connection.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?;
        Ok(Position::from_sql(head))
    }

    fn visit_rows(
        &self,
        events: &mut Statement<'_>,
        range: (i64, i64),
        kinds: Option<&HashSet<i64>>,
        limit: usize,
        visited: &mut usize,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Position>, ReadError> {
        let mut known = self.kinds();
        // The kind of the event before is often that of the next.
        let mut place = 0;
        let mut last_stream: Option<(i64, StreamId)> = None;
        // The metadata that the events of one cause share, and the position of the event that has them.
        let mut shared: Option<(i64, String)> = None;
        let mut rows = events.query(range)?;
        while let Some(row) = rows.next()? {
            let kind_id: i64 = row.get(3)?;
            if kinds.is_some_and(|wanted| !wanted.contains(&kind_id)) {
                continue;
            }
            let stream_id: i64 = row.get(1)?;
            let stream = match &last_stream {
                Some((id, name)) if *id == stream_id => name,
                _ => &last_stream.insert((stream_id, self.stream_name(stream_id)?)).1,
            };
            if known.get(place).is_none_or(|kind| kind.id != kind_id) {
                if !known.iter().any(|kind| kind.id == kind_id) {
                    known = self.load_kinds()?;
                }
                place = known.iter().position(|kind| kind.id == kind_id).unwrap_or(usize::MAX);
            }
            let Some(kind) = known.get(place) else {
                return Err(ReadError::Corrupt(format!("kind {kind_id} of an event is not in the table of kinds")));
            };
            let metadata = match row.get_ref(8)? {
                ValueRef::Null => {
                    let at: i64 = row.get(10)?;
                    if shared.as_ref().is_none_or(|(position, _)| *position != at) {
                        shared = Some((at, self.metadata_at(at)?));
                    }
                    shared.as_ref().map_or("{}", |(_, metadata)| metadata)
                }
                own => own.as_str().map_err(no_text)?,
            };
            let event = event_of(row, stream, &kind.event_type, metadata)?;
            *visited += 1;
            if visit(&event).is_break() || *visited >= limit {
                return Ok(Some(event.position));
            }
        }
        Ok(None)
    }

    fn metadata_at(&self, position: i64) -> Result<String, ReadError> {
        let mut find = self.connection.prepare_cached("SELECT metadata FROM events WHERE position = ?1")?;
        let metadata: Option<Option<String>> = find.query_row([position], |row| row.get(0)).optional()?;
        metadata.flatten().ok_or_else(|| ReadError::Corrupt(format!("the event at {position} has no metadata")))
    }
}

fn no_text(error: rusqlite::types::FromSqlError) -> ReadError {
    ReadError::Corrupt(format!("an event holds no text: {error}"))
}

fn event_of<'a>(
    row: &'a Row<'_>,
    stream: &'a StreamId,
    event_type: &'a Arc<str>,
    metadata: &'a str,
) -> Result<EventRef<'a>, ReadError> {
    let id = row.get_ref(5)?.as_blob().ok().and_then(|id| Uuid::from_slice(id).ok());
    Ok(EventRef {
        position: Position::from_sql(row.get(0)?),
        stream,
        version: row.get::<_, i64>(2)?.cast_unsigned(),
        id: id.ok_or_else(|| ReadError::Corrupt("an event's id is not 16 bytes long".to_owned()))?,
        event_type,
        schema_version: row.get(4)?,
        occurred_at: row.get(6)?,
        recorded_at: row.get(7)?,
        metadata,
        data: row.get_ref(9)?.as_str().map_err(no_text)?,
    })
}

/// Looks a request up among the answers kept; the writer does the same inside its transaction.
pub(super) fn lookup_key(connection: &Connection, request: &RequestKey) -> rusqlite::Result<KeyLookup> {
    let found = connection
        .prepare_cached(
            "SELECT fingerprint, status, body, position FROM idempotency_keys WHERE caller = ?1 AND route = ?2 AND key = ?3",
        )?
        .query_row((&request.caller, &request.route, &request.key), |row| {
            let fingerprint: [u8; 32] = row.get(0)?;
            let answer = Answer::of_columns(row.get(1)?, row.get(2)?);
            Ok((fingerprint, StoredAnswer { answer, position: Position::from_sql(row.get(3)?) }))
        })
        .optional()?;
    Ok(compare(&request.fingerprint, found))
}
