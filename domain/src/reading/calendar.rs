//! Where a session's time falls in its reader's calendar.
//!
//! Local clocks jump: an hour may be skipped or repeated, and in some zones a date returns after midnight. While the
//! offset is constant, local time is plain arithmetic. So a session is first cut where the offset changes, and then
//! each stretch at its local hours.

use chrono::{DateTime, NaiveDate, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// At most this many hours of one session count, from its start: a longer one was probably left open.
pub const COUNTED_HOURS_MAX: i64 = 8;

const SECOND_MICROS: i64 = 1_000_000;
const HOUR_MICROS: i64 = 3_600 * SECOND_MICROS;
const HOURS_A_DAY: i64 = 24;

/// A session's part in one local hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The local date.
    pub date: NaiveDate,
    /// The local hour, 0 to 23.
    pub hour: u8,
    /// Where the part begins, in microseconds since 1970-01-01 UTC.
    pub from: i64,
    /// Where it ends, likewise; equal to `from` for a session without any length.
    pub to: i64,
}

/// The session's time by local date and hour, in the order in which it was read.
///
/// The parts follow one another without a gap and cover the counted time. A session that ends on the hour has no part
/// in the next hour. A session without any length has one part, without length, where it started.
#[must_use]
pub fn shares(zone: Tz, started_at: DateTime<Utc>, ended_at: DateTime<Utc>) -> Vec<Share> {
    let start = started_at.timestamp_micros();
    let end = ended_at.timestamp_micros().clamp(start, start.saturating_add(COUNTED_HOURS_MAX * HOUR_MICROS));
    let mut shares = Vec::new();
    if start == end {
        push(&mut shares, local_hour(start + offset_micros(zone, start)), start, start);
        return shares;
    }
    let change = offset_change(zone, start, end);
    for (from, to) in [(start, change), (change, end)] {
        let offset = offset_micros(zone, from);
        let mut at = from;
        while at < to {
            let hour = local_hour(at + offset);
            let next = to.min((hour + 1) * HOUR_MICROS - offset);
            push(&mut shares, hour, at, next);
            at = next;
        }
    }
    shares
}

/// The date that a calendar in `zone` shows at `at`.
#[must_use]
pub fn local_date(zone: Tz, at: DateTime<Utc>) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// Where the offset changes between `start` and `end`; `end` when it does not.
///
/// Between the two, which are at most [`COUNTED_HOURS_MAX`] apart, no zone changes its offset twice.
fn offset_change(zone: Tz, start: i64, end: i64) -> i64 {
    let before = offset_micros(zone, start);
    if offset_micros(zone, end) == before {
        return end;
    }
    // Offsets change at whole seconds: `same` keeps the old offset, `changed` has the new one.
    let mut same = start.div_euclid(SECOND_MICROS);
    let mut changed = end.div_euclid(SECOND_MICROS);
    while changed - same > 1 {
        let middle = same + (changed - same) / 2;
        if offset_micros(zone, middle * SECOND_MICROS) == before {
            same = middle;
        } else {
            changed = middle;
        }
    }
    changed * SECOND_MICROS
}

/// How far the local clock is ahead of UTC.
fn offset_micros(zone: Tz, at: i64) -> i64 {
    let at = DateTime::from_timestamp_micros(at).unwrap_or_default();
    i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()) * SECOND_MICROS
}

/// The number of a local hour, counted from the epoch on the local clock.
fn local_hour(local_micros: i64) -> i64 {
    local_micros.div_euclid(HOUR_MICROS)
}

/// Appends a part, or extends the last one when that is in the same hour of the same date.
fn push(shares: &mut Vec<Share>, local_hour: i64, from: i64, to: i64) {
    let days = i32::try_from(local_hour.div_euclid(HOURS_A_DAY)).unwrap_or_default();
    let date = NaiveDate::from_epoch_days(days).unwrap_or_default();
    let hour = u8::try_from(local_hour.rem_euclid(HOURS_A_DAY)).unwrap_or_default();
    match shares.last_mut() {
        Some(last) if (last.date, last.hour) == (date, hour) => last.to = to,
        _ => shares.push(Share { date, hour, from, to }),
    }
}
