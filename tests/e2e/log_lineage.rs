//! Positions and anchors of another history of the log: a log that was restored is shorter than what a caller has read.

use serde_json::Value;

use crate::log_export::{complaint, export};
use crate::support::wire::Wire;
use crate::support::{Caller, Server};

const EVENTS: &str = "/api/v1/log/events";
const SUBSCRIBE: &str = "/api/v1/log/subscribe";

async fn three_books() -> (Server, Caller) {
    let server = Server::start().await;
    let reader = server.reader();
    for _ in 0..3 {
        reader.add_book().await;
    }
    let auditor = server.with_role("auditor");
    (server, auditor)
}

/// The detail of a 409.
#[track_caller]
fn conflict(problem: &Value) -> String {
    problem["detail"].as_str().unwrap().to_owned()
}

async fn refused_subscription(server: &Server, caller: &Caller, query: &str, headers: &[(&str, &str)]) -> u16 {
    Wire::get(server, caller, &format!("{SUBSCRIBE}?{query}"), headers).await.status
}

#[tokio::test]
async fn a_position_beyond_the_head_is_refused_by_pages_and_lines_and_the_head_is_named() {
    let (_server, auditor) = three_books().await;
    for caller in [auditor.clone(), auditor.with("accept", "application/x-ndjson")] {
        assert_eq!(caller.get(&format!("{EVENTS}?after=3")).await.status, 200);
        for query in ["after=4", "after=9999", "after=4&order=desc", "after=9223372036854775807"] {
            let said = conflict(&caller.get(&format!("{EVENTS}?{query}")).await.problem(409));
            assert!(said.contains("beyond the log's head, which is 3"), "{said}");
        }
    }
    let missing = auditor.get(&format!("{EVENTS}/4")).await.problem(404);
    assert!(missing["detail"].as_str().unwrap().contains("its head is 3"), "{missing}");
}

#[tokio::test]
async fn a_version_beyond_the_streams_last_one_is_refused() {
    let (_server, auditor) = three_books().await;
    let events = auditor.get(EVENTS).await.expect(200);
    let stream = format!("/api/v1/log/streams/{}", events["events"][0]["stream"].as_str().unwrap());
    for caller in [auditor.clone(), auditor.with("accept", "application/x-ndjson")] {
        assert_eq!(caller.get(&format!("{stream}?after=0")).await.status, 200);
        for query in ["after=1", "after=1&order=desc"] {
            let said = conflict(&caller.get(&format!("{stream}?{query}")).await.problem(409));
            assert!(said.contains("last one, which is 0"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_subscription_from_beyond_the_head_is_refused_and_last_event_id_wins() {
    let (server, auditor) = three_books().await;
    for (query, headers, status) in [
        ("after=3", vec![], 200),
        ("after=4", vec![], 409),
        ("", vec![("last-event-id", "3")], 200),
        ("", vec![("last-event-id", "15")], 409),
        ("after=1", vec![("last-event-id", "15")], 409),
        ("after=15", vec![("last-event-id", "1")], 200),
    ] {
        assert_eq!(refused_subscription(&server, &auditor, query, &headers).await, status, "{query} {headers:?}");
    }
}

#[tokio::test]
async fn the_heads_anchor_is_accepted_for_ever_and_another_one_is_refused() {
    let (server, auditor) = three_books().await;
    let anchor = async || auditor.get("/api/v1/log/head").await.expect(200)["anchor"].as_str().unwrap().to_owned();
    let noted = anchor().await;
    assert!(noted.starts_with("3:") && noted.len() == 18, "{noted}");
    server.reader().add_book().await;
    assert_ne!(anchor().await, noted);

    let events = auditor.get(EVENTS).await.expect(200);
    let stream = format!("/api/v1/log/streams/{}", events["events"][0]["stream"].as_str().unwrap());
    let other = format!("3:{:016x}", u64::from_str_radix(&noted[2..], 16).unwrap() ^ 1);
    let beyond = format!("5:{}", &noted[2..]);
    for path in [EVENTS, &stream] {
        for caller in [auditor.clone(), auditor.with("accept", "application/x-ndjson")] {
            for good in [&*noted, "0:0000000000000000"] {
                assert_eq!(caller.get(&format!("{path}?anchor={good}")).await.status, 200);
            }
            for bad in [&other, &beyond] {
                let said = conflict(&caller.get(&format!("{path}?anchor={bad}")).await.problem(409));
                assert!(said.contains("does not begin with the anchor") && said.contains("head is 4"), "{said}");
            }
            for malformed in ["", "3", "3:abc", "x:0000000000000000"] {
                let reply = caller.get(&format!("{path}?anchor={malformed}")).await;
                assert_eq!(reply.wrong_fields(), ["anchor"], "{malformed}");
            }
        }
    }
    for (anchor, status) in [(&*noted, 200), (&other, 409), (&beyond, 409), ("3:", 400)] {
        let query = format!("anchor={anchor}");
        assert_eq!(refused_subscription(&server, &auditor, &query, &[]).await, status, "{anchor}");
    }
}

#[tokio::test]
async fn a_restored_log_refuses_who_has_read_more_of_the_old_one() {
    let (server, auditor) = three_books().await;
    let place = server.place().clone();
    if place.database().is_some() {
        return;
    }
    let backup = place.folder().join("backup.sqlite3");
    assert!(place.run(&["backup", backup.to_str().unwrap()]).status.success());
    for _ in 0..3 {
        server.reader().add_book().await;
    }
    let noted = auditor.get("/api/v1/log/head").await.expect(200)["anchor"].as_str().unwrap().to_owned();
    drop(server);

    let restored = crate::support::Place::embedded();
    assert!(restored.run(&["restore", backup.to_str().unwrap()]).status.success());
    let server = restored.serve(&[]).await;
    let auditor = server.with_role("auditor");
    assert_eq!(refused_subscription(&server, &auditor, "", &[("last-event-id", "6")]).await, 409);
    // Once the log has grown past the position, only the anchor tells.
    for _ in 0..4 {
        server.reader().add_book().await;
    }
    assert_eq!(refused_subscription(&server, &auditor, "", &[("last-event-id", "6")]).await, 200);
    let query = format!("anchor={noted}");
    assert_eq!(refused_subscription(&server, &auditor, &query, &[("last-event-id", "6")]).await, 409);
}

#[tokio::test]
async fn an_export_from_beyond_the_head_fails_in_the_same_words_and_makes_no_file() {
    let (server, auditor) = three_books().await;
    let said = conflict(&auditor.get(&format!("{EVENTS}?after=9")).await.problem(409));
    let place = server.stop().await.place;
    assert_eq!(export(&place, &["--after", "3"]), "");
    let out = place.folder().join("out.parquet");
    for format in ["ndjson", "parquet"] {
        let args = ["log", "export", "--after", "9", "--format", format, "--out", out.to_str().unwrap()];
        let told = complaint(&place.run(&args), 1);
        let words = said.trim_start_matches("The ").trim_end_matches('.');
        assert!(told.contains(words), "{told}");
        assert!(!out.exists());
    }
}
