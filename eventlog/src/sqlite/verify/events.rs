//! One pass over the events, in order: each is read once, and looked up nowhere.

use std::sync::Arc;

use quick_cache::unsync::Cache;
use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};

use super::{
    is_damage,
    row::{Kind, Numbers, category, kinds, stream_name},
    sum::Sum,
};
use crate::{
    Anchor, Position, StreamId,
    checksum::{Checksums, Content},
    finding::{Damage, Finding, Findings, Part},
    sqlite::reader::BLOCK_POSITIONS,
};

/// Events between two reports of progress.
const PROGRESS_EVENTS: u64 = 16_384;
/// Names of streams kept in memory, by their numbers.
const STREAM_NAMES_MAX: usize = 262_144;
/// Damaged places that the pass goes around; after so many it ends.
const DETOURS_MAX: u32 = 1_000;

const COLUMNS: &str = "SELECT position, stream_id, version, kind_id, schema_version, id, occurred_at, recorded_at, \
                       checksum, metadata, metadata_at, data FROM events WHERE position >= ?1 ORDER BY position";

/// What the indexes are compared with.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) events: u64,
    /// The highest position of an event, and the checksum stored there.
    pub(super) last: Anchor,
    /// Of stream, version and position.
    pub(super) streams: Sum,
    /// Of id and position.
    pub(super) ids: Sum,
    /// Of kind and block.
    pub(super) blocks: Sum,
}

struct Stream {
    id: i64,
    name: Option<Arc<str>>,
}

/// The checksums that may have gone into that of the next event.
enum Before {
    /// The one that stands at the position before, and the one that should.
    Known { stored: u64, computed: u64 },
    /// The event before is not there.
    Lost,
}

pub(super) struct Scan<'a> {
    connection: &'a Connection,
    findings: &'a mut Findings,
    head: Option<Anchor>,
    expected: Option<Anchor>,
    /// The checksum found where one was expected.
    found: Option<u64>,
    streams: Cache<i64, Option<Arc<str>>>,
    stream: Stream,
    kinds: Vec<Kind>,
    /// The place of the last event's kind in `kinds`.
    kind: usize,
    /// The last metadata that an event had of its own, and where.
    metadata: Option<(Position, Vec<u8>)>,
    checksums: Checksums,
    before: Before,
    /// The position that comes next.
    next: i64,
    /// The time of the last event that fits its checksum.
    recorded_at: i64,
    head_checksum: Option<u64>,
    seen: Seen,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        findings: &'a mut Findings,
        head: Option<Anchor>,
        expected: Option<Anchor>,
    ) -> rusqlite::Result<Self> {
        let kinds = kinds(connection, findings)?;
        Ok(Self {
            connection,
            findings,
            head,
            expected,
            found: expected.filter(|anchor| anchor.position == Position::START).map(|_| 0),
            streams: Cache::new(STREAM_NAMES_MAX),
            stream: Stream { id: i64::MIN, name: None },
            kinds,
            kind: 0,
            metadata: None,
            checksums: Checksums::new(),
            before: Before::Known { stored: 0, computed: 0 },
            next: 1,
            recorded_at: i64::MIN,
            head_checksum: head.filter(|head| head.position == Position::START).map(|_| 0),
            seen: Seen::default(),
        })
    }

    /// Reads every event, around damaged places.
    pub(super) fn run(&mut self, mut progress: impl FnMut(Position, Position)) -> rusqlite::Result<()> {
        let head = self.head.unwrap_or_default().position;
        let mut from = i64::MIN;
        for _ in 0..DETOURS_MAX {
            let Err(error) = self.read_from(from, head, &mut progress) else { break };
            if !is_damage(&error) {
                return Err(error);
            }
            // What stood there is not known: what comes next cannot be checked against it.
            let first = self.next.max(from);
            let resumed = self.readable_after(first)?;
            let last = resumed.map_or(head.to_sql().max(first), |resumed| resumed - 1);
            self.findings.add(Finding::between(
                Position::from_sql(first),
                Position::from_sql(last),
                Damage::Unreadable(error.to_string()),
            ));
            self.before = Before::Lost;
            self.next = last + 1;
            match resumed {
                Some(resumed) => from = resumed,
                None => break,
            }
        }
        progress(head, head);
        Ok(())
    }

    fn read_from(
        &mut self,
        from: i64,
        head: Position,
        progress: &mut impl FnMut(Position, Position),
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(COLUMNS)?;
        let mut rows = select.query([from])?;
        while let Some(row) = rows.next()? {
            self.take(row)?;
            if self.seen.events.is_multiple_of(PROGRESS_EVENTS) {
                progress(self.seen.last.position, head);
            }
        }
        Ok(())
    }

    /// The first position after `failed` from which on the file can be read again.
    fn readable_after(&self, failed: i64) -> rusqlite::Result<Option<i64>> {
        let mut select = self.connection.prepare_cached(&format!("{COLUMNS} LIMIT 1"))?;
        let mut is_readable = |at: i64| match select.query_row([at], |row| row.get::<_, i64>(0)).optional() {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let (mut unreadable, mut step) = (failed, 1_i64);
        let mut readable = loop {
            let Some(at) = failed.checked_add(step) else { return Ok(None) };
            match is_readable(at)? {
                Some(Some(_)) => break at,
                Some(None) => return Ok(None),
                None => unreadable = at,
            }
            step = step.saturating_mul(2);
        };
        while readable - unreadable > 1 {
            let middle = unreadable + (readable - unreadable) / 2;
            if is_readable(middle)?.is_some() {
                readable = middle;
            } else {
                unreadable = middle;
            }
        }
        Ok(Some(readable))
    }

    fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let position = row.get::<_, i64>(0)?;
        if position < 1 {
            let damage = Damage::Value { column: "position", why: format!("is {position}; the first one is 1") };
            self.findings.add(Finding::of(damage));
            return Ok(());
        }
        let at = Position::from_sql(position);
        if position > self.next {
            let last = Position::from_sql(position - 1);
            self.findings.add(Finding::between(Position::from_sql(self.next), last, Damage::Missing));
            self.before = Before::Lost;
        }
        self.next = position + 1;
        self.seen.events += 1;
        let numbers = Numbers::of(row)?;
        self.index(at, &numbers);
        let stream = match numbers.stream {
            Some(stream) => self.stream(stream)?,
            None => None,
        };
        let checksum = self.event(at, row, &numbers, stream.as_deref())?;
        self.seen.last = Anchor { position: at, checksum: checksum.unwrap_or(0) };
        if let Some(head) = self.head {
            if head.position == at {
                self.head_checksum = checksum;
            } else if at > head.position {
                self.findings.add(Finding::at(at, Damage::BeyondHead { head: head.position }));
            }
        }
        if self.expected.is_some_and(|expected| expected.position == at) {
            self.found = checksum;
        }
        Ok(())
    }

    /// Adds the event to what the indexes are compared with.
    fn index(&mut self, at: Position, numbers: &Numbers) {
        let position = at.to_sql();
        if let (Some(stream), Some(version)) = (numbers.stream, numbers.version) {
            self.seen.streams.add(stream, version, position);
        }
        if let Some(id) = numbers.id {
            self.seen.ids.add_id(u128::from_be_bytes(id), position);
        }
        let Some(kind_id) = numbers.kind else { return };
        if self.kinds.get(self.kind).is_none_or(|kind| kind.id != kind_id) {
            self.kind = self.kinds.iter().position(|kind| kind.id == kind_id).unwrap_or(usize::MAX);
        }
        if let Some(kind) = self.kinds.get_mut(self.kind) {
            let block = (position - 1) / BLOCK_POSITIONS.cast_signed();
            if kind.block != Some(block) {
                kind.block = Some(block);
                self.seen.blocks.add(kind_id, block, 0);
            }
        }
    }

    /// Checks one event by itself and against the one before; answers the checksum that is stored with it.
    fn event(
        &mut self,
        at: Position,
        row: &Row<'_>,
        numbers: &Numbers,
        stream: Option<&str>,
    ) -> rusqlite::Result<Option<u64>> {
        let before = std::mem::replace(&mut self.before, Before::Lost);
        let mut wrong = |damage| {
            let (stream, version) = (stream.map(StreamId::from), numbers.version.map(i64::cast_unsigned));
            self.findings.add(Finding::at(at, damage).in_stream(stream, version));
        };
        let value = |column, why: &str| Damage::Value { column, why: why.to_owned() };
        for column in &numbers.wrong {
            wrong(value(column, "is not a number of the size it should have"));
        }
        let own = match (row.get_ref(9)?, row.get_ref(10)?) {
            (ValueRef::Text(text), ValueRef::Null) => {
                let (position, own) = self.metadata.get_or_insert_with(|| (at, Vec::new()));
                *position = at;
                own.clear();
                own.extend_from_slice(text);
                true
            }
            (ValueRef::Null, ValueRef::Integer(from)) => {
                let nearest = self.metadata.as_ref().map(|(position, _)| *position);
                if nearest.is_none_or(|nearest| nearest.to_sql() != from) {
                    wrong(Damage::MetadataAt { at: from, nearest });
                }
                false
            }
            _ => {
                wrong(Damage::MetadataTwiceOrNever);
                false
            }
        };
        let metadata = self.metadata.as_ref().map(|(_, text)| text.as_slice());
        let data = match row.get_ref(11)? {
            ValueRef::Text(text) => Some(text),
            _ => None,
        };
        if data.is_none_or(|data| std::str::from_utf8(data).is_err()) {
            wrong(value("data", "is no text in UTF-8"));
        }
        if own && metadata.is_none_or(|metadata| std::str::from_utf8(metadata).is_err()) {
            wrong(value("metadata", "is no text in UTF-8"));
        }
        if numbers.stream.is_some() && stream.is_none() {
            wrong(value("stream_id", "is not in the table of streams, or has no name there"));
        }
        let kind = self.kinds.get(self.kind).filter(|kind| numbers.kind == Some(kind.id));
        match (kind, stream) {
            (None, _) if numbers.kind.is_some() => wrong(value("kind_id", "is not in the table of kinds")),
            (Some(kind), Some(stream)) if category(stream) != kind.category => {
                wrong(Damage::Value {
                    column: "kind_id",
                    why: format!("is a kind of the category {:?}, which is not that of its stream", kind.category),
                });
            }
            _ => {}
        }
        let Some(stored) = numbers.checksum else { return Ok(None) };
        self.before = Before::Known { stored, computed: stored };
        let (Some(version), Some(schema_version), Some(id), Some(occurred_at), Some(recorded_at)) =
            (numbers.version, numbers.schema_version, &numbers.id, numbers.occurred_at, numbers.recorded_at)
        else {
            return Ok(Some(stored));
        };
        let (Some(stream), Some(kind), Some(metadata), Some(data)) = (stream, kind, metadata, data) else {
            return Ok(Some(stored));
        };
        let mut content = Content {
            before: 0,
            position: at.get(),
            version: version.cast_unsigned(),
            schema_version,
            occurred_at,
            recorded_at,
            id,
            stream: stream.as_bytes(),
            event_type: &kind.event_type,
            metadata,
            data,
        };
        if let Before::Known { stored: stored_before, computed } = before {
            content.before = stored_before;
            let mut own = self.checksums.of(&content);
            // When the checksum before is what was changed, this event is not to blame.
            if own != stored && computed != stored_before {
                content.before = computed;
                own = self.checksums.of(&content);
            }
            if own != stored {
                wrong(Damage::Changed);
            } else {
                if recorded_at < self.recorded_at {
                    wrong(Damage::RecordedBack);
                }
                self.recorded_at = recorded_at;
            }
            self.before = Before::Known { stored, computed: own };
        }
        Ok(Some(stored))
    }

    fn stream(&mut self, id: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if self.stream.id != id {
            let name = match self.streams.get(&id) {
                Some(name) => name.clone(),
                None => {
                    let name = stream_name(self.connection, id)?;
                    self.streams.insert(id, name.clone());
                    name
                }
            };
            self.stream = Stream { id, name };
        }
        Ok(self.stream.name.clone())
    }

    /// Compares the end of the events with the head, and with what was written down.
    pub(super) fn finish(mut self) -> Seen {
        self.findings.begin(Part::Ends);
        if let Some(head) = self.head {
            if self.next <= head.position.to_sql() {
                let first = Position::from_sql(self.next);
                self.findings.add(Finding::between(first, head.position, Damage::Missing));
            }
            if let Some(checksum) = self.head_checksum.filter(|checksum| *checksum != head.checksum) {
                let why = format!("it has checksum {:016x}, the event there has {checksum:016x}", head.checksum);
                self.findings.add(Finding::at(head.position, Damage::Head(why)));
            }
        }
        if let Some(expected) = self.expected
            && self.found != Some(expected.checksum)
        {
            let damage = Damage::Anchor { expected: expected.checksum, found: self.found };
            self.findings.add(Finding::at(expected.position, damage));
        }
        for kind in self.kinds.iter().filter(|kind| kind.block.is_none()) {
            let event_type = String::from_utf8_lossy(&kind.event_type);
            let why = format!("no event is of its kind {} ({} {event_type})", kind.id, kind.category);
            self.findings.add(Finding::index("kinds", why));
        }
        std::mem::take(&mut self.seen)
    }
}
