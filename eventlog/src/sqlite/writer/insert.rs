//! The rows of an append, and what the writer remembers between appends.

use std::{collections::HashSet, sync::LazyLock};

use quick_cache::unsync::Cache;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use xxhash_rust::xxh3::xxh3_64;

use crate::{NewEvent, Position, StreamId, Version, sqlite::reader::BLOCK_POSITIONS};

/// Streams whose last version is kept in memory.
const STREAM_HEADS_MAX: usize = 65_536;
/// Rows of one multi-row INSERT.
const ROWS: usize = 16;
const COLUMNS: usize = 11;

static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql(ROWS));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));

/// The ends of everything: what the next event joins on to.
pub(super) struct Heads {
    pub(super) position: Position,
    pub(super) recorded_at: i64,
    checksum: u64,
    streams: Cache<StreamId, StreamHead>,
    kinds: Vec<(String, String, i64)>,
    block: u64,
    kinds_in_block: HashSet<i64>,
    /// The streams that the present transaction has written, and their next versions.
    pub(super) written: Vec<(StreamId, Version)>,
}

#[derive(Clone, Copy)]
pub(super) struct StreamHead {
    id: i64,
    pub(super) next: Version,
}

impl Heads {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let (position, checksum): (i64, i64) =
            connection.query_row("SELECT position, checksum FROM head", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let recorded_at = connection
            .query_row("SELECT recorded_at FROM events WHERE position = ?1", [position], |row| row.get(0))
            .optional()?;
        let kinds = connection
            .prepare("SELECT category, event_type, kind_id FROM kinds")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        let position = Position::from_sql(position);
        let block = block_of(position.get().max(1));
        let kinds_in_block = connection
            .prepare("SELECT kind_id FROM kind_blocks WHERE block = ?1")?
            .query_map([block.cast_signed()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Self {
            position,
            recorded_at: recorded_at.unwrap_or(0),
            checksum: checksum.cast_unsigned(),
            streams: Cache::new(STREAM_HEADS_MAX),
            kinds,
            block,
            kinds_in_block,
            written: Vec::new(),
        })
    }

    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE head SET position = ?1, checksum = ?2")?
            .execute((self.position.to_sql(), self.checksum.cast_signed()))?;
        Ok(())
    }

    pub(super) fn stream(&mut self, connection: &Connection, name: &StreamId) -> rusqlite::Result<Option<StreamHead>> {
        if let Some(head) = self.streams.get(name) {
            return Ok(Some(*head));
        }
        let head = connection
            .prepare_cached(
                "SELECT stream_id, coalesce((SELECT version + count FROM stream_runs r WHERE r.stream_id = s.stream_id
                 ORDER BY version DESC LIMIT 1), 0) FROM streams s WHERE name = ?1",
            )?
            .query_row([name.as_str()], |row| {
                Ok(StreamHead { id: row.get(0)?, next: row.get::<_, i64>(1)?.cast_unsigned() })
            })
            .optional()?;
        if let Some(head) = head {
            self.streams.insert(name.clone(), head);
        }
        Ok(head)
    }

    fn stream_or_new(&mut self, connection: &Connection, name: &StreamId) -> rusqlite::Result<StreamHead> {
        if let Some(head) = self.stream(connection, name)? {
            return Ok(head);
        }
        connection.prepare_cached("INSERT INTO streams (name) VALUES (?1)")?.execute([name.as_str()])?;
        Ok(StreamHead { id: connection.last_insert_rowid(), next: 0 })
    }

    fn kind(&mut self, connection: &Connection, category: &str, event_type: &str) -> rusqlite::Result<i64> {
        if let Some((_, _, id)) = self.kinds.iter().find(|(c, t, _)| t == event_type && c == category) {
            return Ok(*id);
        }
        connection
            .prepare_cached("INSERT INTO kinds (category, event_type) VALUES (?1, ?2)")?
            .execute([category, event_type])?;
        let id = connection.last_insert_rowid();
        self.kinds.push((category.to_owned(), event_type.to_owned(), id));
        Ok(id)
    }

    fn note_kind(&mut self, connection: &Connection, kind: i64, position: Position) -> rusqlite::Result<()> {
        let block = block_of(position.get());
        if block != self.block {
            self.block = block;
            self.kinds_in_block.clear();
        }
        if self.kinds_in_block.insert(kind) {
            connection
                .prepare_cached("INSERT INTO kind_blocks VALUES (?1, ?2)")?
                .execute([kind, block.cast_signed()])?;
        }
        Ok(())
    }
}

/// Writes the events of one append's parts, one part after the other.
pub(super) struct Inserter<'a> {
    connection: &'a Connection,
    heads: &'a mut Heads,
    recorded_at: i64,
    hashed: Vec<u8>,
}

impl<'a> Inserter<'a> {
    pub(super) fn new(connection: &'a Connection, heads: &'a mut Heads, recorded_at: i64) -> Self {
        Self { connection, heads, recorded_at, hashed: Vec::with_capacity(512) }
    }

    /// Appends `events` to `stream`, in order; their positions are added to `positions`.
    pub(super) fn insert<'e>(
        &mut self,
        stream: &StreamId,
        events: impl Iterator<Item = &'e NewEvent>,
        positions: &mut Vec<Position>,
    ) -> rusqlite::Result<()> {
        let events: Vec<&NewEvent> = events.collect();
        if events.is_empty() {
            return Ok(());
        }
        let mut head = self.heads.stream_or_new(self.connection, stream)?;
        let first = self.heads.position.plus(1);
        self.index(head, first, &events)?;
        let (chunks, rest) = events.as_chunks::<ROWS>();
        if !chunks.is_empty() {
            let mut many = self.connection.prepare_cached(&INSERT_MANY)?;
            for chunk in chunks {
                self.bind_and_run(&mut many, stream, &mut head, chunk, positions)?;
            }
        }
        if !rest.is_empty() {
            let mut one = self.connection.prepare_cached(&INSERT_ONE)?;
            for event in rest {
                self.bind_and_run(&mut one, stream, &mut head, std::slice::from_ref(event), positions)?;
            }
        }
        self.heads.streams.insert(stream.clone(), head);
        self.heads.written.push((stream.clone(), head.next));
        Ok(())
    }

    fn index(&self, head: StreamHead, first: Position, events: &[&NewEvent]) -> rusqlite::Result<()> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        self.connection.prepare_cached("INSERT INTO stream_runs VALUES (?1, ?2, ?3, ?4)")?.execute((
            head.id,
            head.next.cast_signed(),
            first.to_sql(),
            count,
        ))?;
        let mut add = self.connection.prepare_cached("INSERT INTO id_runs VALUES (?1, ?2, ?3)")?;
        for run in id_runs(events.iter().copied()) {
            let count = i64::try_from(run.last - run.first + 1).unwrap_or(i64::MAX);
            add.execute((&run.first.to_be_bytes()[..], first.plus(run.offset).to_sql(), count))?;
        }
        Ok(())
    }

    fn bind_and_run(
        &mut self,
        statement: &mut CachedStatement<'_>,
        stream: &StreamId,
        head: &mut StreamHead,
        events: &[&NewEvent],
        positions: &mut Vec<Position>,
    ) -> rusqlite::Result<()> {
        for (row, event) in events.iter().enumerate() {
            let position = self.heads.position.plus(1);
            let kind = self.heads.kind(self.connection, stream.category(), &event.event_type)?;
            self.heads.note_kind(self.connection, kind, position)?;
            let checksum = self.checksum(stream, head.next, position, event);
            let first = row * COLUMNS;
            statement.raw_bind_parameter(first + 1, position.to_sql())?;
            statement.raw_bind_parameter(first + 2, head.id)?;
            statement.raw_bind_parameter(first + 3, head.next.cast_signed())?;
            statement.raw_bind_parameter(first + 4, kind)?;
            statement.raw_bind_parameter(first + 5, event.schema_version)?;
            statement.raw_bind_parameter(first + 6, &event.id.as_bytes()[..])?;
            statement.raw_bind_parameter(first + 7, event.occurred_at.timestamp_micros())?;
            statement.raw_bind_parameter(first + 8, self.recorded_at)?;
            statement.raw_bind_parameter(first + 9, checksum.cast_signed())?;
            statement.raw_bind_parameter(first + 10, &*event.metadata)?;
            statement.raw_bind_parameter(first + 11, &*event.data)?;
            head.next += 1;
            self.heads.position = position;
            self.heads.checksum = checksum;
            positions.push(position);
        }
        statement.raw_execute()?;
        Ok(())
    }

    /// Covers every column by its meaning, not by the numbers this file gives to names; each field with its length,
    /// so that no two rows read alike.
    fn checksum(&mut self, stream: &StreamId, version: Version, position: Position, event: &NewEvent) -> u64 {
        let bytes = &mut self.hashed;
        bytes.clear();
        for number in [
            self.heads.checksum,
            position.get(),
            version,
            u64::from(event.schema_version),
            event.occurred_at.timestamp_micros().cast_unsigned(),
            self.recorded_at.cast_unsigned(),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(event.id.as_bytes());
        for text in [stream.as_str(), &event.event_type, &event.metadata, &event.data] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        xxh3_64(bytes)
    }
}

/// Consecutive ids at consecutive places of an append.
pub(super) struct IdRun {
    pub(super) first: u128,
    pub(super) last: u128,
    offset: u64,
}

pub(super) fn id_runs<'e>(events: impl IntoIterator<Item = &'e NewEvent>) -> Vec<IdRun> {
    let mut runs: Vec<IdRun> = Vec::with_capacity(1);
    for (offset, event) in events.into_iter().enumerate() {
        let id = event.id.as_u128();
        match runs.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(id) => run.last = id,
            _ => runs.push(IdRun { first: id, last: id, offset: offset as u64 }),
        }
    }
    runs
}

fn block_of(position: u64) -> u64 {
    (position - 1) / BLOCK_POSITIONS
}

fn insert_sql(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(","));
    format!(
        "INSERT INTO events (position, stream_id, version, kind_id, schema_version, id, occurred_at, recorded_at, \
         checksum, metadata, data) VALUES {}",
        vec![row; rows].join(",")
    )
}
