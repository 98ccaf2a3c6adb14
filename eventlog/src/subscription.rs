//! Reading on and on: first what is there, then whatever comes.

use std::num::NonZeroUsize;

use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{EventRef, Filter, Log, Page, Position, ReadError, Scan};

impl Log {
    /// Everything wanted after `after`, page by page, for ever: catches up, then waits for what is appended. A page
    /// may hold no event and still move `next_after` on. Each event comes once, in the order of positions.
    ///
    /// Nothing is read ahead: a subscriber that stops asking costs no memory and slows no writer down.
    pub fn subscribe<T: Send + 'static>(
        &self,
        after: Position,
        filter: Filter,
        page_events: NonZeroUsize,
        map: impl Fn(&EventRef<'_>) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Page<T>, ReadError>> + Send + 'static {
        let log = self.clone();
        let head = self.watch_head();
        stream::try_unfold((log, head, after, filter, map), move |(log, mut head, after, filter, map)| async move {
            if *head.borrow_and_update() <= after {
                let grown = head.wait_for(|head| *head > after).await;
                if grown.is_err() {
                    return Ok(None);
                }
            }
            let page = log.read_all_with(after, page_events.get(), &filter, map.clone()).await?;
            let next_after = page.next_after;
            Ok(Some((page, (log, head, next_after, filter, map))))
        })
    }

    /// Everything from after `after` up to `last`, decoded by `map`, as fast as the machine reads: positions have no
    /// gaps, so that several parts of the log are read side by side and handed on in order.
    pub fn replay<T: Send + 'static>(
        &self,
        after: Position,
        last: Position,
        map: impl Fn(&EventRef<'_>) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Vec<T>, ReadError>> + Send + 'static {
        let collect = move |events: &mut Vec<T>, event: &EventRef<'_>| events.push(map(event));
        let parts = self.parts(after, last, Filter::all(), || Vec::with_capacity(REPLAY_PART_EVENTS), collect);
        parts.map_ok(|(_, events)| events)
    }

    /// As [`replay`](Self::replay), with the wanted events of each part folded into a value of their own, made by
    /// `empty`. Each comes with the position that it came to; parts without events come as well. A part with large
    /// events comes as several values, none of more than [`READ_BYTES_MAX`] and the event that went beyond.
    ///
    /// [`READ_BYTES_MAX`]: crate::READ_BYTES_MAX
    pub fn parts<S: Send + 'static>(
        &self,
        after: Position,
        last: Position,
        filter: Filter,
        empty: impl Fn() -> S + Clone + Send + 'static,
        fold: impl Fn(&mut S, &EventRef<'_>) + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<(Position, S), ReadError>> + Send + 'static {
        let log = self.clone();
        let last = last.min(self.head());
        let read = move |from: u64| {
            let until = Position::new(from).plus(REPLAY_PART_EVENTS as u64).min(last);
            let scan = Scan::forward(Position::new(from), until, filter.clone());
            let mut values = Box::pin(values(log.clone(), scan, empty.clone(), fold.clone()));
            // What is left after the first value, seldom anything, is read when its turn has come.
            async move { stream::iter(values.next().await).chain(values) }
        };
        stream::iter((after.get()..last.get()).step_by(REPLAY_PART_EVENTS)).map(read).buffered(REPLAY_READERS).flatten()
    }
}

/// Folds all that `scan` wants, as often as the log ends early into another value.
fn values<S: Send + 'static>(
    log: Log,
    scan: Scan,
    empty: impl Fn() -> S + Clone + Send + 'static,
    fold: impl Fn(&mut S, &EventRef<'_>) + Clone + Send + 'static,
) -> impl Stream<Item = Result<(Position, S), ReadError>> + Send + 'static {
    stream::try_unfold(scan, move |mut scan| {
        let (log, empty, fold) = (log.clone(), empty.clone(), fold.clone());
        async move {
            if scan.is_over() {
                return Ok(None);
            }
            let (folded, seen) = log.fold(scan.clone(), empty(), fold).await?;
            scan.after = seen;
            Ok(Some(((seen, folded), scan)))
        }
    })
}

/// Events read as one part of a replay: few enough to stay in the processor's cache on their way through.
const REPLAY_PART_EVENTS: usize = 1_024;
/// Parts read side by side; one connection is left to others.
const REPLAY_READERS: usize = 3;
