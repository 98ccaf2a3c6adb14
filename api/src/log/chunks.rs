//! The log as a stream of chunks: a bounded piece of memory, whatever the length of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daybook_eventlog::{Direction, Filter, Log, Position, ReadError, Scan};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::encode::{Batch, CHUNK_EVENTS_MAX, Chunk, Format, Room};

/// Chunks that are read at the same time, whoever they are for: the engine's other connections are for requests.
const READS_MAX: usize = 3;
/// Bodies of which each may read ahead; the chunks that are read ahead take memory.
const AHEAD_BODIES_MAX: usize = 8;

/// Reads chunks for all bodies that are streamed. Cheap to clone.
#[derive(Clone)]
pub struct ChunkReader(Arc<Shared>);

struct Shared {
    log: Log,
    reads: Semaphore,
    ahead: AtomicUsize,
}

impl ChunkReader {
    pub fn new(log: Log) -> Self {
        Self(Arc::new(Shared { log, reads: Semaphore::new(READS_MAX), ahead: AtomicUsize::new(0) }))
    }

    /// Everything that `scan` wants, encoded in its order. Upwards and unfiltered, several parts are read side by side.
    pub fn chunks(&self, scan: Scan, format: Format) -> BoxStream<'static, Result<Chunk, ReadError>> {
        let whole = scan.direction == Direction::Forward && scan.filter == Filter::all();
        match if whole { Ahead::allowed(&self.0) } else { None } {
            Some(ahead) => self.side_by_side(scan, format, ahead).boxed(),
            None => self.one_by_one(scan, format).boxed(),
        }
    }

    /// One chunk from where `scan` begins.
    pub async fn chunk(&self, scan: Scan, format: Format) -> Result<Chunk, ReadError> {
        let reader = self.clone();
        // A task of its own: who waits for chunks may stop asking at any time, and must not keep a turn meanwhile.
        let read = tokio::spawn(async move {
            let _turn = reader.turn().await?;
            let scan = scan.limit(CHUNK_EVENTS_MAX);
            let (batch, reached) = reader.0.log.fold_until(scan, Batch::new(format, Room::CHUNK), Batch::add).await?;
            Ok(Chunk { last: batch.last(), bytes: batch.into_bytes().into(), reached })
        });
        read.await.unwrap_or(Err(ReadError::Closed))
    }

    /// Waits for a turn to read a chunk.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, ReadError> {
        self.0.reads.acquire().await.map_err(|_| ReadError::Closed)
    }

    fn one_by_one(&self, scan: Scan, format: Format) -> impl Stream<Item = Result<Chunk, ReadError>> + use<> {
        let begin = (self.clone(), scan);
        stream::try_unfold(begin, move |(reader, mut scan)| async move {
            if scan.is_over() {
                return Ok(None);
            }
            let chunk = reader.chunk(scan.clone(), format).await?;
            scan.after = chunk.reached;
            Ok(Some((chunk, (reader, scan))))
        })
    }

    /// Positions have no gaps: parts of as many positions as a chunk has events each make a chunk, and more than one
    /// only when the events are large.
    fn side_by_side(
        &self,
        scan: Scan,
        format: Format,
        ahead: Ahead,
    ) -> impl Stream<Item = Result<Chunk, ReadError>> + use<> {
        let reader = self.clone();
        let starts = (scan.after.get()..scan.until.get()).step_by(CHUNK_EVENTS_MAX);
        let read = move |after: u64| {
            // Held as long as anything is read ahead.
            let _ahead = &ahead;
            let until = Position::new(after).plus(CHUNK_EVENTS_MAX as u64).min(scan.until);
            let part = Scan::forward(Position::new(after), until, Filter::all());
            let reader = reader.clone();
            async move {
                let first = reader.chunk(part.clone(), format).await;
                (reader, part, first)
            }
        };
        stream::iter(starts).map(read).buffered(READS_MAX).flat_map(move |(reader, mut part, first)| {
            part.after = first.as_ref().map_or(part.until, |chunk| chunk.reached);
            stream::once(async move { first }).chain(reader.one_by_one(part, format))
        })
    }
}

/// The right to read ahead, which few have at the same time.
struct Ahead(Arc<Shared>);

impl Ahead {
    fn allowed(shared: &Arc<Shared>) -> Option<Self> {
        let more = |bodies| (bodies < AHEAD_BODIES_MAX).then_some(bodies + 1);
        shared.ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.ahead.fetch_sub(1, Ordering::Relaxed);
    }
}
