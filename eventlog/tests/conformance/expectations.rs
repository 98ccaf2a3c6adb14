//! 3. Expected versions hold, per stream.

use daybook_eventlog::{
    Append, AppendError,
    ExpectedVersion::{self, Any, Exact, NoStream},
    Log,
};

use super::{Engine, append, event, everything, opened, stream, try_append};

async fn refused(log: &Log, expected: ExpectedVersion, next: u64) {
    let refused = try_append(log, Append::to(stream("reader-1"), expected, vec![event("Started", 9)])).await;
    match refused {
        Err(AppendError::Conflict { stream: of, expected: was, next: is }) => {
            assert_eq!((of.as_str(), was, is), ("reader-1", expected, next));
        }
        other => panic!("{other:?} for {expected:?}"),
    }
}

pub async fn no_stream_is_taken_once<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append(&log, "reader-1", NoStream, vec![event("Started", 0)]).await;
    refused(&log, NoStream, 1).await;
    append(&log, "reader-2", NoStream, vec![event("Started", 0)]).await;
    assert_eq!(everything(&log).await.len(), 2);
}

pub async fn exact_is_the_version_of_the_last_event<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    refused(&log, Exact(0), 0).await;
    append(&log, "reader-1", NoStream, vec![event("Started", 0), event("Updated", 1)]).await;
    refused(&log, Exact(0), 2).await;
    refused(&log, Exact(2), 2).await;
    refused(&log, Exact(u64::MAX), 2).await;
    append(&log, "reader-1", Exact(1), vec![event("Ended", 2)]).await;
    assert_eq!(log.last_version(&stream("reader-1")).await.unwrap(), Some(2));
    assert_eq!(everything(&log).await.len(), 3);
}

pub async fn any_takes_whatever_is_there<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    for version in 0..3 {
        append(&log, "reader-1", Any, vec![event("Started", version)]).await;
        assert_eq!(log.last_version(&stream("reader-1")).await.unwrap(), Some(version));
    }
}

pub async fn of_two_writers_with_the_same_expectation_one_wins<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    for round in 0..50 {
        let expected = ExpectedVersion::before(round);
        let racer = || try_append(&log, Append::to(stream("reader-1"), expected, vec![event("Started", round)]));
        let racers = futures::future::join_all([racer(), racer(), racer()]).await;
        assert_eq!(racers.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{racers:?}");
    }
    assert_eq!(everything(&log).await.len(), 50);
}

pub async fn expectations_hold_after_a_reopen<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    append(&log, "reader-1", NoStream, vec![event("Started", 0), event("Ended", 1)]).await;
    log.close().await;
    let log = place.open().await;
    refused(&log, NoStream, 2).await;
    refused(&log, Exact(0), 2).await;
    append(&log, "reader-1", Exact(1), vec![event("Started", 2)]).await;
}
