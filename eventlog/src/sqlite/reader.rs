//! Reading the file: a few connections of their own, which never hold the writer up.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use quick_cache::sync::Cache;
use rusqlite::{Connection, OptionalExtension, Row, Statement, types::ValueRef};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{checksum, schema};
use crate::{
    Anchor, Direction, EventRef, Filter, Position, READ_BYTES_MAX, ReadError, RequestKey, Snapshot, StoredAnswer,
    StreamId, Version,
    append::Answer,
    log::{KeyLookup, Scan},
};

/// Connections that read at the same time.
const CONNECTIONS_MAX: usize = 4;
/// Names of streams kept in memory, by their numbers.
const STREAM_NAMES_MAX: usize = 65_536;
/// Positions in one block of the index of kinds.
pub(super) const BLOCK_POSITIONS: u64 = 1_024;
/// Blocks that one filtered read looks at, so that no read holds its snapshot for long.
const BLOCKS_A_READ_MAX: u64 = 256;

const COLUMNS: &str = "SELECT position, stream_id, version, kind_id, schema_version, id, occurred_at, recorded_at, \
                       metadata, data, metadata_at FROM events";

/// The connections, and what they know together.
pub(crate) struct ReadPool {
    path: PathBuf,
    free: Arc<Mutex<Vec<ReadConnection>>>,
    permits: Arc<Semaphore>,
    names: Arc<Names>,
}

impl ReadPool {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            free: Arc::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            names: Arc::new(Names { streams: Cache::new(STREAM_NAMES_MAX), kinds: Mutex::default() }),
        }
    }

    /// The log's head as the file has it, asked on this thread.
    pub(super) fn head(&self) -> rusqlite::Result<Position> {
        let connection = schema::open_for_reading(&self.path)?;
        let head = connection.query_row("SELECT position FROM head", [], |row| row.get(0))?;
        Ok(Position::from_sql(head))
    }

    /// Runs `read` on a free connection, on a thread that may block.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadConnection) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let permits = Arc::clone(&self.permits);
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let (path, free, names) = (self.path.clone(), Arc::clone(&self.free), Arc::clone(&self.names));
        let run = move || {
            let pooled = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => ReadConnection { connection: schema::open_for_reading(&path)?, names },
            };
            let result = read(&connection);
            // After the log was closed the connection ends here.
            if !permits.is_closed() {
                free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                // A bug in what the caller does with an event is the caller's.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(ReadError::Closed),
            },
        }
    }

    /// Refuses to read from now on; reads under way come to their end.
    pub(super) fn close(&self) {
        self.permits.close();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What stands behind the numbers in `events`. Streams and kinds are never renamed, so nothing here grows stale.
struct Names {
    streams: Cache<i64, StreamId>,
    kinds: Mutex<Arc<Vec<Kind>>>,
}

#[derive(Clone)]
struct Kind {
    id: i64,
    category: Arc<str>,
    event_type: Arc<str>,
}

/// One connection. Every call is a snapshot of its own.
pub(crate) struct ReadConnection {
    connection: Connection,
    names: Arc<Names>,
}

impl ReadConnection {
    /// Visits the wanted events of `scan` until `visit` breaks or [`READ_BYTES_MAX`] are reached; answers the position
    /// up to which everything wanted has been visited.
    pub(crate) fn scan(
        &self,
        scan: &Scan,
        mut visit: impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let mut bytes = 0;
        let mut visit = |event: &EventRef<'_>| {
            bytes += event.data.len() + event.metadata.len();
            let flow = visit(event);
            if bytes < READ_BYTES_MAX { flow } else { ControlFlow::Break(()) }
        };
        let head = self.head()?;
        match scan.direction {
            Direction::Forward => self.scan_up(&Scan { until: scan.until.min(head), ..scan.clone() }, &mut visit),
            Direction::Backward => {
                let (after, until) = (scan.after.min(head.plus(1)), scan.until.max(Position::new(1)));
                self.scan_down(&Scan { after, until, ..scan.clone() }, &mut visit)
            }
        }
    }

    fn scan_up(
        &self,
        scan: &Scan,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let Scan { after, until, limit, filter, .. } = scan;
        let (after, until, limit) = (*after, *until, *limit);
        if after >= until || limit == 0 {
            return Ok(after);
        }
        if let Some(stream) = &filter.stream {
            return self.scan_stream(stream, scan, visit);
        }
        if !filter.is_by_kind() {
            let last = until.min(after.plus(limit as u64));
            return Ok(self.visit_range(Direction::Forward, (after, last), limit, None, visit)?.seen.unwrap_or(last));
        }
        let kinds = self.kinds_of(filter)?;
        let mut seen = after;
        let mut left = limit;
        let scan_to = until.min(after.plus(BLOCKS_A_READ_MAX * BLOCK_POSITIONS));
        while seen < scan_to && left > 0 {
            let next = self.next_block(Direction::Forward, &kinds, seen.get() / BLOCK_POSITIONS)?;
            let Some(block) = next else { return Ok(until) };
            let block_start = Position::new(block * BLOCK_POSITIONS);
            if block_start >= scan_to {
                return Ok(block_start.min(until));
            }
            let range = (seen.max(block_start), until.min(block_start.plus(BLOCK_POSITIONS)));
            let visited = self.visit_range(Direction::Forward, range, left, Some(&kinds), visit)?;
            left -= visited.events;
            match visited.seen {
                Some(stopped) => return Ok(stopped),
                None => seen = range.1,
            }
        }
        Ok(seen)
    }

    /// As `scan_up`, from `after` (excluded) down to `until` (included).
    fn scan_down(
        &self,
        scan: &Scan,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let Scan { after, until, limit, filter, .. } = scan;
        let (after, until, limit) = (*after, *until, *limit);
        if after <= until || limit == 0 {
            return Ok(after);
        }
        if let Some(stream) = &filter.stream {
            return self.scan_stream(stream, scan, visit);
        }
        if !filter.is_by_kind() {
            let first = until.max(Position::new(after.get().saturating_sub(limit as u64)));
            let range = (first.before(), after.before());
            return Ok(self.visit_range(Direction::Backward, range, limit, None, visit)?.seen.unwrap_or(first));
        }
        let kinds = self.kinds_of(filter)?;
        let mut seen = after;
        let mut left = limit;
        let blocks_end = Position::new(after.get().saturating_sub(BLOCKS_A_READ_MAX * BLOCK_POSITIONS)).max(until);
        while seen > blocks_end && left > 0 {
            // The block of the next position down.
            let next = self.next_block(Direction::Backward, &kinds, (seen.get() - 2) / BLOCK_POSITIONS)?;
            let Some(block) = next else { return Ok(until) };
            // The block holds the positions above `block_start` up to `block_end`.
            let block_start = Position::new(block * BLOCK_POSITIONS);
            let block_end = block_start.plus(BLOCK_POSITIONS);
            if block_end < blocks_end {
                return Ok(block_end.plus(1).max(until));
            }
            let range = (block_start.max(until.before()), block_end.min(seen.before()));
            let visited = self.visit_range(Direction::Backward, range, left, Some(&kinds), visit)?;
            left -= visited.events;
            match visited.seen {
                Some(stopped) => return Ok(stopped),
                None => seen = range.0.plus(1),
            }
        }
        Ok(seen)
    }

    /// The last position that was recorded before `micros`. Recorded times rise with positions: halves the log until
    /// one is left.
    pub(crate) fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        let mut recorded = self.connection.prepare_cached("SELECT recorded_at FROM events WHERE position = ?1")?;
        let (mut low, mut high) = (0, self.head()?.get());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let at: Option<i64> = recorded.query_row([middle.cast_signed()], |row| row.get(0)).optional()?;
            let at = at.ok_or_else(|| ReadError::Corrupt(format!("there is no event at position {middle}")))?;
            if at < micros {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(Position::new(low))
    }

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

    fn head(&self) -> Result<Position, ReadError> {
        let head = self.connection.prepare_cached("SELECT position FROM head")?.query_row([], |row| row.get(0))?;
        Ok(Position::from_sql(head))
    }

    /// A scan of one stream, either way.
    fn scan_stream(
        &self,
        stream: &StreamId,
        scan: &Scan,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let category = stream.category().to_owned();
        let mut seen = scan.until;
        let mut left = scan.limit;
        let from = match scan.direction {
            Direction::Forward => self.first_version_after(stream, scan.after)?,
            // The last version below: the one before the first that is not.
            Direction::Backward => match self.first_version_after(stream, scan.after.before())? {
                Some(first_above) => first_above.checked_sub(1),
                None => self.stream_head(stream)?.and_then(|next| next.checked_sub(1)),
            },
        };
        let Some(from) = from else { return Ok(scan.until) };
        self.read_stream(stream, Some(from), scan.direction, usize::MAX, |event| {
            let is_beyond = match scan.direction {
                Direction::Forward => event.position > scan.until,
                Direction::Backward => event.position < scan.until,
            };
            if is_beyond {
                return ControlFlow::Break(());
            }
            if scan.filter.takes(&category, event.event_type) {
                left -= 1;
                if visit(event).is_break() || left == 0 {
                    seen = event.position;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(seen)
    }

    fn first_version_after(&self, stream: &StreamId, after: Position) -> Result<Option<Version>, ReadError> {
        let Some(stream_id) = self.stream_number(stream)? else { return Ok(None) };
        let mut run_holding = self.connection.prepare_cached(
            "SELECT version, position FROM stream_runs WHERE stream_id = ?1 AND version <= ?2 ORDER BY version DESC LIMIT 1",
        )?;
        let mut position_of = |version: i64| -> rusqlite::Result<i64> {
            let (first, position): (i64, i64) =
                run_holding.query_row((stream_id, version), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(position + (version - first))
        };
        // Positions rise with versions: halve the versions until the first one after `after` is left.
        let (mut low, mut high) = (0, self.stream_head(stream)?.unwrap_or(0).cast_signed());
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            if position_of(middle)? > after.to_sql() {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok((low < end).then_some(low.cast_unsigned()))
    }

    /// Visits the events in `(after, last]`, either way; `seen` is set when no further event may be visited, be it
    /// that the last one was also the last of the range.
    fn visit_range(
        &self,
        direction: Direction,
        (after, last): (Position, Position),
        limit: usize,
        kinds: Option<&HashSet<i64>>,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Visited, ReadError> {
        let order = match direction {
            Direction::Forward => "ORDER BY position",
            Direction::Backward => "ORDER BY position DESC",
        };
        let mut events =
            self.connection.prepare_cached(&format!("{COLUMNS} WHERE position > ?1 AND position <= ?2 {order}"))?;
        let mut visited = 0;
        let range = (after.to_sql(), last.to_sql());
        let seen = self.visit_rows(&mut events, range, kinds, limit, &mut visited, visit)?;
        Ok(Visited { events: visited, seen })
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

    /// The nearest block that holds one of `kinds`, `from` itself first.
    fn next_block(&self, direction: Direction, kinds: &HashSet<i64>, from: u64) -> Result<Option<u64>, ReadError> {
        let sql = match direction {
            Direction::Forward => {
                "SELECT block FROM kind_blocks WHERE kind_id = ?1 AND block >= ?2 ORDER BY block LIMIT 1"
            }
            Direction::Backward => {
                "SELECT block FROM kind_blocks WHERE kind_id = ?1 AND block <= ?2 ORDER BY block DESC LIMIT 1"
            }
        };
        let mut find = self.connection.prepare_cached(sql)?;
        let mut next = None;
        for kind in kinds {
            let found = find.query_row((kind, from.cast_signed()), |row| row.get::<_, i64>(0)).optional()?;
            next = match (next, found) {
                (Some(next), Some(found)) if direction == Direction::Forward => Some(found.min(next)),
                (Some(next), Some(found)) => Some(found.max(next)),
                (next, found) => found.or(next),
            };
        }
        Ok(next.map(i64::cast_unsigned))
    }

    fn kinds_of(&self, filter: &Filter) -> Result<HashSet<i64>, ReadError> {
        let kinds = self.load_kinds()?;
        Ok(kinds.iter().filter(|kind| filter.takes(&kind.category, &kind.event_type)).map(|kind| kind.id).collect())
    }

    fn kinds(&self) -> Arc<Vec<Kind>> {
        Arc::clone(&self.names.kinds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn load_kinds(&self) -> Result<Arc<Vec<Kind>>, ReadError> {
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

    fn stream_number(&self, stream: &StreamId) -> Result<Option<i64>, ReadError> {
        let mut find = self.connection.prepare_cached("SELECT stream_id FROM streams WHERE name = ?1")?;
        Ok(find.query_row([stream.as_str()], |row| row.get(0)).optional()?)
    }

    fn stream_name(&self, stream_id: i64) -> Result<StreamId, ReadError> {
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

struct Visited {
    events: usize,
    seen: Option<Position>,
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
            let answer = Answer { status: row.get(1)?, body: row.get(2)? };
            Ok((fingerprint, StoredAnswer { answer, position: Position::from_sql(row.get(3)?) }))
        })
        .optional()?;
    Ok(match found {
        None => KeyLookup::Unknown,
        Some((fingerprint, stored)) if fingerprint == request.fingerprint => KeyLookup::Answered(stored),
        Some(_) => KeyLookup::OtherBody,
    })
}
