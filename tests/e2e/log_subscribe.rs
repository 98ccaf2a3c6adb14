//! The log as it grows: each event once, in order, whatever happens to the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::support::wire::{Frame, Wire};
use crate::support::{Caller, Place, Server, eventually};

const SUBSCRIBE: &str = "/api/v1/log/subscribe";

async fn subscribe(server: &Server, caller: &Caller, query: &str) -> Wire {
    let wire = Wire::get(server, caller, &format!("{SUBSCRIBE}?{query}"), &[]).await;
    assert_eq!(wire.status, 200, "{}", wire.head);
    wire
}

async fn head(caller: &Caller) -> u64 {
    caller.get("/api/v1/log/head").await.expect(200)["head"].as_u64().unwrap()
}

/// A measurement, with its labels; 0 when it is not there.
async fn measured(server: &Server, name: &str) -> f64 {
    let text = server.stranger().get("/metrics").await.text;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
}

/// Writers who go on until they are told to stop; how much they have written.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(server: &Server, count: usize, title: &str) -> Self {
        let mut writers = Self { stop: Arc::default(), written: Arc::default(), tasks: JoinSet::new() };
        for _ in 0..count {
            let (writer, book) = (server.reader(), json!({ "title": title }));
            let (stop, written) = (Arc::clone(&writers.stop), Arc::clone(&writers.written));
            writers.tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    writer.put_book(&book).await;
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        writers
    }

    async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.written.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn silence_is_broken_by_comments_that_tell_how_far_a_filter_has_looked() {
    let server = Server::start().await;
    let analyst = server.with_role("analyst");
    let mut quiet = subscribe(&server, &analyst, "").await;
    let mut narrow = subscribe(&server, &analyst, "types=NeverWritten").await;
    quiet.frame().await.unwrap();
    narrow.frame().await.unwrap();
    server.reader().add_book().await;
    let position = quiet.event().await.id;
    let (quiet, narrow) = tokio::join!(quiet.frame(), narrow.frame());
    let comment = |frame: Option<Frame>| frame.filter(|frame| frame.comment.is_some() && frame.data.is_none()).unwrap();
    assert_eq!(comment(quiet).id, None);
    assert_eq!(comment(narrow).id, position);
}

#[tokio::test]
async fn a_subscription_begins_with_a_comment_and_then_shows_events_as_pages_do() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("auditor"));
    reader.add_book().await;
    let mut wire = subscribe(&server, &auditor, "after=0").await;
    for header in
        ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no", "x-request-id:"]
    {
        assert!(wire.head.contains(header), "{header}: {}", wire.head);
    }
    let hello = Frame { comment: Some("daybook".into()), retry: Some("1000".into()), ..Frame::default() };
    assert_eq!(wire.frame().await, Some(hello));
    for position in 1..=20 {
        let event = wire.event().await;
        assert_eq!((event.id, event.event.as_deref()), (Some(position), None));
        let shown = auditor.get(&format!("/api/v1/log/events/{position}")).await;
        assert_eq!(event.data.as_deref(), Some(shown.text.as_str()), "byte by byte");
        reader.add_book().await;
    }
}

#[tokio::test]
async fn the_last_event_id_wins_over_after() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("admin"));
    for _ in 0..10 {
        reader.add_book().await;
    }
    for (query, last, first) in [("after=4", None, 5), ("after=4", Some("8"), 9), ("", Some("2"), 3), ("", None, 1)] {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let mut wire = Wire::get(&server, &auditor, &format!("{SUBSCRIBE}?{query}"), &headers).await;
        assert_eq!(wire.event().await.id, Some(first), "{query} {last:?}");
    }
    let mut live = subscribe(&server, &auditor, "after=10").await;
    reader.add_book().await;
    assert_eq!(live.event().await.id, Some(11));
}

#[tokio::test]
async fn filters_hold_for_what_is_there_and_for_what_comes() {
    let server = Server::start().await;
    let auditor = server.with_role("analyst");
    let work = async || {
        let reader = server.reader();
        for position in 0..5 {
            let session = reader.start(reader.add_book().await, position).await;
            reader.end(&session, position + 1).await.expect(200);
        }
        format!("reader-{}", reader.id)
    };
    let stream = work().await;
    let queries = [
        "types=BookAdded".to_owned(),
        "category=reader".to_owned(),
        "category=reader,book&types=ReadingSessionEnded,BookAdded".to_owned(),
        format!("stream={stream}"),
        String::new(),
    ];
    let mut wires = Vec::new();
    for query in &queries {
        let mut wire = subscribe(&server, &auditor, query).await;
        wire.frame().await.unwrap();
        wires.push(wire);
    }
    work().await;
    for (query, wire) in queries.iter().zip(&mut wires) {
        let page = auditor.get(&format!("/api/v1/log/events?limit=5000&{query}")).await.expect(200);
        for event in page["events"].as_array().unwrap() {
            assert_eq!(wire.event().await.json(), *event, "{query}");
        }
    }
}

#[tokio::test]
async fn a_subscriber_who_is_killed_a_hundred_times_has_every_event_once_and_in_order() {
    let mut chance = Chance::told();
    let place = Place::fresh();
    place.fill(20_000, 200).await;
    let server = place.serve(&["--rate-limit", "0"]).await;
    let auditor = server.with_role("auditor");
    let writers = Writers::start(&server, 4, "t");
    let mut seen = 0;
    for _ in 0..100 {
        let id = seen.to_string();
        let mut wire = Wire::get(&server, &auditor, SUBSCRIBE, &[("last-event-id", &id)]).await;
        let patience = chance.below(400);
        let events = async {
            for _ in 0..patience {
                seen += 1;
                assert_eq!(wire.event().await.id, Some(seen));
            }
        };
        // Some go in the middle of a frame.
        let moment = Duration::from_micros(chance.below(60_000));
        if chance.below(3) == 0 {
            let _ = tokio::time::timeout(moment, events).await;
        } else {
            events.await;
        }
        wire.reset();
    }
    let written = writers.stop().await;
    assert!(written > 100, "{written} were written meanwhile");
    let mut wire = Wire::get(&server, &auditor, SUBSCRIBE, &[("last-event-id", &seen.to_string())]).await;
    for id in seen + 1..=head(&auditor).await {
        assert_eq!(wire.event().await.id, Some(id));
    }
    eventually("the killed are forgotten", async || {
        (measured(&server, "daybook_log_subscribers ").await <= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_with_a_reason_and_holds_no_writer_up() {
    let server = Server::start_with(&["--rate-limit", "0"]).await;
    let auditor = server.with_role("auditor");
    server.reader().add_book().await;
    let mut slow = Wire::get_narrow(&server, &auditor, SUBSCRIBE, &[]).await;
    let mut quick = subscribe(&server, &auditor, "").await;
    assert_eq!(slow.event().await.id, Some(1));
    // Four bytes each: about two kilobytes an event.
    let writers = Writers::start(&server, 8, &"𝄞".repeat(500));
    let pace = async |events: u64| {
        let (began, before) = (Instant::now(), writers.written.load(Ordering::Relaxed));
        eventually("the writers write", async || {
            (writers.written.load(Ordering::Relaxed) >= before + events).then_some(())
        })
        .await;
        began.elapsed()
    };
    let reading = async {
        let mut seen = 0;
        loop {
            seen += 1;
            assert_eq!(quick.event().await.id, Some(seen));
            if seen % 500 == 0 && cut_off(&server).await > 0.0 {
                break seen;
            }
        }
    };
    let (seen, _) = tokio::join!(reading, pace(500));
    // As quick as before: a writer who waited for the slow reader would not write at all.
    assert!(pace(500).await < Duration::from_secs(20));
    writers.stop().await;

    let mut last = 1;
    let (reason, resume_after) = loop {
        let frame = slow.frame().await.unwrap_or_else(|| panic!("the reason comes before the end"));
        match frame.id {
            Some(id) => {
                assert_eq!(id, last + 1, "what was sent before is whole");
                last = id;
            }
            None if frame.event.is_some() => break frame.cut_off(),
            None => assert!(frame.comment.is_some()),
        }
    };
    assert_eq!(slow.frame().await, None, "it is the last frame");
    assert!(reason.contains("4 MiB") || reason.contains("10 s"), "{reason}");
    assert_eq!(resume_after, last);
    assert!(seen > last);
    let mut resumed = subscribe(&server, &auditor, &format!("after={resume_after}")).await;
    for id in last + 1..=head(&auditor).await {
        assert_eq!(resumed.event().await.id, Some(id));
    }
    let said = server.said();
    assert_eq!(said.matches("cut off a subscriber of the log").count(), 1, "{said}");
    assert!(said.contains(&auditor.id.to_string()), "{said}");
}

/// How many slow readers were cut off.
async fn cut_off(server: &Server) -> f64 {
    let of = |reason: &str| format!("daybook_log_subscribers_cut_off_total{{reason=\"{reason}\"}} ");
    measured(server, &of("bytes")).await + measured(server, &of("seconds")).await
}

#[tokio::test]
async fn a_thousand_idle_subscribers_take_little_memory_and_all_get_the_next_event() {
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_some_and(|files| files < 3_000) {
        let reason = format!("a thousand connections need 3000 open files, and the limit is {limit:?}");
        assert!(std::env::var_os("DAYBOOK_TEST_REQUIRE_ALL").is_none(), "{reason}");
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let server = Server::start_with(&["--rate-limit", "0"]).await;
    let (reader, analyst) = (server.reader(), server.with_role("analyst"));
    reader.add_book().await;
    let mut first = subscribe(&server, &analyst, "after=1").await;
    first.frame().await.unwrap();
    let before = server.resident_bytes();
    let mut idle = Vec::new();
    for number in 0..1_000 {
        let query = if number % 2 == 0 { "after=1" } else { "after=1&category=book" };
        let mut wire = subscribe(&server, &analyst, query).await;
        wire.frame().await.unwrap();
        idle.push(wire);
    }
    assert!((measured(&server, "daybook_log_subscribers ").await - 1_001.0).abs() < 0.5);
    let grown = server.resident_bytes().saturating_sub(before);
    eprintln!("1000 idle subscribers: {} KiB", grown / 1_024);
    assert!(grown < 100 << 20, "{grown} bytes");
    for position in 2..5 {
        reader.add_book().await;
        for wire in &mut idle {
            assert_eq!(wire.event().await.id, Some(position));
        }
    }
    drop((idle, first));
    eventually("they are forgotten", async || {
        (measured(&server, "daybook_log_subscribers ").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stop_tells_subscribers_and_takes_seconds() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("auditor"));
    for _ in 0..3 {
        reader.add_book().await;
    }
    let mut wires = Vec::new();
    for _ in 0..50 {
        let mut wire = subscribe(&server, &auditor, "").await;
        while wire.event().await.id != Some(3) {}
        wires.push(wire);
    }
    let began = Instant::now();
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for wire in wires {
        let frames = wire.rest().await;
        assert_eq!(frames.last().unwrap().cut_off(), ("server stopping".to_owned(), 3));
    }
}

#[tokio::test]
async fn a_subscription_ends_with_its_token() {
    let server = Server::start().await;
    server.reader().add_book().await;
    let claims = json!({ "sub": "u1", "roles": ["auditor"], "exp": jsonwebtoken::get_current_timestamp() + 2 });
    let caller = server.caller_claiming(Uuid::nil(), &claims);
    let wire = subscribe(&server, &caller, "").await;
    let frames = wire.rest().await;
    assert_eq!(frames.last().unwrap().cut_off(), ("token expired".to_owned(), 1));
    caller.get(SUBSCRIBE).await.problem(401);
    assert!(
        (measured(&server, "daybook_log_subscribers_cut_off_total{reason=\"token_expired\"} ").await - 1.0).abs() < 0.1
    );
}

#[tokio::test]
async fn head_is_answered_without_a_subscription() {
    let server = Server::start().await;
    let auditor = server.with_role("auditor");
    let reply = auditor.send(reqwest::Method::HEAD, SUBSCRIBE, None, "").await;
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    assert_eq!(reply.header("content-type"), "text/event-stream");
    eventually("nothing is left of it", async || {
        (measured(&server, "daybook_log_subscribers ").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_cause_of_an_event_leads_to_everything_it_caused() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("auditor"));
    let book = reader.add_book().await;
    let asked = reader.with("x-request-id", "ask-9");
    asked.start(book, 1).await;
    let mut wire = subscribe(&server, &auditor, "after=1").await;
    let event: Value = wire.event().await.json();
    assert_eq!(event["metadata"]["correlation_id"], "ask-9");
    assert_eq!(event["metadata"]["actor"], reader.id.to_string());
}
