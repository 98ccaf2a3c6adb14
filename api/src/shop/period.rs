//! Days of a shop as stretches of time.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use daybook_projections::shop::sales::Period;

/// A bound as a caller writes it: a whole day of the shop, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
}

impl Bound {
    pub fn parse(text: &str) -> Option<Self> {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(Self::Day);
        day.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|moment| Self::Moment(moment.to_utc())))
    }

    pub fn day(self) -> Option<NaiveDate> {
        match self {
            Self::Day(day) => Some(day),
            Self::Moment(_) => None,
        }
    }
}

/// From the first bound to the last, both included.
pub fn period(zone: Tz, first: Option<Bound>, last: Option<Bound>) -> Period {
    let from = first.map(|bound| match bound {
        Bound::Day(day) => start_of(zone, day),
        Bound::Moment(moment) => moment,
    });
    let to = last.map(|bound| match bound {
        Bound::Day(day) => start_of(zone, day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)),
        // As precise as times are stored.
        Bound::Moment(moment) => moment.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(moment),
    });
    Period { from, to }
}

/// The first moment of a day: midnight, or when the clock was put forward over it, the first moment after.
fn start_of(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    (0..=96)
        .filter_map(|quarters| midnight.checked_add_signed(TimeDelta::minutes(15 * quarters)))
        .find_map(|local| zone.from_local_datetime(&local).earliest())
        .map_or_else(|| midnight.and_utc(), |start| start.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_is_whole_in_the_shops_zone() {
        let day = Bound::parse("2025-10-29");
        let period = period(Tz::Africa__Kinshasa, day, day);
        assert_eq!(period.from, Some(utc("2025-10-28T23:00:00Z")));
        assert_eq!(period.to, Some(utc("2025-10-29T23:00:00Z")));
    }

    #[test]
    fn a_day_without_a_midnight_begins_when_its_clock_does() {
        // In Cairo the clock went from 00:00 to 01:00 on that day.
        assert_eq!(start_of(Tz::Africa__Cairo, "2024-04-26".parse().unwrap()), utc("2024-04-25T22:00:00Z"));
    }

    #[test]
    fn a_moment_is_included() {
        let moment = Bound::parse("2025-10-29T10:00:00+01:00");
        let period = period(Tz::UTC, None, moment);
        assert_eq!(period.to, Some(utc("2025-10-29T09:00:00.000001Z")));
        assert_eq!(Bound::parse("29/10/2025"), None);
        assert_eq!(Bound::parse("2025-13-01"), None);
    }
}
