//! Facts of a subscription, without a network and, where time is the point, on a clock that the test holds.

use chrono::Utc;
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamId};
use futures::StreamExt as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::auth::Roles;

struct Rig {
    streams: Streams,
    log: Log,
    _folder: TempDir,
}

fn caller(expires_in: u64) -> Caller {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    Caller {
        subject: "u1".to_owned(),
        roles: Roles::default(),
        projects: vec![],
        timezone: None,
        expires_at: now + expires_in,
    }
}

fn event(event_type: &'static str, bytes: usize) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        event_type: event_type.into(),
        schema_version: 1,
        data: format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)),
        metadata: "{}".into(),
        occurred_at: Utc::now(),
    }
}

impl Rig {
    async fn with(events: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).await.unwrap();
        let rig = Self { streams: Streams::new(log.clone()), log, _folder: folder };
        if events > 0 {
            rig.append("test-1", (0..events).map(|_| event("A", 10)).collect()).await;
        }
        rig
    }

    async fn append(&self, stream: &str, events: Vec<NewEvent>) {
        let append = Append::to(StreamId::from(stream), ExpectedVersion::Any, events);
        self.log.append(append).await.unwrap();
    }

    fn subscribe(&self, after: u64, filter: Filter, expires_in: u64) -> Reading {
        let place = self.streams.subscription().unwrap();
        let outlet = subscribe(&self.streams, &caller(expires_in), Position::new(after), filter, place);
        Reading { outlet, ids: vec![after], text: String::new() }
    }

    /// Waits until no subscription is open: the producer has given up by itself.
    async fn all_over(&self) {
        while self.streams.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Rig {
    /// The same on a clock that goes on when nothing else does.
    async fn all_over_in_time(&self) {
        while self.streams.open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What a client has.
struct Reading {
    outlet: Outlet,
    ids: Vec<u64>,
    text: String,
}

impl Reading {
    /// The next thing that was queued, as text; none at the end.
    async fn next(&mut self) -> Option<String> {
        let Ok(bytes) = self.outlet.next().await?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"), "whole frames only");
        self.ids.extend(text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse::<u64>().unwrap()));
        self.text.push_str(&text);
        Some(text)
    }

    async fn until(&mut self, id: u64) {
        while self.ids.last() != Some(&id) {
            self.next().await.expect("it ended");
        }
        assert!(self.ids.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", self.ids);
    }
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_what_is_appended() {
    let rig = Rig::with(3_000).await;
    let (mut all, mut some) = (rig.subscribe(0, Filter::all(), 60), rig.subscribe(2_990, Filter::types(["B"]), 60));
    let hello = all.next().await.unwrap();
    assert_eq!(hello, ": daybook\nretry: 1000\n\n");
    all.until(3_000).await;
    for round in 0..50 {
        rig.append("test-1", vec![event("A", 10), event("B", 10), event("A", 10)]).await;
        all.until(3_000 + 3 * (round + 1)).await;
        some.until(3_000 + 3 * round + 2).await;
    }
    assert_eq!(all.ids, (0..=3_150).collect::<Vec<_>>());
    assert_eq!(some.ids, [2_990].into_iter().chain((0..50).map(|round| 3_002 + 3 * round)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_position_beyond_the_head_waits_for_what_comes_after_it() {
    let rig = Rig::with(2).await;
    let mut reading = rig.subscribe(4, Filter::all(), 60);
    rig.append("test-1", (0..5).map(|_| event("A", 10)).collect()).await;
    reading.until(7).await;
    assert_eq!(reading.ids, [4, 5, 6, 7]);
}

#[tokio::test]
async fn large_appends_and_large_events_reach_a_client_who_reads() {
    let rig = Rig::with(0).await;
    let mut reading = rig.subscribe(0, Filter::all(), 60);
    reading.next().await.unwrap();
    rig.append("test-1", (0..10_000).map(|_| event("A", 2_000)).collect()).await;
    reading.until(10_000).await;
    rig.append("test-1", (0..5).map(|_| event("A", 3 << 20)).collect()).await;
    reading.until(10_005).await;
    assert_eq!(reading.ids.len(), 10_006);
}

#[tokio::test(start_paused = true)]
async fn a_comment_comes_after_fifteen_seconds_of_silence() {
    let rig = Rig::with(0).await;
    let mut reading = rig.subscribe(0, Filter::all(), 3_600);
    reading.next().await.unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(reading.next().await.unwrap(), ": nothing new\n\n");
        assert_eq!(began.elapsed().as_secs(), 15);
    }
}

#[tokio::test]
async fn a_heartbeat_carries_the_position_when_unwanted_events_have_passed() {
    let rig = Rig::with(100).await;
    let mut reading = rig.subscribe(7, Filter::types(["B"]), 3_600);
    reading.next().await.unwrap();
    tokio::time::pause();
    let heartbeat = reading.next().await.unwrap();
    assert_eq!(heartbeat, "id: 100\n: nothing wanted up to here\n\n");
    assert_eq!(reading.next().await.unwrap(), ": nothing new\n\n");
}

#[tokio::test]
async fn a_client_who_takes_nothing_for_ten_seconds_is_cut_off() {
    let rig = Rig::with(20).await;
    let mut reading = rig.subscribe(5, Filter::all(), 3_600);
    reading.next().await.unwrap();
    tokio::time::pause();
    let began = Instant::now();
    rig.all_over_in_time().await;
    assert!((9..=10).contains(&began.elapsed().as_secs()));
    let last = reading.next().await.unwrap();
    assert_eq!(
        last,
        "event: cut-off\ndata: {\"reason\":\"what was sent waited to be read for more than 10 s\",\"resume_after\":5}\n\n"
    );
    assert_eq!(reading.next().await, None);
}

#[tokio::test]
async fn a_client_who_is_catching_up_and_takes_nothing_is_cut_off_as_well() {
    let rig = Rig::with(0).await;
    rig.append("test-1", (0..10_000).map(|_| event("A", 1_000)).collect()).await;
    let mut reading = rig.subscribe(0, Filter::all(), 3_600);
    reading.next().await.unwrap();
    reading.next().await.unwrap();
    let seen = *reading.ids.last().unwrap();
    assert!((1..10_000).contains(&seen));
    tokio::time::pause();
    rig.all_over_in_time().await;
    let last = reading.next().await.unwrap();
    assert!(last.contains(&format!("\"resume_after\":{seen}}}")), "{last}");
    assert_eq!(reading.next().await, None);
}

#[tokio::test]
async fn a_client_who_was_up_to_date_is_cut_off_when_four_mebibytes_wait() {
    let rig = Rig::with(1).await;
    let mut reading = rig.subscribe(0, Filter::all(), 3_600);
    let mut reader = rig.subscribe(0, Filter::all(), 3_600);
    reading.until(1).await;
    for round in 0..100 {
        rig.append("test-1", vec![event("A", 100_000)]).await;
        // Another one is not touched by it, and paces this test.
        reader.until(round + 2).await;
    }
    while rig.streams.open() > 1 {
        tokio::task::yield_now().await;
    }
    let last = reading.next().await.unwrap();
    assert_eq!(last, "event: cut-off\ndata: {\"reason\":\"more than 4 MiB waited to be read\",\"resume_after\":1}\n\n");
    assert_eq!(reading.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_its_token() {
    let rig = Rig::with(0).await;
    let mut reading = rig.subscribe(0, Filter::all(), 40);
    let began = Instant::now();
    while reading.next().await.is_some() {}
    assert!((38..=40).contains(&began.elapsed().as_secs()));
    assert!(reading.text.ends_with("event: cut-off\ndata: {\"reason\":\"token expired\",\"resume_after\":0}\n\n"));
}

#[tokio::test]
async fn a_stop_ends_what_is_open_and_what_is_opened_afterwards() {
    let rig = Rig::with(3).await;
    let mut before = rig.subscribe(0, Filter::all(), 60);
    before.until(3).await;
    rig.streams.stop();
    let mut afterwards = rig.subscribe(3, Filter::all(), 60);
    for reading in [&mut before, &mut afterwards] {
        while reading.next().await.is_some() {}
        assert!(reading.text.ends_with("{\"reason\":\"server stopping\",\"resume_after\":3}\n\n"), "{}", reading.text);
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_ends_subscriptions() {
    let rig = Rig::with(3).await;
    let mut reading = rig.subscribe(3, Filter::all(), 60);
    reading.next().await.unwrap();
    rig.log.close().await;
    let mut late = rig.subscribe(0, Filter::all(), 60);
    while late.next().await.is_some() {}
    assert!(late.text.contains("the log cannot be read"), "{}", late.text);
}

#[tokio::test]
async fn a_client_who_leaves_leaves_nothing_behind() {
    let rig = Rig::with(5_000).await;
    for after in [0, 5_000] {
        let reading = rig.subscribe(after, Filter::all(), 60);
        assert_eq!(rig.streams.open(), 1);
        drop(reading);
        rig.all_over().await;
    }
    let readings: Vec<_> = (0..10).map(|_| rig.subscribe(0, Filter::all(), 60)).collect();
    assert_eq!(rig.streams.open(), readings.len());
    drop(readings);
    rig.all_over().await;
}
