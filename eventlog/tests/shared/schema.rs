//! What the database holds, and who may do what with it.

use daybook_eventlog::{Anchor, ExpectedVersion::Any, Log, Position, PostgresOptions, ServerError, migrate};
use futures::future::join_all;

use super::nodes;
use crate::{
    Postgres,
    conformance::{Engine, append, append_any, assert_chain, event, everything, run_of_events},
    server,
};

async fn open_error(options: &PostgresOptions) -> ServerError {
    match Log::connect(options).await {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_may_start_at_once() {
    if server::missing().is_some() {
        return;
    }
    let place = Postgres::fresh().await;
    let nodes = join_all((0..6).map(|_| place.open())).await;
    for (log, n) in nodes.iter().zip(0..) {
        append_any(log, "reader-1", vec![event("Started", n)]).await;
    }
    assert_eq!(nodes[5].head().get(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_log_of_this_build_is_refused_and_left_as_it_is() {
    if server::missing().is_some() {
        return;
    }
    let place = Postgres::fresh().await;
    let only_check = PostgresOptions { migrate: false, ..place.options() };
    assert!(matches!(migrate(&only_check).await, Err(ServerError::NotMigrated { found: 0, .. })));
    let refused = open_error(&only_check).await;
    assert!(matches!(refused, ServerError::NotMigrated { found: 0, known: 1, .. }), "{refused:?}");
    let made = [migrate(&place.options()).await.unwrap(), migrate(&only_check).await.unwrap()];
    assert_eq!(made.map(|made| (made.from, made.to)), [(0, 1), (1, 1)]);
    Log::connect(&only_check).await.unwrap().close().await;

    place.sql("INSERT INTO log_format VALUES (99)").unwrap();
    let refused = open_error(&place.options()).await;
    assert!(matches!(refused, ServerError::TooNew { found: 99, known: 1, .. }), "{refused:?}");
    place.sql("DELETE FROM log_format WHERE step = 99").unwrap();

    place.sql("CREATE SCHEMA other; CREATE TABLE other.anything (whatever text)").unwrap();
    let refused = open_error(&PostgresOptions { schema: "other".to_owned(), ..place.options() }).await;
    assert!(matches!(refused, ServerError::Foreign { .. }), "{refused:?}");
    for schema in ["", "a b", "pg_mine", "Daybook", "a;b"] {
        let refused = open_error(&PostgresOptions { schema: schema.to_owned(), ..place.options() }).await;
        assert!(matches!(refused, ServerError::Options(_)), "{refused:?}");
    }
    append_any(&place.open().await, "reader-1", vec![event("Started", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_tail_is_refused() {
    let Some((place, [log])) = nodes::<1>().await else { return };
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;
    log.close().await;
    place.sql("ALTER TABLE events DISABLE TRIGGER ALL; DELETE FROM events WHERE position > 7").unwrap();
    match open_error(&place.options()).await {
        ServerError::TailLost { head, last, .. } => assert_eq!((head.get(), last.get()), (10, 7)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_empties_the_log() {
    let Some((place, [log])) = nodes::<1>().await else { return };
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;
    for sql in [
        "TRUNCATE events",
        "TRUNCATE streams, kinds, events CASCADE",
        "SET session_replication_role = replica; DELETE FROM events",
        "INSERT INTO events SELECT * FROM events WHERE position = 1 ON CONFLICT (position) DO UPDATE SET data = ''",
    ] {
        let refusal = place.sql(sql).expect_err(sql);
        assert!(refusal.contains("append-only"), "{sql}: {refusal}");
    }
    assert_eq!(everything(&log).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analysts_read_events_and_nothing_else() {
    let Some((place, [log])) = nodes::<1>().await else { return };
    append_any(&log, "reader-1", run_of_events("Updated", 30)).await;
    append_any(&log, "book-1", vec![event("Added", 7)]).await;
    let reads = |sql: &str| place.sql(&format!("SET ROLE daybook_reader; {sql}"));
    assert_eq!(reads("SELECT count(*) FROM log WHERE category = 'reader'").unwrap(), "30");
    let row = "SELECT stream, version, type, data->>'n', occurred_at AT TIME ZONE 'UTC' FROM log WHERE type = 'Added'";
    assert_eq!(reads(row).unwrap(), "book-1|0|Added|7|2023-11-14 22:13:20.000007");
    for forbidden in ["SELECT * FROM idempotency_keys", "INSERT INTO streams VALUES (99, 'x')", "DELETE FROM events"] {
        assert!(reads(forbidden).unwrap_err().contains("permission denied"), "{forbidden}");
    }
}

/// The same chain as in every log, whichever engine keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_checksum_covers_its_event_and_the_checksum_before() {
    let Some((place, nodes)) = nodes::<2>().await else { return };
    for (log, n) in nodes.iter().cycle().take(4).zip(0..) {
        append_any(log, "reader-1", run_of_events("Updated", 20)).await;
        append(log, "book-1", Any, vec![event("Added", n)]).await;
    }
    let events = everything(&nodes[1]).await;
    let stored = place.sql("SELECT checksum FROM events ORDER BY position").unwrap();
    let stored: Vec<i64> = stored.lines().map(|line| line.parse().unwrap()).collect();

    let checksum = assert_chain(&events, &stored);
    let head: i64 = place.sql("SELECT checksum FROM head").unwrap().parse().unwrap();
    assert_eq!((stored.len(), head.cast_unsigned()), (84, checksum));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_names_each_event_that_was_changed_or_removed() {
    let Some((place, [log])) = nodes::<1>().await else { return };
    for n in 0..40 {
        append_any(&log, &format!("reader-{}", n % 3), run_of_events("Updated", 100)).await;
    }
    let sound = log.verify(None, |_, _| {}).await.unwrap();
    assert!(sound.is_sound() && sound.events == 4_000, "{sound:?}");
    assert_eq!(sound.anchor(), log.anchor().await.unwrap());
    let earlier = log.anchor_at(Position::new(1_700)).await.unwrap().unwrap();
    assert!(log.verify(Some(earlier), |_, _| {}).await.unwrap().is_sound());

    let tampered =
        "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET data = '{}' WHERE position IN (1, 2, 1700);
                    DELETE FROM events WHERE position BETWEEN 3099 AND 3100; UPDATE head SET checksum = checksum + 1";
    place.sql(tampered).unwrap();
    let found = log.verify(Some(Anchor { checksum: 7, ..earlier }), |_, _| {}).await.unwrap();
    let told: Vec<String> = found.findings.iter().map(|finding| format!("{finding}.")).collect();
    let begins = [
        "position 1 (stream reader-0, version 0): the event does not fit",
        "position 2 (stream reader-0, version 1): the event does not fit",
        "position 1700 (stream reader-1, version 599): the event does not fit",
        "positions 3099 to 3100: no event is there",
        "log: the note of the last position",
        "position 1700: the event has checksum",
        "log (stream reader-0): the index of versions",
    ];
    for (told, begin) in told.iter().zip(begins) {
        assert!(told.starts_with(begin), "{told}");
    }
    assert_eq!((told.len(), found.events), (7, 3_998), "{told:?}");
}
