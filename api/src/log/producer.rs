//! What sends one subscriber its events: first from the log, then from the shared tail.
//!
//! While there is much left to send, the client sets the pace. A client who is up to date gets everything as it comes,
//! and is cut off when it does not take it. Nothing here is ever waited for by a writer.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use daybook_eventlog::{Filter, Position, ReadError, Scan};
use futures::StreamExt as _;
use metrics::{counter, gauge};
use tokio::time::{Instant, sleep, sleep_until};

use super::encode::{CHUNK_BYTES_MAX, CHUNK_EVENTS_MAX, Format};
use super::open::{Ended, Ends, Place, Streams, until};
use super::queue::{Outlet, Queue, queue};
use super::tail::{AWAY_PAUSE, Follower, Next};
use crate::auth::Caller;

/// Open subscriptions.
pub(crate) const SUBSCRIBERS: &str = "daybook_log_subscribers";
/// Subscriptions that the server ended.
pub(crate) const CUT_OFF_TOTAL: &str = "daybook_log_subscribers_cut_off_total";

/// Silence after which a comment is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The first frame: something to read at once, and how long a client waits before it comes back.
const HELLO: Bytes = Bytes::from_static(b": daybook\nretry: 1000\n\n");

/// Why a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client went away.
    Left,
    /// Too many bytes wait to be read.
    TooFarBehind,
    /// Nothing was read for too long.
    TooSlow,
    /// From outside.
    Ended(Ended),
    /// The log cannot be read.
    Failed,
}

/// Starts to send what comes after `after`; the body ends when the subscription does.
pub fn subscribe(streams: &Streams, caller: &Caller, after: Position, filter: Filter, place: Place) -> Outlet {
    let (queue, outlet) = queue(after);
    let producer = Producer {
        streams: streams.clone(),
        follower: streams.tail().follow(),
        filter,
        position: after,
        up_to_date: false,
        line: Line { queue, ends: streams.ends(caller), sent_at: Instant::now(), sent: after },
    };
    let subject = caller.subject.clone();
    tokio::spawn(producer.run(subject, place));
    outlet
}

struct Producer {
    streams: Streams,
    follower: Follower,
    filter: Filter,
    /// Everything wanted up to here was queued.
    position: Position,
    /// The client had everything there was, and has had it since.
    up_to_date: bool,
    line: Line,
}

impl Producer {
    async fn run(mut self, subject: String, _place: Place) {
        gauge!(SUBSCRIBERS).increment(1.0);
        self.line.send(HELLO, None);
        let Err(end) = self.produce().await;
        gauge!(SUBSCRIBERS).decrement(1.0);
        let Some((label, reason)) = end.told() else { return };
        self.line.queue.cut_off(|resume_after| last_frame(reason, resume_after));
        counter!(CUT_OFF_TOTAL, "reason" => label).increment(1);
        tracing::info!(subject, reason, "cut off a subscriber of the log");
    }

    async fn produce(&mut self) -> Result<Infallible, End> {
        loop {
            match self.follower.next(self.position) {
                Next::Nothing => {
                    self.up_to_date = true;
                    let moved = self.follower.moved(self.position);
                    if self.line.during(self.position, moved).await?.failed {
                        return Err(End::Failed);
                    }
                }
                Next::Older => self.catch_up().await?,
                Next::Stretch { stretch, positions, bytes } => {
                    let much = positions >= CHUNK_EVENTS_MAX as u64 || bytes >= CHUNK_BYTES_MAX as u64;
                    self.up_to_date &= !much;
                    if !self.up_to_date {
                        self.line.room(self.position).await?;
                    }
                    let (frames, last) = stretch.wanted(self.position, &self.filter);
                    if self.up_to_date && self.line.queue.would_overflow(frames.len()) {
                        return Err(End::TooFarBehind);
                    }
                    self.position = stretch.to();
                    self.line.send(frames, last);
                }
            }
        }
    }

    /// Reads the log up to where it ends now.
    async fn catch_up(&mut self) -> Result<(), End> {
        self.up_to_date = false;
        let scan = Scan::forward(self.position, self.streams.log().head(), self.filter.clone());
        let mut chunks = self.streams.reader().chunks(scan, Format::Frames);
        loop {
            self.line.room(self.position).await?;
            match self.line.during(self.position, chunks.next()).await? {
                None => return Ok(()),
                Some(Ok(chunk)) => {
                    self.position = chunk.reached;
                    self.line.send(chunk.bytes, chunk.last);
                }
                // Waited out: the client is kept, and comes to what is missing from where it is.
                Some(Err(ReadError::Unavailable(_))) => {
                    self.line.during(self.position, sleep(AWAY_PAUSE)).await?;
                    return Ok(());
                }
                Some(Err(error)) => {
                    if !matches!(error, ReadError::Closed) {
                        tracing::error!(error = &error as &dyn std::error::Error, "a subscription failed");
                    }
                    return Err(End::Failed);
                }
            }
        }
    }
}

/// The way to the client, and what else can happen on it.
struct Line {
    queue: Queue,
    ends: Ends,
    /// When something was queued last.
    sent_at: Instant,
    /// The last id that was queued.
    sent: Position,
}

impl Line {
    fn send(&mut self, frames: Bytes, last: Option<Position>) {
        if !frames.is_empty() {
            self.queue.push(frames, last);
            self.sent_at = Instant::now();
            self.sent = last.unwrap_or(self.sent);
        }
    }

    /// Waits until the client has made room.
    async fn room(&mut self, position: Position) -> Result<(), End> {
        loop {
            let overdue = self.queue.overdue_at();
            tokio::select! {
                biased;
                () = self.queue.room() => return Ok(()),
                end = Self::ended(&self.queue, &mut self.ends, overdue) => {
                    if let Some(end) = end { return Err(end) }
                }
                () = sleep_until(self.sent_at + HEARTBEAT) => self.heartbeat(position),
            }
        }
    }

    /// Waits for `work`, and keeps the line alive meanwhile; everything wanted up to `position` was queued.
    async fn during<T>(&mut self, position: Position, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        loop {
            let overdue = self.queue.overdue_at();
            tokio::select! {
                biased;
                end = Self::ended(&self.queue, &mut self.ends, overdue) => {
                    if let Some(end) = end { return Err(end) }
                }
                () = sleep_until(self.sent_at + HEARTBEAT) => self.heartbeat(position),
                done = &mut work => return Ok(done),
            }
        }
    }

    /// A comment, with the position as an id when unwanted events have passed by since the last frame: it is no event
    /// to the client, who comes back from there all the same.
    fn heartbeat(&mut self, position: Position) {
        if position > self.sent {
            self.send(Bytes::from(format!("id: {position}\n: nothing wanted up to here\n\n")), Some(position));
        } else {
            self.send(Bytes::from_static(b": nothing new\n\n"), None);
        }
    }

    /// Waits for an end from outside; `None` when a frame would be overdue, but was taken meanwhile.
    async fn ended(queue: &Queue, ends: &mut Ends, overdue: Option<Instant>) -> Option<End> {
        tokio::select! {
            () = queue.left() => Some(End::Left),
            ended = ends.reached() => Some(End::Ended(ended)),
            () = until(overdue) => {
                queue.overdue_at().filter(|at| *at <= Instant::now()).map(|_| End::TooSlow)
            }
        }
    }
}

impl End {
    /// For the metric, and for the client and the log; nothing for a client who is gone.
    fn told(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Left => None,
            Self::TooFarBehind => Some(("bytes", "more than 4 MiB waited to be read")),
            Self::TooSlow => Some(("seconds", "what was sent waited to be read for more than 10 s")),
            Self::Ended(ended @ Ended::Expired) => Some(("token_expired", ended.reason())),
            Self::Ended(ended @ Ended::Stopping) => Some(("stopping", ended.reason())),
            Self::Failed => Some(("failed", "the log cannot be read")),
        }
    }
}

fn last_frame(reason: &str, resume_after: Position) -> Bytes {
    Bytes::from(format!("event: cut-off\ndata: {{\"reason\":\"{reason}\",\"resume_after\":{resume_after}}}\n\n"))
}

#[cfg(test)]
mod tests;
