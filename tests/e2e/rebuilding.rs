//! A random run over all routes: the read models of the running server are what the log alone gives.

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::support::stored::assert_gapless;
use crate::support::{Caller, Server};

const READERS: usize = 6;
const STEPS: usize = 60;
const ZONES: [&str; 5] = ["UTC", "Europe/Moscow", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"];

#[tokio::test]
async fn read_models_equal_a_rebuild_and_come_back_the_same() {
    let server = Server::start_with(&["--session-idle", "300ms", "--session-sweep", "100ms"]).await;
    let mut chance = Chance::told();
    let shared = server.admin().put_book(&json!({ "title": "Общая", "shared": true, "total_pages": 500 })).await;
    let runs: Vec<_> =
        (0..READERS).map(|_| tokio::spawn(run(server.reader(), server.admin(), shared, chance.split()))).collect();
    for run in runs {
        run.await.unwrap();
    }
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    let place = stopped.place;
    assert_gapless(&place.events());
    place.assert_read_models_equal_a_rebuild().await;
    assert!(place.read_model_rows().await.len() > READERS * 10);

    place.delete_read_models();
    let server = place.serve(&[]).await;
    // A read waits until everything is there.
    server.reader().history().await;
    assert!(server.stop().await.status.success());
    place.assert_read_models_equal_a_rebuild().await;
    assert!(place.read_model_rows().await.len() > READERS * 10);
}

/// One reader's steps, sensible ones and others: whatever is answered, it is never a failure of the server.
async fn run(reader: Caller, admin: Caller, shared: Uuid, mut chance: Chance) {
    let mut books = vec![shared];
    let mut session = json!({ "id": Uuid::new_v4() });
    for _ in 0..STEPS {
        let reader = reader.with("x-timezone", chance.one_of::<&str>(&ZONES));
        let book = *chance.one_of(&books);
        let reply = match chance.below(12) {
            0 => {
                let id = Uuid::new_v4();
                books.push(id);
                let pages = chance.below(900) + 1;
                reader.put(&format!("/api/v1/books/{id}"), &json!({ "title": "Своя", "total_pages": pages })).await
            }
            1 => {
                reader.put(&format!("/api/v1/books/{book}"), &json!({ "title": format!("{}", chance.below(5)) })).await
            }
            2 => {
                admin.put(&format!("/api/v1/books/{shared}"), &json!({ "title": format!("{}", chance.below(5)) })).await
            }
            3 | 4 => {
                let body = json!({ "book_id": book, "start_position": chance.below(60), "device_type": "tablet" });
                let reply = reader.post("/api/v1/reading-sessions/start", &body).await;
                session = reply.expect(201);
                reply
            }
            5 | 6 => reader.update(&session, chance.percent()).await,
            7 | 8 => reader.end(&session, chance.percent()).await,
            9 => reader.post("/api/v1/reading-sessions/batch", &offline(&mut chance, book)).await,
            10 => reader.put("/api/v1/users/profile", &json!({ "timezone": chance.one_of::<&str>(&ZONES) })).await,
            _ => reader.get("/api/v1/users/stats/streak?days=366").await,
        };
        assert!(reply.status < 500, "{reply:?}");
    }
}

fn offline(chance: &mut Chance, book: Uuid) -> Value {
    let text = |at: chrono::DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let sessions = (0..=chance.below(4)).map(|_| {
        let start = Utc::now() - TimeDelta::seconds(86_400 + chance.below(30 * 86_400) as i64);
        let end = start + TimeDelta::seconds(chance.below(86_400) as i64);
        json!({
            "client_id": Uuid::new_v4(), "book_id": book, "started_at": text(start), "ended_at": text(end),
            "start_position": chance.below(50), "end_position": chance.below(101),
        })
    });
    json!({ "sessions": sessions.collect::<Vec<_>>() })
}
