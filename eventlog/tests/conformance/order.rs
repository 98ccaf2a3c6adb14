//! 2. Positions are gapless and in commit order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use daybook_eventlog::{
    Append, AppendError, Direction, ExpectedVersion, Filter, Log, Position, RecordedEvent, StreamId,
};
use uuid::Uuid;

use super::{Dice, Engine, append_any, assert_gapless, event, event_with_id, everything, stream, try_append};

const WRITERS: u64 = 64;
const APPENDS_EACH: u64 = 24;

pub async fn positions_are_gapless_and_in_commit_order_under_64_writers<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    append_any(&log, "shared-0", vec![event_with_id(Uuid::from_u128(7), "Taken", 0)]).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(log.clone(), Arc::clone(&done)));

    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(log.clone(), writer, Arc::clone(&acknowledged)))).collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    done.store(true, Ordering::Release);

    let seen_on_the_way = follower.await.unwrap();
    let events = everything(&log).await;
    assert_gapless(&events);
    assert_eq!(events.len(), written.len() + 1, "what was refused was not written");
    for (id, position) in written {
        assert_eq!(events[usize::try_from(position.get()).unwrap() - 1].id, id);
    }
    assert_eq!(seen_on_the_way, events);
    assert_eq!(log.head().get(), events.len() as u64);
}

/// Good appends with conflicts and refusals in between; what was acknowledged, and where it was said to stand.
async fn write(log: Log, writer: u64, acknowledged: Arc<AtomicU64>) -> Vec<(Uuid, Position)> {
    let mut dice = Dice(writer);
    let mut written = Vec::new();
    for n in 0..APPENDS_EACH {
        let events: Vec<_> = (0..=dice.below(3)).map(|_| event("Written", n)).collect();
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let to = |name: String, expected| Append::to(StreamId::from(name), expected, events.clone());
        let before = acknowledged.load(Ordering::Acquire);
        let outcome = match dice.below(6) {
            0 => try_append(&log, to("shared-0".to_owned(), ExpectedVersion::NoStream)).await,
            1 => try_append(&log, to("shared-0".to_owned(), ExpectedVersion::Exact(u64::MAX))).await,
            2 => {
                let reused = event_with_id(Uuid::from_u128(7), "Taken", 1);
                let mut append = to(format!("own-{writer}"), ExpectedVersion::Any);
                append.parts[0].events.push(reused);
                try_append(&log, append).await
            }
            3 => try_append(&log, to(format!("own-{writer}"), ExpectedVersion::Any)).await,
            _ => try_append(&log, to(format!("shared-{}", n % 3), ExpectedVersion::Any)).await,
        };
        match outcome {
            Ok(appended) => {
                assert!(appended.positions[0].get() > before, "acknowledged earlier stands earlier");
                assert!(appended.positions.windows(2).all(|pair| pair[0].plus(1) == pair[1]));
                acknowledged.fetch_max(appended.last.get(), Ordering::AcqRel);
                written.extend(ids.into_iter().zip(appended.positions));
            }
            Err(AppendError::Conflict { .. } | AppendError::IdReused { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    written
}

/// Reads on and on beside the writers: whatever it has passed must be final.
async fn follow(log: Log, done: Arc<AtomicBool>) -> Vec<RecordedEvent> {
    let mut seen = Vec::new();
    loop {
        let last_round = done.load(Ordering::Acquire);
        let after = Position::new(seen.len() as u64);
        let page = log.read_all(after, 100, &Filter::all()).await.unwrap();
        let is_empty = page.events.is_empty();
        assert_eq!(page.next_after, after.plus(page.events.len() as u64));
        seen.extend(page.events);
        if last_round && is_empty {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn recorded_times_rise_with_positions<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    let before = chrono::Utc::now();
    for n in 0..20 {
        append_any(&log, "reader-1", vec![event("Started", n), event("Ended", n)]).await;
    }
    log.close().await;
    let log = place.open().await;
    append_any(&log, "reader-1", vec![event("Started", 21)]).await;

    let events = everything(&log).await;

    assert!(events.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
    assert!(events[0].recorded_at.timestamp_micros() >= before.timestamp_micros());
    assert!(events[40].recorded_at <= chrono::Utc::now());
    assert_eq!(log.read_stream(&stream("reader-1"), Some(40), Direction::Forward, 9).await.unwrap(), events[40..]);
}
