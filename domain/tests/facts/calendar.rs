//! Where time falls, also when local clocks jump.

use chrono::{DateTime, NaiveDate, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::{COUNTED_HOURS_MAX, Share, local_date, shares};
use proptest::prelude::*;

use crate::given::at;

/// Zones with whole, half and three-quarter hours, changes at midnight, and half-hour changes.
const ZONES: [Tz; 12] = [
    Tz::Pacific__Kiritimati,
    Tz::America__Havana,
    Tz::America__Santiago,
    Tz::America__Sao_Paulo,
    Tz::Africa__Cairo,
    Tz::Asia__Beirut,
    Tz::America__St_Johns,
    Tz::Asia__Kathmandu,
    Tz::Australia__Lord_Howe,
    Tz::Europe__Paris,
    Tz::Asia__Tehran,
    Tz::UTC,
];

/// Moments at which one of the zones changed its clocks, or skipped a day.
const CHANGES: [&str; 18] = [
    "1994-12-31T10:00:00Z", // Kiritimati leaves out a day
    "2021-11-07T05:00:00Z", // Havana, 01:00 back to 00:00
    "2022-03-13T05:00:00Z", // Havana, 00:00 on to 01:00
    "2022-04-03T03:00:00Z", // Santiago, 24:00 back to 23:00
    "2022-09-11T04:00:00Z", // Santiago, 00:00 on to 01:00
    "2018-02-18T02:00:00Z", // São Paulo, 24:00 back to 23:00
    "2018-11-04T03:00:00Z", // São Paulo, 00:00 on to 01:00
    "2023-04-27T22:00:00Z", // Cairo, 00:00 on to 01:00
    "2023-10-26T21:00:00Z", // Cairo, 24:00 back to 23:00
    "2022-03-26T22:00:00Z", // Beirut, 00:00 on to 01:00
    "2022-10-29T21:00:00Z", // Beirut, 24:00 back to 23:00
    "2010-03-14T03:31:00Z", // St. John's, 00:01 on to 01:01
    "2010-11-07T02:31:00Z", // St. John's, 00:01 back to 23:01 of the day before
    "1985-12-31T18:30:00Z", // Kathmandu, 00:00 on to 00:15
    "2024-04-06T15:00:00Z", // Lord Howe, 02:00 back to 01:30
    "2024-10-05T15:30:00Z", // Lord Howe, 02:00 on to 02:30
    "2024-10-27T01:00:00Z", // Paris, 03:00 back to 02:00
    "2022-03-21T20:30:00Z", // Tehran, 00:00 on to 01:00
];

/// Divides the minute, so that no clock jumps and no hour begins between two steps.
const STEP_SECONDS: i64 = 20;

/// Looks at the local clock every few seconds and writes down what it shows.
fn by_walking(zone: Tz, started_at: DateTime<Utc>, steps: i64) -> Vec<Share> {
    let mut seen: Vec<Share> = Vec::new();
    for step in 0..=steps.min(COUNTED_HOURS_MAX * 3600 / STEP_SECONDS - 1) {
        let local = (started_at + TimeDelta::seconds(step * STEP_SECONDS)).with_timezone(&zone);
        let (date, hour) = (local.date_naive(), u8::try_from(local.hour()).unwrap_or(u8::MAX));
        if step < steps || step == 0 {
            let from = (started_at + TimeDelta::seconds(step * STEP_SECONDS)).timestamp_micros();
            if seen.last().is_none_or(|last| (last.date, last.hour) != (date, hour)) {
                seen.push(Share { date, hour, from, to: from });
            }
            if let Some(last) = seen.last_mut().filter(|_| step < steps) {
                last.to = from + STEP_SECONDS * 1_000_000;
            }
        }
    }
    seen
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(ZONES.to_vec())
}

/// Moments on a step: around a change of clocks, and any.
fn starts() -> impl Strategy<Value = DateTime<Utc>> {
    let near = (prop::sample::select(CHANGES.to_vec()), -9 * 180_i64..180)
        .prop_map(|(change, steps)| at(change) + TimeDelta::seconds(steps * STEP_SECONDS));
    let any =
        (0_i64..100_000_000).prop_map(|steps| at("1970-01-01T00:00:00Z") + TimeDelta::seconds(steps * STEP_SECONDS));
    prop_oneof![3 => near, 1 => any]
}

/// Lengths in steps: a few, up to the hours that count, and beyond.
fn lengths() -> impl Strategy<Value = i64> {
    prop_oneof![0_i64..10, 0_i64..1440, 1300_i64..3000]
}

/// Date, hour and seconds.
fn pieces(zone: Tz, from: &str, to: &str) -> Vec<(String, u8, i64)> {
    let pieces = shares(zone, at(from), at(to));
    pieces.iter().map(|share| (share.date.to_string(), share.hour, (share.to - share.from) / 1_000_000)).collect()
}

fn piece(date: &str, hour: u8, minutes: i64) -> (String, u8, i64) {
    (date.to_owned(), hour, minutes * 60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn time_falls_where_the_local_clock_shows_them(zone in zones(), start in starts(), steps in lengths()) {
        let end = start + TimeDelta::seconds(steps * STEP_SECONDS);
        prop_assert_eq!(shares(zone, start, end), by_walking(zone, start, steps));
    }

    #[test]
    fn no_time_is_lost_and_none_is_made_up(
        zone in zones(),
        start in starts(),
        offset in 0_i64..20_000_000,
        micros in 0_i64..40_000_000_000,
    ) {
        let start = start + TimeDelta::microseconds(offset);
        let end = start + TimeDelta::microseconds(micros);
        let shares = shares(zone, start, end);
        let counted = micros.min(COUNTED_HOURS_MAX * 3_600_000_000);
        prop_assert_eq!(shares.first().map(|share| share.from), Some(start.timestamp_micros()));
        prop_assert_eq!(shares.last().map(|share| share.to), Some(start.timestamp_micros() + counted));
        prop_assert!(shares.windows(2).all(|pair| pair[0].to == pair[1].from));
        prop_assert_eq!(shares.first().map(|share| share.date), Some(local_date(zone, start)));
        prop_assert!(shares.iter().all(|share| share.hour < 24 && share.to - share.from <= 7_200_000_000));
    }
}

#[test]
fn the_listed_changes_are_where_clocks_jump() {
    for change in CHANGES {
        let jumps = ZONES.iter().any(|zone| {
            let local = |seconds| (at(change) + TimeDelta::seconds(seconds)).with_timezone(zone).naive_local();
            local(0) - local(-1) != TimeDelta::seconds(1)
        });
        assert!(jumps, "no clock jumps at {change}");
    }
}

#[test]
fn a_session_over_midnight_counts_for_both_days() {
    assert_eq!(
        pieces(Tz::Europe__Paris, "2025-01-10T22:40:00Z", "2025-01-10T23:15:30Z"),
        [piece("2025-01-10", 23, 20), ("2025-01-11".to_owned(), 0, 15 * 60 + 30)]
    );
}

#[test]
fn a_session_that_ends_at_midnight_does_not_touch_the_next_day() {
    assert_eq!(pieces(Tz::UTC, "2025-01-10T23:40:00Z", "2025-01-11T00:00:00Z"), [piece("2025-01-10", 23, 20)]);
}

#[test]
fn seconds_on_both_sides_of_midnight_stay_on_their_sides() {
    let pieces = pieces(Tz::UTC, "2025-01-10T23:59:30Z", "2025-01-11T00:00:20Z");
    assert_eq!(pieces, [("2025-01-10".to_owned(), 23, 30), ("2025-01-11".to_owned(), 0, 20)]);
}

#[test]
fn a_session_without_length_touches_the_hour_it_started_in() {
    assert_eq!(
        pieces(Tz::Pacific__Kiritimati, "2025-01-10T10:00:00Z", "2025-01-10T10:00:00Z"),
        [piece("2025-01-11", 0, 0)]
    );
}

#[test]
fn a_session_that_ends_before_it_starts_has_no_length() {
    assert_eq!(pieces(Tz::UTC, "2025-01-10T10:00:00Z", "2025-01-10T09:00:00Z"), [piece("2025-01-10", 10, 0)]);
}

#[test]
fn only_the_first_eight_hours_count() {
    let pieces = pieces(Tz::UTC, "2025-01-10T10:30:00Z", "2025-01-11T10:00:00Z");
    assert_eq!(pieces.iter().map(|piece| piece.2).sum::<i64>(), 480 * 60);
    assert_eq!(pieces.last(), Some(&piece("2025-01-10", 18, 30)));
}

#[test]
fn an_hour_that_comes_twice_is_one_piece_of_two_hours() {
    assert_eq!(
        pieces(Tz::Europe__Paris, "2024-10-26T23:30:00Z", "2024-10-27T02:30:00Z"),
        [piece("2024-10-27", 1, 30), piece("2024-10-27", 2, 120), piece("2024-10-27", 3, 30)]
    );
}

#[test]
fn a_date_that_comes_back_is_told_in_the_order_it_was_read() {
    assert_eq!(
        pieces(Tz::America__St_Johns, "2010-11-07T02:20:00Z", "2010-11-07T03:40:00Z"),
        [
            piece("2010-11-06", 23, 10),
            piece("2010-11-07", 0, 1),
            piece("2010-11-06", 23, 59),
            piece("2010-11-07", 0, 10)
        ]
    );
}

#[test]
fn a_zone_may_leave_out_a_whole_day() {
    assert_eq!(
        pieces(Tz::Pacific__Kiritimati, "1994-12-31T09:30:00Z", "1994-12-31T10:30:00Z"),
        [piece("1994-12-30", 23, 30), piece("1995-01-01", 0, 30)]
    );
}

#[test]
fn offsets_of_old_times_have_seconds() {
    // Paris kept its own mean time, 9 minutes and 21 seconds ahead of Greenwich.
    assert_eq!(
        pieces(Tz::Europe__Paris, "1900-01-01T23:49:39Z", "1900-01-01T23:51:39Z"),
        [piece("1900-01-01", 23, 1), piece("1900-01-02", 0, 1)]
    );
    assert_eq!(local_date(Tz::Europe__Paris, at("1900-01-01T23:50:39Z")), NaiveDate::from_ymd_opt(1900, 1, 2).unwrap());
}
