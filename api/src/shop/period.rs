//! Stretches of a shop's sales: by days, or by moments.

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use daybook_projections::shop::sales::Period;

/// A bound as a caller writes it: a day, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
}

impl Bound {
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 3339 has four digits for a year, and other years are no calendar's either.
        let is_year = |year: i32| (1..=9999).contains(&year);
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return (text.len() == "AAAA-MM-JJ".len() && is_year(day.year())).then_some(Self::Day(day));
        }
        let moment = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
        is_year(moment.year()).then_some(Self::Moment(moment))
    }

    pub fn day(self) -> Option<NaiveDate> {
        match self {
            Self::Day(day) => Some(day),
            Self::Moment(_) => None,
        }
    }
}

/// From the first bound to the last, both included. A day holds the sales that were recorded as sales of that day.
pub fn period(first: Option<Bound>, last: Option<Bound>) -> Period {
    let mut period = Period::default();
    match first {
        Some(Bound::Day(day)) => period.first_day = Some(day),
        Some(Bound::Moment(moment)) => period.from = Some(moment),
        None => {}
    }
    match last {
        Some(Bound::Day(day)) => period.last_day = Some(day),
        // As precise as times are stored.
        Some(Bound::Moment(moment)) => {
            period.to = Some(moment.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(moment));
        }
        None => {}
    }
    period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_and_a_moment_is_included() {
        let day = Bound::parse("2025-10-29");
        let whole = period(day, day);
        assert_eq!((whole.first_day, whole.last_day), (day.and_then(Bound::day), day.and_then(Bound::day)));
        assert_eq!((whole.from, whole.to), (None, None));
        let moment = period(None, Bound::parse("2025-10-29T10:00:00+01:00"));
        assert_eq!(moment.to, Some("2025-10-29T09:00:00.000001Z".parse().unwrap()));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "29/10/2025",
            "2025-13-01",
            "2025-1-01",
            "+12345-01-01",
            "-0001-01-01",
            "0000-01-01",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(Bound::parse(text), None, "{text}");
        }
    }
}
