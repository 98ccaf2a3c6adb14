//! 7. Reads: streams forwards and backwards.

use std::sync::Arc;

use chrono::{TimeZone, Utc};
use daybook_eventlog::{Append, Direction, ExpectedVersion::Any, Filter, Log, NewEvent, Position, StreamId};
use uuid::Uuid;

use super::{
    Dice, Engine, append_any, assert_gapless, event, everything,
    model::{Model, facts},
    opened, parts, run_of_events, stream, try_append,
};

/// Single events, small and big appends, over one stream or several, runs of ids or not.
fn random_append(dice: &mut Dice, streams: &[StreamId]) -> Append {
    let events = |dice: &mut Dice| -> Vec<NewEvent> {
        let count = match dice.below(10) {
            0..=5 => 1,
            6..=8 => 2 + dice.below(30),
            _ => 100 + dice.below(400),
        };
        if dice.below(2) == 0 {
            run_of_events("Updated", count)
        } else {
            (0..count).map(|n| event("Started", n)).collect()
        }
    };
    let count = 1 + dice.below(3);
    parts((0..count).map(|_| (dice.pick(streams).clone(), Any, events(dice))))
}

pub async fn pages_of_streams_equal_the_model<E: Engine>() {
    for seed in 0..3 {
        let (_place, log) = opened::<E>().await;
        let mut dice = Dice(seed);
        let streams: Vec<StreamId> = (0..4).map(|n| stream(&format!("reader-{n}"))).collect();
        let mut model = Model::default();
        for _ in 0..50 {
            let append = random_append(&mut dice, &streams);
            model.take(&append);
            try_append(&log, append).await.unwrap();
        }
        assert_eq!(facts(everything(&log).await), model.facts);
        for _ in 0..150 {
            compare_a_page(&log, &model, &mut dice, &streams).await;
        }
        for stream in &streams {
            let last = model.stream(stream, None, Direction::Backward, 1).first().map(|fact| fact.version);
            assert_eq!(log.last_version(stream).await.unwrap(), last);
        }
    }
}

async fn compare_a_page(log: &Log, model: &Model, dice: &mut Dice, streams: &[StreamId]) {
    let stream = dice.pick(streams);
    let length = model.stream(stream, None, Direction::Forward, usize::MAX).len() as u64;
    let from = match dice.below(12) {
        0 => None,
        1 => Some(0),
        2 => Some(length.saturating_sub(1)),
        3 => Some(length),
        4 => Some(u64::MAX),
        _ => Some(dice.below(length + 3)),
    };
    let limit = *dice.pick(&[0, 1, 2, 7, 100, 1_000, usize::MAX]);
    let direction = *dice.pick(&[Direction::Forward, Direction::Backward]);

    let page = log.read_stream(stream, from, direction, limit).await.unwrap();

    assert_eq!(
        facts(page),
        model.stream(stream, from, direction, limit),
        "{stream} from {from:?}, {direction:?}, {limit}"
    );
}

pub async fn an_unknown_stream_is_empty<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;
    for direction in [Direction::Forward, Direction::Backward] {
        assert_eq!(log.read_stream(&stream("reader-2"), None, direction, 9).await.unwrap(), []);
    }
    assert_eq!(log.last_version(&stream("reader-2")).await.unwrap(), None);
    let filter = Filter { stream: Some(stream("reader-2")), ..Filter::all() };
    let page = log.read_all(Position::START, 9, &filter).await.unwrap();
    assert_eq!((page.events, page.next_after), (vec![], Position::new(1)));
}

pub async fn a_position_beyond_the_head_holds_nothing<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    assert_eq!(log.read_all(Position::START, 9, &Filter::all()).await.unwrap().next_after, Position::START);
    append_any(&log, "reader-1", vec![event("Started", 1), event("Ended", 2)]).await;

    for after in [2, 3, u64::MAX].map(Position::new) {
        for filter in [Filter::all(), Filter::types(["Started"]), Filter::category("reader")] {
            let page = log.read_all(after, 9, &filter).await.unwrap();
            assert_eq!((page.events, page.next_after), (vec![], after));
        }
    }
    assert_eq!(log.event_at(Position::START).await.unwrap(), None);
    assert_eq!(log.event_at(Position::new(3)).await.unwrap(), None);
    let second = log.event_at(Position::new(2)).await.unwrap().unwrap();
    assert_eq!((second.position.get(), &*second.event_type), (2, "Ended"));
    let nothing = log.read_all(Position::START, 0, &Filter::all()).await.unwrap();
    assert_eq!((nothing.events, nothing.next_after), (vec![], Position::START));
}

pub async fn recorded_events_carry_everything<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    let full = NewEvent {
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
        event_type: "Ünïcode \"quoted\"".into(),
        schema_version: u16::MAX,
        data: r#"{"title":"Война и мир\u0000","emoji":"📚"}"#.to_owned(),
        metadata: Arc::from(r#"{"actor":"anna"}"#),
        occurred_at: Utc.with_ymd_and_hms(1899, 12, 31, 23, 59, 59).unwrap(),
    };
    append_any(&log, "без категории", vec![full.clone()]).await;
    log.close().await;

    let events = everything(&place.open().await).await;

    assert_gapless(&events);
    let recorded = &events[0];
    assert_eq!(recorded.stream.as_str(), "без категории");
    assert_eq!((recorded.id, &*recorded.event_type), (full.id, &*full.event_type));
    assert_eq!((recorded.schema_version, &recorded.data), (full.schema_version, &full.data));
    assert_eq!((&*recorded.metadata, recorded.occurred_at), (&*full.metadata, full.occurred_at));
}
