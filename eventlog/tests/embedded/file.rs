//! The folder is one process's, the file is what it claims to be, and what is damaged is not opened.

use std::{fs, path::Path};

use daybook_eventlog::{Append, AppendError, Direction, ExpectedVersion::Any, LOG_FILE, Log, OpenError};
use rusqlite::Connection;

use crate::{
    Sqlite,
    conformance::{Engine, append, append_any, assert_chain, assert_gapless, event, everything, run_of_events, stream},
};

impl Sqlite {
    fn raw(&self) -> Connection {
        Connection::open(self.folder.path().join(LOG_FILE)).unwrap()
    }
}

async fn open_error(folder: &Path) -> OpenError {
    match Log::open(folder).await {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_second_opener_is_told_which_folder_is_in_use() {
    let place = Sqlite::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;

    let refused = open_error(place.folder.path()).await;

    assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    let message = refused.to_string();
    assert!(message.contains(&*place.folder.path().to_string_lossy()), "{message}");
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    append_any(&log, "reader-1", vec![event("Ended", 1)]).await;
    log.close().await;
    assert_eq!(everything(&place.open().await).await.len(), 2);
}

#[tokio::test]
async fn a_log_that_was_dropped_can_be_opened_again() {
    let place = Sqlite::fresh().await;
    for n in 0..5 {
        let log = place.open().await;
        append_any(&log, "reader-1", vec![event("Started", n)]).await;
        let _still_reading = tokio::spawn(async move { everything(&log).await }).await.unwrap();
    }
    assert_eq!(everything(&place.open().await).await.len(), 5);
}

#[tokio::test]
async fn a_foreign_sqlite_file_is_refused_and_left_as_it_is() {
    for setup in ["CREATE TABLE anything (whatever)", "PRAGMA application_id = 252006673", "PRAGMA user_version = 1"] {
        let place = Sqlite::fresh().await;
        place.raw().execute_batch(setup).unwrap();
        let before = fs::read(place.folder.path().join(LOG_FILE)).unwrap();

        let refused = open_error(place.folder.path()).await;

        assert!(matches!(refused, OpenError::Foreign { .. }), "{setup}: {refused:?}");
        assert!(refused.to_string().contains(LOG_FILE));
        assert_eq!(fs::read(place.folder.path().join(LOG_FILE)).unwrap(), before, "{setup}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let place = Sqlite::fresh().await;
    let path = place.folder.path().join(LOG_FILE);
    let text = "Dear diary, ".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let refused = open_error(place.folder.path()).await;
    assert!(matches!(refused, OpenError::Engine { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let place = Sqlite::fresh().await;
    place.open().await.close().await;
    place.raw().execute_batch("PRAGMA user_version = 99").unwrap();
    let refused = open_error(place.folder.path()).await;
    assert!(matches!(refused, OpenError::TooNew { found: 99, .. }), "{refused:?}");
    place.raw().execute_batch("PRAGMA user_version = 1").unwrap();
    append_any(&place.open().await, "reader-1", vec![event("Started", 1)]).await;
}

#[tokio::test]
async fn a_log_that_lost_its_tail_is_refused() {
    let place = Sqlite::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;
    log.close().await;
    place.raw().execute_batch("DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE position > 7").unwrap();

    let refused = open_error(place.folder.path()).await;

    match refused {
        OpenError::TailLost { head, last, .. } => assert_eq!((head.get(), last.get()), (10, 7)),
        other => panic!("{other:?}"),
    }
}

/// Power may go while the last commit is on its way to the disk: any part of it may be missing then.
#[tokio::test]
async fn a_torn_last_write_takes_nothing_with_it() {
    let place = Sqlite::fresh().await;
    let log = place.open().await;
    let wal = format!("{LOG_FILE}-wal");
    let mut commits = Vec::new();
    for n in 0..12 {
        append_any(&log, &format!("reader-{}", n % 3), run_of_events("Updated", 1 + 5 * (n % 4))).await;
        let bytes = fs::metadata(place.folder.path().join(&wal)).unwrap().len();
        commits.push((bytes, log.head()));
    }
    let events = everything(&log).await;
    let whole = commits.last().unwrap().0;
    for cut in (commits[1].0..whole).step_by(4_099) {
        let torn = place.after_a_hard_stop().await;
        fs::OpenOptions::new().write(true).open(torn.folder.path().join(&wal)).unwrap().set_len(cut).unwrap();

        let reopened = torn.open().await;

        let head = commits.iter().rev().find(|(bytes, _)| *bytes <= cut).unwrap().1;
        let kept = everything(&reopened).await;
        assert_eq!(kept, events[..usize::try_from(head.get()).unwrap()], "cut at {cut} of {whole}");
        append_any(&reopened, "reader-0", vec![event("Ended", 1)]).await;
        assert_gapless(&everything(&reopened).await);
    }
}

#[tokio::test]
async fn anyone_can_read_the_file() {
    let place = Sqlite::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", run_of_events("Updated", 30)).await;
    append_any(&log, "book-1", vec![event("Added", 7)]).await;
    append_any(&log, "reader-1", vec![event("Ended", 8)]).await;

    let raw = place.raw();
    let count = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();

    assert_eq!(count("SELECT count(*) FROM log"), 32);
    assert_eq!(count("SELECT count(*) FROM log WHERE stream = 'reader-1' AND category = 'reader'"), 31);
    assert_eq!(count("SELECT version FROM stream_log WHERE stream = 'reader-1' AND type = 'Ended'"), 30);
    assert_eq!(count("SELECT count(*) FROM stream_log WHERE stream = 'reader-1'"), 31);
    let at: String = raw.query_row("SELECT occurred_at FROM log WHERE type = 'Added'", [], |row| row.get(0)).unwrap();
    assert_eq!(at, "2023-11-14T22:13:20.000Z");
    let blocks = count("SELECT count(*) FROM kind_blocks");
    assert_eq!(blocks, 3, "three kinds, all in the first block");
}

#[tokio::test]
async fn each_checksum_covers_its_event_and_the_checksum_before() {
    let place = Sqlite::fresh().await;
    for n in 0..3 {
        let log = place.open().await;
        append_any(&log, "reader-1", run_of_events("Updated", 20)).await;
        append(&log, "book-1", Any, vec![event("Added", n)]).await;
        log.close().await;
    }
    let events = everything(&place.open().await).await;
    let raw = place.raw();
    let mut select = raw.prepare("SELECT checksum FROM events ORDER BY position").unwrap();
    let stored: Vec<i64> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();

    let checksum = assert_chain(&events, &stored);
    let head: i64 = raw.query_row("SELECT checksum FROM head", [], |row| row.get(0)).unwrap();
    assert_eq!((stored.len(), head.cast_unsigned()), (63, checksum));
}

/// The index of a stream holds runs: long streams written one by one, and reads that begin within a run.
#[tokio::test]
async fn an_append_costs_one_row_in_each_index() {
    let place = Sqlite::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", run_of_events("Updated", 1_000)).await;
    let raw = place.raw();
    for table in ["stream_runs", "id_runs", "kind_blocks"] {
        let rows: i64 = raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "{table}");
    }
    let middle = log.read_stream(&stream("reader-1"), Some(500), Direction::Backward, 2).await.unwrap();
    assert_eq!(middle.iter().map(|event| event.version).collect::<Vec<_>>(), [500, 499]);
}

#[tokio::test]
async fn a_log_is_read_beside_the_one_who_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Log::open_to_read(folder.path()).await, Err(OpenError::Folder { .. })), "there is no log yet");
    let log = Log::open(folder.path()).await.unwrap();
    append_any(&log, "reader-1", run_of_events("Updated", 3)).await;
    let beside = Log::open_to_read(folder.path()).await.unwrap();
    append_any(&log, "reader-1", run_of_events("Updated", 2)).await;
    assert_eq!(beside.head().get(), 3, "its head is the one it found");
    assert_eq!(everything(&beside).await, everything(&log).await);
    let refused = beside.append(Append::to(stream("reader-1"), Any, run_of_events("Updated", 1))).await;
    assert!(matches!(refused, Err(AppendError::Closed)));
}
