//! The log copied, put back, and checked.

use std::fs;
use std::process::Output;

use serde_json::json;

use crate::support::engine::is_embedded_only;
use crate::support::stored::assert_gapless;
use crate::support::{Place, Server, world};

#[track_caller]
fn said(output: &Output, code: i32) -> (String, String) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

async fn stopped_world() -> Place {
    let server = Server::start().await;
    world::populate(&server).await;
    server.stop().await.place
}

/// Position, anchor and time that `log head` prints.
fn head(place: &Place) -> (String, String, String) {
    let (out, _) = said(&place.run(&["log", "head"]), 0);
    let parts: Vec<&str> = out.trim_end().split(' ').collect();
    let [position, anchor, time] = parts[..] else { panic!("{out}") };
    (position.to_owned(), anchor.to_owned(), time.to_owned())
}

#[tokio::test]
async fn a_backup_under_load_is_restored_elsewhere_and_serves_the_same() {
    if is_embedded_only("a backup is a copy of the log's file; a database has pg_dump") {
        return;
    }
    let server = Server::start().await;
    world::populate(&server).await;
    let reader = server.reader();
    reader.add_book().await;
    let writer = tokio::spawn({
        let reader = reader.clone();
        async move {
            for _ in 0..150 {
                reader.add_book().await;
            }
        }
    });
    let place = server.place().clone();
    let backup = place.file("backup.sqlite3", "");
    fs::remove_file(&backup).unwrap();
    let command = {
        let (place, backup) = (place.clone(), backup.clone());
        move || place.run(&["backup", backup.to_str().unwrap()])
    };
    let (_, told) = said(&tokio::task::spawn_blocking(command).await.unwrap(), 0);
    assert!(told.contains("copied") && told.contains("events"), "{told}");
    writer.await.unwrap();
    let original = place.events();

    let elsewhere = Place::fresh();
    let (_, told) = said(&elsewhere.run(&["restore", backup.to_str().unwrap()]), 0);
    assert!(told.contains("restored"), "{told}");
    let restored = elsewhere.events();
    assert!(!restored.is_empty() && original.starts_with(&restored));
    assert_gapless(&restored);
    said(&elsewhere.run(&["log", "verify", "--expect", &head(&elsewhere).1]), 0);
    said(&place.run(&["log", "verify", "--expect", &head(&elsewhere).1]), 0);

    // The reader who had written before the backup finds the same there, and can go on. Tokens need the same key.
    fs::copy(place.data().join("jwt.key"), elsewhere.data().join("jwt.key")).unwrap();
    let other = elsewhere.serve(&[]).await;
    let books = other.reader_called(reader.id).get("/api/v1/books").await.expect(200)["total"].as_u64().unwrap();
    let expected = restored.iter().filter(|event| event.data["owner"] == json!(reader.id)).count();
    assert!(expected >= 1 && books == expected as u64, "{books} {expected}");
    other.reader_called(reader.id).add_book().await;
    other.stop().await;
    elsewhere.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_backup_never_replaces_a_file_and_a_restore_never_a_log() {
    if is_embedded_only("a backup is a copy of the log's file; a database has pg_dump") {
        return;
    }
    let place = stopped_world().await;
    let taken = place.file("taken", "precious");
    let (_, told) = said(&place.run(&["backup", "taken"]), 1);
    assert!(told.contains("taken") && told.contains("exists"), "{told}");
    assert_eq!(fs::read_to_string(&taken).unwrap(), "precious");
    said(&place.run(&["backup", "good.sqlite3"]), 0);
    let good = taken.with_file_name("good.sqlite3");
    let good = good.to_str().unwrap();

    let before = place.events();
    let (_, told) = said(&place.run(&["restore", good]), 1);
    assert!(told.contains("another folder"), "{told}");
    assert_eq!(place.events(), before);

    let server = Server::start().await;
    let (_, told) = said(&server.place().run(&["restore", good]), 1);
    assert!(told.contains("in use"), "{told}");
    drop(server);

    let nowhere = Place::fresh();
    said(&nowhere.run(&["backup", "new.sqlite3"]), 1);
    for wrong in ["no-such-file", taken.to_str().unwrap()] {
        said(&nowhere.run(&["restore", wrong]), 1);
        assert!(!nowhere.data().join("log.sqlite3").exists(), "{wrong}");
    }
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    if is_embedded_only("a backup is a copy of the log's file; a database has pg_dump") {
        return;
    }
    let place = stopped_world().await;
    place.tamper_log("UPDATE events SET data = '{}' WHERE position = 9");
    said(&place.run(&["backup", "bad.sqlite3"]), 0);
    let bad = place.file("x", "").with_file_name("bad.sqlite3");
    let elsewhere = Place::fresh();
    let (_, told) = said(&elsewhere.run(&["restore", bad.to_str().unwrap()]), 1);
    assert!(told.contains("damaged") && told.contains('9'), "{told}");
    assert!(!elsewhere.data().join("log.sqlite3").exists());
    let (out, _) = said(&elsewhere.run(&["log", "verify", "--file", bad.to_str().unwrap()]), 1);
    assert!(out.contains('9'), "{out}");
}

#[tokio::test]
async fn head_is_one_line_with_the_anchor_of_the_last_event() {
    let place = stopped_world().await;
    let (position, anchor, time) = head(&place);
    assert_eq!(position, place.events().len().to_string());
    assert!(anchor.starts_with(&format!("{position}:")) && anchor.len() == position.len() + 17, "{anchor}");
    assert!(chrono::DateTime::parse_from_rfc3339(&time).is_ok(), "{time}");

    let fresh = Place::fresh();
    assert!(said(&fresh.run(&["log", "head"]), 1).1.contains(fresh.words_for_no_log()));
    fresh.serve(&[]).await.stop().await;
    assert_eq!(head(&fresh), ("0".to_owned(), "0:0000000000000000".to_owned(), "-".to_owned()));
}

#[tokio::test]
async fn what_was_only_ever_appended_to_is_verified_also_while_it_is_served() {
    let server = Server::start().await;
    world::populate(&server).await;
    let early = head(server.place()).1;
    world::populate_more(&server).await;
    let (out, _) = said(&server.place().run(&["log", "verify", "--expect", &early]), 0);
    assert!(out.contains("nothing is wrong") && out.contains(&format!("anchor {}", head(server.place()).1)), "{out}");
    let place = server.kill();
    said(&place.run(&["log", "verify"]), 0);
}

#[tokio::test]
async fn what_was_changed_is_found_and_its_position_named() {
    for (sql, told) in [
        ("UPDATE events SET data = '{\"x\":1}' WHERE position = 8", "8"),
        ("UPDATE events SET occurred_at = occurred_at + 1 WHERE position = 11", "11"),
        ("UPDATE events SET metadata = '{}' WHERE position = 1", "1"),
        ("DELETE FROM events WHERE position = 13", "13"),
    ] {
        let place = stopped_world().await;
        place.tamper_log(sql);
        let (out, err) = said(&place.run(&["log", "verify"]), 1);
        let named = out.lines().any(|line| line.split(|c: char| !c.is_ascii_digit()).any(|number| number == told));
        assert!(named, "{sql}: {out}");
        assert!(err.contains("finding"), "{err}");
    }
}

#[tokio::test]
async fn a_lost_tail_and_a_log_that_was_written_anew_are_found() {
    let place = stopped_world().await;
    let (position, anchor, _) = head(&place);
    place.tamper_log(&format!("DELETE FROM events WHERE position = {position}"));
    let (out, err) = said(&place.run(&["log", "verify"]), 1);
    // A database keeps its head apart: where the log's end is not what it says, it is not even opened.
    let told = if place.database().is_some() { err } else { out };
    assert!(told.contains(&position), "{told}");

    // Another log that is sound in itself: only the anchor tells.
    let other = stopped_world().await;
    said(&other.run(&["log", "verify"]), 0);
    let (out, _) = said(&other.run(&["log", "verify", "--expect", &anchor]), 1);
    assert!(out.contains(&position), "{out}");
    let beyond = "100000:0000000000000001";
    assert!(said(&other.run(&["log", "verify", "--expect", beyond]), 1).0.contains("100000"));
    for wrong in ["", "7", "7:xyz"] {
        said(&other.run(&["log", "verify", "--expect", wrong]), 2);
    }
}
