//! Bounds: what is too much is refused, and nothing of it is written.

use std::sync::mpsc;

use daybook_eventlog::{
    APPEND_EVENTS_MAX, Answer, Append, AppendError, EVENT_BYTES_MAX, ExpectedVersion::Any, Log, NewEvent, Position,
    Remember, RequestKey, STREAM_NAME_BYTES_MAX,
};
use futures::future::join_all;

use super::{Engine, append_any, assert_gapless, event, everything, opened, parts, run_of_events, stream, try_append};

async fn refused(log: &Log, append: Append) {
    let head = log.head();
    let outcome = try_append(log, append).await;
    assert!(matches!(outcome, Err(AppendError::Invalid(_))), "{outcome:?}");
    assert_eq!(log.head(), head);
}

fn one(event: NewEvent) -> Append {
    Append::to(stream("reader-1"), Any, vec![event])
}

pub async fn too_many_events_are_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let events_max = u64::try_from(APPEND_EVENTS_MAX).unwrap();
    refused(&log, Append::to(stream("reader-1"), Any, run_of_events("Updated", events_max + 1))).await;
    refused(
        &log,
        parts([
            (stream("reader-1"), Any, run_of_events("Updated", events_max)),
            (stream("reader-2"), Any, run_of_events("Updated", 1)),
        ]),
    )
    .await;
    refused(&log, parts((0..=events_max).map(|_| (stream("reader-1"), Any, vec![])))).await;
    let appended = append_any(&log, "reader-1", run_of_events("Updated", events_max)).await;
    assert_eq!(appended.last.get(), events_max);
}

pub async fn too_large_an_event_is_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let of_bytes = |bytes: usize| {
        let mut large = event("Updated", 1);
        large.data = format!("\"{}\"", "x".repeat(bytes - large.metadata.len() - 2));
        large
    };
    refused(&log, one(of_bytes(EVENT_BYTES_MAX + 1))).await;
    let largest = of_bytes(EVENT_BYTES_MAX);
    try_append(&log, one(largest.clone())).await.unwrap();
    assert_eq!(log.event_at(Position::new(1)).await.unwrap().unwrap().data, largest.data);
}

pub async fn names_have_bounds<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let longest = "n".repeat(STREAM_NAME_BYTES_MAX);
    let too_long = "n".repeat(STREAM_NAME_BYTES_MAX + 1);
    for name in ["", &too_long] {
        refused(&log, Append::to(stream(name), Any, vec![event("Started", 1)])).await;
        refused(&log, one(NewEvent { event_type: name.to_owned().into(), ..event("Started", 1) })).await;
    }
    append_any(&log, &longest, vec![NewEvent { event_type: longest.clone().into(), ..event("Started", 1) }]).await;
    let read = log.event_at(Position::new(1)).await.unwrap().unwrap();
    assert_eq!((read.stream.as_str(), &*read.event_type), (&*longest, &*longest));
}

/// No JSON has them, and not every store can keep them.
pub async fn nul_bytes_are_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    refused(&log, Append::to(stream("reader-\0"), Any, vec![event("Started", 1)])).await;
    refused(&log, one(NewEvent { event_type: "Star\0ted".into(), ..event("Started", 1) })).await;
    refused(&log, one(NewEvent { data: "\"\0\"".to_owned(), ..event("Started", 1) })).await;
    refused(&log, one(NewEvent { metadata: "\"\0\"".into(), ..event("Started", 1) })).await;
}

pub async fn an_append_without_events_answers_the_head<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let nothing = try_append(&log, Append::default()).await.unwrap();
    assert_eq!((nothing.positions, nothing.last, nothing.repeated), (vec![], Position::START, false));
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;
    let nothing = append_any(&log, "reader-2", vec![]).await;
    assert_eq!((nothing.positions, nothing.last, nothing.repeated), (vec![], Position::new(1), false));
    assert_eq!(log.head(), Position::new(1));
}

pub async fn a_full_queue_is_told_at_once<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    // An answer that is made slowly holds the writer up, so that everything behind it waits.
    let (entered, writer_is_busy) = tokio::sync::oneshot::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let key = RequestKey { caller: String::new(), route: String::new(), key: String::new(), fingerprint: [0; 32] };
    let answer = Box::new(move |_: &_| {
        entered.send(()).unwrap();
        wait.recv().unwrap();
        Answer::default()
    });
    let slow = one(event("Started", 0)).remembering(Some(Remember { key, answer }));
    let slow = tokio::spawn({
        let log = log.clone();
        async move { log.append(slow).await }
    });
    writer_is_busy.await.unwrap();

    let mut waiting = Vec::new();
    let mut refused = 0;
    while refused < 5 {
        let mut next = Box::pin(try_append(&log, one(event("Updated", 1))));
        match futures::poll!(&mut next) {
            std::task::Poll::Ready(Err(AppendError::QueueFull)) => refused += 1,
            std::task::Poll::Ready(other) => panic!("{other:?}"),
            std::task::Poll::Pending => waiting.push(next),
        }
        assert!(waiting.len() < 1_000_000, "the queue has no end");
    }
    assert_eq!(log.queued(), waiting.len());
    go_on.send(()).unwrap();

    slow.await.unwrap().unwrap();
    let taken = waiting.len();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    let events = everything(&log).await;
    assert_gapless(&events);
    assert_eq!(events.len(), taken + 1, "what was refused was not written");
    append_any(&log, "reader-1", vec![event("Ended", 1)]).await;
}
