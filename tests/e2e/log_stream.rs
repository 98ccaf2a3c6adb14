//! The log as lines without pages: whole or visibly broken off, in little memory.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::wire::{BrokenOff, Wire};
use crate::support::{Place, Server, eventually};

const EVENTS: &str = "/api/v1/log/events";
const LINES: (&str, &str) = ("accept", "application/x-ndjson");
const MIB: u64 = 1 << 20;

/// A server on a log of so many events with so much data.
async fn filled(events: usize, bytes: usize) -> Server {
    let place = Place::fresh();
    place.fill(events, bytes).await;
    place.serve(&["--rate-limit", "0"]).await
}

fn positions(text: &str) -> Vec<u64> {
    let position = |line: &str| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap();
    text.lines().map(position).collect()
}

#[tokio::test]
async fn lines_end_at_the_head_of_the_request() {
    let server = filled(2_500, 10).await;
    let analyst = server.with_role("analyst");
    let mut writers = JoinSet::new();
    for _ in 0..3 {
        let writer = server.reader();
        writers.spawn(async move {
            for _ in 0..50 {
                writer.add_book().await;
            }
        });
    }
    while writers.try_join_next().map(Result::unwrap).is_some() || !writers.is_empty() {
        let before = analyst.get("/api/v1/log/head").await.expect(200)["head"].as_u64().unwrap();
        let (text, ended) = Wire::get(&server, &analyst, EVENTS, &[LINES]).await.text().await;
        let after = analyst.get("/api/v1/log/head").await.expect(200)["head"].as_u64().unwrap();
        assert_eq!(ended, Ok(()));
        assert!(text.ends_with("}\n"));
        let found = positions(&text);
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
        assert!((before..=after).contains(&(found.len() as u64)));
    }
}

#[tokio::test]
async fn lines_take_little_memory_whoever_reads_them_however_slowly() {
    let server = filled(150_000, 600).await;
    let auditor = server.with_role("auditor");
    // Once, for whatever the server keeps from the first time on.
    let (text, ended) = Wire::get(&server, &auditor, EVENTS, &[LINES]).await.text().await;
    assert_eq!((text.lines().count(), ended), (150_000, Ok(())));
    assert!(text.len() as u64 > 100 * MIB);
    let before = server.resident_bytes();
    let mut slow = Vec::new();
    for order in ["asc", "desc"] {
        for _ in 0..10 {
            let mut wire = Wire::get_narrow(&server, &auditor, &format!("{EVENTS}?order={order}"), &[LINES]).await;
            wire.begin().await;
            slow.push(wire);
        }
    }
    // They hold nobody up.
    server.reader().add_book().await;
    let (text, ended) = Wire::get(&server, &auditor, EVENTS, &[LINES]).await.text().await;
    assert_eq!((text.lines().count(), ended), (150_001, Ok(())));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 100 * MIB, "20 slow readers take {} MiB", grown / MIB);
    let (last, first) = (slow.pop().unwrap(), slow.swap_remove(0));
    drop(slow);
    let ((up, up_ended), (down, down_ended)) = tokio::join!(first.text(), last.text());
    assert_eq!((up_ended, down_ended), (Ok(()), Ok(())));
    assert_eq!(positions(&up), (1..=150_000).collect::<Vec<_>>());
    assert_eq!(positions(&down), (1..=150_000).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn large_events_make_short_pages_and_whole_lines() {
    let server = filled(12, 3 << 20).await;
    let auditor = server.with_role("auditor");
    let (mut after, mut found, mut pages) = (0, Vec::new(), 0);
    while after < 12 {
        let page = auditor.get(&format!("{EVENTS}?after={after}&limit=5000")).await;
        assert!(page.text.len() < 24 << 20);
        let page = page.expect(200);
        found.extend(page["events"].as_array().unwrap().iter().map(|event| event["position"].as_u64().unwrap()));
        (after, pages) = (page["next_after"].as_u64().unwrap(), pages + 1);
    }
    assert_eq!(found, (1..=12).collect::<Vec<_>>());
    assert!(pages > 1);
    for (path, last) in [(EVENTS, 12), ("/api/v1/log/streams/test-0", 12)] {
        let (text, ended) = Wire::get(&server, &auditor, path, &[LINES]).await.text().await;
        assert_eq!((positions(&text), ended), ((1..=last).collect(), Ok(())));
    }
    let stream = auditor.get("/api/v1/log/streams/test-0?limit=5000").await.expect(200);
    let seen = stream["events"].as_array().unwrap().len() as u64;
    assert!((1..12).contains(&seen));
    assert_eq!((&stream["next_after"], &stream["last_version"]), (&json!(seen - 1), &json!(11)));
}

/// Makes the middle of the log unreadable.
fn spoil(place: &Place) {
    if place.database().is_some() {
        return place.tamper_log("UPDATE events SET schema_version = -1 WHERE position = 36000");
    }
    let log = place.data().join("log.sqlite3");
    let size = log.metadata().unwrap().len();
    assert!(size > 30 * MIB);
    let mut file = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    file.seek(SeekFrom::Start(size * 3 / 5)).unwrap();
    file.write_all(&vec![0; 1 << 20]).unwrap();
}

#[tokio::test]
async fn a_failure_in_the_middle_breaks_the_answer_off() {
    let server = filled(60_000, 600).await;
    let auditor = server.with_role("auditor");
    spoil(server.place());
    for path in [EVENTS, "/api/v1/log/events?order=desc", "/api/v1/log/events?category=test"] {
        let (text, ended) = Wire::get(&server, &auditor, path, &[LINES]).await.text().await;
        assert_eq!(ended, Err(BrokenOff), "{path}");
        assert!(text.lines().count() < 60_000);
    }
    auditor.get("/api/v1/log/events?after=30000&limit=5000").await;
    let (said, first) = (server.said(), auditor.get("/api/v1/log/events?limit=10").await.expect(200));
    assert_eq!(first["events"].as_array().unwrap().len(), 10, "the rest can be read");
    assert!(said.contains("broke off a download of the log"), "{said}");
    let mut subscription = Wire::get(&server, &auditor, "/api/v1/log/subscribe", &[]).await;
    let mut last = subscription.frame().await;
    while let Some(frame) = subscription.frame().await {
        last = Some(frame);
    }
    assert_eq!(last.unwrap().cut_off().0, "the log cannot be read");
}

#[tokio::test]
async fn a_stop_breaks_downloads_off_and_waits_for_no_reader() {
    let server = filled(100_000, 600).await;
    let auditor = server.with_role("auditor");
    let (mut asked, mut silent) = (
        Wire::get_narrow(&server, &auditor, EVENTS, &[LINES]).await,
        Wire::get_narrow(&server, &auditor, EVENTS, &[LINES]).await,
    );
    asked.begin().await;
    silent.begin().await;
    let began = Instant::now();
    server.signal(Signal::TERM);
    let (text, ended) = asked.text().await;
    assert_eq!(ended, Err(BrokenOff));
    assert!(text.lines().count() < 100_000);
    let stopped = server.stopped().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(stopped.log.contains("server stopping"), "{}", stopped.log);
}

#[tokio::test]
async fn a_download_does_not_outlive_its_token() {
    let server = filled(100_000, 600).await;
    let claims = json!({ "sub": "u1", "roles": ["auditor"], "exp": jsonwebtoken::get_current_timestamp() + 2 });
    let caller = server.caller_claiming(Uuid::nil(), &claims);
    let mut wire = Wire::get_narrow(&server, &caller, EVENTS, &[LINES]).await;
    wire.begin().await;
    eventually("the token is over", async || (caller.get(EVENTS).await.status == 401).then_some(())).await;
    let (text, ended) = wire.text().await;
    assert_eq!(ended, Err(BrokenOff));
    assert!(text.lines().count() < 100_000);
}
