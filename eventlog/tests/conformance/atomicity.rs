//! 5. An append over several streams is all or nothing.

use daybook_eventlog::{
    Append, AppendError, Direction,
    ExpectedVersion::{Any, Exact, NoStream},
    Position,
};
use futures::future::join_all;

use super::{
    Engine, append, append_any, assert_gapless, event, everything, opened, parts, positions, run_of_events, stream,
    try_append,
};

pub async fn an_append_over_several_streams_is_written_whole<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append(&log, "sync-1", NoStream, vec![event("Opened", 0)]).await;
    let chunk = parts([
        (stream("item-1"), NoStream, run_of_events("ItemImported", 20)),
        (stream("item-2"), Any, vec![event("ItemImported", 1)]),
        (stream("sync-1"), Exact(0), vec![event("ChunkTaken", 2)]),
    ]);

    let appended = try_append(&log, chunk).await.unwrap();

    assert_eq!(appended.positions, positions(2..=23));
    let events = everything(&log).await;
    assert_gapless(&events);
    let streams: Vec<&str> = events[20..].iter().map(|event| event.stream.as_str()).collect();
    assert_eq!(streams, ["item-1", "item-2", "sync-1"]);
}

pub async fn one_part_that_fails_takes_the_others_with_it<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let known = event("Opened", 0);
    append(&log, "sync-1", NoStream, vec![known.clone()]).await;
    let mut other = known;
    other.data = "{}".to_owned();
    let good = || (stream("item-1"), NoStream, vec![event("ItemImported", 1)]);

    for bad in [
        (stream("sync-1"), NoStream, vec![event("ChunkTaken", 2)]),
        (stream("sync-1"), Exact(1), vec![event("ChunkTaken", 2)]),
        (stream("sync-1"), Exact(1), vec![]),
        (stream("sync-1"), Any, vec![other]),
    ] {
        for append in [parts([good(), bad.clone()]), parts([bad, good()])] {
            let refused = try_append(&log, append).await;
            assert!(matches!(refused, Err(AppendError::Conflict { .. } | AppendError::IdReused { .. })), "{refused:?}");
        }
    }

    assert_eq!(log.last_version(&stream("item-1")).await.unwrap(), None);
    assert_eq!(everything(&log).await.len(), 1);
    append(&log, "item-1", NoStream, vec![event("ItemImported", 3)]).await;
}

pub async fn a_stream_twice_in_one_append_goes_on<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let twice = |expected| {
        parts([
            (stream("item-1"), NoStream, vec![event("ItemImported", 1), event("ItemChanged", 2)]),
            (stream("item-2"), NoStream, vec![event("ItemImported", 1)]),
            (stream("item-1"), expected, vec![event("ItemChanged", 3)]),
        ])
    };
    let refused = try_append(&log, twice(NoStream)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { next: 2, .. })), "{refused:?}");
    let refused = try_append(&log, twice(Exact(2))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { next: 2, .. })), "{refused:?}");

    try_append(&log, twice(Exact(1))).await.unwrap();

    let item = log.read_stream(&stream("item-1"), None, Direction::Forward, 10).await.unwrap();
    assert_eq!(
        item.iter().map(|event| (event.version, event.position.get())).collect::<Vec<_>>(),
        [(0, 1), (1, 2), (2, 4)]
    );
}

pub async fn a_refused_append_leaves_its_neighbours_alone<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append(&log, "item-0", NoStream, vec![event("ItemImported", 0)]).await;
    // Handed in together, so that an engine which groups appends has both kinds in one group.
    let appends = (0..40).map(|n| {
        let refused = n % 2 == 0;
        let name = if refused { stream("item-0") } else { stream(&format!("item-{n}")) };
        let new = (stream(&format!("new-{n}")), NoStream, vec![event("ItemImported", n)]);
        try_append(&log, parts([new, (name, NoStream, vec![event("ItemImported", n)])]))
    });

    let outcomes = join_all(appends).await;

    for (outcome, n) in outcomes.iter().zip(0..) {
        assert_eq!(outcome.is_ok(), n % 2 == 1, "{outcome:?}");
        let written = log.last_version(&stream(&format!("new-{n}"))).await.unwrap();
        assert_eq!(written.is_some(), outcome.is_ok());
    }
    let events = everything(&log).await;
    assert_gapless(&events);
    assert_eq!(events.len(), 41);
}

pub async fn thousands_of_streams_go_into_one_append<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let many = (0..4_000).map(|n| (stream(&format!("item-{n}")), NoStream, vec![event("ItemImported", n)]));
    let appended = try_append(&log, parts(many)).await.unwrap();
    assert_eq!(appended.last, Position::new(4_000));
    assert_gapless(&everything(&log).await);
    let refused = try_append(&log, Append::to(stream("item-3999"), NoStream, vec![event("ItemImported", 1)])).await;
    assert!(matches!(refused, Err(AppendError::Conflict { next: 1, .. })));
    append_any(&log, "item-3999", vec![event("ItemChanged", 1)]).await;
}
