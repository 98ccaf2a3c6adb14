//! One active session a reader: what a new start does to the one before, and what the events tell.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::stored::{Logged, assert_gapless};
use crate::support::{Caller, Server};

/// The events of a reader's stream.
fn of(server: &Server, reader: &Caller) -> Vec<Logged> {
    let stream = format!("reader-{}", reader.id);
    server.place().events().into_iter().filter(|event| event.stream == stream).collect()
}

#[tokio::test]
async fn a_start_ends_the_active_session_at_its_last_position_and_the_moment_of_the_start() {
    let server = Server::start().await;
    let reader = server.reader();
    let (first_book, second_book) = (reader.add_book().await, reader.add_book().await);
    let first = reader.start(first_book, 10).await;
    reader.update(&first, 30).await.expect(200);
    let second = reader.start(second_book, 0).await;

    assert_eq!(reader.active().await, second);
    let history = reader.history().await;
    assert_eq!(history["total"], 2);
    assert_eq!(history["sessions"][0], second);
    let superseded = &history["sessions"][1];
    assert_eq!(superseded["id"], first["id"]);
    assert_eq!(superseded["end_position"], 30);
    assert_eq!(superseded["is_active"], false);
    assert_eq!(superseded["ended_at"], second["started_at"]);
    reader.update(&first, 40).await.problem(400);

    let kinds: Vec<_> = of(&server, &reader).into_iter().map(|event| event.kind).collect();
    let expected = ["ReadingSessionStarted", "ReadingSessionUpdated", "ReadingSessionEnded", "ReadingSessionStarted"];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_session_that_paged_back_is_superseded_where_it_is() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let first = reader.start(book, 50).await;
    reader.update(&first, 20).await.expect(200);
    reader.start(book, 0).await;
    let superseded = &reader.history().await["sessions"][1];
    assert_eq!((&superseded["end_position"], &superseded["progress_delta"]), (&json!(20), &json!(-30)));
    assert_eq!(superseded["pages_read"], 0);
}

#[tokio::test]
async fn events_tell_reason_zone_actor_and_request() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let asked = |request: &str| reader.with("x-request-id", request);

    let first = asked("start-1").with("x-timezone", "Europe/Moscow").start(book, 5).await;
    asked("update-1").update(&first, 6).await.expect(200);
    let second = asked("start-2").with("x-timezone", "Pacific/Kiritimati").start(book, 7).await;
    let ended = asked("end-2").end(&second, 8).await.expect(200);

    let events = of(&server, &reader);
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.kind.as_str(), &event.data["reason"], &event.data["timezone"], &event.metadata))
        .collect();
    let by = |request: &str| json!({ "actor": reader.id, "correlation_id": request, "causation_id": request });
    let (superseded, requested) = (json!("superseded"), json!("requested"));
    let (moscow, kiritimati) = (json!("Europe/Moscow"), json!("Pacific/Kiritimati"));
    assert_eq!(
        told,
        [
            ("ReadingSessionStarted", &Value::Null, &moscow, &by("start-1")),
            ("ReadingSessionUpdated", &Value::Null, &Value::Null, &by("update-1")),
            ("ReadingSessionEnded", &superseded, &moscow, &by("start-2")),
            ("ReadingSessionStarted", &Value::Null, &kiritimati, &by("start-2")),
            ("ReadingSessionEnded", &requested, &kiritimati, &by("end-2")),
        ]
    );
    // The last event tells the whole session.
    let data = &events[4].data;
    for (field, answered) in [
        ("session_id", "id"),
        ("user_id", "user_id"),
        ("book_id", "book_id"),
        ("started_at", "started_at"),
        ("ended_at", "ended_at"),
        ("start_position", "start_position"),
        ("end_position", "end_position"),
    ] {
        assert_eq!(data[field], ended[answered], "{field}");
    }
}

#[tokio::test]
async fn readers_do_not_end_each_other_s_sessions() {
    let server = Server::start().await;
    let book = server.admin().put_book(&json!({ "title": "t", "shared": true })).await;
    let readers = [server.reader(), server.reader(), server.reader()];
    for reader in &readers {
        reader.start(book, 1).await;
    }
    for reader in &readers {
        assert_eq!(reader.active().await["user_id"], json!(reader.id));
    }
}

#[tokio::test]
async fn of_twenty_parallel_starts_one_is_active_and_nineteen_have_ended() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let starts = (0..20).map(|position| {
        let reader = reader.clone();
        tokio::spawn(async move { reader.start(book, position).await })
    });
    let mut started: Vec<Uuid> = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        started.push(start.await.unwrap()["id"].as_str().unwrap().parse().unwrap());
    }
    let history = reader.history().await;
    assert_eq!(history["total"], 20);
    let sessions = history["sessions"].as_array().unwrap();
    let active: Vec<_> = sessions.iter().filter(|session| session["is_active"] == true).collect();
    assert_eq!(active.len(), 1);
    assert_eq!(&reader.active().await, active[0]);
    let mut listed: Vec<Uuid> =
        sessions.iter().map(|session| session["id"].as_str().unwrap().parse().unwrap()).collect();
    listed.sort_unstable();
    started.sort_unstable();
    assert_eq!(listed, started);

    // Each began when the one before it ended, and was ended for it.
    let events = of(&server, &reader);
    assert_eq!(events.len(), 39);
    for pair in events[1..].chunks(2) {
        assert_eq!((pair[0].kind.as_str(), &pair[0].data["reason"]), ("ReadingSessionEnded", &json!("superseded")));
        assert_eq!(pair[1].kind, "ReadingSessionStarted");
        assert_eq!(pair[0].data["ended_at"], pair[1].data["started_at"]);
    }
}

#[tokio::test]
async fn of_many_parallel_ends_one_ends_the_session_and_updates_come_before_it_or_not_at_all() {
    let server = Server::start().await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 0).await;
    let tasks = (0..30_u8).map(|n| {
        let (reader, session) = (reader.clone(), session.clone());
        tokio::spawn(async move {
            if n % 3 == 2 {
                ("end", n, reader.end(&session, n).await)
            } else {
                ("update", n, reader.update(&session, n).await)
            }
        })
    });
    let (mut ended, mut updated) = (Vec::new(), 0);
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            ("end", n, reply) if reply.status == 200 => ended.push(n),
            ("update", n, reply) if reply.status == 200 => {
                assert_eq!(reply.json()["end_position"], n);
                updated += 1;
            }
            (_, _, reply) => drop(reply.problem(400)),
        }
    }
    assert_eq!(ended.len(), 1, "{ended:?}");
    let sessions = &reader.history().await["sessions"];
    assert_eq!(sessions[0]["end_position"], ended[0]);
    let events = of(&server, &reader);
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "ReadingSessionUpdated").count(), updated);
    assert_eq!(kinds.last(), Some(&"ReadingSessionEnded"));
    assert_eq!(kinds.len(), updated + 2);
    assert_gapless(&server.place().events());
}
