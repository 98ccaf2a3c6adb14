//! Reading sessions as readers make them, one after the other.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::{
    DeviceType, EndReason, Percent, ReaderEvent, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
};
use daybook_eventlog::{Metadata, StreamId};
use uuid::Uuid;

/// Events of one session: a start, reports, an end.
pub(super) const EVENTS_EACH: u64 = 5;
pub(super) const READERS: u128 = 1_000;

/// The sessions of a thousand readers; two of the same seed are equal.
pub(super) struct Sessions {
    seed: u128,
    next: u64,
}

impl Sessions {
    pub(super) fn new(seed: u32) -> Self {
        Self { seed: u128::from(seed) << 96, next: 0 }
    }

    /// The reader whose turn it is, and the next `count` events of that reader's sessions.
    pub(super) fn next(&mut self, count: usize) -> (StreamId, Vec<ReaderEvent>) {
        let reader = self.id(u128::from(self.next / EVENTS_EACH) % READERS);
        let events = (0..count).map(|_| self.next_of(reader)).collect();
        (StreamId::from(daybook_domain::reading::stream(reader)), events)
    }

    fn next_of(&mut self, user_id: Uuid) -> ReaderEvent {
        let session = u128::from(self.next / EVENTS_EACH);
        let (session_id, book_id) = (self.id(1_000_000 + session), self.id(10_000 + session % 300));
        let at =
            DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(1_761_000_000 + i64::try_from(self.next).unwrap_or(0));
        let started_at = at - TimeDelta::seconds(4);
        let (device_type, timezone) = (Some(DeviceType::Tablet), Tz::Europe__Moscow);
        let step = self.next % EVENTS_EACH;
        self.next += 1;
        let position = u8::try_from(10 * step).ok().and_then(Percent::new).unwrap_or_default();
        match step {
            0 => ReaderEvent::ReadingSessionStarted(ReadingSessionStarted {
                session_id,
                user_id,
                book_id,
                started_at: at,
                start_position: position,
                device_type,
                timezone,
            }),
            1..4 => ReaderEvent::ReadingSessionUpdated(ReadingSessionUpdated { session_id, position, reported_at: at }),
            _ => ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
                session_id,
                user_id,
                book_id,
                started_at,
                ended_at: at,
                start_position: Percent::default(),
                end_position: position,
                device_type,
                timezone,
                reason: EndReason::Requested,
                client_id: None,
            }),
        }
    }

    fn id(&self, number: u128) -> Uuid {
        Uuid::from_u128(0x0192_7000_0000_7000_8000_0000_0000_0000 ^ self.seed ^ number)
    }
}

/// Who caused it all.
pub(super) fn metadata() -> Arc<str> {
    let text = |id: u128| Some(Uuid::from_u128(id).to_string());
    Metadata { actor: text(1), correlation_id: text(2), causation_id: None }.encode()
}
