//! Copies of states are used when they are what was kept, and only then.

use chrono::{DateTime, Utc};
use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
};
use daybook_eventlog::{Answer, Cause, ExpectedVersion, LOG_FILE, Log, Repository, from_micros};
use rusqlite::Connection;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::conformance::{append, run_of_events, stream, within_a_minute};

/// Counts its events.
struct Counter;

#[derive(Debug, Clone)]
struct Counted;

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl DomainEvent for Counted {
    fn event_type(&self) -> &'static str {
        "Counted"
    }
    fn schema_version(&self) -> u16 {
        1
    }
    fn occurred_at(&self) -> DateTime<Utc> {
        from_micros(0)
    }
    fn encode(&self) -> Vec<u8> {
        b"{}".to_vec()
    }
    fn decode(_: &str, _: u16, _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Decider for Counter {
    type Command = ();
    type Event = Counted;
    type State = u64;
    type Rejection = Never;

    fn decide(_: &u64, (): &()) -> Result<Vec<Counted>, Never> {
        Ok(vec![Counted])
    }

    fn evolve(state: &mut u64, _: &Counted) {
        *state += 1;
    }
}

/// A folder with a stream of 10,000 events and the kept copy of its state.
async fn kept() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    append(&log, "counter-1", ExpectedVersion::NoStream, run_of_events("Counted", 9_999)).await;
    let counters = Repository::<Counter>::new(log.clone(), 10).with_snapshots("counter");
    let answer = |_: daybook_eventlog::Decided<'_, Counter>| Answer::default();
    counters.execute(&stream("counter-1"), &(), &Cause::default(), answer).await.unwrap();
    within_a_minute(async {
        while Connection::open(folder.path().join(LOG_FILE)).unwrap().query_row(
            "SELECT count(*) FROM snapshots",
            [],
            |row| row.get::<_, i64>(0),
        ) != Ok(1)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    log.close().await;
    folder
}

async fn counted(folder: &TempDir) -> u64 {
    let log = Log::open(folder.path()).await.unwrap();
    let counters = Repository::<Counter>::new(log, 10).with_snapshots("counter");
    counters.view(&stream("counter-1"), Clone::clone).await.unwrap()
}

fn checksum(shape: &str, next: i64, state: &[u8]) -> i64 {
    let length = (shape.len() as u64).to_le_bytes();
    xxh3_64(&[&length, shape.as_bytes(), &next.to_le_bytes(), state].concat()).cast_signed()
}

#[tokio::test]
async fn a_copy_that_does_not_fit_its_checksum_is_not_used() {
    let folder = kept().await;
    assert_eq!(counted(&folder).await, 10_000);
    let raw = || Connection::open(folder.path().join(LOG_FILE)).unwrap();
    let sql = "SELECT shape, next, state, checksum FROM snapshots";
    let (shape, next, state, stored): (String, i64, Vec<u8>, i64) =
        raw().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    assert_eq!((next, &*state, stored), (10_000, &b"10000"[..], checksum(&shape, next, &state)));

    let change = "UPDATE snapshots SET state = ?1, next = ?2, checksum = ?3";
    raw().execute(change, (b"77777", next, stored)).unwrap();
    assert_eq!(counted(&folder).await, 10_000, "another state");
    raw().execute(change, (&state, next - 1, stored)).unwrap();
    assert_eq!(counted(&folder).await, 10_000, "another version");
    raw().execute(change, (b"77777", next, checksum(&shape, next, b"77777"))).unwrap();
    assert_eq!(counted(&folder).await, 77_777, "a copy that fits is what the state is made from");
}
