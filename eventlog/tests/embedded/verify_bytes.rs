//! Verification of a file whose bytes are not what SQLite has written.

use std::collections::BTreeSet;

use daybook_eventlog::{Damage, LOG_FILE};
use rusqlite::Connection;

use super::tampering::Written;
use super::verify::{changed, found, texts};
use crate::conformance::Dice;

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
