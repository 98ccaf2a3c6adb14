//! Verification finds indexes, names and triggers that do not fit the events.

use std::collections::BTreeSet;

use daybook_eventlog::{Damage, LOG_FILE};
use rusqlite::Connection;

use super::tampering::Written;
use super::verify::{changed, found, has, texts};

#[tokio::test]
async fn a_head_that_does_not_fit_is_found() {
    let written = Written::new().await;
    let last = written.events.len() as u64;
    for (sql, at) in [
        ("UPDATE head SET position = position + 2", last + 1),
        ("UPDATE head SET position = position + 2", last + 2),
        ("UPDATE head SET position = position - 1", last),
        ("UPDATE head SET position = 0", 1),
        ("UPDATE head SET checksum = checksum + 1", last),
        ("UPDATE head SET checksum = 0", last),
    ] {
        let verified = written.tampered(sql).verify().await.unwrap();
        assert!(found(&verified).contains(&at), "{sql}: {:?}", texts(&verified));
    }
    let verified = written.tampered("DELETE FROM head").verify().await.unwrap();
    assert!(has(&verified, "the note of the last position"), "{:?}", texts(&verified));
}

#[tokio::test]
async fn indexes_that_do_not_fit_are_found() {
    let written = Written::new().await;
    for (table, key, changes) in [
        (
            "stream_runs",
            "(stream_id, version)",
            &[
                "stream_id = 99",
                "version = version + 5000",
                "position = position + 1",
                "count = count + 1",
                "count = 0",
                "count = 9223372036854775807",
                "position = 0",
                "position = -9223372036854775808",
                "count = -1",
            ][..],
        ),
        (
            "id_runs",
            "id",
            &[
                "id = randomblob(16)",
                "id = x'0102'",
                "position = position + 1",
                "position = position - 1",
                "count = count + 1",
                "count = 9223372036854775807",
                "position = 9223372036854775807",
                "count = 0",
            ],
        ),
        ("kind_blocks", "(kind_id, block)", &["kind_id = 99", "block = block + 7", "block = -1"]),
    ] {
        let raw = Connection::open(written.folder().join(LOG_FILE)).unwrap();
        let rows: i64 = raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        for row in [0, rows / 2, rows - 1] {
            let one =
                format!("WHERE {key} = (SELECT {} FROM {table} LIMIT 1 OFFSET {row})", key.trim_matches(['(', ')']));
            let changes = changes.iter().map(|change| format!("UPDATE {table} SET {change} {one}"));
            for sql in changes.chain([format!("DELETE FROM {table} {one}")]) {
                let verified = written.tampered(&sql).verify().await.unwrap();
                let named = verified.findings.iter().any(|finding| match &finding.damage {
                    Damage::Index { table: named, .. } => *named == table,
                    _ => false,
                });
                assert!(named, "{sql}: {:?}", texts(&verified));
                assert_eq!(changed(&verified), BTreeSet::new(), "{sql}");
            }
        }
    }
    for sql in [
        "INSERT INTO stream_runs VALUES (1, 100000, 3, 1)",
        "INSERT INTO stream_runs VALUES (99, 0, 3, 1)",
        "INSERT INTO id_runs VALUES (randomblob(16), 3, 1)",
        "INSERT INTO kind_blocks VALUES (1, 3)",
        "DELETE FROM stream_runs",
        "DELETE FROM id_runs",
        "DELETE FROM kind_blocks",
        "INSERT INTO streams (name) VALUES ('reader-without')",
        "INSERT INTO kinds (category, event_type) VALUES ('reader', 'Never')",
    ] {
        let verified = written.tampered(sql).verify().await.unwrap();
        assert!(has(&verified, "index"), "{sql}: {:?}", texts(&verified));
        assert_eq!(changed(&verified), BTreeSet::new(), "{sql}");
    }
    let moved = "UPDATE stream_runs SET position = position + 1 WHERE (stream_id, version) = (1, 0)";
    let verified = written.tampered(moved).verify().await.unwrap();
    let first = written.events.iter().find(|event| event.stream == written.events[0].stream).unwrap();
    assert!(found(&verified).contains(&first.position.get()), "{:?}", texts(&verified));
}

#[tokio::test]
async fn renamed_streams_and_types_are_found_at_their_events() {
    let written = Written::new().await;
    let renamed = |sql: &'static str, positions: Vec<u64>| (sql, positions);
    for (sql, positions) in [
        renamed(
            "UPDATE streams SET name = 'reader-x' WHERE name = 'reader-1'",
            written.positions(|event| event.stream.as_str() == "reader-1"),
        ),
        renamed(
            "UPDATE streams SET name = 'x' WHERE name = 'book-1'; UPDATE streams SET name = 'book-1' WHERE name = \
             'book-2'; UPDATE streams SET name = 'book-2' WHERE name = 'x'",
            written.positions(|event| ["book-1", "book-2"].contains(&event.stream.as_str())),
        ),
        renamed(
            "UPDATE kinds SET event_type = 'Endet' WHERE event_type = 'Ended' AND category = 'book'",
            written.positions(|event| &*event.event_type == "Ended" && event.stream.category() == "book"),
        ),
        renamed(
            "UPDATE kinds SET category = 'bock' WHERE category = 'book' AND event_type = 'Ended'",
            written.positions(|event| &*event.event_type == "Ended" && event.stream.category() == "book"),
        ),
    ] {
        let verified = written.tampered(sql).verify().await.unwrap();
        let found = found(&verified);
        assert!(!positions.is_empty() && !found.is_empty());
        let kept: Vec<u64> = positions.iter().copied().take(found.len()).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), kept, "{sql}");
        assert!(kept.len() == positions.len() || verified.more_findings > 0, "{sql}");
    }
}

#[tokio::test]
async fn missing_and_foreign_triggers_are_found() {
    let written = Written::new().await;
    let triggers = ["events", "streams", "kinds"]
        .map(|table| ["changed", "deleted"].map(|done| format!("{table}_are_never_{done}")));
    for trigger in triggers.as_flattened() {
        let copy = written.copy();
        Connection::open(copy.file()).unwrap().execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        let verified = copy.verify().await.unwrap();
        assert_eq!(texts(&verified), [format!("log: the trigger {trigger} is missing")]);
    }
    for (sql, text) in [
        (
            "DROP TRIGGER events_are_never_deleted;
             CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN SELECT 1; END",
            "log: the trigger events_are_never_deleted is not the one that this build makes",
        ),
        (
            "CREATE TRIGGER another AFTER INSERT ON head BEGIN SELECT 1; END",
            "log: there is a trigger another, which this build does not make",
        ),
        ("DROP VIEW stream_log", "log: the view stream_log is missing"),
        ("DROP INDEX idempotency_keys_by_age", "log: the index idempotency_keys_by_age is missing"),
    ] {
        let copy = written.copy();
        Connection::open(copy.file()).unwrap().execute_batch(sql).unwrap();
        assert_eq!(texts(&copy.verify().await.unwrap()), [text], "{sql}");
    }
    let copy = written.copy();
    Connection::open(copy.file()).unwrap().execute_batch("DROP TABLE kind_blocks").unwrap();
    let verified = copy.verify().await.unwrap();
    assert!(has(&verified, "the table kind_blocks is missing"), "{:?}", texts(&verified));
}

#[tokio::test]
async fn a_state_s_copy_that_does_not_fit_is_found() {
    let written = Written::new().await;
    let copy = written.tampered("INSERT INTO snapshots VALUES (1, 'shape', 3, x'0102', 4)");
    let verified = copy.verify().await.unwrap();
    assert!(has(&verified, "the copy of the stream's state"), "{:?}", texts(&verified));
    assert_eq!(verified.findings[0].stream, Some(written.events[0].stream.clone()));
}
