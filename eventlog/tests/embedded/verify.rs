//! Verification of logs as a whole: sound ones, those with another past, and what is no log.

use std::collections::BTreeSet;

use daybook_eventlog::{Anchor, Damage, LOG_FILE, Log, Position, Verified, VerifyError, verify, verify_file};
use rusqlite::Connection;

use super::tampering::{Written, recompute_checksums, write_some};
use crate::conformance::{append_any, event};

/// The positions of all findings.
pub fn found(verified: &Verified) -> BTreeSet<u64> {
    let ranges = verified.findings.iter().filter_map(|finding| finding.positions);
    ranges.flat_map(|(first, last)| first.get()..=last.get()).collect()
}

pub fn changed(verified: &Verified) -> BTreeSet<u64> {
    let changed = verified.findings.iter().filter(|finding| finding.damage == Damage::Changed);
    changed.filter_map(|finding| finding.positions).map(|(at, _)| at.get()).collect()
}

pub fn texts(verified: &Verified) -> Vec<String> {
    verified.findings.iter().map(ToString::to_string).collect()
}

pub fn has(verified: &Verified, wanted: &str) -> bool {
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
