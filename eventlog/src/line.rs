//! An event as one line of JSON: what an export holds, what the log is streamed as, what an import takes.
//!
//! `{"position":1,"stream":"book-1","version":0,"id":"…","type":"BookAdded","schema_version":1,"data":{…},
//! "metadata":{…},"occurred_at":"2026-11-21T10:00:00.000000Z","recorded_at":"2026-11-21T10:00:00.123456Z"}`
//!
//! `data` and `metadata` stand as they were stored, byte by byte, and times have all six digits: the same event is
//! the same line, always.

use std::{borrow::Cow, io::Write as _, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{EventRef, Position, RecordedEvent, StreamId, Version, event::from_micros};

const MICROS: i64 = 1_000_000;

/// Writes lines. Keep one for many events: it remembers the second that it wrote last.
#[derive(Default)]
pub struct LineEncoder {
    occurred: Second,
    recorded: Second,
}

impl LineEncoder {
    /// Adds the event to `out`, without a line break: there is none inside either.
    pub fn encode(&mut self, event: &EventRef<'_>, out: &mut Vec<u8>) {
        out.reserve(event.data.len() + event.metadata.len() + 320);
        out.extend_from_slice(b"{\"position\":");
        number(event.position.get(), out);
        out.extend_from_slice(b",\"stream\":");
        text(event.stream.as_str(), out);
        out.extend_from_slice(b",\"version\":");
        number(event.version, out);
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(event.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        out.extend_from_slice(b"\",\"type\":");
        text(event.event_type, out);
        out.extend_from_slice(b",\"schema_version\":");
        number(u64::from(event.schema_version), out);
        out.extend_from_slice(b",\"data\":");
        json(event.data, out);
        out.extend_from_slice(b",\"metadata\":");
        json(event.metadata, out);
        out.extend_from_slice(b",\"occurred_at\":\"");
        self.occurred.write(event.occurred_at, out);
        out.extend_from_slice(b"\",\"recorded_at\":\"");
        self.recorded.write(event.recorded_at, out);
        out.extend_from_slice(b"\"}");
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

fn text(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A string always serialises.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Stored JSON on one line: a line break outside of a string is nothing but space.
fn json(stored: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(stored.as_bytes());
    if stored.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Times next to each other mostly share their second.
#[derive(Default)]
struct Second {
    of: Option<i64>,
    text: String,
}

impl Second {
    fn write(&mut self, micros: i64, out: &mut Vec<u8>) {
        let second = micros.div_euclid(MICROS);
        if self.of != Some(second) {
            self.of = Some(second);
            self.text = from_micros(second.saturating_mul(MICROS)).format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut rest = micros.rem_euclid(MICROS);
        let mut digits = [b'0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }
}

impl RecordedEvent {
    /// The event of a line, as [`LineEncoder`] writes it.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn from_line(line: &[u8]) -> Result<Self, LineError> {
        let line: Line<'_> = serde_json::from_slice(line)?;
        Ok(Self {
            position: Position::new(line.position),
            stream: StreamId::from(line.stream.into_owned()),
            version: line.version,
            id: line.id,
            event_type: Arc::from(line.event_type),
            schema_version: line.schema_version,
            data: line.data.get().to_owned(),
            metadata: line.metadata.get().to_owned(),
            occurred_at: line.occurred_at,
            recorded_at: line.recorded_at,
        })
    }
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
#[error("this is no line of an export: {0}")]
pub struct LineError(#[from] serde_json::Error);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    position: u64,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    version: Version,
    id: Uuid,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    schema_version: u16,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    occurred_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str, occurred_at: i64) -> RecordedEvent {
        RecordedEvent {
            position: Position::new(7),
            stream: StreamId::from("réader-\"1\""),
            version: 3,
            id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff),
            event_type: "Updated".into(),
            schema_version: 2,
            data: data.to_owned(),
            metadata: "{\"actor\":\"u1\"}".to_owned(),
            occurred_at: from_micros(occurred_at),
            recorded_at: from_micros(1_700_000_000_000_042),
        }
    }

    fn line(event: &RecordedEvent) -> String {
        let mut out = Vec::new();
        LineEncoder::default().encode(&event.as_ref(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_and_comes_back_from_it() {
        for occurred_at in [0, -1, -1_500_000, 1_700_000_000_123_456, 253_402_300_799_999_999] {
            let event = event("{\"n\": 1.50}", occurred_at);
            assert_eq!(RecordedEvent::from_line(line(&event).as_bytes()).unwrap(), event);
        }
        assert_eq!(
            line(&event("{}", 1_700_000_000_000_000)),
            "{\"position\":7,\"stream\":\"réader-\\\"1\\\"\",\"version\":3,\"id\":\"01920000-0000-7000-8000-0000000000ff\",\
             \"type\":\"Updated\",\"schema_version\":2,\"data\":{},\"metadata\":{\"actor\":\"u1\"},\
             \"occurred_at\":\"2023-11-14T22:13:20.000000Z\",\"recorded_at\":\"2023-11-14T22:13:20.000042Z\"}"
        );
    }

    #[test]
    fn stored_line_breaks_do_not_break_the_line() {
        assert!(!line(&event("{\n \"a\":\r\n1}", 0)).contains(['\n', '\r']));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in ["", "{}", "[1]", "{\"position\":1}", "{\"position\":-1}"] {
            assert!(RecordedEvent::from_line(line.as_bytes()).is_err(), "{line}");
        }
    }
}
