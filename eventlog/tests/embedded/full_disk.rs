//! A disk with no room left: refused whole, told as such, and the log goes on when there is room again.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use daybook_eventlog::{Append, AppendError, ExpectedVersion, Log};
use futures::future::join_all;
use tempfile::TempDir;

use crate::conformance::{append, append_any, assert_gapless, event, everything, run_of_events, stream, try_append};

/// A disk of eight megabytes.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Only root may mount one.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        match mount {
            Ok(mounted) if mounted.status.success() => Some(Self(folder)),
            failed => {
                eprintln!("SKIPPED: a full disk needs a small one, and mounting it failed: {failed:?}");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }

    /// Leaves no more room than `bytes`.
    pub fn fill_up(&self, bytes: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 4_096]).is_ok() {}
        let full = filler.metadata().unwrap().len();
        filler.set_len(full - bytes).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}

fn large(n: u64) -> daybook_eventlog::NewEvent {
    let mut large = event("Updated", n);
    large.data = format!("\"{}\"", "x".repeat(60_000));
    large
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_log_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = Log::open(disk.path()).await.unwrap();
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;
    assert!(log.is_writable().await);
    disk.fill_up(0);
    let before = everything(&log).await;

    let refused = join_all((0..8).map(|n| {
        let new = stream(&format!("reader-{n}"));
        try_append(&log, Append::to(new, ExpectedVersion::Any, vec![event("Started", n), event("Ended", n)]))
    }))
    .await;

    for outcome in refused {
        assert!(matches!(outcome, Err(AppendError::StorageFull(_))), "{outcome:?}");
    }
    assert!(!log.is_writable().await);
    assert_eq!(everything(&log).await, before, "reading goes on, and nothing was half written");
    fs::remove_file(disk.filler()).unwrap();
    assert!(log.is_writable().await, "it looks for itself");

    append(&log, "reader-1", ExpectedVersion::Exact(9), vec![event("Ended", 11)]).await;
    append(&log, "reader-7", ExpectedVersion::NoStream, vec![event("Started", 12)]).await;
    let after = everything(&log).await;
    assert_gapless(&after);
    assert_eq!((&after[..10], after.len()), (&before[..], 12));
    log.close().await;
    assert_eq!(everything(&Log::open(disk.path()).await.unwrap()).await, after);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole_and_what_fits_is_taken() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = Log::open(disk.path()).await.unwrap();
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;
    disk.fill_up(500_000);

    let many = (0..20).map(large).collect();
    let refused = try_append(&log, Append::to(stream("reader-1"), ExpectedVersion::Any, many)).await;
    assert!(matches!(refused, Err(AppendError::StorageFull(_))), "{refused:?}");
    append(&log, "reader-1", ExpectedVersion::Exact(9), vec![event("Ended", 11)]).await;
    assert!(log.is_writable().await);

    assert_gapless(&everything(&log).await);
    assert_eq!(log.head().get(), 11);
}

#[tokio::test]
async fn a_disk_that_runs_full_while_writing_keeps_what_was_acknowledged() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = Log::open(disk.path()).await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match try_append(&log, Append::to(stream("reader-1"), ExpectedVersion::Any, vec![large(acknowledged)])).await {
            Ok(appended) => acknowledged = appended.last.get(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::StorageFull(_)), "{error:?}");
    assert!(acknowledged > 10);
    let events = everything(&log).await;
    assert_gapless(&events);
    assert_eq!(events.len() as u64, acknowledged);
    drop(log);
    // Also an opening finds the disk full; what is there can be read all the same.
    let log = Log::open(disk.path()).await.unwrap();
    assert_eq!(everything(&log).await, events);
}
