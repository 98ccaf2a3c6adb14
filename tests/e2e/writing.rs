//! Idempotency keys, positions, request ids.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Caller, Reply, Server};

const START: &str = "/api/v1/reading-sessions/start";
const ACTIVE: &str = "/api/v1/reading-sessions/active";

fn events(server: &Server) -> usize {
    server.place().events().len()
}

/// What a repeated request has to be answered: everything but what belongs to the one request.
fn told(reply: &Reply) -> (u16, String, String) {
    (reply.status, reply.header("daybook-position").to_owned(), reply.text.clone())
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_without_a_second_effect() {
    let server = Server::start().await;
    let reader = server.reader();
    let keyed = reader.with("idempotency-key", "first");
    let (book, client) = (Uuid::new_v4(), Uuid::new_v4());
    let title = json!({ "title": "t" });
    let books = format!("/api/v1/books/{book}");
    let added = keyed.put(&books, &title).await;
    assert_eq!(added.status, 201);
    let body = json!({ "book_id": book, "start_position": 5 });
    let started = keyed.post(START, &body).await;
    let session = started.expect(201);
    let path = |what: &str| format!("/api/v1/reading-sessions/{}/{what}", session["id"].as_str().unwrap());
    let updated = keyed.put(&path("update"), &json!({ "current_position": 7 })).await;
    let ended = keyed.put(&path("end"), &json!({ "end_position": 9 })).await;
    let profile = keyed.put("/api/v1/users/profile", &json!({ "display_name": "Анна" })).await;
    let offline = json!({ "sessions": [{
        "client_id": client, "book_id": book, "started_at": "2025-01-01T00:00:00Z", "ended_at": "2025-01-01T01:00:00Z",
        "start_position": 0, "end_position": 1,
    }] });
    let batch = keyed.post("/api/v1/reading-sessions/batch", &offline).await;
    let before = events(&server);

    for _ in 0..2 {
        assert_eq!(told(&keyed.put(&books, &title).await), told(&added), "201 again, not 200");
        assert_eq!(told(&keyed.post(START, &body).await), told(&started));
        let update = keyed.put(&path("update"), &json!({ "current_position": 7 })).await;
        assert_eq!(told(&update), told(&updated), "although the session has ended");
        assert_eq!(told(&keyed.put(&path("end"), &json!({ "end_position": 9 })).await), told(&ended));
        assert_eq!(told(&keyed.put("/api/v1/users/profile", &json!({ "display_name": "Анна" })).await), told(&profile));
        assert_eq!(told(&keyed.post("/api/v1/reading-sessions/batch", &offline).await), told(&batch));
    }
    assert_eq!(events(&server), before);
    assert_eq!(reader.active().await, Value::Null);

    reader.with("idempotency-key", "second").post(START, &body).await.expect(201);
    assert_eq!(events(&server), before + 1, "another key is another request");
    assert_ne!(told(&reader.post(START, &body).await), told(&started), "and so is none");
}

#[tokio::test]
async fn a_first_answer_survives_a_kill() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let body = json!({ "book_id": book });
    let first = reader.with("idempotency-key", "k").post(START, &body).await;
    assert_eq!(first.status, 201);
    let server = server.kill().serve(&[]).await;
    let keyed = server.reader_called(reader.id).with("idempotency-key", "k");
    assert_eq!(told(&keyed.post(START, &body).await), told(&first));
    assert_eq!(events(&server), 2);
    keyed.post(START, &json!({ "book_id": book, "start_position": 1 })).await.problem(422);
}

#[tokio::test]
async fn an_answer_that_an_earlier_release_kept_is_given_again() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let body = json!({ "book_id": book });
    reader.with("idempotency-key", "k").post(START, &body).await.expect(201);
    let place = server.stop().await.place;
    // Earlier releases stored the status and the body apart.
    place.rewrite_kept_answers(202, r#"{"kept":"before"}"#);
    let server = place.serve(&[]).await;
    let again = server.reader_called(reader.id).with("idempotency-key", "k").post(START, &body).await;
    assert_eq!(again.expect(202), json!({ "kept": "before" }));
}

#[tokio::test]
async fn the_same_key_with_another_body_is_422_and_writes_nothing() {
    let server = Server::start().await;
    let reader = server.reader().with("idempotency-key", "k");
    let book = reader.add_book().await;
    reader.post(START, &json!({ "book_id": book })).await.expect(201);
    let before = events(&server);
    reader.post(START, &json!({ "book_id": book, "start_position": 1 })).await.problem(422);
    let path = "/api/v1/users/profile";
    reader.put(path, &json!({ "timezone": "UTC" })).await.expect(200);
    reader.put(path, &json!({ "timezone": "Europe/Paris" })).await.problem(422);
    assert_eq!(events(&server), before + 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_and_its_route() {
    let server = Server::start().await;
    let book = server.admin().put_book(&json!({ "title": "t", "shared": true })).await;
    let body = json!({ "book_id": book });
    let (anna, boris) = (server.reader().with("idempotency-key", "k"), server.reader().with("idempotency-key", "k"));
    let (first, second) = (anna.post(START, &body).await.expect(201), boris.post(START, &body).await.expect(201));
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["user_id"], json!(boris.id));
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let title = json!({ "title": "t" });
    for id in [one, two] {
        assert_eq!(anna.put(&format!("/api/v1/books/{id}"), &title).await.expect(201)["id"], json!(id));
    }
}

#[tokio::test]
async fn only_successes_are_remembered() {
    let server = Server::start().await;
    let reader = server.reader();
    let keyed = reader.with("idempotency-key", "k");
    let book = Uuid::new_v4();
    let body = json!({ "book_id": book });
    keyed.post(START, &body).await.problem(404);
    reader.put(&format!("/api/v1/books/{book}"), &json!({ "title": "t" })).await.expect(201);
    keyed.post(START, &json!({ "book_id": book, "start_position": 101 })).await.problem(400);
    keyed.post(START, &body).await.expect(201);
}

#[tokio::test]
async fn a_repetition_is_answered_also_when_the_book_is_no_longer_shared() {
    let server = Server::start().await;
    let admin = server.admin();
    let book = admin.put_book(&json!({ "title": "t", "shared": true })).await;
    let reader = server.reader().with("idempotency-key", "k");
    let body = json!({ "book_id": book });
    let first = reader.post(START, &body).await;
    admin.put(&format!("/api/v1/books/{book}"), &json!({ "title": "t", "shared": false })).await.expect(200);
    assert_eq!(told(&reader.post(START, &body).await), told(&first));
    server.reader().post(START, &body).await.problem(404);
}

#[tokio::test]
async fn the_same_key_sent_at_once_has_one_effect_and_one_answer() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let session = reader.start(book, 0).await;
    let ending = format!("/api/v1/reading-sessions/{}/end", session["id"].as_str().unwrap());
    let before = events(&server);
    for (round, (method, path, body)) in [
        (reqwest::Method::PUT, ending, json!({ "end_position": 9 })),
        (reqwest::Method::POST, START.to_owned(), json!({ "book_id": book })),
        (reqwest::Method::PUT, format!("/api/v1/books/{}", Uuid::new_v4()), json!({ "title": "t" })),
    ]
    .into_iter()
    .enumerate()
    {
        let keyed = reader.with("idempotency-key", "once");
        let tasks = (0..20).map(|_| {
            let (keyed, method, path, body) = (keyed.clone(), method.clone(), path.clone(), body.to_string());
            tokio::spawn(async move { told(&keyed.send(method, &path, Some("application/json"), &body).await) })
        });
        let mut answers = BTreeSet::new();
        for task in tasks.collect::<Vec<_>>() {
            answers.insert(task.await.unwrap());
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert!((200..300).contains(&answers.first().unwrap().0), "{answers:?}");
        assert_eq!(events(&server), before + round + 1);
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_400() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for wrong in ["", "a b", &"k".repeat(256)] {
        let reply = reader.with("idempotency-key", wrong).post(START, &json!({ "book_id": book })).await;
        assert_eq!(reply.wrong_fields(), ["Idempotency-Key"], "{wrong:?}");
    }
    assert_eq!(events(&server), 1);
    reader.with("idempotency-key", &"k".repeat(255)).post(START, &json!({ "book_id": book })).await.expect(201);
}

#[tokio::test]
async fn every_write_answers_the_position_of_its_last_event() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = Uuid::new_v4();
    let path = format!("/api/v1/books/{book}");
    assert_eq!(reader.put(&path, &json!({ "title": "t" })).await.position(), 1);
    let started = reader.post(START, &json!({ "book_id": book })).await;
    assert_eq!(started.position(), 2);
    assert_eq!(reader.update(&started.json(), 5).await.position(), 3);
    let superseding = reader.post(START, &json!({ "book_id": book })).await;
    assert_eq!(superseding.position(), 5, "an end and a start");
    assert_eq!(reader.end(&superseding.json(), 5).await.position(), 6);
    assert_eq!(reader.put("/api/v1/users/profile", &json!({ "timezone": "UTC" })).await.position(), 7);
    assert_eq!(reader.put(&path, &json!({ "title": "t" })).await.position(), 7, "nothing changed");
    assert_eq!(events(&server), 7);
    assert!(reader.get(ACTIVE).await.headers.get("daybook-position").is_none());
}

#[tokio::test]
async fn a_write_that_has_answered_is_shown_to_everybody() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for position in 0..50 {
        let started = reader.start(book, position).await;
        assert_eq!(reader.active().await, started);
        let updated = reader.update(&started, 100 - position).await.expect(200);
        assert_eq!(reader.history().await["sessions"][0], updated);
    }
}

#[tokio::test]
async fn a_read_waits_for_the_position_that_it_names() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for after in ["0", "1", "0001"] {
        assert_eq!(reader.with("daybook-after", after).active().await, Value::Null, "{after}");
    }
    let waiting = {
        let reader = reader.with("daybook-after", "2");
        tokio::spawn(async move { reader.active().await })
    };
    let started = reader.start(book, 1).await;
    assert_eq!(waiting.await.unwrap(), started);
}

#[tokio::test]
async fn a_read_that_waits_in_vain_is_503_after_five_seconds() {
    let server = Server::start().await;
    let reader = server.reader().with("daybook-after", "1000000");
    let paths = [
        ACTIVE,
        "/api/v1/reading-sessions/history",
        "/api/v1/books",
        "/api/v1/users/profile",
        "/api/v1/users/stats/weekly",
        "/api/v1/users/stats/streak",
        "/api/v1/users/stats/patterns",
        "/api/v1/users/stats/overview",
    ];
    let began = Instant::now();
    let tasks = paths.map(|path| {
        let reader: Caller = reader.clone();
        tokio::spawn(async move { reader.get(path).await })
    });
    for (task, path) in tasks.into_iter().zip(paths) {
        let reply = task.await.unwrap();
        let problem = reply.problem(503);
        assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 1, "{path}");
        assert_eq!(problem["request_id"], reply.header("x-request-id"), "{path}");
    }
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(15), "{waited:?}");
}

#[tokio::test]
async fn a_position_that_is_none_is_400() {
    let server = Server::start().await;
    let reader = server.reader();
    for wrong in ["", "x", "-1", "1.5", "+1", "1e3", "0x1", "1 2", "18446744073709551616"] {
        let reply = reader.with("daybook-after", wrong).get(ACTIVE).await;
        assert_eq!(reply.wrong_fields(), ["Daybook-After"], "{wrong:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_taken_or_made_and_stored_as_the_correlation_id() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let long = "r".repeat(128);
    let too_long = "r".repeat(129);
    for (sent, taken) in [
        (Some("till-7/42"), true),
        (Some(long.as_str()), true),
        (Some(too_long.as_str()), false),
        (Some("a b"), false),
        (Some(""), false),
        (None, false),
    ] {
        let caller = sent.map_or(reader.clone(), |sent| reader.with("x-request-id", sent));
        let reply = caller.post(START, &json!({ "book_id": book })).await;
        let answered = reply.header("x-request-id");
        assert_eq!(Some(answered) == sent, taken, "{sent:?}");
        assert!(taken || answered.parse::<Uuid>().is_ok(), "{answered}");
        let last = server.place().events().pop().unwrap();
        assert_eq!(last.metadata["correlation_id"], answered);
    }
    let refused = reader.with("x-request-id", "mine").get("/api/v1/books?page=0").await;
    assert_eq!((refused.status, refused.header("x-request-id")), (400, "mine"));
    let refused = server.stranger().with("x-request-id", "mine").get("/nowhere").await;
    assert_eq!((refused.status, refused.header("x-request-id")), (404, "mine"));
}
