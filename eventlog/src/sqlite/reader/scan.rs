//! Parts of the whole log, either way, with what is not wanted left out inside the engine.

use std::{collections::HashSet, ops::ControlFlow};

use rusqlite::OptionalExtension;

use super::{BLOCK_POSITIONS, COLUMNS, ReadConnection};
use crate::{Direction, EventRef, Filter, Position, READ_BYTES_MAX, ReadError, StreamId, Version, read::Scan};

/// Blocks that one filtered read looks at, so that no read holds its snapshot for long.
const BLOCKS_A_READ_MAX: u64 = 256;

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
}

struct Visited {
    events: usize,
    seen: Option<Position>,
}
