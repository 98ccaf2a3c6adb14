//! What sessions refuse, with which status, and that nothing is written then.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Caller, Server};

const START: &str = "/api/v1/reading-sessions/start";

/// Texts that are no whole number from 0 to 100.
const WRONG_POSITIONS: [&str; 18] = [
    "101",
    "-1",
    "2.5",
    "\"5\"",
    "5.0",
    "1e1",
    "1e400",
    "-0.0",
    "true",
    "[5]",
    "{}",
    "\"\"",
    "256",
    "-128",
    "4294967301",
    "18446744073709551621",
    "340282366920938463463374607431768211456",
    "1e-400",
];

/// A server, a reader with an active session, and its log's length.
async fn reading() -> (Server, Caller, Value, usize) {
    let server = Server::start().await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 50).await;
    let events = server.place().events().len();
    (server, reader, session, events)
}

fn path(session: &Value, what: &str) -> String {
    format!("/api/v1/reading-sessions/{}/{what}", session["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_position_is_a_whole_number_from_0_to_100() {
    let (server, reader, session, events) = reading().await;
    let book = session["book_id"].as_str().unwrap();
    for wrong in WRONG_POSITIONS {
        let start = format!(r#"{{"book_id":"{book}","start_position":{wrong}}}"#);
        assert_eq!(reader.post_text(START, &start).await.wrong_fields(), ["start_position"], "{wrong}");
        let update = format!(r#"{{"current_position":{wrong}}}"#);
        assert_eq!(reader.put_text(&path(&session, "update"), &update).await.wrong_fields(), ["current_position"]);
        let end = format!(r#"{{"end_position":{wrong}}}"#);
        assert_eq!(reader.put_text(&path(&session, "end"), &end).await.wrong_fields(), ["end_position"], "{wrong}");
    }
    for nothing in ["{}", r#"{"current_position":null}"#] {
        assert_eq!(reader.put_text(&path(&session, "update"), nothing).await.wrong_fields(), ["current_position"]);
    }
    for nothing in ["{}", r#"{"end_position":null}"#] {
        assert_eq!(reader.put_text(&path(&session, "end"), nothing).await.wrong_fields(), ["end_position"]);
    }
    assert_eq!(reader.active().await, session);
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn a_device_is_mobile_tablet_or_desktop() {
    let (server, reader, session, events) = reading().await;
    for wrong in [json!("phone"), json!("Mobile"), json!(""), json!(" mobile"), json!(1), json!(["mobile"]), json!({})]
    {
        let body = json!({ "book_id": session["book_id"], "device_type": wrong });
        assert_eq!(reader.post(START, &body).await.wrong_fields(), ["device_type"], "{wrong}");
    }
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn a_malformed_uuid_is_400_in_path_and_body() {
    let (server, reader, _, events) = reading().await;
    let malformed = [
        "1",
        "not-a-uuid",
        "123e4567-e89b-12d3-a456-42661417400",
        "123e4567-e89b-12d3-a456-4266141740000",
        "123e4567e89b12d3a456426614174000",
        "{123e4567-e89b-12d3-a456-426614174000}",
        "urn:uuid:123e4567-e89b-12d3-a456-426614174000",
        "123e4567-e89b-12d3-a456-42661417400g",
    ];
    for wrong in malformed {
        assert_eq!(reader.post(START, &json!({ "book_id": wrong })).await.wrong_fields(), ["book_id"], "{wrong}");
        let escaped = wrong.replace('{', "%7B").replace('}', "%7D");
        let update = format!("/api/v1/reading-sessions/{escaped}/update");
        let reply = reader.put(&update, &json!({ "current_position": 1 })).await;
        assert_eq!(reply.wrong_fields(), ["session_id"], "{wrong}");
        let reply = reader.put(&format!("/api/v1/reading-sessions/{escaped}/end"), &json!({ "end_position": 1 })).await;
        assert_eq!(reply.wrong_fields(), ["session_id"], "{wrong}");
        assert_eq!(reader.get(&format!("/api/v1/books/{escaped}")).await.wrong_fields(), ["book_id"], "{wrong}");
        let reply = reader.put(&format!("/api/v1/books/{escaped}"), &json!({ "title": "t" })).await;
        assert_eq!(reply.wrong_fields(), ["book_id"], "{wrong}");
    }
    for wrong in [json!(5), json!(null), json!(["a"]), json!("")] {
        assert_eq!(reader.post(START, &json!({ "book_id": wrong })).await.wrong_fields(), ["book_id"], "{wrong}");
    }
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn an_upper_case_uuid_is_the_same_one_and_answered_in_lower_case() {
    let (_server, reader, session, _) = reading().await;
    let upper = session["book_id"].as_str().unwrap().to_uppercase();
    let started = reader.post(START, &json!({ "book_id": upper })).await.expect(201);
    assert_eq!(started["book_id"], session["book_id"]);
    let id = started["id"].as_str().unwrap().to_uppercase();
    let path = format!("/api/v1/reading-sessions/{id}/update");
    assert_eq!(reader.put(&path, &json!({ "current_position": 1 })).await.expect(200)["id"], started["id"]);
}

#[tokio::test]
async fn every_wrong_field_is_named_in_one_answer() {
    let (_server, reader, ..) = reading().await;
    let body = r#"{"book_id":"x","start_position":1e400,"device_type":"tv","more":1,"and_more":{}}"#;
    let mut fields = reader.post_text(START, body).await.wrong_fields();
    fields.sort_unstable();
    assert_eq!(fields, ["and_more", "book_id", "device_type", "more", "start_position"]);
    let twice = r#"{"current_position":1,"current_position":2}"#;
    let path = format!("/api/v1/reading-sessions/{}/update", Uuid::new_v4());
    assert_eq!(reader.put_text(&path, twice).await.wrong_fields(), ["current_position"]);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_400() {
    let (server, reader, session, events) = reading().await;
    for body in
        ["", " ", "{", "null", "[]", "5", "\"text\"", "{\"book_id\":}", "{}x", "book_id=1", "{'a':1}", "\u{feff}{}"]
    {
        assert_eq!(reader.post_text(START, body).await.wrong_fields(), ["body"], "{body:?}");
        assert_eq!(reader.put_text(&path(&session, "update"), body).await.wrong_fields(), ["body"], "{body:?}");
        assert_eq!(reader.put_text(&path(&session, "end"), body).await.wrong_fields(), ["body"], "{body:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(reader.post_text(START, &deep).await.status, 400);
    let deep = format!(r#"{{"book_id":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reader.post_text(START, &deep).await.status, 400);
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn another_content_type_is_415() {
    let (server, reader, session, events) = reading().await;
    let body = json!({ "book_id": session["book_id"] }).to_string();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "json"] {
        reader.send(Method::POST, START, Some(wrong), &body).await.problem(415);
    }
    reader.send(Method::POST, START, None, "").await.problem(415);
    assert_eq!(server.place().events().len(), events);
    let charset = Some("application/json; charset=utf-8");
    reader.send(Method::POST, START, charset, &body).await.expect(201);
}

#[tokio::test]
async fn three_mebibytes_are_413() {
    let (server, reader, session, events) = reading().await;
    let large = format!(r#"{{"book_id":"{}"}}"#, " ".repeat(3 << 20));
    reader.post_text(START, &large).await.problem(413);
    reader.put_text(&path(&session, "update"), &large).await.problem(413);
    reader.post_text("/api/v1/reading-sessions/batch", &large).await.problem(413);
    assert_eq!(server.place().events().len(), events);
    let spaces = format!("{}{}", " ".repeat((2 << 20) - 200), json!({ "book_id": session["book_id"] }));
    reader.post_text(START, &spaces).await.expect(201);
}

#[tokio::test]
async fn another_reader_s_session_is_403_an_unknown_one_404_and_an_ended_one_400() {
    let (_server, reader, session, _) = reading().await;
    let other = _server.reader();
    for caller in [&other, &_server.admin()] {
        caller.update(&session, 60).await.problem(403);
        caller.end(&session, 60).await.problem(403);
    }
    assert_eq!(reader.active().await, session);

    let unknown = json!({ "id": Uuid::new_v4() });
    reader.update(&unknown, 60).await.problem(404);
    reader.end(&unknown, 60).await.problem(404);

    let ended = reader.end(&session, 60).await.expect(200);
    reader.update(&session, 70).await.problem(400);
    reader.end(&session, 70).await.problem(400);
    reader.end(&session, 60).await.problem(400);
    other.update(&session, 70).await.problem(403);
    assert_eq!(reader.history().await["sessions"], json!([ended]));
}

#[tokio::test]
async fn without_a_token_everything_but_operations_and_docs_is_401_whatever_else_is_wrong() {
    let (server, _, session, events) = reading().await;
    let nobody = server.stranger();
    let uuid = Uuid::new_v4();
    for path in [
        "/api/v1/reading-sessions/active".to_owned(),
        "/api/v1/reading-sessions/history?page=0".to_owned(),
        "/api/v1/users/profile".to_owned(),
        "/api/v1/users/stats/weekly".to_owned(),
        "/api/v1/users/stats/streak?days=0".to_owned(),
        "/api/v1/users/stats/patterns".to_owned(),
        "/api/v1/users/stats/overview".to_owned(),
        "/api/v1/books".to_owned(),
        format!("/api/v1/books/{uuid}"),
        "/api/v1/books/nonsense".to_owned(),
    ] {
        let odd = nobody.with("daybook-after", "x").with("x-timezone", "Mars/Olympus");
        assert_eq!(odd.get(&path).await.problem(401)["instance"], path.split('?').next().unwrap());
        assert_eq!(nobody.get(&path).await.header("www-authenticate"), "Bearer");
    }
    for body in ["", "{}", "nonsense"] {
        nobody.post_text(START, body).await.problem(401);
        nobody.with("x-timezone", "Mars/Olympus").post_text(START, body).await.problem(401);
        nobody.post_text("/api/v1/reading-sessions/batch", body).await.problem(401);
        nobody.put_text(&path(&session, "update"), body).await.problem(401);
        nobody.put_text("/api/v1/reading-sessions/nonsense/end", body).await.problem(401);
        nobody.put_text("/api/v1/users/profile", body).await.problem(401);
        nobody.put_text(&format!("/api/v1/books/{uuid}"), body).await.problem(401);
    }
    assert_eq!(server.place().events().len(), events);
}
