//! Reading and decoding ahead, on other threads, while the batches before are folded and written.

use std::num::NonZeroUsize;

use daybook_eventlog::{EventRef, Filter, Log, Position, ReadError};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::{Decoded, projection::Undecodable};

/// Events read at once.
const PAGE_EVENTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Pages that wait between the reader and the fold.
const PAGES_AHEAD: usize = 16;

/// Events as they were read, in the order of the log.
pub(super) type Events = Vec<Result<Decoded, Undecodable>>;

/// A stretch of the log without a gap.
pub(super) struct Page {
    pub(super) events: Events,
    /// Its last position.
    pub(super) reached: Position,
}

/// Pages on their way.
pub(super) type Pages = mpsc::Receiver<Result<Page, ReadError>>;

/// Reads what comes after `after`: up to `last`, or for ever. Of the pages that are asked for without end, the last
/// one is always an error: [`ReadError::Closed`] when the log was closed.
pub(super) fn read_ahead(log: Log, after: Position, last: Option<Position>) -> Pages {
    let (pages, waiting) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let head = last.unwrap_or_else(|| log.head());
        let collect = |events: &mut Events, event: &EventRef<'_>| events.push(Decoded::read(event));
        let mut seen = after;
        let mut parts = Box::pin(log.parts(after, head, Filter::all(), Vec::new, collect));
        while let Some(part) = parts.next().await {
            let page = part.and_then(|(reached, events)| gapless(seen, reached, events));
            seen = page.as_ref().map_or(seen, |page| page.reached);
            let has_failed = page.is_err();
            if pages.send(page).await.is_err() || has_failed {
                return;
            }
        }
        if last.is_some() {
            return;
        }
        let mut live = Box::pin(log.subscribe(seen, Filter::all(), PAGE_EVENTS, Decoded::read));
        loop {
            // Without a look at the other end this task would hold the log until the next append.
            let page = tokio::select! {
                () = pages.closed() => return,
                page = live.next() => page,
            };
            let page = match page {
                Some(page) => page.and_then(|page| gapless(seen, page.next_after, page.events)),
                None => Err(ReadError::Closed),
            };
            seen = page.as_ref().map_or(seen, |page| page.reached);
            let has_failed = page.is_err();
            if pages.send(page).await.is_err() || has_failed {
                return;
            }
        }
    });
    waiting
}

/// An event that is missing must not go unnoticed: what follows it would be applied without it.
fn gapless(after: Position, reached: Position, events: Events) -> Result<Page, ReadError> {
    if events.len() as u64 == reached.get().saturating_sub(after.get()) {
        return Ok(Page { events, reached });
    }
    let found = events.len();
    Err(ReadError::Corrupt(format!(
        "of the events after {after} up to {reached} there are {found}: daybook log verify"
    )))
}
