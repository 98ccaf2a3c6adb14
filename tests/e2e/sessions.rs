//! Starting, updating, ending a session and asking for the active one: the source document, to the letter.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;

const FIELDS: [&str; 12] = [
    "id",
    "user_id",
    "book_id",
    "started_at",
    "ended_at",
    "duration_minutes",
    "start_position",
    "end_position",
    "pages_read",
    "device_type",
    "is_active",
    "progress_delta",
];

/// Exactly the source's fields, each of its type.
#[track_caller]
pub fn assert_is_session(session: &Value) {
    let fields: Vec<&str> = session.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = FIELDS.to_vec();
    expected.sort_unstable();
    let mut sorted = fields;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    for id in ["id", "user_id", "book_id"] {
        let text = session[id].as_str().unwrap();
        assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text, "{id}");
    }
    for time in ["started_at", "ended_at"] {
        if time == "started_at" || !session[time].is_null() {
            let text = session[time].as_str().unwrap();
            assert!(text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok(), "{text}");
        }
    }
    for number in ["duration_minutes", "start_position", "end_position", "pages_read", "progress_delta"] {
        assert!(session[number].is_i64(), "{number}: {session}");
    }
    let device = &session["device_type"];
    assert!(device.is_null() || ["mobile", "tablet", "desktop"].contains(&device.as_str().unwrap()), "{device}");
    assert_eq!(session["is_active"], session["ended_at"].is_null());
}

#[tokio::test]
async fn a_session_starts_is_updated_and_ends_as_the_source_shows() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;

    let body = json!({ "book_id": book, "start_position": 25, "device_type": "mobile" });
    let started = reader.post("/api/v1/reading-sessions/start", &body).await;
    assert_eq!(started.header("content-type"), "application/json");
    let started = started.expect(201);
    assert_is_session(&started);
    let expected = json!({
        "id": started["id"], "user_id": reader.id, "book_id": book, "started_at": started["started_at"],
        "ended_at": null, "duration_minutes": 0, "start_position": 25, "end_position": 25, "pages_read": 0,
        "device_type": "mobile", "is_active": true, "progress_delta": 0,
    });
    assert_eq!(started, expected);
    assert_eq!(reader.active().await, started);

    let updated = reader.update(&started, 35).await.expect(200);
    let mut expected = started.clone();
    expected["end_position"] = 35.into();
    expected["progress_delta"] = 10.into();
    assert_eq!(updated, expected);
    assert_eq!(reader.active().await, updated);

    let ended = reader.end(&started, 45).await.expect(200);
    assert_is_session(&ended);
    expected["end_position"] = 45.into();
    expected["progress_delta"] = 20.into();
    expected["ended_at"] = ended["ended_at"].clone();
    expected["is_active"] = false.into();
    assert!(ended["ended_at"].as_str() >= ended["started_at"].as_str());
    assert_eq!(ended, expected);
    assert_eq!(reader.history().await["sessions"], json!([ended]));
}

#[tokio::test]
async fn a_session_starts_at_0_on_an_unknown_device_unless_it_is_told() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let path = "/api/v1/reading-sessions/start";
    for body in [
        json!({ "book_id": book }),
        json!({ "book_id": book, "start_position": null, "device_type": null }),
        // What the source's client sends without a device: JSON.stringify leaves undefined out.
        json!({ "book_id": book, "start_position": 0 }),
    ] {
        let started = reader.post(path, &body).await.expect(201);
        assert_is_session(&started);
        assert_eq!((&started["start_position"], &started["device_type"]), (&json!(0), &Value::Null));
    }
    for device in ["mobile", "tablet", "desktop"] {
        let started = reader.post(path, &json!({ "book_id": book, "device_type": device })).await.expect(201);
        assert_eq!(started["device_type"], device);
    }
}

#[tokio::test]
async fn without_an_active_session_the_answer_is_null() {
    let server = Server::start().await;
    let reader = server.reader();
    let nothing = reader.get("/api/v1/reading-sessions/active").await;
    assert_eq!((nothing.status, nothing.text.as_str()), (200, "null"));
    assert_eq!(nothing.header("content-type"), "application/json");

    let session = reader.start(reader.add_book().await, 0).await;
    assert_eq!(reader.active().await["id"], session["id"]);
    assert_eq!(server.reader().active().await, Value::Null, "others do not see it");
    reader.end(&session, 1).await.expect(200);
    assert_eq!(reader.get("/api/v1/reading-sessions/active").await.text, "null");
}

#[tokio::test]
async fn a_reader_may_page_back_but_not_end_before_the_start() {
    let server = Server::start().await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 40).await;
    let back = reader.update(&session, 10).await.expect(200);
    assert_eq!((&back["end_position"], &back["progress_delta"]), (&json!(10), &json!(-30)));
    assert_eq!(back["pages_read"], 0);
    assert_eq!(reader.active().await, back);

    assert_eq!(reader.end(&session, 39).await.wrong_fields(), ["end_position"]);
    assert_eq!(reader.active().await, back, "it goes on as it was");
    assert_eq!(reader.end(&session, 40).await.expect(200)["progress_delta"], 0);
}

#[tokio::test]
async fn every_position_from_0_to_100_is_taken() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for (start, end) in [(0, 0), (0, 100), (100, 100), (99, 100)] {
        let session = reader.start(book, start).await;
        assert_eq!(reader.update(&session, 100 - start).await.expect(200)["end_position"], 100 - start);
        assert_eq!(reader.end(&session, end).await.expect(200)["progress_delta"], end - start);
    }
}

#[tokio::test]
async fn pages_are_counted_where_the_book_s_pages_are_known() {
    let server = Server::start().await;
    let reader = server.reader();
    for (pages, start, end, read) in [(300, 20, 40, 60), (50, 0, 1, 1), (49, 0, 1, 0), (7, 0, 50, 4), (1, 0, 49, 0)] {
        let book = reader.put_book(&json!({ "title": "Дар", "total_pages": pages })).await;
        let session = reader.start(book, start).await;
        assert_eq!(session["pages_read"], 0);
        assert_eq!(reader.end(&session, end).await.expect(200)["pages_read"], read, "{pages} pages");
        assert_eq!(reader.history().await["sessions"][0]["pages_read"], read, "{pages} pages");
    }
}

#[tokio::test]
async fn a_reader_reads_own_and_shared_books_and_no_others() {
    let server = Server::start().await;
    let (admin, anna, boris) = (server.admin(), server.reader(), server.reader());
    let shared = admin.put_book(&json!({ "title": "Bhagavad-gītā", "shared": true })).await;
    let annas = anna.add_book().await;

    assert_eq!(anna.start(shared, 1).await["user_id"], json!(anna.id));
    assert_eq!(boris.start(shared, 2).await["user_id"], json!(boris.id));
    anna.start(annas, 3).await;

    let path = "/api/v1/reading-sessions/start";
    let body = json!({ "book_id": annas });
    boris.post(path, &body).await.problem(404);
    admin.post(path, &body).await.problem(404);
    anna.post(path, &json!({ "book_id": Uuid::new_v4() })).await.problem(404);
    assert_eq!(boris.history().await["total"], 1, "nothing was started");
    assert_eq!(boris.active().await["book_id"], json!(shared), "and nothing was ended");
}

#[tokio::test]
async fn every_route_works_with_a_trailing_slash() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = Uuid::new_v4();
    reader.put(&format!("/api/v1/books/{book}/"), &json!({ "title": "Нос" })).await.expect(201);
    let session = reader.post("/api/v1/reading-sessions/start/", &json!({ "book_id": book })).await.expect(201);
    let path = format!("/api/v1/reading-sessions/{}", session["id"].as_str().unwrap());
    reader.put(&format!("{path}/update/"), &json!({ "current_position": 3 })).await.expect(200);
    assert_eq!(reader.get("/api/v1/reading-sessions/active/").await.expect(200)["end_position"], 3);
    reader.put(&format!("{path}/end/"), &json!({ "end_position": 4 })).await.expect(200);
    let history = reader.get("/api/v1/reading-sessions/history/?page=1&page_size=1").await.expect(200);
    assert_eq!(history["total"], 1);
    for path in ["weekly", "streak", "patterns", "overview"] {
        reader.get(&format!("/api/v1/users/stats/{path}/")).await.expect(200);
    }
    reader.get("/api/v1/users/profile/").await.expect(200);
    reader.get("/api/v1/books/").await.expect(200);
    server.stranger().get("/healthz/").await.expect(200);
}
