//! Verification finds events that were changed, moved, removed or added, and says where.

use std::collections::BTreeSet;

use daybook_eventlog::{Damage, LOG_FILE, Position};
use rusqlite::Connection;

use super::tampering::Written;
use super::verify::{changed, found, has, texts};

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
