//! Events as bytes, written on the thread that reads them.

use std::ops::ControlFlow;

use axum::body::Bytes;
use daybook_eventlog::{EventRef, LineEncoder, Position};

/// Events of one chunk.
pub const CHUNK_EVENTS_MAX: usize = 1_024;
/// A chunk takes no further event after this many bytes; one event may have 4 MiB.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What stands around each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Items of a JSON array, without its brackets.
    Items,
    /// A line each.
    Lines,
    /// Server-sent events, with the position as their id.
    Frames,
}

/// How much goes into one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Events.
    pub events: usize,
    /// Bytes after which no further event is taken.
    pub bytes: usize,
}

impl Room {
    /// A chunk of a body that is streamed.
    pub const CHUNK: Self = Self { events: CHUNK_EVENTS_MAX, bytes: CHUNK_BYTES_MAX };
}

/// Events next to each other in one buffer.
pub struct Batch {
    format: Format,
    room: Room,
    encoder: LineEncoder,
    bytes: Vec<u8>,
    events: usize,
    last: Option<Position>,
}

impl Batch {
    /// An empty one.
    pub fn new(format: Format, room: Room) -> Self {
        Self { format, room, encoder: LineEncoder::default(), bytes: Vec::new(), events: 0, last: None }
    }

    /// The same after `before`.
    pub fn begun_with(mut self, before: &str) -> Self {
        self.bytes.extend_from_slice(before.as_bytes());
        self
    }

    /// Adds an event; breaks when there is no room for another.
    pub fn add(&mut self, event: &EventRef<'_>) -> ControlFlow<()> {
        match self.format {
            Format::Items if self.events > 0 => self.bytes.push(b','),
            Format::Items | Format::Lines => {}
            Format::Frames => {
                self.bytes.extend_from_slice(b"id: ");
                self.bytes.extend_from_slice(event.position.to_string().as_bytes());
                self.bytes.extend_from_slice(b"\ndata: ");
            }
        }
        self.encoder.encode(event, &mut self.bytes);
        match self.format {
            Format::Items => {}
            Format::Lines => self.bytes.push(b'\n'),
            Format::Frames => self.bytes.extend_from_slice(b"\n\n"),
        }
        self.events += 1;
        self.last = Some(event.position);
        if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether there is no room for another event.
    pub fn is_full(&self) -> bool {
        self.events >= self.room.events || self.bytes.len() >= self.room.bytes
    }

    /// How many events still fit, by their number.
    pub fn events_left(&self) -> usize {
        self.room.events - self.events.min(self.room.events)
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The position of the event that was added last.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A stretch of the log as bytes.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The wanted events of the stretch; empty when it holds none.
    pub bytes: Bytes,
    /// The position of the last event in `bytes`.
    pub last: Option<Position>,
    /// Up to here everything wanted was read.
    pub reached: Position,
}
