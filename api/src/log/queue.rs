//! What waits to be sent to one subscriber: whole frames, counted in bytes and in time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Bytes;
use daybook_eventlog::Position;
use futures::Stream;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes that may wait for a subscriber who is up to date.
pub const PENDING_BYTES_MAX: usize = 4 << 20;
/// How long a frame may wait.
pub const PENDING_MAX: Duration = Duration::from_secs(10);
/// Bytes that wait for a subscriber who is catching up: no more is read before there are fewer.
const PACED_BYTES: usize = 1 << 20;

/// The producer's end.
pub struct Queue(Arc<Shared>);

/// The connection's end: the body. Dropping it tells the producer that nobody listens any more.
pub struct Outlet(Arc<Shared>);

struct Shared {
    pending: Mutex<Pending>,
    /// Some of it was taken.
    taken: Notify,
    /// The connection is gone.
    left: Notify,
}

struct Pending {
    frames: VecDeque<Frames>,
    bytes: usize,
    /// The last id that the connection was handed.
    handed: Position,
    ended: bool,
    left: bool,
    body: Option<Waker>,
}

struct Frames {
    bytes: Bytes,
    last: Option<Position>,
    since: Instant,
}

/// A queue of a subscription that goes on after `after`.
pub fn queue(after: Position) -> (Queue, Outlet) {
    let pending = Pending { frames: VecDeque::new(), bytes: 0, handed: after, ended: false, left: false, body: None };
    let shared = Arc::new(Shared { pending: Mutex::new(pending), taken: Notify::new(), left: Notify::new() });
    (Queue(Arc::clone(&shared)), Outlet(shared))
}

impl Queue {
    /// Adds whole frames, of which the last id is `last`.
    pub fn push(&self, bytes: Bytes, last: Option<Position>) {
        let mut pending = self.0.lock();
        if !pending.left {
            pending.bytes += bytes.len();
            pending.frames.push_back(Frames { bytes, last, since: Instant::now() });
            pending.wake();
        }
    }

    /// Whether so many bytes more are too many. Alone, any number is taken: an event may be large.
    pub fn would_overflow(&self, more: usize) -> bool {
        let pending = self.0.lock();
        pending.bytes > 0 && pending.bytes + more > PENDING_BYTES_MAX
    }

    /// When the oldest frame will have waited too long.
    pub fn overdue_at(&self) -> Option<Instant> {
        self.0.lock().frames.front().map(|frames| frames.since + PENDING_MAX)
    }

    /// Waits until there is room for more of the past.
    pub async fn room(&self) {
        while self.0.lock().bytes > PACED_BYTES {
            self.0.taken.notified().await;
        }
    }

    /// Waits until the connection is gone.
    pub async fn left(&self) {
        while !self.0.lock().left {
            self.0.left.notified().await;
        }
    }

    /// Throws away what waits and ends the body with one last frame, made from the last id that was handed on.
    pub fn cut_off(&self, last_frame: impl FnOnce(Position) -> Bytes) {
        let mut pending = self.0.lock();
        let bytes = last_frame(pending.handed);
        pending.frames.clear();
        pending.bytes = bytes.len();
        pending.frames.push_back(Frames { bytes, last: None, since: Instant::now() });
        pending.ended = true;
        pending.wake();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.ended = true;
        pending.wake();
    }
}

impl Stream for Outlet {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut pending = self.0.lock();
        let Some(frames) = pending.frames.pop_front() else {
            pending.body = Some(context.waker().clone());
            return if pending.ended { Poll::Ready(None) } else { Poll::Pending };
        };
        pending.bytes -= frames.bytes.len();
        pending.handed = frames.last.unwrap_or(pending.handed);
        drop(pending);
        self.0.taken.notify_one();
        Poll::Ready(Some(Ok(frames.bytes)))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.left = true;
        pending.frames.clear();
        pending.bytes = 0;
        drop(pending);
        self.0.left.notify_one();
        self.0.taken.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn wake(&mut self) {
        if let Some(body) = self.body.take() {
            body.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _};

    fn frame(position: u64) -> (Bytes, Option<Position>) {
        (Bytes::from(format!("id: {position}\n\n")), Some(Position::new(position)))
    }

    fn push(queue: &Queue, position: u64) {
        let (bytes, last) = frame(position);
        queue.push(bytes, last);
    }

    #[tokio::test]
    async fn a_cut_off_drops_what_waits_and_says_what_was_handed_on() {
        let (queue, mut outlet) = queue(Position::new(3));
        push(&queue, 4);
        push(&queue, 5);
        push(&queue, 6);
        assert_eq!(outlet.next().await, Some(Ok(frame(4).0)));
        queue.cut_off(|handed| Bytes::from(handed.to_string()));
        assert_eq!(outlet.next().await, Some(Ok(Bytes::from_static(b"4"))));
        assert_eq!(outlet.next().await, None);
    }

    #[tokio::test]
    async fn a_producer_that_is_gone_ends_the_body() {
        let (queue, mut outlet) = queue(Position::START);
        assert_eq!(outlet.next().now_or_never(), None);
        drop(queue);
        assert_eq!(outlet.next().await, None);
    }

    #[tokio::test]
    async fn there_is_room_when_little_enough_waits() {
        let (queue, mut outlet) = queue(Position::START);
        assert!(!queue.would_overflow(PENDING_BYTES_MAX + 1), "alone anything is taken");
        queue.push(Bytes::from(vec![0; PACED_BYTES]), None);
        assert!(queue.room().now_or_never().is_some());
        push(&queue, 1);
        assert!(queue.room().now_or_never().is_none());
        assert!(!queue.would_overflow(PENDING_BYTES_MAX - PACED_BYTES - 7));
        assert!(queue.would_overflow(PENDING_BYTES_MAX - PACED_BYTES - 6));
        outlet.next().await;
        queue.room().await;
        assert!(queue.left().now_or_never().is_none());
        drop(outlet);
        queue.left().await;
        push(&queue, 2);
        assert_eq!(queue.overdue_at(), None, "nothing is kept for nobody");
    }
}
