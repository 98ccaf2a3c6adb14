//! Verification finds what was done to a file, and says where.

use std::collections::BTreeSet;

use daybook_eventlog::{Anchor, Damage, LOG_FILE, Log, Position, Verified, VerifyError, verify, verify_file};
use rusqlite::Connection;

use super::tampering::{Written, recompute_checksums, write_some};
use crate::conformance::{Dice, append_any, event};

/// The positions of all findings.
fn found(verified: &Verified) -> BTreeSet<u64> {
    let ranges = verified.findings.iter().filter_map(|finding| finding.positions);
    ranges.flat_map(|(first, last)| first.get()..=last.get()).collect()
}

fn changed(verified: &Verified) -> BTreeSet<u64> {
    let changed = verified.findings.iter().filter(|finding| finding.damage == Damage::Changed);
    changed.filter_map(|finding| finding.positions).map(|(at, _)| at.get()).collect()
}

fn texts(verified: &Verified) -> Vec<String> {
    verified.findings.iter().map(ToString::to_string).collect()
}

fn has(verified: &Verified, wanted: &str) -> bool {
    texts(verified).iter().any(|text| text.contains(wanted))
}

#[tokio::test]
async fn a_log_that_was_left_alone_is_sound() {
    let written = Written::new().await;
    let verified = verify(written.folder(), Some(written.anchor), |_, _| ()).await.unwrap();
    assert_eq!(texts(&verified), [""; 0]);
    assert!(verified.is_sound());
    assert_eq!((verified.anchor(), verified.events), (written.anchor, written.events.len() as u64));
    for event in [1_i64, 700, 1_025] {
        let raw = Connection::open(written.folder().join(LOG_FILE)).unwrap();
        let sql = "SELECT checksum FROM events WHERE position = ?1";
        let checksum: i64 = raw.query_row(sql, [event], |row| row.get(0)).unwrap();
        let anchor = Anchor { position: Position::new(event.cast_unsigned()), checksum: checksum.cast_unsigned() };
        assert!(written.copy().verify_against(anchor).await.is_sound(), "{anchor}");
    }
}

#[tokio::test]
async fn a_log_without_events_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    assert_eq!(log.anchor().await.unwrap(), Anchor::default());
    log.close().await;
    let verified = verify(folder.path(), Some(Anchor::default()), |_, _| ()).await.unwrap();
    assert!(verified.is_sound(), "{:?}", texts(&verified));
    assert_eq!((verified.anchor(), verified.events), (Anchor::default(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_verified_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    let writer = tokio::spawn({
        let log = log.clone();
        async move { write_some(&log, 3, 3_000).await }
    });
    let mut rounds = 0;
    while !writer.is_finished() || rounds == 0 {
        let before = log.anchor().await.unwrap();
        let verified = verify(folder.path(), Some(before), |_, _| ()).await.unwrap();
        assert!(verified.is_sound(), "{:?}", texts(&verified));
        assert!(verified.head >= before.position);
        assert_eq!(verified.events, verified.head.get());
        rounds += 1;
    }
    writer.await.unwrap();
    let last = verify(folder.path(), None, |_, _| ()).await.unwrap();
    assert_eq!((last.anchor(), last.is_sound()), (log.anchor().await.unwrap(), true));
}

#[tokio::test]
async fn progress_rises_to_the_head() {
    let written = Written::new().await;
    let (told, tells) = std::sync::mpsc::channel();
    let progress = move |checked, head| told.send((checked, head)).unwrap();
    let verified = verify(written.folder(), None, progress).await.unwrap();
    let tells: Vec<(Position, Position)> = tells.iter().collect();
    assert!(tells.is_sorted());
    assert_eq!(tells.last(), Some(&(verified.head, verified.head)));
}

#[tokio::test]
async fn any_changed_column_of_an_event_is_found_at_its_position() {
    let written = Written::new().await;
    let last = written.events.len() as u64;
    for at in [1, 2, 300, 1_024, 1_025, last - 1, last] {
        for change in [
            "stream_id = (SELECT stream_id FROM streams WHERE stream_id <> events.stream_id LIMIT 1)",
            "stream_id = 99999",
            "version = version + 1",
            "version = -1",
            "kind_id = kind_id % (SELECT count(*) FROM kinds) + 1",
            "kind_id = 99999",
            "schema_version = 2",
            "schema_version = 65537",
            "id = randomblob(16)",
            "id = x'00'",
            "occurred_at = occurred_at + 1",
            "occurred_at = -occurred_at",
            "recorded_at = recorded_at + 1",
            "recorded_at = 0",
            "checksum = checksum + 1",
            "checksum = 0",
            "data = data || ' '",
            "data = ''",
            "data = CAST(x'7bff7d' AS TEXT)",
        ] {
            let verified =
                written.tampered(&format!("UPDATE events SET {change} WHERE position = {at}")).verify().await;
            let verified = verified.unwrap();
            let found = found(&verified);
            assert!(found.contains(&at), "{change} at {at}: {:?}", texts(&verified));
            let others: Vec<_> = changed(&verified).into_iter().filter(|other| *other != at).collect();
            assert_eq!(others, [0; 0], "{change} at {at}: {:?}", texts(&verified));
            let at_fault = verified.findings.iter().find(|finding| finding.positions.is_some()).unwrap();
            let event = &written.events[usize::try_from(at).unwrap() - 1];
            if !change.starts_with("stream_id") && !change.starts_with("version") {
                assert_eq!(
                    (at_fault.stream.as_ref(), at_fault.version),
                    (Some(&event.stream), Some(event.version)),
                    "{change} at {at}: {:?}",
                    texts(&verified)
                );
            }
        }
    }
}

#[tokio::test]
async fn changed_metadata_are_found_at_each_event_that_has_them() {
    let written = Written::new().await;
    let raw = Connection::open(written.folder().join(LOG_FILE)).unwrap();
    let numbers = |sql: &str| -> Vec<u64> {
        let mut select = raw.prepare(sql).unwrap();
        select
            .query_map([], |row| row.get::<_, i64>(0))
            .unwrap()
            .map(|number| number.unwrap().cast_unsigned())
            .collect()
    };
    let shared = numbers("SELECT metadata_at FROM events WHERE metadata_at IS NOT NULL GROUP BY 1 HAVING count(*) > 2");
    assert!(shared.len() > 10);
    for at in [shared[0], shared[5], *shared.last().unwrap()] {
        let sharing = numbers(&format!("SELECT position FROM events WHERE position = {at} OR metadata_at = {at}"));
        let sql = format!("UPDATE events SET metadata = '{{\"actor\":\"x\"}}' WHERE position = {at}");
        let verified = written.tampered(&sql).verify().await.unwrap();
        assert_eq!(changed(&verified).into_iter().collect::<Vec<_>>(), sharing, "{:?}", texts(&verified));

        for change in ["metadata = 1", "metadata_at = metadata_at - 1", "metadata_at = NULL", "metadata = '{}'"] {
            let at = sharing[1];
            let sql = format!("UPDATE events SET {change} WHERE position = {at}");
            let copy = written.copy();
            let mut refused = false;
            copy.tamper(|raw| refused = raw.execute_batch(&sql).is_err());
            let verified = copy.verify().await.unwrap();
            assert!(refused || found(&verified).contains(&at), "{change} at {at}: {:?}", texts(&verified));
        }
    }
}

/// Nothing of it shows in the checksums: the text is the same.
#[tokio::test]
async fn metadata_that_are_taken_from_elsewhere_are_found() {
    let written = Written::new().await;
    let copy = written.copy();
    let mut at = 0;
    copy.tamper(|raw| {
        let sql = "SELECT e.position, m.position FROM events e JOIN events own ON own.position = e.metadata_at
                   JOIN events m ON m.metadata = own.metadata AND m.position < own.position WHERE e.position > 800";
        let (position, elsewhere): (i64, i64) = raw.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        raw.execute("UPDATE events SET metadata_at = ?2 WHERE position = ?1", (position, elsewhere)).unwrap();
        at = position.cast_unsigned();
    });
    let verified = copy.verify().await.unwrap();
    assert_eq!(found(&verified), BTreeSet::from([at]));
    assert!(has(&verified, "takes its metadata from position"), "{:?}", texts(&verified));
}

#[tokio::test]
async fn missing_events_are_found_and_named() {
    let written = Written::new().await;
    let last = written.events.len() as u64;
    let gaps = [(1, 1), (1, 40), (200, 200), (1_000, 1_100), (last, last), (last - 30, last), (1, last)];
    for (from, to) in gaps {
        let sql = format!("DELETE FROM events WHERE position BETWEEN {from} AND {to}");
        let verified = written.tampered(&sql).verify().await.unwrap();
        let gap = verified.findings.iter().find(|finding| finding.damage == Damage::Missing);
        let gap = gap.unwrap_or_else(|| panic!("{sql}: {:?}", texts(&verified)));
        assert_eq!(gap.positions, Some((Position::new(from), Position::new(to))), "{sql}");
        assert_eq!(verified.events, last - (to - from + 1));
        // What took its metadata from a missing event may be changed as well, nothing that comes later.
        assert!(changed(&verified).iter().all(|at| *at <= to + 16), "{sql}: {:?}", texts(&verified));
    }
}

#[tokio::test]
async fn a_tail_that_was_cut_off_is_found_also_when_the_head_was_corrected() {
    let written = Written::new().await;
    for cut in [1, 700, 1_390] {
        let cut = format!("DELETE FROM events WHERE position > {cut};
            UPDATE head SET (position, checksum) = (SELECT position, checksum FROM events ORDER BY position DESC LIMIT 1);");
        let verified = written.tampered(&cut).verify().await.unwrap();
        assert!(has(&verified, "stream_runs"), "{cut}: {:?}", texts(&verified));
        assert!(has(&verified, "id_runs"), "{cut}: {:?}", texts(&verified));
    }
    // Whoever knows all tables leaves no trace in the file. Only what was written down elsewhere shows it.
    let cut = "DELETE FROM events; DELETE FROM stream_runs; DELETE FROM id_runs; DELETE FROM kind_blocks;
               DELETE FROM streams; DELETE FROM kinds; UPDATE head SET position = 0, checksum = 0";
    let copy = written.tampered(cut);
    assert!(copy.verify().await.unwrap().is_sound());
    let verified = copy.verify_against(written.anchor).await;
    assert_eq!(found(&verified), BTreeSet::from([written.anchor.position.get()]));
    assert!(has(&verified, "was written down"), "{:?}", texts(&verified));
}

#[tokio::test]
async fn swapped_events_are_found() {
    let written = Written::new().await;
    for (a, b) in [(1, 2), (500, 501), (20, 1_200)] {
        let sql = format!(
            "UPDATE events SET position = -1 WHERE position = {a}; UPDATE events SET position = {a} WHERE position = {b};
             UPDATE events SET position = {b} WHERE position = -1;"
        );
        let verified = written.tampered(&sql).verify().await.unwrap();
        assert!(changed(&verified).is_superset(&BTreeSet::from([a, b])), "{:?}", texts(&verified));
        // Their checksums moved as well, so that the events after them may not fit, and those that share metadata.
        let near = |at: &u64| (a..a + 18).contains(at) || (b..b + 18).contains(at);
        assert!(changed(&verified).iter().all(near), "{:?}", texts(&verified));
    }
}

#[tokio::test]
async fn events_in_excess_are_found() {
    let written = Written::new().await;
    let last = written.events.len() as u64;
    for (position, head) in [(last + 1, None), (last + 5, None), (last + 1, Some(last + 1)), (0, None)] {
        let mut sql = format!(
            "INSERT INTO events SELECT {position}, stream_id, version + 1, kind_id, schema_version, randomblob(16),
             occurred_at, recorded_at, 5, '{{}}', NULL, data FROM events WHERE position = {last};"
        );
        if let Some(head) = head {
            sql += &format!("UPDATE head SET position = {head}, checksum = 5");
        }
        let verified = written.tampered(&sql).verify().await.unwrap();
        match position {
            0 => assert!(has(&verified, "position is 0"), "{:?}", texts(&verified)),
            _ => assert!(found(&verified).contains(&position), "{:?}", texts(&verified)),
        }
    }
}

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
async fn what_fits_its_checksums_must_still_make_sense() {
    let written = Written::new().await;
    let last_of = |name: &str| *written.positions(|event| event.stream.as_str() == name).last().unwrap();
    let reader = last_of("reader-2");
    for (sql, at) in [
        ("UPDATE events SET recorded_at = 1000000 WHERE position = 600".to_owned(), 600),
        (format!("UPDATE events SET version = version + 1 WHERE position = {reader}"), reader),
        ("UPDATE events SET id = (SELECT id FROM events WHERE position = 7) WHERE position = 900".to_owned(), 900),
    ] {
        let copy = written.copy();
        copy.tamper(|raw| {
            raw.execute_batch(&sql).unwrap();
            recompute_checksums(raw);
        });
        let verified = copy.verify().await.unwrap();
        assert_eq!(changed(&verified), BTreeSet::new(), "{sql}");
        assert!(found(&verified).contains(&at), "{sql}: {:?}", texts(&verified));
    }
}

#[tokio::test]
async fn another_past_with_checksums_that_fit_shows_against_an_anchor() {
    let written = Written::new().await;
    let copy = written.copy();
    copy.tamper(|raw| {
        raw.execute_batch("UPDATE events SET data = '{\"n\":0}' WHERE position = 3").unwrap();
        recompute_checksums(raw);
    });
    assert!(copy.verify().await.unwrap().is_sound());

    let verified = copy.verify_against(written.anchor).await;

    assert_eq!(found(&verified), BTreeSet::from([written.anchor.position.get()]));
    assert!(has(&verified, "its past was changed"), "{:?}", texts(&verified));
    let beyond = Anchor { position: written.anchor.position.plus(1), ..written.anchor };
    assert!(has(&written.copy().verify_against(beyond).await, "no event is there"));
    let before = Anchor { position: Position::START, checksum: 1 };
    assert!(!written.copy().verify_against(before).await.is_sound());
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

#[tokio::test]
async fn no_more_findings_are_kept_than_anybody_reads() {
    let written = Written::new().await;
    let verified = written.tampered("UPDATE events SET data = '[]'").verify().await.unwrap();
    assert_eq!(verified.findings.len(), 60);
    assert_eq!(verified.findings.len() as u64 + verified.more_findings, written.events.len() as u64);
}

#[tokio::test]
async fn what_is_no_log_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = verify(folder.path(), None, |_, _| ()).await.unwrap_err();
    assert!(matches!(missing, VerifyError::Missing { .. }), "{missing:?}");
    let file = folder.path().join(LOG_FILE);
    assert!(!file.exists(), "looking makes nothing");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(verify_file(&file, None, |_, _| ()).await, Err(VerifyError::Unknown(_))));
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    assert!(matches!(verify_file(&file, None, |_, _| ()).await, Err(VerifyError::Unknown(_))));
}

/// Every value of every table, read in order and found by its key.
fn dump(file: &std::path::Path) -> rusqlite::Result<Vec<String>> {
    let raw = Connection::open(file)?;
    let mut lines = Vec::new();
    let mut add = |sql: &str, key: Option<i64>| -> rusqlite::Result<()> {
        let mut select = raw.prepare_cached(sql)?;
        let columns = select.column_count();
        let mut rows = match key {
            Some(key) => select.query([key])?,
            None => select.query([])?,
        };
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| row.get_ref(column).map(|value| format!("{value:?}")));
            lines.push(values.collect::<Result<Vec<_>, _>>()?.join("|"));
        }
        Ok(())
    };
    for table in ["sqlite_schema", "streams", "kinds", "events", "stream_runs", "id_runs", "kind_blocks", "head"] {
        add(&format!("SELECT * FROM {table}"), None)?;
    }
    add("SELECT stream_id FROM streams ORDER BY name", None)?;
    for position in 1..=1_500 {
        add("SELECT checksum FROM events WHERE position = ?1", Some(position))?;
    }
    Ok(lines)
}

#[tokio::test]
async fn a_flipped_bit_in_the_text_of_an_event_is_found_where_it_is() {
    let written = Written::new().await;
    let bytes = std::fs::read(written.folder().join(LOG_FILE)).unwrap();
    let mut dice = Dice(11);
    for _ in 0..200 {
        let event = dice.pick(&written.events);
        let at = event.position.get();
        let text = if dice.below(3) == 0 { event.id.as_bytes() } else { event.data.as_bytes() };
        let (inside, bit) = (usize::try_from(dice.below(text.len() as u64)).unwrap(), dice.below(8));
        // The same bytes also stand in an index, and in pages that were divided: there they mean nothing.
        let copy = written.copy();
        let mut places = (0..bytes.len() - text.len()).filter(|place| bytes[*place..].starts_with(text));
        let changed_event = places.any(|place| {
            let mut spoilt = bytes.clone();
            spoilt[place + inside] ^= 1 << bit;
            std::fs::write(copy.file(), spoilt).unwrap();
            let raw = Connection::open(copy.file()).unwrap();
            let sql = "SELECT id = ?2 AND CAST(data AS BLOB) = ?3 FROM events WHERE position = ?1";
            let key = (at.cast_signed(), event.id.as_bytes(), event.data.as_bytes());
            !raw.query_row(sql, key, |row| row.get::<_, bool>(0)).unwrap()
        });
        assert!(changed_event, "the event at {at} stands nowhere");

        let verified = copy.verify().await.unwrap();

        assert!(found(&verified).contains(&at), "at {at}: {:?}", texts(&verified));
        assert_eq!(changed(&verified), BTreeSet::from([at]));
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found_or_changes_nothing() {
    let written = Written::new().await;
    let whole = written.copy();
    let bytes = std::fs::read(whole.file()).unwrap();
    let before = dump(&whole.file()).unwrap();
    let events: Vec<usize> = {
        let raw = Connection::open(whole.file()).unwrap();
        let mut select = raw.prepare("SELECT pgoffset FROM dbstat WHERE name = 'events'").unwrap();
        select
            .query_map([], |row| row.get::<_, i64>(0))
            .unwrap()
            .map(|at| usize::try_from(at.unwrap()).unwrap())
            .collect()
    };
    let mut dice = Dice(12);
    let (mut found, mut refused, mut harmless) = (0, 0, 0);
    for round in 0..400 {
        let offset = match round % 4 {
            // Where pages tell what is in them.
            0 => dice.pick(&events) + usize::try_from(dice.below(100)).unwrap(),
            1 => dice.pick(&events) + usize::try_from(dice.below(4_096)).unwrap(),
            2 => usize::try_from(dice.below(4_096)).unwrap(),
            _ => usize::try_from(dice.below(bytes.len() as u64)).unwrap(),
        };
        let mut spoilt = bytes.clone();
        spoilt[offset] ^= 1 << dice.below(8);
        let copy = written.copy();
        std::fs::write(copy.file(), spoilt).unwrap();

        match copy.verify().await {
            Ok(verified) if verified.is_sound() => {
                harmless += 1;
                assert_eq!(dump(&copy.file()).ok().as_ref(), Some(&before), "byte {offset}");
            }
            Ok(_) => found += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(found > 100 && refused > 0 && harmless > 0, "{found} found, {refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn pages_that_are_gone_are_named_and_the_rest_is_checked() {
    let written = Written::new().await;
    let bytes = std::fs::read(written.folder().join(LOG_FILE)).unwrap();
    let pages: Vec<usize> = {
        let raw = Connection::open(written.folder().join(LOG_FILE)).unwrap();
        let sql = "SELECT pgoffset FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path";
        let mut select = raw.prepare(sql).unwrap();
        select
            .query_map([], |row| row.get::<_, i64>(0))
            .unwrap()
            .map(|at| usize::try_from(at.unwrap()).unwrap())
            .collect()
    };
    for spoilt in [&pages[..1], &pages[5..6], &pages[7..9], &[pages[3], pages[20]], &pages[pages.len() - 1..]] {
        let mut damaged = bytes.clone();
        for page in spoilt {
            damaged[*page..page + 4_096].fill(0xA5);
        }
        let copy = written.copy();
        std::fs::write(copy.file(), damaged).unwrap();

        let verified = copy.verify().await.unwrap();

        let ranges = verified.findings.iter().filter(|finding| matches!(finding.damage, Damage::Unreadable(_)));
        let lost: u64 =
            ranges.filter_map(|finding| finding.positions).map(|(from, to)| to.get() - from.get() + 1).sum();
        assert_eq!(verified.events + lost, written.events.len() as u64, "{:?}", texts(&verified));
        assert!(lost >= spoilt.len() as u64 && lost < 60 * spoilt.len() as u64, "{lost}: {:?}", texts(&verified));
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_found() {
    let written = Written::new().await;
    let bytes = std::fs::read(written.folder().join(LOG_FILE)).unwrap();
    for keep in [bytes.len() - 1, bytes.len() - 4_096, bytes.len() / 2, 8_192, 4_096] {
        let copy = written.copy();
        std::fs::write(copy.file(), &bytes[..keep]).unwrap();
        let verified = copy.verify().await.unwrap();
        assert!(!verified.is_sound(), "{keep} of {}", bytes.len());
    }
}

/// A server that was killed leaves a WAL behind, which belongs to the log.
#[tokio::test]
async fn a_log_that_was_not_closed_is_verified_with_its_wal() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    append_any(&log, "reader-1", vec![event("Started", 1), event("Ended", 2)]).await;
    let after = tempfile::tempdir().unwrap();
    for name in [LOG_FILE.to_owned(), format!("{LOG_FILE}-wal")] {
        std::fs::copy(folder.path().join(&name), after.path().join(&name)).unwrap();
    }
    let verified = verify(after.path(), Some(log.anchor().await.unwrap()), |_, _| ()).await.unwrap();
    assert!(verified.is_sound(), "{:?}", texts(&verified));
    assert_eq!(verified.events, 2);
}
