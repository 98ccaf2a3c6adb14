//! What another log recorded can be taken over as it stands.

use std::time::Duration;

use daybook_eventlog::{
    APPEND_EVENTS_MAX, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, ExpectedVersion, ImportError, ImportRefusal, Log,
    Position, RecordedEvent, StreamId, from_micros,
};
use uuid::Uuid;

use super::{Dice, Engine, append, append_any, assert_gapless, event, everything, opened, run_of_events};

/// A log with some hundred events, written in appends of many sizes.
async fn original<E: Engine>() -> (E, Log) {
    let (place, log) = opened::<E>().await;
    let mut dice = Dice(5);
    for _ in 0..200 {
        let name = format!("{}-{}", dice.pick(&["reader", "book"]), dice.below(6));
        let types = ["Started", "Updated", "Ended"];
        let mut events = run_of_events("Updated", 1 + dice.below(4) * dice.below(6));
        for event in &mut events {
            event.event_type = dice.pick::<&'static str>(&types).to_owned().into();
            event.schema_version = u16::try_from(1 + dice.below(3)).unwrap();
        }
        append_any(&log, &name, events).await;
    }
    (place, log)
}

async fn import(log: &Log, events: &[RecordedEvent], at_once: usize) {
    for part in events.chunks(at_once) {
        let head = log.import(part.to_vec()).await.expect("the events go on where the log ends");
        assert_eq!((head, log.head()), (part.last().unwrap().position, head));
    }
}

pub async fn an_imported_log_equals_its_original<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let events = everything(&original).await;
    for at_once in [1, 7, 333, APPEND_EVENTS_MAX] {
        let (place, imported) = opened::<E>().await;
        import(&imported, &events, at_once).await;
        assert_eq!(everything(&imported).await, events);
        assert_eq!(imported.anchor().await.unwrap(), original.anchor().await.unwrap());
        for position in [0, 1, original.head().get() / 2, original.head().get(), original.head().get() + 1] {
            let position = Position::new(position);
            let (anchor, known) = (imported.anchor_at(position).await.unwrap(), position <= original.head());
            assert_eq!(anchor, original.anchor_at(position).await.unwrap());
            assert_eq!(anchor.map(|anchor| anchor.position), known.then_some(position));
        }
        assert!(imported.verify(None, |_, _| {}).await.unwrap().is_sound());
        imported.close().await;
        let reopened = place.open().await;
        assert_eq!(everything(&reopened).await, events);
        assert_eq!(reopened.anchor().await.unwrap(), original.anchor().await.unwrap());
    }
}

pub async fn appends_go_on_after_an_import<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let events = everything(&original).await;
    let (_place, log) = opened::<E>().await;
    let (first, second) = events.split_at(events.len() / 2);
    import(&log, first, 50).await;
    let name = first.last().unwrap().stream.clone();
    let last = log.last_version(&name).await.unwrap().unwrap();

    let added = append(&log, name.as_str(), ExpectedVersion::Exact(last), vec![event("Ended", 1)]).await;

    assert_eq!(added.last, first.last().unwrap().position.plus(1));
    // The same event again answers where the import put it.
    let known = &first[10];
    let mut again = event("Updated", 0);
    again.id = known.id;
    again.event_type = known.event_type.to_string().into();
    again.schema_version = known.schema_version;
    again.data.clone_from(&known.data);
    let repeated = append_any(&log, known.stream.as_str(), vec![again]).await;
    assert_eq!((repeated.last, repeated.repeated), (known.position, true));
    assert_gapless(&everything(&log).await);
    let refused = log.import(second.to_vec()).await.unwrap_err();
    assert_eq!(refusal(&refused), (second[0].position.get(), ImportRefusal::Position { next: added.last.plus(1) }));
}

pub async fn an_import_wakes_those_who_wait<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let events = everything(&original).await;
    let (_place, log) = opened::<E>().await;
    let mut head = log.watch_head();
    let waiting = tokio::spawn(async move { *head.wait_for(|head| *head >= Position::new(40)).await.unwrap() });
    import(&log, &events[..40], 40).await;
    assert_eq!(waiting.await.unwrap(), Position::new(40));
}

pub async fn an_import_survives_a_hard_stop<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let events = everything(&original).await;
    let (place, log) = opened::<E>().await;
    import(&log, &events, 100).await;
    let after = place.after_a_hard_stop().await;
    assert_eq!(everything(&after.open().await).await, events);
}

fn refusal(error: &ImportError) -> (u64, ImportRefusal) {
    match error {
        ImportError::Refused { position, refusal } => (position.get(), refusal.clone()),
        other => panic!("{other:?}"),
    }
}

/// A change to a list of events, the position that is refused for it (or the one after the head), and why.
type Spoilt = (fn(&mut Vec<RecordedEvent>), u64, fn(&[RecordedEvent]) -> ImportRefusal);

pub async fn what_does_not_go_on_is_refused_whole_and_named<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let events = everything(&original).await;
    let (_place, log) = opened::<E>().await;
    import(&log, &events[..100], 100).await;
    let spoilt: [Spoilt; 14] = [
        (|events| drop(events.remove(0)), 102, |_| ImportRefusal::Position { next: Position::new(101) }),
        (|events| drop(events.remove(20)), 122, |_| ImportRefusal::Position { next: Position::new(121) }),
        (|events| events.swap(4, 5), 106, |_| ImportRefusal::Position { next: Position::new(105) }),
        (
            |events| events[7].version += 1,
            108,
            |events| ImportRefusal::Version {
                stream: events[7].stream.clone(),
                version: events[7].version + 1,
                next: events[7].version,
            },
        ),
        (
            |events| events[7].stream = StreamId::from("book-new"),
            108,
            |events| ImportRefusal::Version { stream: "book-new".into(), version: events[7].version, next: 0 },
        ),
        (
            |events| events[30].id = events[3].id,
            131,
            |events| ImportRefusal::IdTaken { id: events[3].id, position: Position::new(104) },
        ),
        (
            |events| events[30].recorded_at = events[29].recorded_at - Duration::from_micros(1),
            131,
            |_| ImportRefusal::RecordedAt,
        ),
        (|events| events[0].recorded_at = from_micros(1), 101, |_| ImportRefusal::RecordedAt),
        (
            |events| events[9].occurred_at += Duration::from_nanos(1),
            110,
            |_| ImportRefusal::Time { time: "occurred_at" },
        ),
        (
            |events| events[9].recorded_at += Duration::from_nanos(1),
            110,
            |_| ImportRefusal::Time { time: "recorded_at" },
        ),
        (
            |events| events[9].event_type = "".into(),
            110,
            |_| ImportRefusal::Bound(format!("an event type's name has 1 to {EVENT_TYPE_BYTES_MAX} bytes, not 0")),
        ),
        (
            |events| events[9].stream = StreamId::from(""),
            110,
            |_| ImportRefusal::Bound("a stream's name has 1 to 255 bytes, not 0".to_owned()),
        ),
        (
            |events| events[9].data = "x".repeat(EVENT_BYTES_MAX),
            110,
            |events| {
                let bytes = EVENT_BYTES_MAX + events[9].metadata.len();
                ImportRefusal::Bound(format!(
                    "event {} has {bytes} bytes, at most {EVENT_BYTES_MAX} are allowed",
                    events[9].id
                ))
            },
        ),
        (
            |events| events[0].position = Position::new(100),
            100,
            |_| ImportRefusal::Position { next: Position::new(101) },
        ),
    ];
    for (number, (spoil, position, why)) in spoilt.into_iter().enumerate() {
        let mut part = events[100..200].to_vec();
        let expected = why(&part);
        spoil(&mut part);
        let refused = log.import(part).await.unwrap_err();
        assert_eq!(refusal(&refused), (position, expected), "number {number}");
        assert!(refused.to_string().contains(&format!("position {position}")), "{refused}");
        assert_eq!(log.head().get(), 100);
    }
    let mut known = events[100..101].to_vec();
    known[0].id = events[50].id;
    let refused = log.import(known).await.unwrap_err();
    let taken = ImportRefusal::IdTaken { id: events[50].id, position: events[50].position };
    assert_eq!(refusal(&refused), (101, taken));

    assert_eq!(everything(&log).await, events[..100]);
    import(&log, &events[100..], 100).await;
    assert_eq!(log.anchor().await.unwrap(), original.anchor().await.unwrap(), "nothing was left of what was refused");
}

pub async fn an_import_has_bounds<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    assert_eq!(log.import(Vec::new()).await.unwrap(), Position::START);
    let one = RecordedEvent {
        position: Position::new(1),
        stream: "reader-1".into(),
        version: 0,
        id: Uuid::from_u128(u128::MAX),
        event_type: "Started".into(),
        schema_version: u16::MAX,
        data: String::new(),
        metadata: String::new(),
        occurred_at: from_micros(-62_135_596_800_000_000),
        recorded_at: from_micros(0),
    };
    let too_many = log.import(vec![one.clone(); APPEND_EVENTS_MAX + 1]).await.unwrap_err();
    assert!(matches!(too_many, ImportError::TooMany { events } if events == APPEND_EVENTS_MAX + 1), "{too_many:?}");
    log.import(vec![one.clone()]).await.unwrap();
    assert_eq!(everything(&log).await, std::slice::from_ref(&one));
    // The log's own times go on from there.
    append_any(&log, "reader-1", vec![event("Ended", 1)]).await;
    log.close().await;
    assert!(matches!(log.import(vec![one]).await, Err(ImportError::Closed)));
}

pub async fn imported_ids_that_do_not_rise_are_new_or_refused<E: Engine>() {
    let (_original_place, original) = original::<E>().await;
    let mut events = everything(&original).await[..60].to_vec();
    let mut dice = Dice(8);
    for event in &mut events {
        event.id = Uuid::from_u128(u128::from(dice.next()) << 64 | u128::from(dice.next()));
    }
    (events[20].id, events[21].id) = (Uuid::from_u128(u128::MAX), Uuid::from_u128(0));
    for (of, taken) in [(59, 0), (59, 58), (40, 20), (40, 21), (30, 5)] {
        let (_place, log) = opened::<E>().await;
        let mut twice = events.clone();
        twice[of].id = twice[taken].id;
        for at_once in [60, 30] {
            let mut refused = None;
            for part in twice[usize::try_from(log.head().get()).unwrap()..].chunks(at_once) {
                refused = refused.or(log.import(part.to_vec()).await.err());
            }
            let position = events[taken].position;
            let expected = (of as u64 + 1, ImportRefusal::IdTaken { id: events[taken].id, position });
            assert_eq!(refusal(&refused.unwrap()), expected, "{at_once} at once");
        }
    }
    let (_place, log) = opened::<E>().await;
    import(&log, &events, 25).await;
    assert_eq!(everything(&log).await, events);
}
