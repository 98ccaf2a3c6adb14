//! 4. An event id is taken once, for ever.

use std::collections::HashMap;

use daybook_eventlog::{
    Append, AppendError,
    ExpectedVersion::{Any, Exact, NoStream},
    Position,
};
use futures::future::join_all;
use uuid::Uuid;

use super::{
    Dice, Engine, append, append_any, assert_gapless, event, event_with_id, everything, opened, positions,
    run_of_events, stream, try_append,
};

pub async fn the_same_event_again_answers_its_first_position_in_every_mode<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-2", vec![event("Started", 0)]).await;
    let single = vec![event("Started", 1)];
    let run = run_of_events("Updated", 40);
    append(&log, "reader-1", NoStream, single.clone()).await;
    append(&log, "reader-1", Exact(0), run.clone()).await;
    append_any(&log, "reader-1", vec![event("Ended", 2)]).await;

    for expected in [NoStream, Any, Exact(0), Exact(9_999)] {
        let again = append(&log, "reader-1", expected, single.clone()).await;
        assert_eq!((again.positions, again.repeated), (positions([2]), true), "{expected:?}");
        let again = append(&log, "reader-1", expected, run.clone()).await;
        assert_eq!((again.positions, again.repeated), (positions(3..=42), true), "{expected:?}");
        let middle = append(&log, "reader-1", expected, run[10..12].to_vec()).await;
        assert_eq!((middle.positions, middle.last), (positions([13, 14]), Position::new(14)));
    }
    assert_eq!(everything(&log).await.len(), 43);
}

pub async fn the_same_event_again_answers_its_first_position_after_a_reopen<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    let run = run_of_events("Updated", 40);
    append_any(&log, "reader-1", run.clone()).await;
    log.close().await;

    let log = place.open().await;
    let again = append(&log, "reader-1", NoStream, run.clone()).await;
    assert_eq!((again.positions, again.repeated), (positions(1..=40), true));
    let after = place.after_a_hard_stop().await;
    let log = after.open().await;
    let again = append(&log, "reader-1", Exact(3), run[7..].to_vec()).await;
    assert_eq!((again.positions, again.repeated), (positions(8..=40), true));
}

pub async fn an_id_with_other_content_is_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-2", vec![event("Started", 0)]).await;
    let run = run_of_events("Started", 5);
    append_any(&log, "reader-1", run.clone()).await;
    let id = run[3].id;
    let mut other_shape = run[3].clone();
    other_shape.schema_version = 2;
    for expected in [NoStream, Any, Exact(4)] {
        for other in [event_with_id(id, "Started", 99), event_with_id(id, "Ended", 3), other_shape.clone()] {
            let with_a_good_one = vec![event("Started", 7), other];
            match try_append(&log, Append::to(stream("reader-1"), expected, with_a_good_one)).await {
                Err(AppendError::IdReused { id: of, position }) => assert_eq!((of, position.get()), (id, 5)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(everything(&log).await.len(), 6);
}

pub async fn an_id_of_another_stream_is_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let started = event("Started", 1);
    append_any(&log, "reader-1", vec![started.clone()]).await;
    for expected in [NoStream, Any] {
        let elsewhere = try_append(&log, Append::to(stream("reader-2"), expected, vec![started.clone()])).await;
        assert!(matches!(elsewhere, Err(AppendError::IdReused { .. })), "{elsewhere:?}");
    }
    assert_eq!(log.last_version(&stream("reader-2")).await.unwrap(), None);
}

pub async fn an_append_that_is_known_in_part_writes_the_rest<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let run = run_of_events("Updated", 10);
    append_any(&log, "reader-1", run[4..7].to_vec()).await;
    append_any(&log, "reader-2", vec![event("Started", 1)]).await;

    // The expectation is about what is to be written: it has to hold for that.
    let refused = try_append(&log, Append::to(stream("reader-1"), NoStream, run.clone())).await;
    assert!(matches!(refused, Err(AppendError::Conflict { next: 3, .. })), "{refused:?}");
    let appended = append(&log, "reader-1", Exact(2), run.clone()).await;

    assert_eq!(appended.positions, positions([5, 6, 7, 8, 1, 2, 3, 9, 10, 11]));
    assert_eq!((appended.last, appended.repeated), (Position::new(11), false));
    let events = everything(&log).await;
    assert_gapless(&events);
    for (position, event) in appended.positions.iter().zip(&run) {
        assert_eq!(events[usize::try_from(position.get()).unwrap() - 1].id, event.id);
    }
    let again = append(&log, "reader-1", NoStream, run).await;
    assert_eq!((again.positions, again.repeated), (appended.positions, true));
}

pub async fn an_id_twice_in_one_append_is_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let started = event("Started", 1);
    let twice = vec![started.clone(), event("Updated", 2), started.clone()];
    let refused = try_append(&log, Append::to(stream("reader-1"), Any, twice)).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    let in_two_parts =
        super::parts([(stream("reader-1"), Any, vec![started.clone()]), (stream("reader-2"), Any, vec![started])]);
    let refused = try_append(&log, in_two_parts).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    assert_eq!(log.head(), Position::START);
}

pub async fn the_same_json_spelt_otherwise_is_the_same_event<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut started = event("Started", 1);
    started.data = r#"{"a":1,"b":2}"#.to_owned();
    append_any(&log, "reader-1", vec![started.clone()]).await;
    started.data = r#"{ "b": 2, "a": 1 }"#.to_owned();
    assert!(append_any(&log, "reader-1", vec![started.clone()]).await.repeated);
    started.data = r#"{"a":1,"b":3}"#.to_owned();
    let other = try_append(&log, Append::to(stream("reader-1"), Any, vec![started])).await;
    assert!(matches!(other, Err(AppendError::IdReused { .. })));
}

pub async fn ids_at_both_ends_of_the_range_are_taken_once<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let ends = |n| vec![event_with_id(Uuid::max(), "Started", n), event_with_id(Uuid::nil(), "Started", n)];
    append_any(&log, "reader-1", ends(1)).await;
    let again = append_any(&log, "reader-1", ends(1)).await;
    assert_eq!((again.positions, again.repeated), (positions([1, 2]), true));
    let other = try_append(&log, Append::to(stream("reader-1"), Any, ends(2))).await;
    assert!(matches!(other, Err(AppendError::IdReused { .. })), "{other:?}");
    append_any(&log, "reader-1", vec![event("Started", 3)]).await;
}

pub async fn concurrent_repetitions_write_one_event<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    for n in 0..20 {
        let started = event("Started", n);
        let again = (0..8).map(|_| append_any(&log, "reader-1", vec![started.clone()]));
        let answers = join_all(again).await;
        assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
        assert!(answers.iter().all(|answer| answer.positions == positions([n + 1])));
    }
    assert_eq!(everything(&log).await.len(), 20);
}

pub async fn random_repetitions_never_write_an_event_twice<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut dice = Dice(1);
    let mut known: HashMap<Uuid, Position> = HashMap::new();
    for _ in 0..150 {
        // Few ids, so that runs touch, overlap and fall into pieces.
        let first = u128::from(dice.below(800));
        let count = u128::from(1 + dice.below(30));
        let id = |n: u128| Uuid::from_u128(0xFF00 + n);
        let mut ids: Vec<Uuid> = (first..first + count).map(id).collect();
        if dice.below(4) == 0 {
            ids.reverse();
        }
        let events = ids.iter().map(|id| event_with_id(*id, "Updated", u64::try_from(id.as_u128()).unwrap()));
        let appended = append_any(&log, "reader-1", events.collect()).await;
        assert_eq!(appended.repeated, ids.iter().all(|id| known.contains_key(id)));
        for (id, position) in ids.into_iter().zip(appended.positions) {
            assert_eq!(*known.entry(id).or_insert(position), position);
        }
    }
    let events = everything(&log).await;
    assert_gapless(&events);
    assert_eq!(events.len(), known.len());
    assert!(events.iter().all(|event| known[&event.id] == event.position));
}
