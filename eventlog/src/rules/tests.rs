//! The rules without a database: facts come from a log in memory.

use std::{cell::Cell, convert::Infallible};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::*;
use crate::{
    APPEND_EVENTS_MAX, Answer, Append, AppendError, EVENT_BYTES_MAX, ExpectedVersion, ImportError, ImportRefusal,
    RecordedEvent, StreamAppend, from_micros,
};

/// A log as the rules see it.
#[derive(Default)]
struct Memory {
    events: Vec<RecordedEvent>,
    kept: Vec<(RequestKey, StoredAnswer)>,
    looks: Cell<usize>,
}

impl Memory {
    /// A log with `count` events in the stream `item-1`, with the ids 1, 2, ….
    fn with(count: u64) -> Self {
        Self {
            events: (1..=count).map(|position| recorded(position, "item-1", position - 1)).collect(),
            ..Self::default()
        }
    }

    fn decide(&mut self, parts: &[StreamAppend]) -> Result<Vec<Known>, AppendError> {
        match decide(self, None, parts) {
            Ok(Decision::Write(known)) => Ok(known),
            Ok(Decision::Remembered(_)) => panic!("there was no key"),
            Err(Stop::Refused(refusal)) => Err(refusal),
        }
    }

    fn decide_with(&mut self, key: &RequestKey) -> Result<Option<StoredAnswer>, AppendError> {
        match decide(self, Some(key), &[]) {
            Ok(Decision::Write(_)) => Ok(None),
            Ok(Decision::Remembered(stored)) => Ok(Some(stored)),
            Err(Stop::Refused(refusal)) => Err(refusal),
        }
    }

    fn import(&mut self, events: &[RecordedEvent]) -> Result<(), (u64, ImportRefusal)> {
        let head = Position::new(self.events.len() as u64);
        let recorded_at = self.events.last().map_or(0, |event| event.recorded_at.timestamp_micros());
        match check_import(self, events, head, recorded_at) {
            Ok(()) => Ok(()),
            Err(Stop::Refused(ImportError::Refused { position, refusal })) => Err((position.get(), refusal)),
            Err(Stop::Refused(other)) => panic!("{other:?}"),
        }
    }
}

impl Facts for Memory {
    type Failure = Infallible;

    fn kept(&mut self, key: &RequestKey) -> Result<KeyLookup, Infallible> {
        let same = |of: &RequestKey| (&of.caller, &of.route, &of.key) == (&key.caller, &key.route, &key.key);
        let found = self.kept.iter().find(|(of, _)| same(of));
        Ok(compare(&key.fingerprint, found.map(|(of, stored)| (&of.fingerprint[..], stored.clone()))))
    }

    fn next_version(&mut self, stream: &StreamId) -> Result<Version, Infallible> {
        Ok(self.events.iter().filter(|event| event.stream == *stream).count() as u64)
    }

    fn may_be_taken(&mut self, _events: &[NewEvent]) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn position_of(&mut self, id: Uuid) -> Result<Option<Position>, Infallible> {
        self.looks.set(self.looks.get() + 1);
        Ok(self.events.iter().find(|event| event.id == id).map(|event| event.position))
    }

    fn holds(
        &mut self,
        id: Uuid,
        position: Position,
        is_same: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<bool, Infallible> {
        let event = self.events.iter().find(|event| event.id == id && event.position == position).unwrap();
        Ok(is_same(&Content {
            stream: event.stream.as_str(),
            event_type: &event.event_type,
            schema_version: event.schema_version.into(),
            data: &event.data,
        }))
    }

    fn highest_id(&mut self) -> Result<Option<u128>, Infallible> {
        Ok(self.events.iter().map(|event| event.id.as_u128()).max())
    }
}

fn at(seconds: u64) -> DateTime<Utc> {
    from_micros(1_700_000_000_000_000) + TimeDelta::seconds(seconds.cast_signed())
}

fn recorded(position: u64, stream: &str, version: u64) -> RecordedEvent {
    RecordedEvent {
        position: Position::new(position),
        stream: stream.into(),
        version,
        id: Uuid::from_u128(position.into()),
        event_type: "ItemSeen".into(),
        schema_version: 1,
        data: format!(r#"{{"n":{position},"of":"x"}}"#),
        metadata: "{}".to_owned(),
        occurred_at: at(position),
        recorded_at: at(position),
    }
}

/// The event that [`recorded`] makes at this position, before it is appended.
fn event(position: u64) -> NewEvent {
    let RecordedEvent { id, data, occurred_at, .. } = recorded(position, "item-1", 0);
    NewEvent { id, event_type: "ItemSeen".into(), schema_version: 1, data, metadata: "{}".into(), occurred_at }
}

fn part(stream: &str, expected: ExpectedVersion, events: impl IntoIterator<Item = u64>) -> StreamAppend {
    StreamAppend { stream: stream.into(), expected, events: events.into_iter().map(event).collect() }
}

fn key(fingerprint: u8) -> RequestKey {
    RequestKey { caller: "me".into(), route: "POST /x".into(), key: "k".into(), fingerprint: [fingerprint; 32] }
}

#[test]
fn an_expected_version_holds_or_the_append_is_a_conflict() {
    use ExpectedVersion::{Any, Exact, NoStream};
    for (stream, expected, holds) in [
        ("item-1", Any, true),
        ("item-1", Exact(2), true),
        ("item-1", Exact(1), false),
        ("item-1", Exact(3), false),
        ("item-1", NoStream, false),
        ("item-2", NoStream, true),
        ("item-2", Any, true),
        ("item-2", Exact(0), false),
    ] {
        for events in [vec![9], vec![]] {
            let decided = Memory::with(3).decide(&[part(stream, expected, events)]);
            match decided {
                Ok(known) => assert!(holds && known[0].is_empty(), "{stream} {expected:?}"),
                Err(AppendError::Conflict { next, .. }) => {
                    assert!(!holds && next == if stream == "item-1" { 3 } else { 0 }, "{stream} {expected:?}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_part_sees_what_the_parts_before_it_write() {
    use ExpectedVersion::Exact;
    let parts = [part("item-1", Exact(2), [4, 5]), part("item-1", Exact(4), [6])];
    assert!(Memory::with(3).decide(&parts).is_ok());
    let parts = [part("item-1", Exact(2), [4, 5]), part("item-1", Exact(2), [6])];
    assert!(matches!(Memory::with(3).decide(&parts), Err(AppendError::Conflict { next: 5, .. })));
}

#[test]
fn events_that_are_there_are_answered_whatever_version_was_expected() {
    let mut log = Memory::with(3);
    let parts = [part("item-1", ExpectedVersion::NoStream, [2, 3])];
    let known = log.decide(&parts).unwrap();
    let answer = appended(&parts, &known, Position::new(3));
    assert_eq!((answer.positions, answer.last.get(), answer.repeated), ([2, 3].map(Position::new).into(), 3, true));
    // With a new one among them the expectation counts, and the known ones do not move the version.
    let mixed = |expected| [part("item-1", expected, [2, 4])];
    assert!(matches!(log.decide(&mixed(ExpectedVersion::NoStream)), Err(AppendError::Conflict { next: 3, .. })));
    let parts = mixed(ExpectedVersion::Exact(2));
    let known = log.decide(&parts).unwrap();
    assert_eq!(fresh(&parts[0], &known[0]).map(|event| event.id.as_u128()).collect::<Vec<_>>(), [4]);
    let answer = appended(&parts, &known, Position::new(3));
    assert_eq!((answer.positions, answer.last.get(), answer.repeated), ([2, 4].map(Position::new).into(), 4, false));
}

#[test]
fn an_id_is_taken_by_any_other_content_but_not_by_another_spelling_or_sender() {
    type Change = fn(&mut StreamAppend);
    let changes: [(Change, bool); 6] = [
        (|part| part.events[0].data = r#"{ "of": "x", "n": 2 }"#.to_owned(), true),
        (|part| part.events[0].metadata = r#"{"actor":"other"}"#.into(), true),
        (|part| part.events[0].data = r#"{"n":3,"of":"x"}"#.to_owned(), false),
        (|part| part.events[0].event_type = "Other".into(), false),
        (|part| part.events[0].schema_version = 2, false),
        (|part| part.stream = "item-2".into(), false),
    ];
    for (change, is_same) in changes {
        let mut changed = part("item-1", ExpectedVersion::Any, [2]);
        change(&mut changed);
        match Memory::with(3).decide(&[changed]) {
            Ok(known) => assert!(is_same && known[0].len() == 1),
            Err(AppendError::IdReused { id, position }) => {
                assert!(!is_same && id == Uuid::from_u128(2) && position.get() == 2);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_append_without_events_ends_at_the_head_and_repeats_nothing() {
    let answer = appended(&[], &[], Position::new(7));
    assert_eq!((answer.positions.len(), answer.last.get(), answer.repeated), (0, 7, false));
}

#[test]
fn a_kept_answer_is_given_to_the_same_request_alone() {
    let mut log = Memory::default();
    assert_eq!(log.decide_with(&key(1)).unwrap(), None);
    let stored = StoredAnswer { answer: Answer(b"{}".to_vec()), position: Position::new(3) };
    log.kept.push((key(1), stored.clone()));
    assert_eq!(log.decide_with(&key(1)).unwrap(), Some(stored));
    assert!(matches!(log.decide_with(&key(2)), Err(AppendError::KeyReused)));
    assert_eq!(log.decide_with(&RequestKey { caller: "other".into(), ..key(2) }).unwrap(), None);
}

#[test]
fn an_import_goes_on_exactly_where_the_log_ends() {
    let next = || vec![recorded(4, "item-1", 3), recorded(5, "item-2", 0), recorded(6, "item-2", 1)];
    let mut log = Memory::with(3);
    log.looks.set(0);
    assert_eq!(log.import(&next()), Ok(()));
    assert_eq!(log.looks.get(), 0, "ids above all that are taken need no look-up");
    assert_eq!(log.import(&[]), Ok(()));
    let changed = |place: usize, change: fn(&mut RecordedEvent)| {
        let mut events = next();
        change(&mut events[place]);
        Memory::with(3).import(&events).unwrap_err()
    };
    let wrong = changed(1, |event| event.position = Position::new(9));
    assert_eq!(wrong, (9, ImportRefusal::Position { next: Position::new(5) }));
    let wrong = changed(2, |event| event.version = 2);
    assert_eq!(wrong, (6, ImportRefusal::Version { stream: "item-2".into(), version: 2, next: 1 }));
    let (position, wrong) = changed(0, |event| event.recorded_at = at(2));
    assert_eq!((position, wrong), (4, ImportRefusal::RecordedAt));
    let (position, wrong) = changed(1, |event| event.occurred_at += TimeDelta::nanoseconds(1));
    assert_eq!((position, wrong), (5, ImportRefusal::Time { time: "occurred_at" }));
    let (position, wrong) = changed(1, |event| event.data = "\0".to_owned());
    assert!(matches!((position, wrong), (5, ImportRefusal::Bound(_))));
}

#[test]
fn an_imported_id_is_taken_by_the_log_or_by_an_event_before_it() {
    let with_id = |ids: [u128; 3]| {
        let mut events = vec![recorded(4, "item-1", 3), recorded(5, "item-1", 4), recorded(6, "item-1", 5)];
        for (event, id) in events.iter_mut().zip(ids) {
            event.id = Uuid::from_u128(id);
        }
        Memory::with(3).import(&events)
    };
    let taken =
        |id: u128, position| ImportRefusal::IdTaken { id: Uuid::from_u128(id), position: Position::new(position) };
    assert_eq!(with_id([9, 2, 10]), Err((5, taken(2, 2))));
    assert_eq!(with_id([9, 8, 9]), Err((6, taken(9, 4))));
    assert_eq!(with_id([9, 8, 7]), Ok(()), "ids need not rise");
}

#[test]
fn recorded_times_never_go_back() {
    assert_eq!([recorded_at(5, 3), recorded_at(3, 5)], [5, 5]);
}

#[test]
fn bounds_are_looked_at_before_any_engine_is_asked() {
    let append = |change: fn(&mut NewEvent)| {
        let mut new = event(1);
        change(&mut new);
        check_append(&Append::to("item-1".into(), ExpectedVersion::Any, vec![new]))
    };
    assert!(append(|_| {}).is_ok());
    let wrong: [fn(&mut NewEvent); 4] = [
        |event| event.event_type = "".into(),
        |event| event.event_type = "x".repeat(256).into(),
        |event| event.data = "\0".to_owned(),
        |event| event.data = "x".repeat(EVENT_BYTES_MAX),
    ];
    for wrong in wrong {
        assert!(matches!(append(wrong), Err(AppendError::Invalid(_))));
    }
    for events in [vec![event(1), event(1)], (0..=APPEND_EVENTS_MAX as u64).map(event).collect()] {
        let refused = check_append(&Append::to("item-1".into(), ExpectedVersion::Any, events));
        assert!(matches!(refused, Err(AppendError::Invalid(_))));
    }
    for name in ["", "a\0b", &"x".repeat(256)] {
        assert!(check_append(&Append::to(name.into(), ExpectedVersion::Any, vec![])).is_err(), "{name:?}");
    }
    assert!(check_import_size(APPEND_EVENTS_MAX).is_ok());
    assert!(matches!(check_import_size(APPEND_EVENTS_MAX + 1), Err(ImportError::TooMany { .. })));
}
