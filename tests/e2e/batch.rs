//! Sessions of devices that were offline.

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Caller, Server};

const PATH: &str = "/api/v1/reading-sessions/batch";

/// A good session of half an hour.
fn session(book: Uuid) -> Value {
    json!({
        "client_id": Uuid::new_v4(), "book_id": book, "started_at": "2025-10-28T10:30:00Z",
        "ended_at": "2025-10-28T11:00:00Z", "start_position": 10, "end_position": 20, "device_type": "tablet",
    })
}

fn with(mut session: Value, field: &str, value: Value) -> Value {
    session[field] = value;
    session
}

async fn reader() -> (Server, Caller, Uuid) {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    (server, reader, book)
}

fn in_minutes(minutes: i64) -> String {
    (Utc::now() + TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[tokio::test]
async fn results_come_in_the_order_of_the_items_and_sessions_stand_in_the_history() {
    let (server, reader, book) = reader().await;
    let active = reader.start(book, 3).await;
    let items: Vec<Value> = (0..100).map(|_| session(book)).collect();
    let reply = reader.with("x-request-id", "sync-7").post(PATH, &json!({ "sessions": items })).await;
    let results = reply.expect(200)["results"].clone();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 100);
    for (item, result) in items.iter().zip(results) {
        assert_eq!(*result, json!({ "client_id": item["client_id"], "success": true, "id": result["id"] }));
        result["id"].as_str().unwrap().parse::<Uuid>().unwrap();
    }
    assert_eq!(reader.active().await, active, "the active session goes on");

    let history = reader.get("/api/v1/reading-sessions/history?page=2&page_size=50").await.expect(200);
    assert_eq!(history["total"], 101);
    let found = &history["sessions"][7];
    let result = results.iter().find(|result| result["id"] == found["id"]).unwrap();
    assert!(result["success"].as_bool().unwrap());
    let expected = json!({
        "id": found["id"], "user_id": reader.id, "book_id": book, "started_at": "2025-10-28T10:30:00Z",
        "ended_at": "2025-10-28T11:00:00Z", "duration_minutes": 30, "start_position": 10, "end_position": 20,
        "pages_read": 0, "device_type": "tablet", "is_active": false, "progress_delta": 10,
    });
    assert_eq!(*found, expected);

    let events = server.place().events();
    assert_eq!(reply.position(), events.len() as u64);
    let last = events.last().unwrap();
    assert_eq!((&last.data["reason"], &last.data["client_id"]), (&json!("offline"), &items[99]["client_id"]));
    assert_eq!(last.metadata["correlation_id"], "sync-7");
}

#[tokio::test]
async fn a_repetition_answers_the_same_and_changes_nothing() {
    let (server, reader, book) = reader().await;
    // Also in other words for the same: nothing finer than a microsecond is kept, and a leap second is the next one.
    let items = [
        session(book),
        with(session(book), "started_at", json!("2025-10-28T12:30:00.1234567891+02:00")),
        with(session(book), "device_type", Value::Null),
        with(
            with(session(book), "started_at", json!("2016-12-31T23:59:60Z")),
            "ended_at",
            json!("2017-01-01T00:10:00Z"),
        ),
    ];
    let first = reader.batch(&items).await;
    assert!(first["results"].as_array().unwrap().iter().all(|result| result["success"] == true), "{first}");
    let (events, history) = (server.place().events(), reader.history().await);

    assert_eq!(reader.batch(&items).await, first);
    let mut backwards = items.to_vec();
    backwards.reverse();
    let again = reader.batch(&backwards).await;
    assert_eq!(again["results"][3], first["results"][0]);
    let in_utc = with(items[0].clone(), "started_at", json!("2025-10-28T13:30:00.000+03:00"));
    let upper = items[0]["client_id"].as_str().unwrap().to_uppercase();
    let again = reader.batch(&[with(in_utc, "client_id", json!(upper))]).await;
    assert_eq!(again["results"][0], first["results"][0]);

    assert_eq!(server.place().events(), events);
    assert_eq!(reader.history().await, history);
}

#[tokio::test]
async fn a_repetition_with_one_more_adds_just_that() {
    let (server, reader, book) = reader().await;
    let (old, new) = (session(book), session(book));
    let first = reader.batch(std::slice::from_ref(&old)).await;
    let events = server.place().events().len();
    let second = reader.batch(&[new, old]).await;
    assert_eq!(second["results"][1], first["results"][0]);
    assert_eq!(second["results"][0]["success"], true);
    assert_eq!(server.place().events().len(), events + 1);
}

#[tokio::test]
async fn the_same_client_id_with_other_content_is_an_error_of_that_item() {
    let (server, reader, book) = reader().await;
    let other_book = reader.add_book().await;
    let recorded = session(book);
    reader.batch(std::slice::from_ref(&recorded)).await;
    let events = server.place().events().len();
    for (field, value) in [
        ("book_id", json!(other_book)),
        ("started_at", json!("2025-10-28T10:31:00Z")),
        ("ended_at", json!("2025-10-28T10:59:59.999999Z")),
        ("start_position", json!(9)),
        ("end_position", json!(21)),
        ("device_type", json!("mobile")),
        ("device_type", Value::Null),
    ] {
        let results = reader.batch(&[with(recorded.clone(), field, value), recorded.clone()]).await["results"].clone();
        let keys: Vec<_> = results[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["client_id", "error", "success"], "{field}");
        assert_eq!((&results[0]["success"], &results[1]["success"]), (&json!(false), &json!(true)), "{field}");
        assert!(results[0]["error"].as_str().unwrap().contains("client_id"), "{field}");
    }
    assert_eq!(server.place().events().len(), events);
    let another_reader = server.reader();
    let theirs = with(recorded.clone(), "book_id", json!(another_reader.add_book().await));
    assert_eq!(another_reader.batch(&[theirs]).await["results"][0]["success"], true, "client ids are a reader's own");
}

#[tokio::test]
async fn the_same_client_id_twice_in_one_batch_is_one_session() {
    let (server, reader, book) = reader().await;
    let item = session(book);
    let other = with(item.clone(), "end_position", json!(99));
    let before = server.place().events().len();
    let results = reader.batch(&[item.clone(), item, other]).await["results"].clone();
    assert_eq!(results[0], results[1]);
    assert_eq!((&results[0]["success"], &results[2]["success"]), (&json!(true), &json!(false)));
    assert_eq!(server.place().events().len(), before + 1);
    assert_eq!(reader.history().await["sessions"][0]["end_position"], 20);
}

#[tokio::test]
async fn a_bad_item_of_any_kind_does_not_sink_the_others() {
    let (_server, reader, book) = reader().await;
    let good = || session(book);
    let text = |session: Value| session.to_string();
    let without = |field: &str| {
        let mut item = good();
        item.as_object_mut().unwrap().remove(field);
        text(item)
    };
    // Each with the field that its error has to name.
    let mut bad: Vec<(String, &str)> = vec![
        (text(with(good(), "client_id", json!("x"))), "client_id"),
        (text(with(good(), "client_id", json!(7))), "client_id"),
        (text(with(good(), "book_id", json!("x"))), "book_id"),
        (text(with(good(), "book_id", json!(Uuid::new_v4()))), "book_id"),
        (text(with(good(), "book_id", json!(_server.reader().add_book().await))), "book_id"),
        (text(with(good(), "started_at", json!("yesterday"))), "started_at"),
        (text(with(good(), "started_at", json!("2025-10-28"))), "started_at"),
        (text(with(good(), "started_at", json!("2025-10-28T10:30:00"))), "started_at"),
        (text(with(good(), "started_at", json!(1_761_647_400))), "started_at"),
        (text(with(good(), "ended_at", Value::Null)), "ended_at"),
        (text(with(good(), "ended_at", json!("2025-02-30T00:00:00Z"))), "ended_at"),
        (text(with(good(), "start_position", json!(101))), "start_position"),
        (text(with(good(), "start_position", json!(2.5))), "start_position"),
        (text(with(good(), "end_position", json!("20"))), "end_position"),
        (text(with(good(), "end_position", json!(-1))), "end_position"),
        (text(with(good(), "end_position", json!(9))), "end_position"),
        (text(with(good(), "device_type", json!("phone"))), "device_type"),
        (text(with(good(), "started_at", json!("1999-12-31T23:59:59.999999Z"))), "started_at"),
        (text(with(good(), "started_at", json!("0001-01-01T00:00:00Z"))), "started_at"),
        (text(with(good(), "timezone", json!("Mars/Olympus"))), "timezone"),
        (text(with(good(), "timezone", json!("+03:00"))), "timezone"),
        (text(with(good(), "timezone", json!(3))), "timezone"),
        (text(with(good(), "more", json!(1))), "more"),
        (text(good()).replacen("\"end_position\":20", "\"end_position\":1e400", 1), "end_position"),
        (text(good()).replacen("\"end_position\":20", "\"end_position\":20,\"end_position\":21", 1), "end_position"),
        (text(good()).replacen("\"tablet\"", "\"\\ud800\"", 1), "device_type"),
        (text(with(good(), "ended_at", json!("2025-10-28T10:29:59Z"))), "ended_at"),
        (text(with(good(), "ended_at", json!("2025-10-29T10:30:00.000001Z"))), "ended_at"),
        (text(with(good(), "ended_at", json!(in_minutes(10)))), "ended_at"),
    ];
    for field in ["client_id", "book_id", "started_at", "ended_at", "start_position", "end_position"] {
        bad.push((without(field), field));
    }
    for no_object in ["null", "5", "\"text\"", "[]", "true", "{}", "1e999", "[[[]]]"] {
        bad.push((no_object.to_owned(), ""));
    }
    // A good one before, between and after them.
    let mut items = vec![text(good())];
    for (item, _) in &bad {
        items.extend([item.clone(), text(good())]);
    }
    assert!(items.len() <= 100);
    let reply = reader.post_text(PATH, &format!(r#"{{"sessions":[{}]}}"#, items.join(","))).await.expect(200);
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results.len(), items.len());
    for (index, result) in results.iter().enumerate() {
        if index % 2 == 0 {
            assert_eq!(result["success"], true, "{result}");
            continue;
        }
        let (item, field) = &bad[index / 2];
        assert_eq!(result["success"], false, "{item}");
        assert!(result["error"].as_str().unwrap().contains(field), "{item}: {result}");
        assert!(result.get("id").is_none(), "{item}: {result}");
        // Whoever reads the answer can tell which item it is about.
        let sent = serde_json::from_str::<Value>(item).unwrap_or_default();
        let sent = sent.get("client_id").filter(|id| id.is_string()).cloned().unwrap_or_default();
        if !sent.is_null() {
            assert_eq!(result["client_id"], sent, "{item}");
        }
        if item.contains("1e400") {
            assert!(item.contains(result["client_id"].as_str().unwrap()), "{result}");
        }
    }
    assert_eq!(reader.history().await["total"], bad.len() + 1);
}

#[tokio::test]
async fn only_a_body_that_is_no_list_of_1_to_100_is_400() {
    let (server, reader, book) = reader().await;
    let events = server.place().events().len();
    let many: Vec<Value> = (0..101).map(|_| session(book)).collect();
    for body in [
        json!({ "sessions": [] }),
        json!({ "sessions": many }),
        json!({ "sessions": null }),
        json!({ "sessions": {} }),
        json!({ "sessions": "x" }),
        json!({ "sessions": 1 }),
        json!({}),
    ] {
        assert_eq!(reader.post(PATH, &body).await.wrong_fields(), ["sessions"], "{body}");
    }
    assert_eq!(reader.post(PATH, &json!({ "sessions": [session(book)], "more": 1 })).await.wrong_fields(), ["more"]);
    assert_eq!(reader.post(PATH, &json!([session(book)])).await.wrong_fields(), ["body"]);
    let twice = format!(r#"{{"sessions":[{0}],"sessions":[{0}]}}"#, session(book));
    assert_eq!(reader.post_text(PATH, &twice).await.wrong_fields(), ["sessions"]);
    assert_eq!(server.place().events().len(), events);
    reader.batch(&many[..100]).await;
}

#[tokio::test]
async fn a_session_lasts_from_no_time_to_24_hours_and_ends_by_now() {
    let (_server, reader, book) = reader().await;
    let start = "2025-10-28T10:30:00Z";
    for (ended_at, minutes) in
        [(start, 0), ("2025-10-28T10:30:59.999999Z", 0), ("2025-10-28T10:31:00Z", 1), ("2025-10-29T10:30:00Z", 24 * 60)]
    {
        let result = reader.batch(&[with(session(book), "ended_at", json!(ended_at))]).await["results"][0].clone();
        assert_eq!(result["success"], true, "{ended_at}");
        let history = reader.history().await;
        let found = history["sessions"].as_array().unwrap().iter().find(|found| found["id"] == result["id"]).unwrap();
        assert_eq!(found["duration_minutes"], minutes, "{ended_at}");
    }
    let just_now = with(with(session(book), "started_at", json!(in_minutes(-5))), "ended_at", json!(in_minutes(0)));
    assert_eq!(reader.batch(&[just_now]).await["results"][0]["success"], true);
    let oldest = with(
        with(session(book), "started_at", json!("2000-01-01T00:00:00Z")),
        "ended_at",
        json!("2000-01-01T00:30:00Z"),
    );
    assert_eq!(reader.batch(&[oldest]).await["results"][0]["success"], true);
    let history = reader.history().await;
    assert_eq!(history["sessions"].as_array().unwrap().last().unwrap()["started_at"], "2000-01-01T00:00:00Z");
}

fn in_seconds(seconds: i64) -> String {
    (Utc::now() + TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[tokio::test]
async fn a_device_whose_clock_is_up_to_30_s_ahead_ends_its_sessions_now() {
    let (server, reader, book) = reader().await;
    let ends =
        |start: String, end: String| with(with(session(book), "started_at", json!(start)), "ended_at", json!(end));
    let items = [ends(in_seconds(-600), in_seconds(25)), ends(in_seconds(10), in_seconds(25))];
    let first = reader.batch(&items).await;
    let now = in_seconds(0);
    assert!(first["results"].as_array().unwrap().iter().all(|result| result["success"] == true), "{first}");
    for event in &server.place().events()[1..] {
        let time = |field: &str| event.data[field].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap();
        assert!(time("started_at") <= time("ended_at"), "{:?}", event.data);
        assert!(time("ended_at") <= now.parse::<chrono::DateTime<Utc>>().unwrap(), "{:?}", event.data);
    }

    // It is the same session when it is sent again, and only that one.
    let events = server.place().events().len();
    assert_eq!(reader.batch(&items).await, first);
    for other in [with(items[0].clone(), "end_position", json!(21)), with(items[0].clone(), "started_at", json!(now))] {
        assert_eq!(reader.batch(&[other]).await["results"][0]["error"], "client_id: was used for another session");
    }
    assert_eq!(server.place().events().len(), events);

    let ahead = reader.batch(&[ends(in_seconds(-600), in_seconds(60))]).await["results"][0].clone();
    assert_eq!(ahead["error"], "ended_at: must not be in the future");
}

#[tokio::test]
async fn an_item_may_name_its_own_zone() {
    let (server, reader, book) = reader().await;
    let in_zone = |zone: Value| with(session(book), "timezone", zone);
    let items = [in_zone(json!("Asia/Tokyo")), session(book), in_zone(Value::Null)];
    let paris = reader.with("x-timezone", "Europe/Paris");
    let first = paris.batch(&items).await;
    assert!(first["results"].as_array().unwrap().iter().all(|result| result["success"] == true), "{first}");
    let events = server.place().events();
    let zones: Vec<_> = events[1..].iter().map(|event| event.data["timezone"].as_str().unwrap()).collect();
    assert_eq!(zones, ["Asia/Tokyo", "Europe/Paris", "Europe/Paris"]);

    // The request's zone is no part of an item: from another place it is the same session. An item's own zone is.
    assert_eq!(reader.batch(&items).await, first);
    let moved = with(items[0].clone(), "timezone", json!("Asia/Seoul"));
    assert_eq!(reader.batch(&[moved]).await["results"][0]["error"], "client_id: was used for another session");
    assert_eq!(server.place().events().len(), events.len());
}

#[tokio::test]
async fn the_same_batch_sent_many_times_at_once_is_recorded_once() {
    let (server, reader, book) = reader().await;
    let items: Vec<Value> = (0..10).map(|_| session(book)).collect();
    let before = server.place().events().len();
    let tasks = (0..10).map(|_| {
        let (reader, items) = (reader.clone(), items.clone());
        tokio::spawn(async move { reader.batch(&items).await })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(server.place().events().len(), before + 10);
    assert_eq!(reader.history().await["total"], 10);
}
