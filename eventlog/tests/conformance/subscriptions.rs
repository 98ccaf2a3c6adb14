//! 7. Subscriptions catch up and go live; a replay is the same log.

use std::{num::NonZeroUsize, pin::Pin};

use daybook_eventlog::{Filter, Log, Page, Position, ReadError};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Dice, Engine, append_any, event, everything, opened, run_of_events};

const APPENDS: u64 = 60;

type Pages = Pin<Box<dyn Stream<Item = Result<Page<Position>, ReadError>> + Send>>;

fn subscribe(log: &Log, after: Position, filter: Filter) -> Pages {
    Box::pin(log.subscribe(after, filter, NonZeroUsize::new(64).unwrap(), |event| event.position))
}

/// Collects until the position `last` has been passed, which is told on the way.
fn collect(log: &Log, after: Position, mut last: oneshot::Receiver<Position>) -> JoinHandle<Vec<Position>> {
    let mut pages = subscribe(log, after, Filter::all());
    tokio::spawn(async move {
        let (mut seen, mut until) = (Vec::new(), None);
        while until.is_none_or(|until| seen.last() < Some(&until)) {
            tokio::select! {
                page = pages.next() => seen.extend(page.expect("it goes on").unwrap().events),
                known = &mut last, if until.is_none() => until = Some(known.unwrap()),
            }
        }
        seen
    })
}

pub async fn subscriptions_see_everything_once_and_go_live_whenever_they_start<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut dice = Dice(3);
    let mut subscribers = Vec::new();
    let mut start = |after: Position| {
        let (tell, last) = oneshot::channel();
        subscribers.push((after, tell, collect(&log, after, last)));
    };
    start(Position::START);
    for n in 0..APPENDS {
        let count = if dice.below(10) == 0 { 500 } else { 1 + dice.below(5) };
        append_any(&log, "reader-1", run_of_events("Updated", count)).await;
        if n % 20 == 10 {
            start(Position::START);
            start(Position::new(dice.below(log.head().get())));
            start(log.head());
        }
    }
    start(Position::START);
    start(Position::new(17));

    let live = append_any(&log, "reader-1", vec![event("Ended", 1)]).await.last;

    for (after, tell, seen) in subscribers {
        // Whoever has seen it all already is gone.
        let _ = tell.send(live);
        let expected: Vec<Position> = (after.get() + 1..=live.get()).map(Position::new).collect();
        assert_eq!(seen.await.unwrap(), expected);
    }
}

pub async fn a_filtered_subscription_leaves_the_rest_out<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut ended = subscribe(&log, Position::START, Filter::types(["Ended"])).map_ok(|page| page.events);
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for n in 0..10 {
        append_any(&log, "reader-1", run_of_events("Updated", 300)).await;
        expected.extend(append_any(&log, "reader-1", vec![event("Ended", n)]).await.positions);
        while seen.len() < expected.len() {
            seen.extend(ended.next().await.unwrap().unwrap());
        }
    }
    assert_eq!(seen, expected);
}

pub async fn a_subscription_ends_with_the_log<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;
    let mut pages = subscribe(&log, Position::START, Filter::all());
    assert_eq!(pages.next().await.unwrap().unwrap().events, [Position::new(1)]);
    let waiting = tokio::spawn(async move { pages.next().await.is_none() });
    log.close().await;
    assert!(waiting.await.unwrap());
}

pub async fn a_replay_equals_the_pages<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    for count in [1, 8_191, 300, 9_000, 8_192, 77] {
        append_any(&log, &format!("reader-{count}"), run_of_events("Updated", count)).await;
    }
    let events = everything(&log).await;
    let replay = |after: u64, last: u64| {
        log.replay(Position::new(after), Position::new(last), |event| event.to_recorded()).try_concat()
    };
    assert_eq!(replay(0, u64::MAX).await.unwrap(), events);
    assert_eq!(replay(0, 20_000).await.unwrap(), events[..20_000]);
    assert_eq!(replay(8_192, 8_193).await.unwrap(), events[8_192..8_193]);
    assert_eq!(replay(10_000, 10_000).await.unwrap(), []);
    assert_eq!(replay(99, 98).await.unwrap(), []);
}
