//! The tables that lead to events, compared with the events themselves.
//!
//! First by sums, in one pass over each table; only where these differ, places are looked for one by one.

use rusqlite::{Connection, Row, types::ValueRef};

use super::{events::Seen, is_damage, row::stream_name, sum::Sum};
use crate::finding::{Finding, Findings, Part};
use crate::{Position, StreamId};

/// Places that are named when a whole index does not fit.
const PLACES_MAX: usize = 20;

const STREAM_RUNS: &str = "stream_runs";
const ID_RUNS: &str = "id_runs";
const KIND_BLOCKS: &str = "kind_blocks";

/// Compares the indexes with what was seen of the events.
pub(super) fn check(connection: &Connection, findings: &mut Findings, seen: &Seen) -> rusqlite::Result<()> {
    let mut indexes = Indexes { connection, findings, last: seen.last.position.to_sql() };
    indexes.findings.begin(Part::Streams);
    if let Some(found) = indexes.read(STREAM_RUNS, Indexes::stream_runs)?
        && found != seen.streams
    {
        indexes.read(STREAM_RUNS, Indexes::events_without_run)?;
        indexes.read(STREAM_RUNS, Indexes::runs_without_events)?;
    }
    indexes.read("streams", Indexes::streams_without_events)?;
    indexes.findings.begin(Part::Ids);
    if let Some(found) = indexes.read(ID_RUNS, Indexes::id_runs)?
        && found != seen.ids
    {
        indexes.read(ID_RUNS, Indexes::events_without_id)?;
        indexes.read(ID_RUNS, Indexes::ids_without_events)?;
    }
    indexes.findings.begin(Part::Kinds);
    if let Some(found) = indexes.read(KIND_BLOCKS, Indexes::kind_blocks)?
        && found != seen.blocks
    {
        indexes.read(KIND_BLOCKS, Indexes::events_without_block)?;
        indexes.read(KIND_BLOCKS, Indexes::blocks_without_events)?;
    }
    Ok(())
}

struct Indexes<'a> {
    connection: &'a Connection,
    findings: &'a mut Findings,
    /// The last event's position.
    last: i64,
}

impl Indexes<'_> {
    /// Runs one pass; `None` when the table cannot be read, which is a finding.
    fn read<T>(
        &mut self,
        table: &'static str,
        pass: fn(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        match pass(self) {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_damage(&error) => {
                self.findings.add(Finding::index(table, format!("it cannot be read: {error}")));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn in_stream(&self, finding: Finding, stream_id: i64, version: i64) -> rusqlite::Result<Finding> {
        let stream = stream_name(self.connection, stream_id)?.map(StreamId::new);
        Ok(finding.in_stream(stream, u64::try_from(version).ok()))
    }

    /// Runs of a stream follow on one another, from version 0, at rising positions.
    fn stream_runs(&mut self) -> rusqlite::Result<Sum> {
        let mut sum = Sum::default();
        let mut select = self
            .connection
            .prepare("SELECT stream_id, version, position, count FROM stream_runs ORDER BY stream_id, version")?;
        let mut rows = select.query([])?;
        let (mut stream, mut next, mut after) = (i64::MIN, 0, 0);
        let mut events = 0;
        while let Some(row) = rows.next()? {
            let (stream_id, version): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (position, count): (i64, i64) = (row.get(2)?, row.get(3)?);
            if stream_id != stream {
                (stream, next, after) = (stream_id, 0, 0);
            }
            let why = if version != next {
                Some(format!("a run begins at version {version}, version {next} comes next"))
            } else if !self.is_range(position, count) {
                Some(format!("a run of {count} at position {position} is not within the log"))
            } else if position <= after {
                Some(format!("version {version} at position {position} comes after position {after}"))
            } else {
                None
            };
            if let Some(why) = why {
                let finding = self.in_stream(place(STREAM_RUNS, position, why), stream_id, version)?;
                self.findings.add(finding);
            }
            if self.is_range(position, count) && self.has_room(&mut events, count, STREAM_RUNS) {
                for offset in 0..count {
                    sum.add(stream_id, version.wrapping_add(offset), position + offset);
                }
                after = position + count - 1;
            }
            next = version.saturating_add(count);
        }
        Ok(sum)
    }

    fn events_without_run(&mut self) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT e.position, e.stream_id, e.version FROM events e WHERE coalesce(
             (SELECT r.position - r.version = e.position - e.version AND e.version < r.version + r.count
              FROM stream_runs r WHERE r.stream_id = e.stream_id AND r.version <= e.version
              ORDER BY r.version DESC LIMIT 1), 0) = 0 LIMIT ?1",
        )?;
        let mut rows = select.query([PLACES_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let why = "it does not lead to the event".to_owned();
            let finding = self.in_stream(place(STREAM_RUNS, row.get(0)?, why), row.get(1)?, row.get(2)?)?;
            self.findings.add(finding);
        }
        Ok(())
    }

    fn runs_without_events(&mut self) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT r.stream_id, r.version, r.position, r.count FROM stream_runs r WHERE r.count <>
             (SELECT count(*) FROM events e WHERE e.position >= r.position AND e.position < r.position + r.count
              AND e.stream_id = r.stream_id AND e.version - e.position = r.version - r.position) LIMIT ?1",
        )?;
        let mut rows = select.query([PLACES_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let (version, position, count): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let why = format!("its run of {count} from version {version} is not what stands there");
            let finding = self.in_stream(place(STREAM_RUNS, position, why), row.get(0)?, version)?;
            self.findings.add(finding);
        }
        Ok(())
    }

    /// Runs of ids do not overlap: with sums that are the same, no id occurs twice.
    fn id_runs(&mut self) -> rusqlite::Result<Sum> {
        let mut sum = Sum::default();
        let mut select = self.connection.prepare("SELECT id, position, count FROM id_runs ORDER BY id")?;
        let mut rows = select.query([])?;
        let mut next = Some(0_u128);
        let mut events = 0;
        while let Some(row) = rows.next()? {
            let (position, count): (i64, i64) = (row.get(1)?, row.get(2)?);
            let Some(id) = id_of(row, 0)? else {
                self.findings.add(place(ID_RUNS, position, "an id has not 16 bytes".to_owned()));
                continue;
            };
            if next.is_none_or(|next| id < next) {
                let why = format!("the id {} is in two of its runs", uuid::Uuid::from_u128(id));
                self.findings.add(place(ID_RUNS, position, why));
            }
            if !self.is_range(position, count) {
                let why = format!("a run of {count} at position {position} is not within the log");
                self.findings.add(place(ID_RUNS, position, why));
                continue;
            }
            if !self.has_room(&mut events, count, ID_RUNS) {
                break;
            }
            for offset in 0..count {
                sum.add_id(id.wrapping_add(offset.cast_unsigned().into()), position + offset);
            }
            next = id.checked_add(count.cast_unsigned().into());
        }
        Ok(sum)
    }

    fn events_without_id(&mut self) -> rusqlite::Result<()> {
        let mut find = self
            .connection
            .prepare("SELECT id, position, count FROM id_runs WHERE id <= ?1 ORDER BY id DESC LIMIT 1")?;
        let mut select = self.connection.prepare("SELECT position, id FROM events")?;
        let mut rows = select.query([])?;
        let mut places = 0;
        while let Some(row) = rows.next()?
            && places < PLACES_MAX
        {
            let position: i64 = row.get(0)?;
            let Some(id) = id_of(row, 1)? else { continue };
            let mut run = find.query([&id.to_be_bytes()[..]])?;
            let leads = match run.next()? {
                Some(run) => {
                    let (at, count): (i64, i64) = (run.get(1)?, run.get(2)?);
                    let offset = id_of(run, 0)?.and_then(|first| i64::try_from(id.wrapping_sub(first)).ok());
                    offset.is_some_and(|offset| offset < count && at.checked_add(offset) == Some(position))
                }
                None => false,
            };
            if !leads {
                places += 1;
                let why = format!("the id {} does not lead to the event", uuid::Uuid::from_u128(id));
                self.findings.add(place(ID_RUNS, position, why));
            }
        }
        Ok(())
    }

    fn ids_without_events(&mut self) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare("SELECT id FROM events WHERE position = ?1")?;
        let mut select = self.connection.prepare("SELECT id, position, count FROM id_runs")?;
        let mut rows = select.query([])?;
        let mut places = 0;
        while let Some(row) = rows.next()?
            && places < PLACES_MAX
        {
            let (position, count): (i64, i64) = (row.get(1)?, row.get(2)?);
            let Some(first) = id_of(row, 0)?.filter(|_| self.is_range(position, count)) else { continue };
            for offset in 0..count {
                let id = first.wrapping_add(offset.cast_unsigned().into());
                let mut event = find.query([position + offset])?;
                let is_there = match event.next()? {
                    Some(event) => id_of(event, 0)? == Some(id),
                    None => false,
                };
                if !is_there {
                    places += 1;
                    let why = format!("the id {} is not that of the event there", uuid::Uuid::from_u128(id));
                    self.findings.add(place(ID_RUNS, position + offset, why));
                    break;
                }
            }
        }
        Ok(())
    }

    fn kind_blocks(&mut self) -> rusqlite::Result<Sum> {
        let mut sum = Sum::default();
        let mut select = self.connection.prepare("SELECT kind_id, block FROM kind_blocks")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            sum.add(row.get(0)?, row.get(1)?, 0);
        }
        Ok(sum)
    }

    fn events_without_block(&mut self) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT e.position, e.kind_id FROM events e WHERE NOT EXISTS
             (SELECT 1 FROM kind_blocks k WHERE k.kind_id = e.kind_id AND k.block = (e.position - 1) / 1024) LIMIT ?1",
        )?;
        let mut rows = select.query([PLACES_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let why = format!("a read by kind {} does not find the event", row.get::<_, i64>(1)?);
            self.findings.add(place(KIND_BLOCKS, row.get(0)?, why));
        }
        Ok(())
    }

    fn blocks_without_events(&mut self) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT k.kind_id, k.block FROM kind_blocks k WHERE NOT EXISTS
             (SELECT 1 FROM events e WHERE e.position > k.block * 1024 AND e.position <= k.block * 1024 + 1024
              AND e.kind_id = k.kind_id) LIMIT ?1",
        )?;
        let mut rows = select.query([PLACES_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let (kind, block): (i64, i64) = (row.get(0)?, row.get(1)?);
            let why = format!("it says that kind {kind} is in block {block}, and no event there is");
            self.findings.add(Finding::index(KIND_BLOCKS, why));
        }
        Ok(())
    }

    fn streams_without_events(&mut self) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT s.stream_id FROM streams s WHERE NOT EXISTS
             (SELECT 1 FROM stream_runs r WHERE r.stream_id = s.stream_id) LIMIT ?1",
        )?;
        let mut rows = select.query([PLACES_MAX as i64])?;
        while let Some(row) = rows.next()? {
            let stream_id: i64 = row.get(0)?;
            let why = format!("no event is of the stream with the number {stream_id}");
            let stream = stream_name(self.connection, stream_id)?.map(StreamId::new);
            self.findings.add(Finding::index("streams", why).in_stream(stream, None));
        }
        Ok(())
    }

    /// Whether an index with `count` more is still one of no more events than there are: what is added up has an end,
    /// whatever a damaged row says.
    fn has_room(&mut self, events: &mut i64, count: i64, table: &'static str) -> bool {
        let had_room = *events <= self.last;
        *events = events.saturating_add(count);
        let has_room = *events <= self.last;
        if had_room && !has_room {
            self.findings.add(Finding::index(table, format!("it holds more than the {} events of the log", self.last)));
        }
        has_room
    }

    /// Whether a run of `count` from `position` on is within the log.
    fn is_range(&self, position: i64, count: i64) -> bool {
        position >= 1 && count >= 1 && count <= self.last && position <= self.last - count + 1
    }
}

fn place(table: &'static str, position: i64, why: String) -> Finding {
    let at = Position::new(u64::try_from(position).unwrap_or(0));
    Finding { positions: Some((at, at)), ..Finding::index(table, why) }
}

fn id_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u128>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(id) => id.try_into().ok().map(u128::from_be_bytes),
        _ => None,
    })
}
