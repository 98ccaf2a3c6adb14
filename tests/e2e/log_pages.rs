//! The log in pages: what is asked for, which way, and who may.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use insta::assert_snapshot;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::stored::Logged;
use crate::support::till::usual_shop;
use crate::support::wire::Wire;
use crate::support::{Caller, Reply, Server};

const EVENTS: &str = "/api/v1/log/events";

type Wanted = Box<dyn Fn(&Logged) -> bool>;

/// All pages from `after` on; each has no more than `limit` events, and the next begins where it says.
async fn pages(auditor: &Caller, query: &str, after: u64, limit: usize) -> Vec<Value> {
    let mut after = after;
    let mut all = Vec::new();
    loop {
        let page = auditor.get(&format!("{EVENTS}?limit={limit}&after={after}&{query}")).await.expect(200);
        let (events, next) = (page["events"].as_array().unwrap(), page["next_after"].as_u64().unwrap());
        assert!(events.len() <= limit, "{page}");
        all.extend(events.iter().cloned());
        let is_last = if query.contains("order=desc") { next <= 1 } else { next >= page["head"].as_u64().unwrap() };
        assert!(next != after || is_last, "a page moves on: {page}");
        if is_last || next == after {
            return all;
        }
        after = next;
    }
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

async fn asked(auditor: &Caller, query: &str) -> Vec<u64> {
    positions(auditor.get(&format!("{EVENTS}?{query}")).await.expect(200)["events"].as_array().unwrap())
}

#[track_caller]
fn assert_is(event: &Value, logged: &Logged) {
    let shown = Logged {
        position: event["position"].as_u64().unwrap(),
        stream: event["stream"].as_str().unwrap().to_owned(),
        version: event["version"].as_u64().unwrap(),
        kind: event["type"].as_str().unwrap().to_owned(),
        data: event["data"].clone(),
        metadata: event["metadata"].clone(),
    };
    assert_eq!(shown, *logged);
}

/// A shop, readers and books: several categories and types.
async fn some_world(server: &Server) {
    usual_shop(server).await;
    let reader = server.reader();
    for position in 0..20 {
        let book = reader.add_book().await;
        let session = reader.start(book, position).await;
        reader.end(&session, position + 10).await.expect(200);
    }
}

#[tokio::test]
async fn an_event_is_shown_as_it_is_stored() {
    let server = Server::start().await;
    let auditor = server.with_role("auditor");
    let reader = server.reader_called(Uuid::nil()).with("x-request-id", "till-7");
    let path = "/api/v1/books/00000000-0000-4000-8000-000000000007";
    reader.put(path, &json!({ "title": "Дюна \"I\"", "total_pages": 412 })).await.expect(201);
    let page = auditor.get(EVENTS).await;
    assert_eq!(page.header("content-type"), "application/json");
    let event = &page.json()["events"][0];
    let without_chance = |text: &str| {
        let (id, at) = (event["id"].as_str().unwrap(), event["occurred_at"].as_str().unwrap());
        let text = text.replace(id, "[id]").replace(at, "[occurred]");
        text.replace(event["recorded_at"].as_str().unwrap(), "[recorded]")
    };
    assert_snapshot!(without_chance(&page.text), @r#"{"events":[{"position":1,"stream":"book-00000000-0000-4000-8000-000000000007","version":0,"id":"[id]","type":"BookAdded","schema_version":1,"data":{"book_id":"00000000-0000-4000-8000-000000000007","owner":"00000000-0000-0000-0000-000000000000","title":"Дюна \"I\"","total_pages":412,"shared":false,"added_at":"[occurred]"},"metadata":{"actor":"00000000-0000-0000-0000-000000000000","correlation_id":"till-7","causation_id":"till-7"},"occurred_at":"[occurred]","recorded_at":"[recorded]"}],"head":1,"next_after":1}"#);
    let one = auditor.get(&format!("{EVENTS}/1")).await;
    assert_snapshot!(without_chance(&one.text), @r#"{"position":1,"stream":"book-00000000-0000-4000-8000-000000000007","version":0,"id":"[id]","type":"BookAdded","schema_version":1,"data":{"book_id":"00000000-0000-4000-8000-000000000007","owner":"00000000-0000-0000-0000-000000000000","title":"Дюна \"I\"","total_pages":412,"shared":false,"added_at":"[occurred]"},"metadata":{"actor":"00000000-0000-0000-0000-000000000000","correlation_id":"till-7","causation_id":"till-7"},"occurred_at":"[occurred]","recorded_at":"[recorded]"}"#);
    let stream = auditor.get("/api/v1/log/streams/book-00000000-0000-4000-8000-000000000007").await;
    assert_snapshot!(without_chance(&stream.text), @r#"{"stream":"book-00000000-0000-4000-8000-000000000007","events":[{"position":1,"stream":"book-00000000-0000-4000-8000-000000000007","version":0,"id":"[id]","type":"BookAdded","schema_version":1,"data":{"book_id":"00000000-0000-4000-8000-000000000007","owner":"00000000-0000-0000-0000-000000000000","title":"Дюна \"I\"","total_pages":412,"shared":false,"added_at":"[occurred]"},"metadata":{"actor":"00000000-0000-0000-0000-000000000000","correlation_id":"till-7","causation_id":"till-7"},"occurred_at":"[occurred]","recorded_at":"[recorded]"}],"last_version":0,"next_after":0}"#);
    let head = auditor.get("/api/v1/log/head").await;
    let anchor = head.json()["anchor"].as_str().unwrap().to_owned();
    assert_snapshot!(without_chance(&head.text).replace(&anchor[2..], "[checksum]"), @r#"{"head":1,"anchor":"1:[checksum]","recorded_at":"[recorded]"}"#);
    for time in ["occurred_at", "recorded_at"] {
        let time = event[time].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "six digits, always: {time}");
    }
}

#[tokio::test]
async fn an_empty_log_has_a_head_of_0_and_pages_without_events() {
    let server = Server::start().await;
    let auditor = server.with_role("auditor");
    assert_snapshot!(auditor.get(EVENTS).await.text, @r#"{"events":[],"head":0,"next_after":0}"#);
    assert_snapshot!(auditor.get(&format!("{EVENTS}?order=desc")).await.text, @r#"{"events":[],"head":0,"next_after":1}"#);
    assert_snapshot!(auditor.get("/api/v1/log/head").await.text, @r#"{"head":0,"anchor":"0:0000000000000000","recorded_at":null}"#);
    auditor.get(&format!("{EVENTS}/1")).await.problem(404);
}

#[tokio::test]
async fn pages_lines_and_the_file_say_the_same() {
    let server = Server::start().await;
    some_world(&server).await;
    let auditor = server.with_role("auditor");
    let up = pages(&auditor, "", 0, 7).await;
    let mut down = pages(&auditor, "order=desc", 0, 7).await;
    down.reverse();
    assert_eq!(up, down);
    let lines = auditor.with("accept", "application/x-ndjson");
    let up_lines = lines.get(&format!("{EVENTS}?limit=1")).await;
    assert_eq!(up_lines.header("content-type"), "application/x-ndjson");
    let parse = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    assert_eq!(parse(&up_lines.text), up);
    let mut down_lines = parse(&lines.get(&format!("{EVENTS}?order=desc")).await.text);
    down_lines.reverse();
    assert_eq!(down_lines, up);
    let logged = server.place().events();
    assert_eq!(up.len(), logged.len());
    up.iter().zip(&logged).for_each(|(event, logged)| assert_is(event, logged));
    for event in &up {
        let one = auditor.get(&format!("{EVENTS}/{}", event["position"])).await.expect(200);
        assert_eq!(one, *event);
    }
    let head = auditor.get("/api/v1/log/head").await.expect(200);
    assert_eq!(
        head,
        json!({ "head": up.len(), "anchor": head["anchor"], "recorded_at": up.last().unwrap()["recorded_at"] })
    );
}

#[tokio::test]
async fn filters_pass_what_they_name_and_nothing_else() {
    let server = Server::start().await;
    some_world(&server).await;
    let auditor = server.with_role("auditor");
    let logged = server.place().events();
    let category = |event: &Logged| event.stream.split('-').next().unwrap().to_owned();
    let reader = logged.iter().find(|event| category(event) == "reader").unwrap().stream.clone();
    let wants: [(String, Wanted); 8] = [
        ("types=BookAdded".into(), Box::new(|event| event.kind == "BookAdded")),
        (
            "types=BookAdded,StockReceived".into(),
            Box::new(|event| ["BookAdded", "StockReceived"].contains(&event.kind.as_str())),
        ),
        ("category=shop".into(), Box::new(move |event| category(event) == "shop")),
        ("category=shop,book".into(), Box::new(move |event| ["shop", "book"].contains(&category(event).as_str()))),
        ("stream=shop-2".into(), Box::new(|event| event.stream == "shop-2")),
        (format!("stream={reader}&types=ReadingSessionEnded"), {
            let reader = reader.clone();
            Box::new(move |event| event.stream == reader && event.kind == "ReadingSessionEnded")
        }),
        ("types=NeverHeardOf&category=book".into(), Box::new(|_| false)),
        ("stream=shop-2&category=book".into(), Box::new(|_| false)),
    ];
    for (query, wanted) in wants {
        let expected: Vec<u64> = logged.iter().filter(|event| wanted(event)).map(|event| event.position).collect();
        assert!(expected.len() > 1 || !wanted(&logged[0]), "{query}");
        assert_eq!(positions(&pages(&auditor, &query, 0, 3).await), expected, "{query}");
        let mut down = positions(&pages(&auditor, &format!("{query}&order=desc"), 0, 3).await);
        down.reverse();
        assert_eq!(down, expected, "{query}");
        for order in ["asc", "desc"] {
            let path = format!("{EVENTS}?{query}&order={order}");
            let lines = auditor.with("accept", "application/x-ndjson").get(&path).await;
            let lines = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
            let mut found = positions(&lines);
            if order == "desc" {
                found.reverse();
            }
            assert_eq!(found, expected, "{path}");
        }
        let page = auditor.get(&format!("{EVENTS}?{query}")).await.expect(200);
        assert_eq!(page["next_after"], page["head"], "what is not wanted is passed over: {query}");
    }
}

#[tokio::test]
async fn paging_meets_every_event_once_while_others_write() {
    let server = Server::start_with(&["--rate-limit", "0"]).await;
    let auditor = server.with_role("analyst");
    server.reader().add_book().await;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let writer = server.reader();
        writers.spawn(async move {
            for round in 0..30 {
                let session = writer.start(writer.add_book().await, round).await;
                writer.update(&session, round + 1).await.expect(200);
            }
        });
    }
    // Upwards one goes after the writers until they have ended; downwards only what was there when it began is met.
    let (mut up, mut after, mut downs) = (Vec::new(), 0, 0);
    let mut writing = true;
    while writing {
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
        writing = !writers.is_empty();
        let page = auditor.get(&format!("{EVENTS}?after={after}&limit=13&types=BookAdded")).await.expect(200);
        up.extend(positions(page["events"].as_array().unwrap()));
        after = page["next_after"].as_u64().unwrap();
        let first = auditor.get(&format!("{EVENTS}?order=desc&limit=1")).await.expect(200);
        let top = first["next_after"].as_u64().unwrap();
        assert_eq!(first["events"][0]["position"], top);
        if top > 1 && downs < 5 {
            let down = positions(&pages(&auditor, "order=desc", top, 100).await);
            assert_eq!(down, (1..top).rev().collect::<Vec<_>>());
            downs += 1;
        }
    }
    assert!(downs > 0);
    up.extend(positions(&pages(&auditor, "types=BookAdded", after, 13).await));
    let books = server.place().events().into_iter().filter(|event| event.kind == "BookAdded");
    assert_eq!(up, books.map(|book| book.position).collect::<Vec<_>>());
    assert_eq!(up.len(), 121);
}

#[tokio::test]
async fn bounds_in_time_are_exact_to_the_microsecond() {
    let server = Server::start().await;
    some_world(&server).await;
    let auditor = server.with_role("auditor");
    let all = pages(&auditor, "", 0, 5_000).await;
    let at = |event: &Value| event["recorded_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let times: BTreeSet<_> = all.iter().map(at).collect();
    assert!(times.len() > 40);
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let within = |from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>| -> Vec<u64> {
        let wanted = |event: &&Value| from.is_none_or(|from| from <= at(event)) && to.is_none_or(|to| at(event) < to);
        all.iter().filter(wanted).map(|event| event["position"].as_u64().unwrap()).collect()
    };
    for time in times.iter().step_by(9).chain(times.last()) {
        for nanos in [-1_000, -1, 0, 1, 999, 1_000] {
            let bound = *time + TimeDelta::nanoseconds(nanos);
            let shown = text(bound);
            assert_eq!(
                asked(&auditor, &format!("limit=5000&from={shown}")).await,
                within(Some(bound), None),
                "{shown}"
            );
            assert_eq!(asked(&auditor, &format!("limit=5000&to={shown}")).await, within(None, Some(bound)), "{shown}");
            let mut down = asked(&auditor, &format!("limit=5000&order=desc&to={shown}")).await;
            down.reverse();
            assert_eq!(down, within(None, Some(bound)));
            let mut down = asked(&auditor, &format!("limit=5000&order=desc&from={shown}")).await;
            down.reverse();
            assert_eq!(down, within(Some(bound), None));
        }
    }
    let times: Vec<_> = times.into_iter().collect();
    let (from, to) = (times[3], times[30]);
    let both = format!("from={}&to={}", text(from), text(to));
    assert_eq!(positions(&pages(&auditor, &both, 0, 4).await), within(Some(from), Some(to)));
    let mut down = positions(&pages(&auditor, &format!("{both}&order=desc"), 0, 4).await);
    down.reverse();
    assert_eq!(down, within(Some(from), Some(to)));
    let turned = format!("from={}&to={}", text(to), text(from));
    assert_eq!(asked(&auditor, &turned).await, Vec::<u64>::new());
    assert_eq!(asked(&auditor, &format!("{turned}&order=desc")).await, Vec::<u64>::new());
    // Another zone is the same moment.
    let kinshasa = times[3].with_timezone(&chrono_tz::Africa::Kinshasa).to_rfc3339().replace('+', "%2B");
    assert_eq!(asked(&auditor, &format!("limit=5000&from={kinshasa}")).await, within(Some(from), None));
    assert_eq!(asked(&auditor, "from=2999-01-01T00:00:00Z").await, Vec::<u64>::new());
    assert_eq!(asked(&auditor, "to=1999-01-01T00:00:00Z").await, Vec::<u64>::new());
}

#[tokio::test]
async fn the_ends_of_the_log_are_no_edges() {
    let server = Server::start().await;
    let reader = server.reader();
    for _ in 0..5 {
        reader.add_book().await;
    }
    let auditor = server.with_role("auditor");
    let page = async |query: &str| {
        let page = auditor.get(&format!("{EVENTS}?{query}")).await.expect(200);
        (positions(page["events"].as_array().unwrap()), page["next_after"].as_u64().unwrap())
    };
    assert_eq!(page("after=5").await, (vec![], 5));
    assert_eq!(page("order=desc&after=5&limit=1").await, (vec![4], 4));
    assert_eq!(page("order=desc&limit=2").await, (vec![5, 4], 4));
    assert_eq!(page("order=desc&after=4&limit=3").await, (vec![3, 2, 1], 1));
    assert_eq!(page("order=desc&after=1").await, (vec![], 1), "0 would begin again");
    assert_eq!(page("order=desc&types=NeverHeardOf").await, (vec![], 1));
    assert_eq!(page("limit=5").await, (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(page("limit=1&order=asc").await, (vec![1], 1));
}

#[tokio::test]
async fn one_stream_is_read_by_its_versions() {
    let server = Server::start().await;
    some_world(&server).await;
    let auditor = server.with_role("auditor");
    let all = pages(&auditor, "", 0, 5_000).await;
    let name =
        all.iter().find_map(|event| event["stream"].as_str().filter(|name| name.starts_with("reader-"))).unwrap();
    let own: Vec<_> = all.iter().filter(|event| event["stream"] == name).cloned().collect();
    let last = own.len() as u64 - 1;
    assert!(last > 30);
    let path = format!("/api/v1/log/streams/{name}");
    let page = async |query: &str| {
        let page = auditor.get(&format!("{path}?{query}")).await.expect(200);
        assert_eq!((&page["stream"], &page["last_version"]), (&json!(name), &json!(last)), "{query}");
        (page["events"].as_array().unwrap().clone(), page["next_after"].as_u64().unwrap())
    };
    assert_eq!(page("").await, (own.clone(), last));
    assert_eq!(page("limit=3").await, (own[..3].to_vec(), 2));
    assert_eq!(page("after=2&limit=3").await, (own[3..6].to_vec(), 5));
    assert_eq!(page(&format!("after={last}")).await, (vec![], last));
    let down: Vec<_> = own.iter().rev().cloned().collect();
    assert_eq!(page("order=desc").await, (down.clone(), 0));
    assert_eq!(page("order=desc&limit=2").await, (down[..2].to_vec(), last - 1));
    assert_eq!(page(&format!("order=desc&limit=2&after={}", last - 1)).await, (down[2..4].to_vec(), last - 3));
    assert_eq!(page("order=desc&after=0").await, (vec![], 0));
    assert_eq!(page(&format!("order=desc&after={last}&limit=1")).await, (down[1..2].to_vec(), last - 1));
    let ended: Vec<_> = own.iter().filter(|event| event["type"] == "ReadingSessionEnded").cloned().collect();
    assert_eq!(page("types=ReadingSessionEnded,X").await, (ended.clone(), last));
    let version = ended[1]["version"].as_u64().unwrap();
    assert_eq!(page("types=ReadingSessionEnded&limit=2").await, (ended[..2].to_vec(), version));
    let lines = auditor.with("accept", "application/x-ndjson");
    for (query, expected) in [("limit=1", &own), ("order=desc", &down), ("types=ReadingSessionEnded", &ended)] {
        let reply = lines.get(&format!("{path}?{query}")).await;
        assert_eq!(reply.header("content-type"), "application/x-ndjson");
        let found: Vec<Value> = reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found, *expected, "{query}");
    }
    auditor.get("/api/v1/log/streams/reader-nobody").await.problem(404);
    auditor.get(&format!("/api/v1/log/streams/{}", "x".repeat(300))).await.problem(404);
    lines.get("/api/v1/log/streams/reader-nobody").await.problem(404);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_400_and_named() {
    let server = Server::start().await;
    server.reader().add_book().await;
    let auditor = server.with_role("auditor");
    let common = ["after=-1", "after=x", "after=9223372036854775808", "after=", "after=1.5", "after=1&after=2", "x=1"];
    let filters = ["types=", "types=A,", "types=,", "types=A&types=B"];
    let wider = ["category=", "category=a,,b", "stream=", "stream=a&stream=b"];
    let sizes = ["limit=0", "limit=5001", "limit=-1", "limit=x", "limit=", "order=up", "order=ASC", "order="];
    let times = ["from=x", "to=2026-01-01", "from=2026-01-01T00:00:00", "to=", "from=1&from=2"];
    let routes: [(&str, Vec<&[&str]>); 5] = [
        (EVENTS, vec![&common, &filters, &wider, &sizes, &times]),
        ("/api/v1/log/streams/book-1", vec![&common, &filters, &sizes]),
        ("/api/v1/log/subscribe", vec![&common, &filters, &wider]),
        ("/api/v1/log/head", vec![&["x=1", "after=1"]]),
        ("/api/v1/log/events/1", vec![&["x=1", "limit=1"]]),
    ];
    for (route, queries) in routes {
        for query in queries.into_iter().flatten() {
            let name = query.split('=').next().unwrap();
            for accept in ["application/json", "application/x-ndjson"] {
                let reply = auditor.with("accept", accept).get(&format!("{route}?{query}")).await;
                assert_eq!(reply.wrong_fields(), [name], "{route}?{query}");
            }
        }
        let stale = auditor.with("daybook-after", "x").get(route).await;
        assert_eq!(stale.wrong_fields(), ["Daybook-After"], "{route}");
    }
    let many = vec!["A"; 101].join(",");
    assert_eq!(auditor.get(&format!("{EVENTS}?types={many}")).await.wrong_fields(), ["types"]);
    assert_eq!(auditor.get(&format!("{EVENTS}?after=x&limit=0&order=y&z=1")).await.wrong_fields().len(), 4);
    for position in ["x", "-1", "1.0", "9223372036854775808", "%20"] {
        assert_eq!(auditor.get(&format!("{EVENTS}/{position}")).await.wrong_fields(), ["position"], "{position}");
    }
    for position in ["0", "2", "9223372036854775807"] {
        auditor.get(&format!("{EVENTS}/{position}")).await.problem(404);
    }
    for id in ["", "x", "-1", "1 2", "9223372036854775808"] {
        let reply = auditor.with("last-event-id", id).get("/api/v1/log/subscribe").await;
        assert_eq!(reply.wrong_fields(), ["Last-Event-ID"], "{id}");
    }
    let both = auditor.with("last-event-id", "1").get("/api/v1/log/subscribe?after=x").await;
    assert_eq!(both.wrong_fields(), ["after"]);
    auditor.get(&format!("{EVENTS}/?limit=1")).await.expect(200);
}

#[tokio::test]
async fn the_log_is_for_analysts_auditors_and_admins() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let routes =
        ["/events", "/events/1", "/streams/shop-2", "/head", "/subscribe"].map(|rest| format!("/api/v1/log{rest}"));
    for route in &routes {
        for role in ["analyst", "auditor", "admin"] {
            let allowed = Wire::get(&server, &server.with_role(role), route, &[]).await;
            assert_eq!(allowed.status, 200, "{role} {route}");
        }
        for refused in [server.with_role("staff"), server.reader()] {
            refused.get(route).await.problem(403);
        }
        let nobody = server.stranger();
        for refused in [nobody.clone(), till.clone(), nobody.with_token("x.y.z")] {
            refused.get(route).await.problem(401);
        }
    }
}

#[tokio::test]
async fn daybook_after_waits_for_a_position() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("auditor"));
    reader.add_book().await;
    let ahead = auditor.with("daybook-after", "2");
    let (waited, _) = tokio::join!(ahead.get(EVENTS), async {
        // Whether this comes before or after the question, the answer knows it.
        reader.add_book().await
    });
    assert_eq!(waited.expect(200)["head"], 2);
    let ahead = auditor.with("daybook-after", "3");
    let began = std::time::Instant::now();
    let (events, head, one, stream) = tokio::join!(
        ahead.get(EVENTS),
        ahead.get("/api/v1/log/head"),
        ahead.get("/api/v1/log/events/1"),
        ahead.get("/api/v1/log/streams/x"),
    );
    assert!(began.elapsed().as_secs() >= 5);
    for reply in [events, head, one, stream] {
        reply.problem(503);
        assert_eq!(retry_after(&reply.headers), "1");
    }
}

fn retry_after(headers: &HeaderMap) -> &str {
    headers["retry-after"].to_str().unwrap()
}

#[tokio::test]
async fn a_write_is_in_the_log_as_soon_as_it_is_answered() {
    let server = Server::start().await;
    let (reader, auditor) = (server.reader(), server.with_role("auditor"));
    for _ in 0..50 {
        let path = format!("/api/v1/books/{}", Uuid::new_v4());
        let written: Reply = reader.with("x-request-id", "cause-1").put(&path, &json!({ "title": "t" })).await;
        let position = written.position();
        let event = auditor.get(&format!("{EVENTS}/{position}")).await.expect(200);
        assert_eq!(event["metadata"]["actor"], reader.id.to_string());
        assert_eq!(event["metadata"]["correlation_id"], "cause-1");
        assert_eq!(asked(&auditor, "order=desc&limit=1").await, [position]);
        assert_eq!(asked(&auditor, &format!("after={}", position - 1)).await, [position]);
    }
}
