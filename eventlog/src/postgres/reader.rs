//! Reading: each statement is a snapshot of its own. What has been read never changes, so that a read of several
//! statements is as good as one.

mod chunk;
mod copy;
mod lookup;
mod names;
mod pool;

use std::ops::ControlFlow;

pub(crate) use self::pool::ReadPool;
use self::{chunk::Wanted, pool::Lease};
use crate::{Direction, EventRef, Position, READ_BYTES_MAX, ReadError, Scan, read::StreamRead};

/// Positions that a filtered read looks at first; each further look is at so many times more, until there is enough.
const WINDOW_FIRST: u64 = 8_192;
const WINDOW_GROWTH: u64 = 4;

impl ReadPool {
    /// Visits the wanted events of `scan` until `visit` breaks or [`READ_BYTES_MAX`] are reached; answers the position up
    /// to which everything wanted has been visited.
    /// Nothing is read beyond the head that this node knows.
    pub(crate) async fn scan(
        &self,
        scan: &Scan,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Position, ReadError> {
        let (mut left, mut bytes) = (scan.limit, 0);
        let mut visit = |event: &EventRef<'_>| {
            left -= 1;
            bytes += event.data.len() + event.metadata.len();
            match visit(event) {
                ControlFlow::Continue(()) if left > 0 && bytes < READ_BYTES_MAX => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        let (mut lease, head) = (self.lease().await?, self.head()?);
        // As a range of positions: those after `low` up to `high`.
        let (low, high) = match scan.direction {
            Direction::Forward => (scan.after, scan.until.min(head)),
            Direction::Backward => (scan.until.max(Position::new(1)).before(), scan.after.before().min(head)),
        };
        if low >= high || scan.limit == 0 {
            let is_below = scan.direction == Direction::Backward && scan.limit > 0 && low < scan.after.before();
            return Ok(if is_below { low.plus(1) } else { scan.after });
        }
        let stopped = match &scan.filter {
            filter if filter.stream.is_some() => self.scan_stream(&mut lease, scan, (low, high), &mut visit).await?,
            filter if filter.is_by_kind() => self.scan_kinds(&mut lease, scan, (low, high), &mut visit).await?,
            _ => {
                let wanted = Wanted::Positions(low, high);
                self.visit_all(&mut lease, (wanted, scan.direction, scan.limit), &mut visit).await?
            }
        };
        lease.done();
        Ok(stopped.unwrap_or(match scan.direction {
            Direction::Forward => high,
            Direction::Backward => low.plus(1),
        }))
    }

    /// In windows that grow until they hold enough, so that frequent kinds cost little and rare ones few looks.
    async fn scan_kinds(
        &self,
        lease: &mut Lease<'_>,
        scan: &Scan,
        (mut low, mut high): (Position, Position),
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Position>, ReadError> {
        let kinds = self.kinds_of(lease, (&scan.filter, high)).await?;
        let mut window = WINDOW_FIRST;
        while low < high && !kinds.is_empty() {
            let (from, to) = match scan.direction {
                Direction::Forward => (low, high.min(low.plus(window))),
                Direction::Backward => (low.max(Position::new(high.get().saturating_sub(window))), high),
            };
            let wanted = Wanted::Kinds(kinds.clone(), from, to);
            if let Some(stopped) = self.visit_all(lease, (wanted, scan.direction, scan.limit), visit).await? {
                return Ok(Some(stopped));
            }
            match scan.direction {
                Direction::Forward => low = to,
                Direction::Backward => high = from,
            }
            window = window.saturating_mul(WINDOW_GROWTH);
        }
        Ok(None)
    }

    async fn scan_stream(
        &self,
        lease: &mut Lease<'_>,
        scan: &Scan,
        (low, high): (Position, Position),
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Position>, ReadError> {
        let Some(stream) = &scan.filter.stream else { return Ok(None) };
        let Some(id) = self.stream_number(lease, stream).await? else { return Ok(None) };
        let from = self.first_version_after(lease, id, low).await?;
        let end = self.first_version_after(lease, id, high).await?;
        let (category, filter) = (stream.category(), &scan.filter);
        let mut visit = |event: &EventRef<'_>| match filter.takes(category, event.event_type) {
            true => visit(event),
            false => ControlFlow::Continue(()),
        };
        self.visit_all(lease, (Wanted::Stream(id, from, end), scan.direction, usize::MAX), &mut visit).await
    }

    /// Visits a stream's events from a version on (or down from it), until `visit` breaks.
    pub(crate) async fn read_stream(
        &self,
        read: &StreamRead,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut lease = self.lease().await?;
        if let Some(id) = self.stream_number(&mut lease, &read.stream).await?
            && read.limit > 0
        {
            let end = i64::MAX.cast_unsigned();
            let wanted = match (read.from, read.direction) {
                (from, Direction::Forward) => Wanted::Stream(id, from.unwrap_or(0).min(end), end),
                (from, Direction::Backward) => {
                    Wanted::Stream(id, 0, from.map_or(end, |from| from.saturating_add(1).min(end)))
                }
            };
            self.visit_all(&mut lease, (wanted, read.direction, read.limit), visit).await?;
        }
        lease.done();
        Ok(())
    }

    /// Visits all that is wanted, piece by piece; where it stopped, when `visit` broke.
    async fn visit_all(
        &self,
        lease: &mut Lease<'_>,
        (mut wanted, direction, mut limit): (Wanted, Direction, usize),
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Position>, ReadError> {
        while limit > 0 {
            let chunk = self.chunk(lease, (&wanted, direction, limit)).await?;
            if let Some(stopped) = chunk.visit(visit)? {
                return Ok(Some(stopped));
            }
            let Some((position, version)) = chunk.last() else { break };
            if matches!(wanted, Wanted::Stream(..)) {
                self.seen(position);
            }
            if chunk.is_last {
                break;
            }
            limit -= chunk.len();
            match (&mut wanted, direction) {
                (Wanted::Positions(low, _) | Wanted::Kinds(_, low, _), Direction::Forward) => *low = position,
                (Wanted::Positions(_, high) | Wanted::Kinds(_, _, high), Direction::Backward) => {
                    *high = position.before();
                }
                (Wanted::Stream(_, from, _), Direction::Forward) => *from = version + 1,
                (Wanted::Stream(_, _, end), Direction::Backward) => *end = version,
            }
        }
        Ok(None)
    }
}
