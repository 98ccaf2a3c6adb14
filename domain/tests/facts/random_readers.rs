//! What holds whatever a reader does, in whatever order, under clocks that disagree.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::decider::Decider;
use daybook_domain::event::DomainEvent;
use daybook_domain::reading::{
    EndReason, OfflineSession, Reader, ReaderCommand, ReaderDecider, ReaderEvent, Situation, offline_session_id,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::given::{id, minute, percent};

/// A command without its time and the sessions it means: those depend on what came before.
#[derive(Debug, Clone)]
enum Step {
    Start(u8),
    Update(u8),
    End(u8),
    EndIdle,
    Offline(i64),
    Travel(Tz),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..=100).prop_map(Step::Start),
        3 => (0_u8..=100).prop_map(Step::Update),
        3 => (0_u8..=100).prop_map(Step::End),
        1 => Just(Step::EndIdle),
        1 => (-5_i64..600).prop_map(Step::Offline),
        1 => prop_oneof![Just(Tz::UTC), Just(Tz::Asia__Tehran)].prop_map(Step::Travel),
    ]
}

/// Steps with the seconds that pass before each on the server's clock: sometimes it goes back.
fn steps() -> impl Strategy<Value = Vec<(Step, i64, bool)>> {
    proptest::collection::vec((step(), -600_i64..90_000, prop::bool::weighted(0.8)), 0..40)
}

fn command(step: &Step, number: u128, meant: Uuid, now: DateTime<Utc>) -> ReaderCommand {
    match *step {
        Step::Start(position) => ReaderCommand::Start {
            session_id: id(number),
            user_id: id(1),
            book_id: id(2),
            start_position: percent(position),
            device_type: None,
            timezone: None,
            now,
        },
        Step::Update(position) => ReaderCommand::Update { session_id: meant, position: percent(position), now },
        Step::End(position) => {
            ReaderCommand::End { session_id: meant, position: percent(position), timezone: None, now }
        }
        Step::EndIdle => ReaderCommand::EndIdle { session_id: meant, idle_after: TimeDelta::hours(12), now },
        Step::Offline(minutes) => ReaderCommand::RecordOffline {
            user_id: id(1),
            timezone: None,
            sessions: vec![OfflineSession {
                session_id: offline_session_id(id(1), id(number)),
                client_id: id(number),
                book_id: id(2),
                started_at: now,
                ended_at: now + TimeDelta::minutes(minutes),
                start_position: percent(0),
                end_position: percent(1),
                device_type: None,
                timezone: None,
            }],
        },
        Step::Travel(zone) => {
            ReaderCommand::ChangeProfile { user_id: id(1), timezone: Some(Some(zone)), display_name: None, now }
        }
    }
}

/// The events of a reader who does all of `steps`; a step that is not `aimed` means a session of long ago.
fn live(steps: &[(Step, i64, bool)]) -> (Reader, Vec<ReaderEvent>) {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    let mut now = minute(0);
    for (number, (step, seconds, aimed)) in (100..).zip(steps) {
        now += TimeDelta::seconds(*seconds);
        let meant = match &reader.session {
            Situation::Reading(active) if *aimed => active.session_id,
            Situation::Reading(_) | Situation::Idle => id(99),
        };
        for event in ReaderDecider::decide(&reader, &command(step, number, meant, now)).unwrap_or_default() {
            ReaderDecider::evolve(&mut reader, &event);
            events.push(event);
        }
    }
    (reader, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_more_than_one_session_is_active(steps in steps()) {
        let (reader, events) = live(&steps);
        let mut active = 0;
        for event in &events {
            match event {
                ReaderEvent::ReadingSessionStarted(_) => active += 1,
                ReaderEvent::ReadingSessionEnded(ended) if ended.reason != EndReason::Offline => active -= 1,
                _ => {}
            }
            prop_assert!((0..=1).contains(&active), "{active} active sessions after {event:?}");
        }
        prop_assert_eq!(active == 1, matches!(reader.session, Situation::Reading(_)));
    }

    #[test]
    fn no_session_ends_before_it_starts_or_before_its_last_sign_of_life(steps in steps()) {
        let mut last_seen_at = None;
        for event in live(&steps).1 {
            match event {
                ReaderEvent::ReadingSessionStarted(started) => last_seen_at = Some(started.started_at),
                ReaderEvent::ReadingSessionUpdated(updated) => {
                    prop_assert!(Some(updated.reported_at) >= last_seen_at);
                    last_seen_at = Some(updated.reported_at);
                }
                ReaderEvent::ReadingSessionEnded(ended) => {
                    prop_assert!(ended.ended_at >= ended.started_at);
                    prop_assert!(ended.reason == EndReason::Offline || Some(ended.ended_at) >= last_seen_at);
                }
                ReaderEvent::ReaderProfileChanged(_) => {}
            }
        }
    }

    #[test]
    fn what_was_written_is_what_is_read(steps in steps()) {
        for event in live(&steps).1 {
            let read = ReaderEvent::decode(event.event_type(), event.schema_version(), &event.encode());
            prop_assert_eq!(read.ok(), Some(event));
        }
    }
}
