//! The rows of an append, and what the writer remembers between appends.

use std::sync::{Arc, LazyLock};

use quick_cache::unsync::Cache;
use rusqlite::{Connection, OptionalExtension, ToSql};

use crate::{
    NewEvent, Position, StreamId, Version,
    checksum::{Checksums, Content},
    sqlite::reader::BLOCK_POSITIONS,
};

/// Streams whose last version is kept in memory.
const STREAM_HEADS_MAX: usize = 65_536;
/// Rows of one multi-row INSERT.
const ROWS: usize = 16;
/// Parameters that all rows of an INSERT share, and those of each row.
const SHARED: usize = 3;
const EACH: usize = 8;

static INSERT_FIRST: LazyLock<String> = LazyLock::new(|| insert_sql("metadata", 1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql("metadata_at", ROWS));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql("metadata_at", 1));

/// The ends of everything: what the next event joins on to.
pub(super) struct Heads {
    pub(super) position: Position,
    pub(super) recorded_at: i64,
    checksum: u64,
    streams: Cache<StreamId, StreamHead>,
    kinds: Vec<Kind>,
    /// The streams that the present transaction has written, and their next versions.
    pub(super) written: Vec<(StreamId, Version)>,
}

struct Kind {
    id: i64,
    category: String,
    event_type: String,
    /// The last block that holds it.
    block: Option<u64>,
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
            .prepare(
                "SELECT kind_id, category, event_type,
                 (SELECT max(block) FROM kind_blocks WHERE kind_blocks.kind_id = kinds.kind_id) FROM kinds",
            )?
            .query_map([], |row| {
                let block = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
                Ok(Kind { id: row.get(0)?, category: row.get(1)?, event_type: row.get(2)?, block })
            })?
            .collect::<Result<_, _>>()?;
        Ok(Self {
            position: Position::from_sql(position),
            recorded_at: recorded_at.unwrap_or(0),
            checksum: checksum.cast_unsigned(),
            streams: Cache::new(STREAM_HEADS_MAX),
            kinds,
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

    /// The kind of an event at `position`, which is noted in the index of kinds.
    fn kind(
        &mut self,
        connection: &Connection,
        (category, event_type): (&str, &str),
        position: Position,
    ) -> rusqlite::Result<i64> {
        let known = self.kinds.iter().position(|kind| kind.event_type == event_type && kind.category == category);
        let place = match known {
            Some(place) => place,
            None => {
                connection
                    .prepare_cached("INSERT INTO kinds (category, event_type) VALUES (?1, ?2)")?
                    .execute([category, event_type])?;
                let (id, category, event_type) =
                    (connection.last_insert_rowid(), category.to_owned(), event_type.to_owned());
                self.kinds.push(Kind { id, category, event_type, block: None });
                self.kinds.len() - 1
            }
        };
        let kind = &mut self.kinds[place];
        let block = block_of(position);
        if kind.block != Some(block) {
            kind.block = Some(block);
            connection
                .prepare_cached("INSERT INTO kind_blocks VALUES (?1, ?2)")?
                .execute([kind.id, block.cast_signed()])?;
        }
        Ok(kind.id)
    }
}

/// Writes the events of one append's parts, one part after the other.
pub(super) struct Inserter<'a> {
    connection: &'a Connection,
    heads: &'a mut Heads,
    recorded_at: i64,
    checksums: Checksums,
}

impl<'a> Inserter<'a> {
    pub(super) fn new(connection: &'a Connection, heads: &'a mut Heads, recorded_at: i64) -> Self {
        Self { connection, heads, recorded_at, checksums: Checksums::new() }
    }

    /// What is inserted from now on was recorded then.
    pub(super) fn recorded_at(&mut self, micros: i64) {
        self.recorded_at = micros;
    }

    /// Appends `events` to `stream`, in order, at the next positions.
    pub(super) fn insert<'e>(
        &mut self,
        stream: &StreamId,
        events: impl Iterator<Item = &'e NewEvent>,
    ) -> rusqlite::Result<()> {
        // One allocation: the upper bound is the events of the part, of which usually all are new.
        let mut all: Vec<&NewEvent> = Vec::with_capacity(events.size_hint().1.unwrap_or(0));
        all.extend(events);
        let events = all;
        if events.is_empty() {
            return Ok(());
        }
        let mut head = self.heads.stream_or_new(self.connection, stream)?;
        let first = self.heads.position.plus(1);
        self.index(head, first, &events)?;
        // What one cause brings about shares its metadata, which are stored once then.
        for same in events.chunk_by(|a, b| Arc::ptr_eq(&a.metadata, &b.metadata)) {
            let (first, others) = same.split_at(1);
            let at = self.heads.position.plus(1).to_sql();
            self.insert_rows(&INSERT_FIRST, &*first[0].metadata, stream, &mut head, first.chunks(1))?;
            let (chunks, rest) = others.as_chunks::<ROWS>();
            let chunks = chunks.iter().map(<[_; ROWS]>::as_slice);
            self.insert_rows(&INSERT_MANY, at, stream, &mut head, chunks)?;
            self.insert_rows(&INSERT_ONE, at, stream, &mut head, rest.chunks(1))?;
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

    /// Runs `sql` for each of `chunks`: each has as many events as `sql` has rows, and all have the same metadata.
    fn insert_rows<'c, 'e: 'c>(
        &mut self,
        sql: &str,
        metadata: impl ToSql,
        stream: &StreamId,
        head: &mut StreamHead,
        chunks: impl Iterator<Item = &'c [&'e NewEvent]>,
    ) -> rusqlite::Result<()> {
        let category = stream.category();
        let mut chunks = chunks.peekable();
        if chunks.peek().is_none() {
            return Ok(());
        }
        let mut insert = self.connection.prepare_cached(sql)?;
        insert.raw_bind_parameter(1, head.id)?;
        insert.raw_bind_parameter(2, self.recorded_at)?;
        insert.raw_bind_parameter(3, metadata)?;
        for chunk in chunks {
            let mut parameter = SHARED;
            for event in chunk {
                let position = self.heads.position.plus(1);
                let kind = self.heads.kind(self.connection, (category, &event.event_type), position)?;
                let checksum = self.checksum(stream, head.next, position, event);
                insert.raw_bind_parameter(parameter + 1, position.to_sql())?;
                insert.raw_bind_parameter(parameter + 2, head.next.cast_signed())?;
                insert.raw_bind_parameter(parameter + 3, kind)?;
                insert.raw_bind_parameter(parameter + 4, event.schema_version)?;
                insert.raw_bind_parameter(parameter + 5, &event.id.as_bytes()[..])?;
                insert.raw_bind_parameter(parameter + 6, event.occurred_at.timestamp_micros())?;
                insert.raw_bind_parameter(parameter + 7, checksum.cast_signed())?;
                insert.raw_bind_parameter(parameter + 8, &*event.data)?;
                parameter += EACH;
                head.next += 1;
                self.heads.position = position;
                self.heads.checksum = checksum;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }

    fn checksum(&mut self, stream: &StreamId, version: Version, position: Position, event: &NewEvent) -> u64 {
        self.checksums.of(&Content {
            before: self.heads.checksum,
            position: position.get(),
            version,
            schema_version: event.schema_version,
            occurred_at: event.occurred_at.timestamp_micros(),
            recorded_at: self.recorded_at,
            id: event.id.as_bytes(),
            stream: stream.as_str().as_bytes(),
            event_type: event.event_type.as_bytes(),
            metadata: event.metadata.as_bytes(),
            data: event.data.as_bytes(),
        })
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

fn block_of(position: Position) -> u64 {
    (position.get() - 1) / BLOCK_POSITIONS
}

/// `metadata`: the column that the rows tell their metadata in.
fn insert_sql(metadata: &str, rows: usize) -> String {
    let row = |row: usize| {
        let each: Vec<String> = (1..=EACH).map(|column| format!("?{}", SHARED + row * EACH + column)).collect();
        format!("(?1, ?2, ?3, {})", each.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO events (stream_id, recorded_at, {metadata}, position, version, kind_id, schema_version, id, \
         occurred_at, checksum, data) VALUES {}",
        rows.join(", ")
    )
}
