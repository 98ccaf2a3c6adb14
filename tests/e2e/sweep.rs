//! Sessions that are left: the server ends them at their last sign of life.

use serde_json::json;

use crate::support::{Server, eventually};

const QUICK: &[&str] = &["--session-idle", "1s", "--session-sweep", "200ms"];

#[tokio::test]
async fn a_session_that_is_left_ends_at_its_last_sign_of_life() {
    let server = Server::start_with(QUICK).await;
    let (reader, silent) = (server.reader(), server.reader());
    let session = reader.start(reader.add_book().await, 10).await;
    let never_seen_again = silent.start(silent.add_book().await, 70).await;
    reader.update(&session, 30).await.expect(200);
    eventually("both end", async || (reader.active().await.is_null() && silent.active().await.is_null()).then_some(()))
        .await;

    let events = server.place().events();
    let updated = events.iter().find(|event| event.kind == "ReadingSessionUpdated").unwrap();
    let ended = reader.history().await["sessions"][0].clone();
    assert_eq!((&ended["end_position"], &ended["is_active"]), (&json!(30), &json!(false)));
    assert_eq!(ended["ended_at"], updated.data["reported_at"]);
    let untouched = silent.history().await["sessions"][0].clone();
    assert_eq!((&untouched["ended_at"], &untouched["end_position"]), (&never_seen_again["started_at"], &json!(70)));
    assert_eq!(untouched["duration_minutes"], 0);

    let ends: Vec<_> = events.iter().filter(|event| event.kind == "ReadingSessionEnded").collect();
    assert_eq!(ends.len(), 2);
    for end in ends {
        assert_eq!((&end.data["reason"], &end.metadata["actor"]), (&json!("idle"), &json!("system:idle-sweep")));
    }
    reader.update(&session, 40).await.problem(400);
    reader.start(reader.add_book().await, 0).await;
}

#[tokio::test]
async fn a_session_with_signs_of_life_goes_on() {
    let server = Server::start_with(QUICK).await;
    let (reader, left) = (server.reader(), server.reader());
    let session = reader.start(reader.add_book().await, 0).await;
    // The one that is left tells the time: when it has ended twice, the other one would have ended, too.
    for round in 0..2 {
        left.start(left.add_book().await, 0).await;
        eventually("the session that is left ends", async || {
            reader.update(&session, round).await.expect(200);
            left.active().await.is_null().then_some(())
        })
        .await;
    }
    assert_eq!(reader.active().await["id"], session["id"]);
}

#[tokio::test]
async fn a_session_that_was_left_while_the_server_was_down_ends_after_the_start() {
    let server = Server::start_with(&["--session-idle", "1h"]).await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 0).await;
    let place = server.stop().await.place;
    let server = place.serve(&["--session-idle", "1ms", "--session-sweep", "100ms"]).await;
    let reader = server.reader_called(reader.id);
    eventually("it ends", async || reader.active().await.is_null().then_some(())).await;
    assert_eq!(reader.history().await["sessions"][0]["ended_at"], session["started_at"]);
}
