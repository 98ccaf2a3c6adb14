//! The rules of reading.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::decider::Decider;
use daybook_domain::reading::{
    DeviceType, EndReason, OfflineSession, Profile, Reader, ReaderCommand, ReaderDecider, ReaderEvent,
    ReaderProfileChanged, ReaderRejection, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
    Situation, offline_session_id, stream,
};

use crate::given::{Given, at, id, minute, percent};

const USER: u128 = 0xa11a;
const BOOK: u128 = 0xb00c;
const FIRST: u128 = 1;
const SECOND: u128 = 2;

fn given(events: impl IntoIterator<Item = ReaderEvent>) -> Given<ReaderDecider> {
    Given::new(events)
}

fn session_started(session: u128, position: u8, timezone: Tz, started_at: DateTime<Utc>) -> ReaderEvent {
    ReaderEvent::ReadingSessionStarted(ReadingSessionStarted {
        session_id: id(session),
        user_id: id(USER),
        book_id: id(BOOK),
        started_at,
        start_position: percent(position),
        device_type: Some(DeviceType::Mobile),
        timezone,
    })
}

/// The first session, started at minute 0 at 25 %.
fn started() -> ReaderEvent {
    session_started(FIRST, 25, Tz::Europe__Paris, minute(0))
}

fn updated(position: u8, minutes: i64) -> ReaderEvent {
    ReaderEvent::ReadingSessionUpdated(ReadingSessionUpdated {
        session_id: id(FIRST),
        position: percent(position),
        reported_at: minute(minutes),
    })
}

fn ended_event(position: u8, minutes: i64, reason: EndReason) -> ReadingSessionEnded {
    ReadingSessionEnded {
        session_id: id(FIRST),
        user_id: id(USER),
        book_id: id(BOOK),
        started_at: minute(0),
        ended_at: minute(minutes),
        start_position: percent(25),
        end_position: percent(position),
        device_type: Some(DeviceType::Mobile),
        timezone: Tz::Europe__Paris,
        reason,
        client_id: None,
    }
}

fn ended(position: u8, minutes: i64, reason: EndReason) -> ReaderEvent {
    ReaderEvent::ReadingSessionEnded(ended_event(position, minutes, reason))
}

fn profile(timezone: Option<Tz>, name: Option<&str>) -> ReaderEvent {
    ReaderEvent::ReaderProfileChanged(ReaderProfileChanged {
        user_id: id(USER),
        timezone,
        display_name: name.map(str::to_owned),
        changed_at: minute(0),
    })
}

fn start(session: u128, timezone: Option<Tz>, now: DateTime<Utc>) -> ReaderCommand {
    ReaderCommand::Start {
        session_id: id(session),
        user_id: id(USER),
        book_id: id(BOOK),
        start_position: percent(25),
        device_type: Some(DeviceType::Mobile),
        timezone,
        now,
    }
}

fn update_to(position: u8, minutes: i64) -> ReaderCommand {
    ReaderCommand::Update { session_id: id(FIRST), position: percent(position), now: minute(minutes) }
}

fn end_at(position: u8, minutes: i64) -> ReaderCommand {
    ReaderCommand::End { session_id: id(FIRST), position: percent(position), timezone: None, now: minute(minutes) }
}

fn end_idle(minutes: i64) -> ReaderCommand {
    ReaderCommand::EndIdle { session_id: id(FIRST), idle_after: TimeDelta::hours(12), now: minute(minutes) }
}

fn not_active() -> ReaderRejection {
    ReaderRejection::NotActive { session_id: id(FIRST) }
}

#[test]
fn a_session_starts_in_the_requests_zone_else_the_readers_else_utc() {
    let asked = Some(Tz::Asia__Tokyo);
    let home = || profile(Some(Tz::America__Havana), None);
    given([home()]).when(start(FIRST, asked, minute(0))).then([session_started(FIRST, 25, Tz::Asia__Tokyo, minute(0))]);
    given([home()]).when(start(FIRST, None, minute(0))).then([session_started(
        FIRST,
        25,
        Tz::America__Havana,
        minute(0),
    )]);
    given([]).when(start(FIRST, None, minute(0))).then([session_started(FIRST, 25, Tz::UTC, minute(0))]);
}

#[test]
fn a_superseded_session_ends_at_its_last_position() {
    given([started(), updated(40, 10)])
        .when(start(SECOND, None, minute(20)))
        .then([ended(40, 20, EndReason::Superseded), session_started(SECOND, 25, Tz::UTC, minute(20))]);
}

#[test]
fn a_superseded_session_keeps_a_position_below_its_start() {
    given([started(), updated(5, 10)])
        .when(start(SECOND, None, minute(20)))
        .then([ended(5, 20, EndReason::Superseded), session_started(SECOND, 25, Tz::UTC, minute(20))]);
}

#[test]
fn a_superseded_session_was_read_until_now_when_it_was_seen_in_the_last_half_hour() {
    given([started(), updated(40, 10)])
        .when(start(SECOND, None, minute(40)))
        .then([ended(40, 40, EndReason::Superseded), session_started(SECOND, 25, Tz::UTC, minute(40))]);
    given([started(), updated(40, 10)])
        .when(start(SECOND, None, minute(41)))
        .then([ended(40, 10, EndReason::Superseded), session_started(SECOND, 25, Tz::UTC, minute(41))]);
}

#[test]
fn a_session_that_supersedes_does_not_start_before_the_other_ends() {
    given([started(), updated(40, 10)])
        .when(start(SECOND, None, minute(7)))
        .then([ended(40, 10, EndReason::Superseded), session_started(SECOND, 25, Tz::UTC, minute(10))]);
}

#[test]
fn an_update_may_page_back_below_the_start() {
    given([started()]).when(update_to(5, 10)).then([updated(5, 10)]);
}

#[test]
fn time_does_not_run_backwards() {
    given([started(), updated(40, 10)]).when(update_to(45, 3)).then([updated(45, 10)]);
    given([started(), updated(40, 10)]).when(end_at(45, 3)).then([ended(45, 10, EndReason::Requested)]);
    given([started()]).when(end_at(45, -3)).then([ended(45, 0, EndReason::Requested)]);
}

#[test]
fn a_session_ends_where_and_when_the_reader_says() {
    given([started(), updated(40, 10)]).when(end_at(45, 45)).then([ended(45, 45, EndReason::Requested)]);
    given([started()]).when(end_at(25, 0)).then([ended(25, 0, EndReason::Requested)]);
}

#[test]
fn a_session_counts_in_the_zone_in_which_it_ends() {
    let command = ReaderCommand::End {
        session_id: id(FIRST),
        position: percent(45),
        timezone: Some(Tz::Asia__Kathmandu),
        now: minute(45),
    };
    let there = ReadingSessionEnded { timezone: Tz::Asia__Kathmandu, ..ended_event(45, 45, EndReason::Requested) };
    given([started()]).when(command).then([ReaderEvent::ReadingSessionEnded(there)]);
}

#[test]
fn a_session_does_not_end_before_where_it_started() {
    let rejection = ReaderRejection::EndsBeforeItsStart { start: percent(25), end: percent(24) };
    assert_eq!(rejection.to_string(), "the session cannot end at 24 %: it started at 25 %");
    given([started(), updated(5, 10)]).when(end_at(24, 45)).then_rejected(rejection);
}

#[test]
fn an_ended_session_refuses_an_update_and_an_end() {
    let past = || [started(), ended(45, 45, EndReason::Requested)];
    given(past()).when(update_to(50, 46)).then_rejected(not_active());
    given(past()).when(end_at(50, 46)).then_rejected(not_active());
}

#[test]
fn only_the_active_session_is_updated_and_ended() {
    let other = || [session_started(SECOND, 0, Tz::UTC, minute(0))];
    given([]).when(update_to(50, 1)).then_rejected(not_active());
    given(other()).when(update_to(50, 1)).then_rejected(not_active());
    given(other()).when(end_at(50, 1)).then_rejected(not_active());
}

#[test]
fn an_idle_session_ends_at_its_last_sign_of_life() {
    let past = || [started(), updated(40, 10)];
    given(past()).when(end_idle(10 + 12 * 60)).then([ended(40, 10, EndReason::Idle)]);
    given(past()).when(end_idle(9 + 12 * 60)).then_rejected(ReaderRejection::NotIdle { session_id: id(FIRST) });
}

#[test]
fn an_idle_session_that_is_not_active_any_more_is_left_alone() {
    given([]).when(end_idle(10_000)).then([]);
    given([started(), ended(45, 45, EndReason::Requested)]).when(end_idle(10_000)).then([]);
}

#[test]
fn offline_sessions_are_recorded_whole_and_leave_the_active_one_alone() {
    let session = |number: u128, minutes| OfflineSession {
        session_id: offline_session_id(id(USER), id(number)),
        client_id: id(number),
        book_id: id(BOOK),
        started_at: minute(0),
        ended_at: minute(minutes),
        start_position: percent(25),
        end_position: percent(30),
        device_type: Some(DeviceType::Mobile),
        timezone: None,
    };
    let recorded_in = |number: u128, minutes, timezone| {
        ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
            session_id: offline_session_id(id(USER), id(number)),
            client_id: Some(id(number)),
            timezone,
            ..ended_event(30, minutes, EndReason::Offline)
        })
    };
    let recorded = |number, minutes| recorded_in(number, minutes, Tz::America__Havana);
    let home = profile(Some(Tz::America__Havana), None);
    let sessions = vec![session(7, 15), session(8, 0)];
    let command = ReaderCommand::RecordOffline { user_id: id(USER), timezone: None, sessions };
    given([home.clone(), started()]).when(command).then([recorded(7, 15), recorded(8, 0)]);

    // The session's own zone, else the request's, else the reader's.
    let with_zone = OfflineSession { timezone: Some(Tz::Asia__Kathmandu), ..session(9, 5) };
    let sessions = vec![with_zone, session(10, 5)];
    let command = ReaderCommand::RecordOffline { user_id: id(USER), timezone: Some(Tz::UTC), sessions };
    let expected = [recorded_in(9, 5, Tz::Asia__Kathmandu), recorded_in(10, 5, Tz::UTC)];
    given([home]).when(command).then(expected);
    given([started(), recorded(7, 15)]).when(update_to(40, 10)).then([updated(40, 10)]);
}

#[test]
fn a_profile_changes_field_by_field_and_the_event_is_all_of_it() {
    let change = |timezone, name: Option<Option<&str>>| ReaderCommand::ChangeProfile {
        user_id: id(USER),
        timezone,
        display_name: name.map(|name| name.map(str::to_owned)),
        now: minute(0),
    };
    let paris = Some(Tz::Europe__Paris);
    let past = || [profile(paris, Some("Anna"))];
    given([]).when(change(Some(paris), None)).then([profile(paris, None)]);
    given(past()).when(change(None, Some(Some("Ann")))).then([profile(paris, Some("Ann"))]);
    given(past()).when(change(Some(None), None)).then([profile(None, Some("Anna"))]);
    given(past()).when(change(None, Some(None))).then([profile(paris, None)]);
}

#[test]
fn a_profile_that_stays_as_it_is_makes_no_event() {
    let change = |timezone, display_name| ReaderCommand::ChangeProfile {
        user_id: id(USER),
        timezone,
        display_name,
        now: minute(9),
    };
    given([]).when(change(None, None)).then([]);
    given([]).when(change(Some(None), Some(None))).then([]);
    let anna = Some(Some("Anna".to_owned()));
    given([profile(Some(Tz::UTC), Some("Anna"))]).when(change(Some(Some(Tz::UTC)), anna)).then([]);
}

#[test]
fn times_are_kept_to_the_microsecond() {
    given([]).when(start(FIRST, None, at("2025-10-28T10:30:00.123456789Z"))).then([session_started(
        FIRST,
        25,
        Tz::UTC,
        at("2025-10-28T10:30:00.123456Z"),
    )]);
}

#[test]
fn the_state_tells_the_profile_and_the_active_session() {
    let mut reader = Reader::default();
    for event in [profile(Some(Tz::Asia__Tokyo), Some("Anna")), started(), updated(40, 10)] {
        ReaderDecider::evolve(&mut reader, &event);
    }
    let told = Profile { timezone: Some(Tz::Asia__Tokyo), display_name: Some("Anna".to_owned()) };
    assert_eq!(reader.profile, told);
    let Situation::Reading(active) = reader.session else { panic!("the reader is reading") };
    assert_eq!((active.position, active.last_seen_at), (percent(40), minute(10)));
    assert_eq!((active.start_position, active.started_at), (percent(25), minute(0)));
}

#[test]
fn a_reader_has_a_stream_and_a_device_finds_its_sessions_again() {
    assert_eq!(stream(id(USER)), "reader-00000000-0000-0000-0000-00000000a11a");
    assert_eq!(offline_session_id(id(1), id(2)).to_string(), "5080556d-4b1d-5005-90e9-99f64e773e14");
    assert_ne!(offline_session_id(id(1), id(2)), offline_session_id(id(2), id(1)));
}
