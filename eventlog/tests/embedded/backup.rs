//! Copies of a log: whole, of one moment, and never in place of something else.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use daybook_eventlog::{
    Anchor, Answer, Append, BackupError, ExpectedVersion, KeyLookup, LOG_FILE, Log, Position, Remember, RequestKey,
    RestoreError, Restoring, backup, restore, verify, verify_file,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    full_disk::SmallDisk,
    tampering::{Written, write_some},
};
use crate::conformance::{append_any, assert_gapless, event, everything, run_of_events, stream};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn backed_up(folder: &Path) -> (TempDir, std::path::PathBuf, Anchor) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("daybook.backup");
    let anchor = backup(folder, &file, |_, _| ()).await.unwrap();
    (place, file, anchor)
}

async fn written_log(events: u64) -> (TempDir, Log) {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    write_some(&log, 21, events).await;
    (folder, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_log_that_is_written_is_what_the_log_was() {
    let (folder, log) = written_log(500).await;
    let writers: Vec<_> = (0..3)
        .map(|seed| {
            let log = log.clone();
            tokio::spawn(async move { write_some(&log, 100 + seed, 600).await })
        })
        .collect();
    let mut copies = Vec::new();
    while copies.is_empty() || !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let head = log.head();
        let (place, file, anchor) = backed_up(folder.path()).await;
        assert!(anchor.position >= head);
        copies.push((place, file, anchor));
    }
    futures::future::join_all(writers).await;
    let events = everything(&log).await;
    for (place, file, anchor) in copies {
        let verified = verify_file(&file, Some(anchor), |_, _| ()).await.unwrap();
        assert!(verified.is_sound(), "{:?}", verified.findings);
        assert_eq!(verified.anchor(), anchor);
        assert_eq!(names(place.path()), ["daybook.backup"], "one file is the whole copy");
        fs::rename(&file, place.path().join(LOG_FILE)).unwrap();
        let copy = Log::open(place.path()).await.unwrap();
        let count = usize::try_from(anchor.position.get()).unwrap();
        assert_eq!(everything(&copy).await, events[..count]);
        append_any(&copy, "reader-1", vec![event("Ended", 1)]).await;
    }
    // The log itself knows nothing of it.
    assert!(verify(folder.path(), None, |_, _| ()).await.unwrap().is_sound());
}

#[tokio::test]
async fn the_anchor_of_a_backup_is_one_of_the_log() {
    let (folder, log) = written_log(300).await;
    let (_place, _file, anchor) = backed_up(folder.path()).await;
    assert_eq!(anchor, log.anchor().await.unwrap());
    write_some(&log, 5, 300).await;
    let verified = verify(folder.path(), Some(anchor), |_, _| ()).await.unwrap();
    assert!(verified.is_sound() && verified.head > anchor.position);
}

#[tokio::test]
async fn kept_answers_are_in_a_backup_and_back_after_it_is_restored() {
    let (folder, log) = written_log(50).await;
    let key = RequestKey {
        caller: "somebody".to_owned(),
        route: "POST /".to_owned(),
        key: "once".to_owned(),
        fingerprint: [7; 32],
    };
    let answer = Answer(b"201{}".to_vec());
    let remember = Remember { key: key.clone(), answer: Box::new(move |_| answer) };
    let append = Append::to(stream("reader-1"), ExpectedVersion::Any, vec![event("Started", 1)]);
    log.append(append.remembering(Some(remember))).await.unwrap();
    let kept = log.remembered(&key).await.unwrap();
    assert!(matches!(kept, KeyLookup::Answered(_)));
    let (_place, file, anchor) = backed_up(folder.path()).await;
    let restored = tempfile::tempdir().unwrap();

    assert_eq!(restore(&file, restored.path(), |_| ()).await.unwrap(), anchor);

    let again = Log::open(restored.path()).await.unwrap();
    assert_eq!(again.remembered(&key).await.unwrap(), kept);
    assert_eq!(everything(&again).await, everything(&log).await);
    append_any(&again, "reader-1", vec![event("Ended", 1)]).await;
    assert_gapless(&everything(&again).await);
}

#[tokio::test]
async fn a_backup_needs_no_other_file_and_no_place_to_write() {
    let (folder, log) = written_log(300).await;
    let (place, file, anchor) = backed_up(folder.path()).await;
    let header = fs::read(&file).unwrap();
    assert_eq!(header[18..20], [1, 1], "its header asks for no WAL");
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode()
    };
    assert_eq!(mode(&file), mode(&folder.path().join(LOG_FILE)), "who may read the log may read its copy");
    let raw = Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let events: i64 = raw.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(events.cast_unsigned(), anchor.position.get());
    assert_eq!(names(place.path()), ["daybook.backup"]);
    drop(log);
}

#[tokio::test]
async fn a_backup_is_never_written_over_a_file() {
    let (folder, log) = written_log(50).await;
    let (place, file, _) = backed_up(folder.path()).await;
    let before = fs::read(&file).unwrap();
    let refused = backup(folder.path(), &file, |_, _| ()).await.unwrap_err();
    assert!(matches!(&refused, BackupError::Exists { path } if *path == file), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
    // Nor over one that appears while it is made.
    let late = place.path().join("late");
    let progress = {
        let late = late.clone();
        move |_, _| fs::write(&late, "mine").unwrap()
    };
    let refused = backup(folder.path(), &late, progress).await.unwrap_err();
    assert!(matches!(refused, BackupError::Exists { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(&late).unwrap(), "mine");
    assert_eq!(names(place.path()), ["daybook.backup", "late"]);
    drop(log);
}

#[tokio::test]
async fn what_cannot_be_backed_up_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    let missing = backup(place.path(), &file, |_, _| ()).await.unwrap_err();
    assert!(matches!(missing, BackupError::Missing { .. }), "{missing:?}");
    assert_eq!(names(place.path()), [""; 0]);
    let (folder, log) = written_log(50).await;
    let nowhere = place.path().join("nowhere").join("file");
    let refused = backup(folder.path(), &nowhere, |_, _| ()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Target { .. }), "{refused:?}");
    Connection::open(place.path().join(LOG_FILE)).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    let foreign = backup(place.path(), &file, |_, _| ()).await.unwrap_err();
    assert!(matches!(foreign, BackupError::Unknown(_)), "{foreign:?}");
    assert_eq!(names(place.path()), [LOG_FILE]);
    drop(log);
}

#[tokio::test]
async fn a_disk_without_room_for_a_backup_is_told_and_left_as_it_was() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (folder, log) = written_log(3_000).await;
    disk.fill_up(100_000);
    for _ in 0..2 {
        let refused = backup(folder.path(), &disk.path().join("file"), |_, _| ()).await.unwrap_err();
        assert!(matches!(refused, BackupError::Full { .. }), "{refused:?}");
        assert_eq!(names(disk.path()), ["filler"]);
    }
    fs::remove_file(disk.filler()).unwrap();
    backup(folder.path(), &disk.path().join("file"), |_, _| ()).await.unwrap();
    assert_eq!(names(disk.path()), ["file"]);
    disk.fill_up(100_000);
    let refused = restore(&disk.path().join("file"), &disk.path().join("data"), |_| ()).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Copy(BackupError::Full { .. })), "{refused:?}");
    assert_eq!(names(&disk.path().join("data")), ["daybook.lock"]);
    drop(log);
}

#[tokio::test]
async fn progress_rises_to_all_pages() {
    let (folder, log) = written_log(2_000).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    let (told, tells) = std::sync::mpsc::channel();
    backup(folder.path(), &file, move |done, total| told.send((done, total)).unwrap()).await.unwrap();
    let tells: Vec<(u64, u64)> = tells.iter().collect();
    assert!(tells.is_sorted());
    let pages = fs::metadata(&file).unwrap().len() / 4_096;
    assert_eq!(tells.last(), Some(&(pages, pages)));
    let (told, tells) = std::sync::mpsc::channel();
    let anchor = restore(&file, &place.path().join("data"), move |at| told.send(at).unwrap()).await.unwrap();
    let tells: Vec<Restoring> = tells.iter().collect();
    assert!(tells.contains(&Restoring::Copying { done: pages, total: pages }));
    assert_eq!(tells.last(), Some(&Restoring::Verifying { checked: anchor.position, head: anchor.position }));
    drop(log);
}

#[tokio::test]
async fn a_log_with_events_is_never_restored_over() {
    let (folder, log) = written_log(50).await;
    let (_place, file, _) = backed_up(folder.path()).await;
    let in_use = restore(&file, folder.path(), |_| ()).await.unwrap_err();
    assert!(matches!(in_use, RestoreError::InUse(_)), "{in_use:?}");
    write_some(&log, 9, 50).await;
    let events = everything(&log).await;
    log.close().await;
    let occupied = restore(&file, folder.path(), |_| ()).await.unwrap_err();
    assert!(matches!(occupied, RestoreError::Occupied { .. }), "{occupied:?}");
    assert!(occupied.to_string().contains(&format!("position {}", events.len())), "{occupied}");
    assert_eq!(everything(&Log::open(folder.path()).await.unwrap()).await, events);
}

#[tokio::test]
async fn a_log_that_is_not_closed_or_not_whole_is_not_restored_over_either() {
    let (folder, log) = written_log(50).await;
    let (_place, file, _) = backed_up(folder.path()).await;
    let wal = format!("{LOG_FILE}-wal");
    let events = everything(&log).await;
    // All events are in the WAL alone.
    let after = tempfile::tempdir().unwrap();
    for name in [LOG_FILE, &*wal] {
        fs::copy(folder.path().join(name), after.path().join(name)).unwrap();
    }
    let occupied = restore(&file, after.path(), |_| ()).await.unwrap_err();
    assert!(matches!(occupied, RestoreError::Occupied { .. }), "{occupied:?}");
    assert_eq!(everything(&Log::open(after.path()).await.unwrap()).await, events);

    let left = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join(&wal), left.path().join(&wal)).unwrap();
    let occupied = restore(&file, left.path(), |_| ()).await.unwrap_err();
    assert!(matches!(occupied, RestoreError::Occupied { .. }), "{occupied:?}");

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join(LOG_FILE), "Dear diary").unwrap();
    let occupied = restore(&file, other.path(), |_| ()).await.unwrap_err();
    assert!(matches!(occupied, RestoreError::Occupied { .. }), "{occupied:?}");
    assert_eq!(fs::read_to_string(other.path().join(LOG_FILE)).unwrap(), "Dear diary");
}

#[tokio::test]
async fn a_log_without_events_is_replaced() {
    let (folder, log) = written_log(50).await;
    let (_place, file, anchor) = backed_up(folder.path()).await;
    let empty = tempfile::tempdir().unwrap();
    Log::open(empty.path()).await.unwrap().close().await;
    // As a server leaves it that was killed before its first event.
    let killed = tempfile::tempdir().unwrap();
    let never = Log::open(killed.path()).await.unwrap();
    let copied = tempfile::tempdir().unwrap();
    for name in [LOG_FILE.to_owned(), format!("{LOG_FILE}-wal")] {
        fs::copy(killed.path().join(&name), copied.path().join(&name)).unwrap();
    }
    for folder in [empty.path(), copied.path()] {
        assert_eq!(restore(&file, folder, |_| ()).await.unwrap(), anchor);
        assert_eq!(names(folder), ["daybook.lock", LOG_FILE]);
        assert_eq!(everything(&Log::open(folder).await.unwrap()).await, everything(&log).await);
    }
    drop(never);
}

#[tokio::test]
async fn nobody_opens_the_folder_while_a_log_is_restored() {
    let (folder, log) = written_log(50).await;
    let (place, file, _) = backed_up(folder.path()).await;
    let target = place.path().join("data");
    let tried = Arc::new(AtomicU64::new(0));
    let progress = {
        let (target, tried) = (target.clone(), Arc::clone(&tried));
        move |_| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let opened = std::thread::scope(|scope| {
                scope.spawn(|| runtime.block_on(Log::open(&target)).map(drop)).join().unwrap()
            });
            assert!(matches!(opened, Err(daybook_eventlog::OpenError::InUse(_))), "{opened:?}");
            assert!(!target.join(LOG_FILE).exists(), "it gets its name last");
            tried.fetch_add(1, Ordering::Relaxed);
        }
    };
    restore(&file, &target, progress).await.unwrap();
    assert!(tried.load(Ordering::Relaxed) >= 2);
    assert_eq!(everything(&Log::open(&target).await.unwrap()).await, everything(&log).await);
}

#[tokio::test]
async fn what_is_no_sound_log_is_not_restored() {
    let written = Written::new().await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("data");
    let refused = |file: std::path::PathBuf| {
        let target = target.clone();
        async move { restore(&file, &target, |_| ()).await.unwrap_err() }
    };
    let missing = refused(place.path().join("missing")).await;
    assert!(matches!(missing, RestoreError::Copy(BackupError::Missing { .. })), "{missing:?}");
    let text = place.path().join("text");
    fs::write(&text, "Dear diary, ".repeat(1_000)).unwrap();
    let no_log = refused(text).await;
    assert!(matches!(no_log, RestoreError::Copy(BackupError::Unknown(_))), "{no_log:?}");
    assert!(!target.exists(), "nothing is made for what is no log");
    for (pragma, message) in [("user_version = 99", "use a newer daybook"), ("application_id = 1", "no log of Daybook")]
    {
        let copy = written.copy();
        Connection::open(copy.file()).unwrap().execute_batch(&format!("PRAGMA {pragma}")).unwrap();
        let error = refused(copy.file()).await;
        assert!(error.to_string().contains(message), "{error}");
    }
    for sql in [
        "UPDATE events SET data = '{}' WHERE position = 7",
        "DELETE FROM events WHERE position > 1300",
        "DELETE FROM kind_blocks WHERE block = 1",
    ] {
        let error = refused(written.tampered(sql).file()).await;
        let RestoreError::Damaged { verified, .. } = &error else { panic!("{error:?}") };
        assert!(!verified.is_sound());
        assert!(error.to_string().contains(&verified.findings[0].to_string()), "{error}");
        assert_eq!(names(&target), ["daybook.lock"], "{sql}");
    }
    let anchor = restore(&written.copy().file(), &target, |_| ()).await.unwrap();
    assert_eq!(anchor, written.anchor);
    assert_eq!(everything(&Log::open(&target).await.unwrap()).await, written.events);
}

/// Files that SQLite's own tools have made are as good.
#[tokio::test]
async fn a_file_that_other_tools_made_is_restored() {
    let (folder, log) = written_log(200).await;
    append_any(&log, "reader-1", run_of_events("Updated", 30)).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("vacuumed");
    let raw = Connection::open(folder.path().join(LOG_FILE)).unwrap();
    raw.execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
    let anchor = restore(&file, &place.path().join("data"), |_| ()).await.unwrap();
    assert_eq!(anchor, log.anchor().await.unwrap());
    assert!(anchor.position > Position::START);
    // A folder that was copied after a hard stop: the file with its WAL.
    for name in [LOG_FILE.to_owned(), format!("{LOG_FILE}-wal")] {
        fs::copy(folder.path().join(&name), place.path().join(&name)).unwrap();
    }
    let second = restore(&place.path().join(LOG_FILE), &place.path().join("data2"), |_| ()).await.unwrap();
    assert_eq!(second, anchor);
}

#[tokio::test]
async fn a_copy_that_nobody_waits_for_any_more_leaves_nothing() {
    let (folder, log) = written_log(200).await;
    log.close().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("daybook.backup");
    let (began, beginning) = tokio::sync::oneshot::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let mut began = Some(began);
    let copying = backup(folder.path(), &file, move |_, _| {
        if let Some(began) = began.take() {
            began.send(()).unwrap();
            wait.recv().unwrap();
        }
    });
    tokio::select! {
        copied = copying => panic!("it was held up: {copied:?}"),
        began = beginning => began.unwrap(),
    }
    assert_eq!(names(place.path()).len(), 1, "the copy that is being made");
    go_on.send(()).unwrap();
    let given_up = async {
        while !names(place.path()).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    crate::conformance::within_a_minute(given_up).await;
}
