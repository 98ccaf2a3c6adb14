//! The log, read and decoded ahead of the folds, and cut into batches.

use std::num::NonZeroUsize;

use daybook_eventlog::{Filter, Log, Page, Position, ReadError};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::{Decoded, projection::Undecodable};

/// Events written in one transaction when catching up; a few at a time when live.
const BATCH_EVENTS_MAX: usize = 30_000;
/// With more than so many events missing, a batch waits for the next page: large transactions catch up faster. With
/// fewer it is written at once, because somebody may be waiting for it.
const CATCHING_UP_EVENTS: u64 = 8_192;
/// Events read at once.
const PAGE_EVENTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Pages that wait between the reader and the fold.
const PAGES_AHEAD: usize = 32;

/// What was read, or why there is no more.
type ReadPage = Result<Page<Result<Decoded, Undecodable>>, ReadError>;

/// Reads and decodes on other threads while the batches before are folded and written.
pub(super) fn read_ahead(log: Log, after: Position, last: Option<Position>) -> mpsc::Receiver<ReadPage> {
    let (pages, waiting) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(async move {
        let head = last.map_or_else(|| log.head(), |last| last.min(log.head()));
        let mut after = after;
        if after < head {
            let mut parts = Box::pin(log.replay(after, head, Decoded::read));
            while let Some(part) = parts.next().await {
                let page = part.map(|events| {
                    after = after.plus(events.len() as u64);
                    Page { events, next_after: after }
                });
                let failed = page.is_err();
                if pages.send(page).await.is_err() || failed {
                    return;
                }
            }
        }
        if last.is_some() {
            return;
        }
        let mut live = Box::pin(log.subscribe(after, Filter::all(), PAGE_EVENTS, Decoded::read));
        loop {
            // Without a look at the other end this task would hold the log until the next append.
            let page = tokio::select! {
                () = pages.closed() => return,
                page = live.next() => page,
            };
            let Some(page) = page else { return };
            let failed = page.is_err();
            if pages.send(page).await.is_err() || failed {
                return;
            }
        }
    });
    waiting
}

/// What is there of pages, as one batch.
pub(super) async fn gather(
    log: &Log,
    first: ReadPage,
    pages: &mut mpsc::Receiver<ReadPage>,
) -> Result<(Vec<Result<Decoded, Undecodable>>, Position), ReadError> {
    let Page { mut events, next_after: mut reached } = first?;
    while events.len() < BATCH_EVENTS_MAX {
        let mut next = pages.try_recv().ok();
        let missing = log.head().get().saturating_sub(reached.get());
        if next.is_none() && missing > CATCHING_UP_EVENTS {
            next = pages.recv().await;
        }
        let Some(page) = next else { break };
        let page = page?;
        reached = page.next_after;
        events.extend(page.events);
    }
    Ok((events, reached))
}
