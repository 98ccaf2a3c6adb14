//! The newest events, read and encoded once for all subscribers.
//!
//! One task follows the log's head while anybody subscribes. What it reads goes into a ring of stretches; a
//! subscriber that falls behind the ring reads from the log.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use daybook_eventlog::{EventRef, Filter, Log, Position, ReadError, Scan, StreamId};
use daybook_projections::supervised;
use tokio::sync::watch;

use super::encode::{Batch, CHUNK_EVENTS_MAX, Format, Room};

/// Bytes of the ring.
const RING_BYTES_MAX: usize = 8 << 20;

/// How long a database that is away is left alone.
pub const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// The shared tail. Cheap to clone.
#[derive(Clone)]
pub struct Tail(Arc<Shared>);

struct Shared {
    log: Log,
    ring: Mutex<Ring>,
    moved: watch::Sender<Moved>,
}

/// How far the tail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The last position in the ring.
    pub to: Position,
    /// The log could not be read: nothing more comes.
    pub failed: bool,
}

#[derive(Default)]
struct Ring {
    stretches: VecDeque<Arc<Stretch>>,
    bytes: usize,
    /// Bytes of frames that were ever added.
    added: u64,
    /// What is above is in the ring, up to `to`.
    after: Position,
    to: Position,
    followers: usize,
    /// Which task fills the ring: one that was given up must not.
    generation: u64,
}

/// A part of the log as frames.
pub struct Stretch {
    to: Position,
    bytes: Bytes,
    frames: Vec<Frame>,
    /// Bytes of frames that the ring had taken before.
    before: u64,
}

/// An event's place in the bytes of its stretch, and what filters look at.
struct Frame {
    position: Position,
    event_type: Arc<str>,
    stream: StreamId,
    end: usize,
}

/// What the tail has after a position.
pub enum Next {
    /// Nothing yet.
    Nothing,
    /// This; positions and bytes that the ring has from here on, the stretch's among them.
    Stretch { stretch: Arc<Stretch>, positions: u64, bytes: u64 },
    /// It is too old for the ring.
    Older,
}

/// Somebody who follows the tail: the ring is kept as long as there is one.
pub struct Follower {
    tail: Tail,
    moved: watch::Receiver<Moved>,
}

impl Tail {
    pub fn new(log: Log) -> Self {
        let moved = Moved { to: Position::START, failed: false };
        Self(Arc::new(Shared { log, ring: Mutex::default(), moved: watch::Sender::new(moved) }))
    }

    /// Follows it; the first one starts the task, at the log's head.
    pub fn follow(&self) -> Follower {
        let mut ring = self.0.lock();
        ring.followers += 1;
        if ring.followers == 1 || self.0.moved.borrow().failed {
            let head = self.0.log.head();
            ring.restart(head);
            self.0.moved.send_replace(Moved { to: head, failed: false });
            let (shared, generation) = (Arc::clone(&self.0), ring.generation);
            tokio::spawn(supervised("log-tail", move || fill(Arc::clone(&shared), generation)));
        }
        Follower { tail: self.clone(), moved: self.0.moved.subscribe() }
    }
}

impl Follower {
    /// What comes after `position`.
    pub fn next(&self, position: Position) -> Next {
        let ring = self.tail.0.lock();
        if position >= ring.to {
            return Next::Nothing;
        }
        if position < ring.after {
            return Next::Older;
        }
        let place = ring.stretches.partition_point(|stretch| stretch.to <= position);
        let Some(stretch) = ring.stretches.get(place) else { return Next::Older };
        let bytes = ring.added - stretch.before;
        Next::Stretch { stretch: Arc::clone(stretch), positions: ring.to.get() - position.get(), bytes }
    }

    /// Waits until there is something after `position`, or never will be.
    pub async fn moved(&mut self, position: Position) -> Moved {
        let moved = self.moved.wait_for(|moved| moved.to > position || moved.failed).await;
        // The sender lives as long as the tail that is held here.
        moved.map_or(Moved { to: position, failed: true }, |moved| *moved)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut ring = self.tail.0.lock();
        ring.followers -= 1;
        if ring.followers == 0 {
            let to = ring.to;
            ring.restart(to);
        }
    }
}

impl Stretch {
    /// The last position of the stretch.
    pub fn to(&self) -> Position {
        self.to
    }

    /// The frames after `position` that `filter` takes, and the last one's position. All of them are a part of the
    /// stretch's own bytes.
    pub fn wanted(&self, position: Position, filter: &Filter) -> (Bytes, Option<Position>) {
        let first = self.frames.partition_point(|frame| frame.position <= position);
        let begin = first.checked_sub(1).and_then(|before| self.frames.get(before)).map_or(0, |frame| frame.end);
        let frames = self.frames.get(first..).unwrap_or_default();
        if *filter == Filter::all() {
            return (self.bytes.slice(begin..), frames.last().map(|frame| frame.position));
        }
        let (mut bytes, mut last, mut begin) = (Vec::new(), None, begin);
        for frame in frames {
            if frame.is_wanted(filter) {
                bytes.extend_from_slice(self.bytes.get(begin..frame.end).unwrap_or_default());
                last = Some(frame.position);
            }
            begin = frame.end;
        }
        (bytes.into(), last)
    }
}

impl Frame {
    fn is_wanted(&self, filter: &Filter) -> bool {
        filter.takes(self.stream.category(), &self.event_type)
            && filter.stream.as_ref().is_none_or(|wanted| *wanted == self.stream)
    }
}

/// Follows the head until another task does or nobody listens.
async fn fill(shared: Arc<Shared>, generation: u64) {
    let mut head = shared.log.watch_head();
    loop {
        let Some(after) = shared.lock().filled_to(generation) else { return };
        let grown = tokio::select! {
            grown = head.wait_for(|head| *head > after) => grown.map(|head| *head).ok(),
            // Nobody listens: the followers have the receivers.
            () = shared.moved.closed() => continue,
        };
        let stretch = match grown {
            Some(head) => read(&shared.log, after, head).await,
            None => Err(ReadError::Closed),
        };
        if matches!(stretch, Err(ReadError::Unavailable(_))) {
            // Subscribers are told nothing, and miss nothing, until the database is back.
            tokio::time::sleep(AWAY_PAUSE).await;
            continue;
        }
        let mut ring = shared.lock();
        if ring.filled_to(generation).is_none() {
            return;
        }
        match stretch {
            Ok(stretch) => {
                let to = stretch.to;
                ring.add(stretch);
                shared.moved.send_replace(Moved { to, failed: false });
            }
            Err(error) => {
                if !matches!(error, ReadError::Closed) {
                    tracing::error!(error = &error as &dyn std::error::Error, "the tail of the log could not be read");
                }
                shared.moved.send_replace(Moved { to: after, failed: true });
                return;
            }
        }
    }
}

async fn read(log: &Log, after: Position, head: Position) -> Result<Stretch, ReadError> {
    let scan = Scan::forward(after, head, Filter::all()).limit(CHUNK_EVENTS_MAX);
    let empty = (Batch::new(Format::Frames, Room::CHUNK), Vec::new());
    let fold = |(batch, frames): &mut (Batch, Vec<Frame>), event: &EventRef<'_>| -> ControlFlow<()> {
        let flow = batch.add(event);
        frames.push(Frame {
            position: event.position,
            event_type: Arc::clone(event.event_type),
            stream: event.stream.clone(),
            end: batch.len(),
        });
        flow
    };
    let ((batch, frames), to) = log.fold_until(scan, empty, fold).await?;
    // Kept for a while: without the room that was left for more.
    let bytes = Bytes::from(batch.into_bytes().into_boxed_slice());
    Ok(Stretch { to, bytes, frames, before: 0 })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Empty, from here on, for another task.
    fn restart(&mut self, at: Position) {
        self.generation += 1;
        self.stretches = VecDeque::new();
        self.bytes = 0;
        (self.after, self.to) = (at, at);
    }

    /// Where the task of this generation goes on.
    fn filled_to(&self, generation: u64) -> Option<Position> {
        (self.generation == generation).then_some(self.to)
    }

    fn add(&mut self, mut stretch: Stretch) {
        self.to = stretch.to;
        stretch.before = self.added;
        self.added += stretch.bytes.len() as u64;
        self.bytes += stretch.weight();
        self.stretches.push_back(Arc::new(stretch));
        while self.bytes > RING_BYTES_MAX
            && self.stretches.len() > 1
            && let Some(oldest) = self.stretches.pop_front()
        {
            self.bytes -= oldest.weight();
            self.after = oldest.to;
        }
    }
}

impl Stretch {
    /// Bytes that it takes, roughly.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.frames.len() * size_of::<Frame>()
    }
}
