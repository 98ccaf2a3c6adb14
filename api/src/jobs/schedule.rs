//! When a job runs.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, Offset as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;

/// When a job runs. Besides, every job runs when somebody asks for it.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// This long after the run before has ended, and once when a node begins to lead. Measured by a clock that nobody
    /// can set.
    Every(Duration),
    /// At the times of a calendar.
    Cron(Box<CronSchedule>),
    /// Only when somebody asks for it.
    OnDemand,
}

/// A cron expression in a time zone.
///
/// A fixed time runs once on a day whose clock changes: at the end of the gap when the clock skips it, the first time
/// when it comes twice. An interval follows the hours as they pass.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    cron: Cron,
    zone: Tz,
    /// The hours are an interval (`*`, `*/2`), not fixed ones.
    is_every_hour: bool,
}

impl CronSchedule {
    /// An expression of five fields (minute, hour, day, month, weekday), read in `zone`.
    ///
    /// # Errors
    /// [`CronError`] when it is no such expression.
    pub fn parse(expression: &str, zone: Tz) -> Result<Self, CronError> {
        let cron = Cron::from_str(expression)?;
        let is_every_hour = expression.split_whitespace().rev().nth(3).is_some_and(|hours| hours.starts_with('*'));
        Ok(Self { cron, zone, is_every_hour })
    }

    /// The first time after `moment`; `None` when there is none in the years that the calendar knows.
    #[must_use]
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = moment.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc);
        Some(self.in_repeated_hour(local, next).unwrap_or(next))
    }

    /// The time before `next` at which an interval runs in an hour that the clock shows twice: the parser's search skips
    /// the second one.
    fn in_repeated_hour(&self, local: DateTime<Tz>, next: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.is_every_hour {
            return None;
        }
        // As if the clock were not put back.
        let unchanged = local.with_timezone(&local.offset().fix());
        let earlier = self.cron.find_next_occurrence(&unchanged, false).ok()?;
        let is_due = self.cron.is_time_matching(&earlier.with_timezone(&self.zone)).unwrap_or(false);
        Some(earlier.with_timezone(&Utc)).filter(|earlier| is_due && *earlier < next)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(pause) => write!(f, "every {pause:?}"),
            Self::Cron(schedule) => write!(f, "{} ({})", schedule.cron.as_str(), schedule.zone),
            Self::OnDemand => f.write_str("on demand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_paris(expression: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = CronSchedule::parse(expression, chrono_tz::Europe::Paris).unwrap();
        let mut moment: DateTime<Utc> = after.parse().unwrap();
        let next = || {
            moment = schedule.after(moment)?;
            Some(moment.format("%m-%dT%H:%MZ").to_string())
        };
        std::iter::from_fn(next).take(count).collect()
    }

    #[test]
    fn a_fixed_time_that_the_clock_skips_runs_once_at_the_end_of_the_gap() {
        let runs = in_paris("30 2 * * *", "2026-03-28T00:00:00Z", 3);
        assert_eq!(runs, ["03-28T01:30Z", "03-29T01:00Z", "03-30T00:30Z"]);
    }

    #[test]
    fn a_fixed_time_that_comes_twice_runs_once() {
        let runs = in_paris("30 2 * * *", "2026-10-24T00:00:00Z", 3);
        assert_eq!(runs, ["10-24T00:30Z", "10-25T00:30Z", "10-26T01:30Z"]);
    }

    #[test]
    fn an_interval_runs_in_every_hour_that_passes() {
        let spring = in_paris("0 * * * *", "2026-03-28T23:30:00Z", 4);
        assert_eq!(spring, ["03-29T00:00Z", "03-29T01:00Z", "03-29T02:00Z", "03-29T03:00Z"]);
        let autumn = in_paris("0 * * * *", "2026-10-24T23:30:00Z", 4);
        assert_eq!(autumn, ["10-25T00:00Z", "10-25T01:00Z", "10-25T02:00Z", "10-25T03:00Z"]);
    }

    #[test]
    fn what_is_no_expression_is_refused_and_what_never_comes_has_no_next() {
        assert!(CronSchedule::parse("every day", chrono_tz::UTC).is_err());
        let never = CronSchedule::parse("0 0 31 2 *", chrono_tz::UTC).unwrap();
        assert_eq!(never.after(DateTime::UNIX_EPOCH), None);
    }
}
