//! Years of reading: many readers at once, each with sessions of their own on days of their own.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::{
    DeviceType, EndReason, Percent, ReaderEvent, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
    stream,
};
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamAppend, StreamId};
use indicatif::ProgressBar;
use uuid::Uuid;

use super::{Failed, dice::Dice, sessions::metadata};

/// 2024-01-01 in seconds.
const BEGINS_AT: i64 = 1_704_067_200;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const BOOKS: i64 = 300;
/// Books that one reader reads in turns.
const BOOKS_AT_ONCE: i64 = 4;
const APPEND_EVENTS: u64 = 10_000;
const ZONES: [Tz; 8] = [
    Tz::Europe__Moscow,
    Tz::Africa__Kinshasa,
    Tz::Asia__Kolkata,
    Tz::America__New_York,
    Tz::Europe__Berlin,
    Tz::Asia__Tokyo,
    Tz::America__Sao_Paulo,
    Tz::UTC,
];
const DEVICES: [Option<DeviceType>; 5] =
    [Some(DeviceType::Mobile), Some(DeviceType::Mobile), Some(DeviceType::Tablet), Some(DeviceType::Desktop), None];

/// Appends `events` events of `readers` readers to the log, in the order of their times: neighbours in the log are
/// events of different readers, as they are when a server is in use.
pub(super) async fn write(log: &Log, events: u64, readers: u32, bar: &ProgressBar) -> Result<(), Failed> {
    let (mut years, metadata) = (Years::new(readers), metadata());
    let mut left = events;
    while left > 0 {
        let count = left.min(APPEND_EVENTS);
        left -= count;
        log.append(years.append(count, &metadata)).await?;
        bar.inc(count);
    }
    Ok(())
}

/// The readers whose events [`write()`] appends.
pub(super) fn reader_ids(readers: u32) -> Vec<Uuid> {
    Years::new(readers).readers.iter().map(|reader| reader.id).collect()
}

/// Readers in the middle of their years.
pub(super) struct Years {
    readers: Vec<Reader>,
    /// When each reader does something next, the earliest first.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    dice: Dice,
}

struct Reader {
    id: Uuid,
    stream: StreamId,
    zone: Tz,
    session: Option<Session>,
}

struct Session {
    id: Uuid,
    book_id: Uuid,
    started_at: DateTime<Utc>,
    start: Percent,
    position: Percent,
    device: Option<DeviceType>,
    reports_left: i64,
}

impl Years {
    pub(super) fn new(readers: u32) -> Self {
        let mut dice = Dice::new(1);
        let reader = |number: u32, dice: &mut Dice| {
            let id = version_4(dice);
            let zone = ZONES.get(number as usize % ZONES.len()).copied().unwrap_or(Tz::UTC);
            Reader { id, stream: StreamId::from(stream(id)), zone, session: None }
        };
        let readers: Vec<Reader> = (0..readers).map(|number| reader(number, &mut dice)).collect();
        let next = (0..readers.len()).map(|place| Reverse((BEGINS_AT + dice.between(0, 24 * HOUR), place))).collect();
        Self { readers, next, dice }
    }

    fn append(&mut self, count: u64, metadata: &Arc<str>) -> Append {
        let (streams, events): (Vec<StreamId>, Vec<ReaderEvent>) = (0..count).filter_map(|_| self.next()).unzip();
        let events = NewEvent::from_domain(&events, metadata);
        let part = |(stream, event)| StreamAppend { stream, expected: ExpectedVersion::Any, events: vec![event] };
        Append { parts: streams.into_iter().zip(events).map(part).collect(), remember: None }
    }

    /// What happens next, and whose it is.
    pub(super) fn next(&mut self) -> Option<(StreamId, ReaderEvent)> {
        let Reverse((second, place)) = self.next.pop()?;
        let reader = self.readers.get_mut(place)?;
        let dice = &mut self.dice;
        let micros = second * 1_000_000 + dice.between(0, 1_000_000);
        let at = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let (event, pause) = match &mut reader.session {
            None => {
                let book = i64::try_from(place).unwrap_or(0) * 7 + dice.between(0, BOOKS_AT_ONCE);
                let start = percent(dice.between(0, 90));
                let session = Session {
                    id: version_7(at, dice),
                    book_id: Uuid::from_u128(0x0192_7000_0000_7000_8000 << 48 | (book % BOOKS).unsigned_abs() as u128),
                    started_at: at,
                    start,
                    position: start,
                    device: dice.pick(&DEVICES, None),
                    reports_left: dice.between(2, 6),
                };
                let started = ReadingSessionStarted {
                    session_id: session.id,
                    user_id: reader.id,
                    book_id: session.book_id,
                    started_at: at,
                    start_position: start,
                    device_type: session.device,
                    timezone: reader.zone,
                };
                reader.session = Some(session);
                (ReaderEvent::ReadingSessionStarted(started), dice.between(MINUTE, 20 * MINUTE))
            }
            Some(session) if session.reports_left > 0 => {
                session.reports_left -= 1;
                session.position = percent(i64::from(session.position.get()) + dice.between(0, 4));
                let (session_id, position) = (session.id, session.position);
                let updated = ReadingSessionUpdated { session_id, position, reported_at: at };
                (ReaderEvent::ReadingSessionUpdated(updated), dice.between(MINUTE, 20 * MINUTE))
            }
            Some(session) => {
                let ended = ReadingSessionEnded {
                    session_id: session.id,
                    user_id: reader.id,
                    book_id: session.book_id,
                    started_at: session.started_at,
                    ended_at: at,
                    start_position: session.start,
                    end_position: session.position,
                    device_type: session.device,
                    timezone: reader.zone,
                    reason: EndReason::Requested,
                    client_id: None,
                };
                reader.session = None;
                (ReaderEvent::ReadingSessionEnded(ended), dice.between(3 * HOUR, 45 * HOUR))
            }
        };
        self.next.push(Reverse((second + pause, place)));
        Some((reader.stream.clone(), event))
    }
}

fn percent(number: i64) -> Percent {
    u8::try_from(number).ok().and_then(Percent::new).unwrap_or(Percent::MAX)
}

fn version_4(dice: &mut Dice) -> Uuid {
    uuid::Builder::from_random_bytes(sixteen(dice)).into_uuid()
}

/// As a server makes it at that time.
fn version_7(at: DateTime<Utc>, dice: &mut Dice) -> Uuid {
    let [random @ .., _, _, _, _, _, _] = sixteen(dice);
    let millis = at.timestamp_millis().unsigned_abs();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn sixteen(dice: &mut Dice) -> [u8; 16] {
    (u128::from(dice.roll()) << 64 | u128::from(dice.roll())).to_le_bytes()
}
