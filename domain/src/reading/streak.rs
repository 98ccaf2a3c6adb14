//! How many days in a row somebody has read.
//!
//! Days are calendar dates, not spans of 24 hours: a day of 23 or 25 hours breaks nothing.

use chrono::NaiveDate;

/// Days in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streak {
    /// The length in days of the streak that lives today; 0 when none does.
    pub current: u32,
    /// The length in days of the longest streak there ever was, the living one included.
    pub longest: u32,
    /// The last date on which reading keeps the living streak; `None` when none lives.
    pub alive_until: Option<NaiveDate>,
}

/// The streaks in `counted_days_ascending`, as seen on `today`.
///
/// A streak lives while its last day is today or yesterday. Its last day may also be tomorrow: the reader has travelled
/// west since. A day after tomorrow was recorded by a clock that was wrong, and counts in no streak.
pub fn streak(counted_days_ascending: impl IntoIterator<Item = NaiveDate>, today: NaiveDate) -> Streak {
    let mut longest = 0;
    let mut run = 0;
    let mut last = None;
    let latest = today.succ_opt().unwrap_or(NaiveDate::MAX);
    for day in counted_days_ascending.into_iter().take_while(|day| *day <= latest) {
        if last == Some(day) {
            continue;
        }
        run = if last.is_some() && last == day.pred_opt() { run + 1 } else { 1 };
        longest = longest.max(run);
        last = Some(day);
    }
    let alive_until = last.and_then(|last| last.succ_opt()).filter(|alive_until| *alive_until >= today);
    Streak { current: if alive_until.is_some() { run } else { 0 }, longest, alive_until }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::Days;
    use proptest::prelude::*;

    use super::*;

    fn day(day: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 2, 20).unwrap() + Days::new(day)
    }

    /// Walks the days one by one, as one would on a wall calendar.
    fn by_walking(days: &BTreeSet<NaiveDate>, today: NaiveDate) -> Streak {
        let days: BTreeSet<_> = days.iter().filter(|day| **day <= today + Days::new(1)).copied().collect();
        let back_from = |mut day: NaiveDate| {
            let mut length = 0;
            while days.contains(&day) {
                length += 1;
                day = day.pred_opt().unwrap();
            }
            length
        };
        let longest = days.iter().map(|day| back_from(*day)).max().unwrap_or(0);
        let alive = days.last().copied().filter(|last| *last >= today.pred_opt().unwrap());
        Streak { current: alive.map_or(0, back_from), longest, alive_until: alive.map(|last| last.succ_opt().unwrap()) }
    }

    #[test]
    fn without_a_counted_day_there_is_no_streak() {
        assert_eq!(streak([], day(0)), Streak { current: 0, longest: 0, alive_until: None });
    }

    #[test]
    fn a_streak_lives_today_and_tomorrow_and_is_over_the_day_after() {
        let days = [day(1), day(2), day(3)];
        assert_eq!(streak(days, day(3)), Streak { current: 3, longest: 3, alive_until: Some(day(4)) });
        assert_eq!(streak(days, day(4)), Streak { current: 3, longest: 3, alive_until: Some(day(4)) });
        assert_eq!(streak(days, day(5)), Streak { current: 0, longest: 3, alive_until: None });
    }

    #[test]
    fn a_missed_day_starts_a_new_streak_and_the_longest_is_kept() {
        let days = [day(1), day(2), day(3), day(5), day(6)];
        assert_eq!(streak(days, day(6)), Streak { current: 2, longest: 3, alive_until: Some(day(7)) });
    }

    #[test]
    fn a_reader_who_travels_west_keeps_the_day_that_is_ahead() {
        assert_eq!(streak([day(4), day(5)], day(4)), Streak { current: 2, longest: 2, alive_until: Some(day(6)) });
    }

    #[test]
    fn days_after_tomorrow_count_in_no_streak() {
        let wrong_clock = [day(1), day(4), day(6), day(7), day(8), day(400)];
        assert_eq!(streak(wrong_clock, day(4)), Streak { current: 1, longest: 1, alive_until: Some(day(5)) });
        assert_eq!(streak([day(9)], day(4)), Streak { current: 0, longest: 0, alive_until: None });
        assert_eq!(streak([day(0), day(2)], NaiveDate::MAX), Streak { current: 0, longest: 1, alive_until: None });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_streak_is_what_walking_the_calendar_finds(
            days in proptest::collection::btree_set(0_u64..30, 0..28),
            today in 0_u64..34,
        ) {
            let days: BTreeSet<_> = days.into_iter().map(day).collect();
            prop_assert_eq!(streak(days.iter().copied(), day(today)), by_walking(&days, day(today)));
        }
    }
}
