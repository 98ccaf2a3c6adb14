//! Copies of the log: made while a server writes it, and put back where there is none.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    backup::{Backup, StepResult},
    ffi,
};
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use super::{
    FolderInUse, LOG_FILE, OpenError, lock,
    place::{FILE_MODE, make_data_folder},
    schema,
    verify::{Verified, VerifyError, verify_blocking},
};
use crate::{Anchor, Position};

/// Pages between two reports of progress: 4 MiB.
const STEP_PAGES: i32 = 1_024;

/// Why a backup was not made. There is no file then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no log to copy.
    #[error("there is no log at {path}: name a data folder that holds one")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file to copy is no log, or not one of this build's format.
    #[error(transparent)]
    Unknown(#[from] OpenError),
    /// A backup never writes over a file.
    #[error("{path} exists already: name a file that does not")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// No room for the copy.
    #[error("no room left for {path}: make some, or name a file on another disk")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be made.
    #[error("{path} cannot be written")]
    Target {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pages could not be copied.
    #[error("{from} could not be copied to {path}")]
    Copy {
        /// What was read.
        from: PathBuf,
        /// What was to be written.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread that copied came to an early end.
    #[error("the backup was interrupted: try again")]
    Interrupted,
}

/// Why a backup was not put back. The folder holds no log then that it did not hold before.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A server uses the folder.
    #[error(transparent)]
    InUse(FolderInUse),
    /// The folder could not be reached.
    #[error("cannot use {path}")]
    Folder {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The folder holds a log with events, or something else in a log's place: neither is ever written over.
    #[error("{path} is there already ({holds}): restore into another folder, or move it away yourself")]
    Occupied {
        /// What is there.
        path: PathBuf,
        /// What it holds.
        holds: String,
    },
    /// The file does not hold what was once written to it.
    #[error("{path} is damaged: {}; use another backup", first_finding(.verified))]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        verified: Box<Verified>,
    },
    /// The file could not be verified.
    #[error("{path} could not be verified")]
    Verify {
        /// The backup.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<VerifyError>,
    },
    /// The file could not be copied: there is none, it is no log, or there is no room.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The thread that copied came to an early end.
    #[error("the restoring was interrupted: try again")]
    Interrupted,
}

fn first_finding(verified: &Verified) -> String {
    let more = (verified.findings.len() as u64 + verified.more_findings).saturating_sub(1);
    match (verified.findings.first(), more) {
        (None, _) => "nothing is wrong with it".to_owned(),
        (Some(first), 0) => first.to_string(),
        (Some(first), more) => format!("{first} (and {more} more)"),
    }
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restoring {
    /// The file is copied.
    Copying {
        /// Pages copied, of 4 KiB each.
        done: u64,
        /// Pages in all.
        total: u64,
    },
    /// The copy is verified.
    Verifying {
        /// Events are checked up to here.
        checked: Position,
        /// The last position.
        head: Position,
    },
}

/// Copies the log of the data folder `folder` to `file`, also while a server has it open and goes on writing: the copy
/// is the log of the moment of the call, with the answers kept for repeated requests. It appears under its name only
/// when it is whole and on disk; until then it lies beside under another one, which ends in `.partial`. While it runs,
/// the WAL of a server grows by what is written meanwhile. `progress` is called with the pages done and in all.
///
/// Answers the last event of the copy. Who no longer waits for it wants no copy: it is given up, and nothing is left.
///
/// # Errors
/// [`BackupError`]; nothing is left of the copy then.
pub async fn backup(
    folder: &Path,
    file: &Path,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Anchor, BackupError> {
    let (from, file) = (folder.join(LOG_FILE), file.to_owned());
    let (asked, _waiting) = Asked::new();
    let run = move || {
        let copy = Copy::new(&from, &file)?;
        if fs::symlink_metadata(&file).is_ok() {
            return Err(BackupError::Exists { path: file });
        }
        let (anchor, temporary) = copy.make(&asked, progress)?;
        let on_file = |source| BackupError::Target { path: file.clone(), source };
        temporary.persist(&file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: file.clone() },
            _ => on_file(error),
        })?;
        sync_folder(&file).map_err(on_file)?;
        Ok(anchor)
    };
    tokio::task::spawn_blocking(run).await.unwrap_or(Err(BackupError::Interrupted))
}

/// Puts the backup `file` into the data folder `folder`, which is made when it is missing. No server may use it, and
/// it may hold no log, except one without events, which is replaced. The file is copied beside first, the copy is
/// verified and synced, and only then it gets its name: whenever this is interrupted, there is no log or a whole one.
/// `file` is best one that [`backup`] made; a whole file that SQLite's own tools made will do.
///
/// Answers the last event of the restored log. Who no longer waits for it wants no log: it does not get its place.
///
/// # Errors
/// [`RestoreError`]; the folder is as it was then, except that a log without events may be gone.
pub async fn restore(
    file: &Path,
    folder: &Path,
    progress: impl FnMut(Restoring) + Send + 'static,
) -> Result<Anchor, RestoreError> {
    let (file, folder) = (file.to_owned(), folder.to_owned());
    let (asked, _waiting) = Asked::new();
    tokio::task::spawn_blocking(move || restore_blocking(&file, &folder, &asked, progress))
        .await
        .unwrap_or(Err(RestoreError::Interrupted))
}

fn restore_blocking(
    file: &Path,
    folder: &Path,
    asked: &Asked,
    mut progress: impl FnMut(Restoring),
) -> Result<Anchor, RestoreError> {
    let target = folder.join(LOG_FILE);
    let in_folder = |source| RestoreError::Folder { path: folder.to_owned(), source };
    // Looked at before the folder is made.
    let copy = Copy::new(file, &target)?;
    make_data_folder(folder).map_err(in_folder)?;
    let _lock = lock::lock(folder).map_err(|error| match error {
        OpenError::InUse(in_use) => RestoreError::InUse(in_use),
        OpenError::Folder { path, source } => RestoreError::Folder { path, source },
        other => RestoreError::Copy(other.into()),
    })?;
    refuse_occupied(&target)?;
    let (anchor, temporary) = copy.make(asked, |done, total| progress(Restoring::Copying { done, total }))?;
    let verified = verify_blocking(temporary.path(), Some(anchor), |checked, head| {
        progress(Restoring::Verifying { checked, head });
    });
    let verified =
        verified.map_err(|source| RestoreError::Verify { path: file.to_owned(), source: Box::new(source) })?;
    if !verified.is_sound() {
        return Err(RestoreError::Damaged { path: file.to_owned(), verified: Box::new(verified) });
    }
    asked.still()?;
    // What is left of a log without events goes with it: its WAL must not meet the new file.
    for name in companions(&target).iter().chain([&target]) {
        match fs::remove_file(name) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(in_folder(source)),
            _ => {}
        }
    }
    sync_folder(&target).map_err(in_folder)?;
    temporary.persist(&target).map_err(in_folder)?;
    sync_folder(&target).map_err(in_folder)?;
    Ok(anchor)
}

/// Refuses to touch whatever is in a log's place, unless it is a log without events.
fn refuse_occupied(target: &Path) -> Result<(), RestoreError> {
    let occupied = |path: &Path, holds: String| Err(RestoreError::Occupied { path: path.to_owned(), holds });
    if fs::symlink_metadata(target).is_err() {
        for name in companions(target) {
            if fs::metadata(&name).is_ok_and(|found| found.len() > 0) {
                return occupied(&name, "what is left of a log whose file is gone".to_owned());
            }
        }
        return Ok(());
    }
    if fs::metadata(target).is_ok_and(|found| found.is_file() && found.len() == 0) {
        return Ok(());
    }
    let events = || -> Result<i64, String> {
        let connection = schema::open_to_examine(target).map_err(|error| error.to_string())?;
        let held = "SELECT max(coalesce((SELECT max(position) FROM events), 0), (SELECT position FROM head))";
        connection.query_row(held, [], |row| row.get(0)).map_err(|error| error.to_string())
    };
    match events() {
        Ok(0) => Ok(()),
        Ok(last) => occupied(target, format!("a log up to position {last}")),
        Err(why) => occupied(target, why),
    }
}

/// Whether somebody still waits for what is being made: a thread that copies is not stopped otherwise.
struct Asked(oneshot::Sender<()>);

impl Asked {
    /// The second one is for whoever waits, to be dropped by them.
    fn new() -> (Self, oneshot::Receiver<()>) {
        let (asked, waiting) = oneshot::channel();
        (Self(asked), waiting)
    }

    fn still(&self) -> Result<(), BackupError> {
        if self.0.is_closed() { Err(BackupError::Interrupted) } else { Ok(()) }
    }
}

/// The files that may lie beside a database's.
fn companions(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// A copy to be made.
struct Copy {
    from: PathBuf,
    source: Connection,
    path: PathBuf,
}

impl Copy {
    fn new(from: &Path, path: &Path) -> Result<Self, BackupError> {
        if !from.try_exists().unwrap_or(true) {
            return Err(BackupError::Missing { path: from.to_owned() });
        }
        let source = schema::open_to_examine(from)?;
        Ok(Self { from: from.to_owned(), source, path: path.to_owned() })
    }

    /// Copies everything to a file beside `path`, which is synced, and removed when it is dropped.
    fn make(&self, asked: &Asked, progress: impl FnMut(u64, u64)) -> Result<(Anchor, Temporary), BackupError> {
        let on_file = |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => BackupError::Full { path: self.path.clone() },
            _ => BackupError::Target { path: self.path.clone(), source },
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".daybook-").suffix(".partial");
        // Not the mode of the source: a backup that is kept read-only has to give a log that can be written.
        let private = fs::Permissions::from_mode(FILE_MODE);
        let temporary = builder.permissions(private).tempfile_in(folder_of(&self.path)).map_err(on_file)?;
        let temporary = Temporary::new(temporary);
        let copied = self.copy_pages(temporary.path(), asked, progress);
        // Whatever the engine says of a copy that was given up, that is the reason.
        asked.still()?;
        let anchor = copied.map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => BackupError::Full { path: self.path.clone() },
            _ => BackupError::Copy { from: self.from.clone(), path: self.path.clone(), source },
        })?;
        temporary.file.as_file().sync_all().map_err(on_file)?;
        asked.still()?;
        Ok((anchor, temporary))
    }

    fn copy_pages(&self, to: &Path, asked: &Asked, mut progress: impl FnMut(u64, u64)) -> rusqlite::Result<Anchor> {
        let to = schema::plain(to);
        let open =
            || Connection::open_with_flags(&to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX);
        // While this transaction is open, what is copied stays as it is, and no write makes the copy start again.
        self.source.execute_batch("BEGIN")?;
        let anchor = schema::anchor(&self.source)?;
        let mut copy = open()?;
        // It has no name yet that anybody could look for: it is synced once, at the end.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;")?;
        let backup = Backup::new(&self.source, &mut copy)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            let number = |pages: i32| u64::try_from(pages).unwrap_or(0);
            progress(number(pages.pagecount - pages.remaining), number(pages.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More if asked.still().is_ok() => {}
                StepResult::More => {
                    return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None));
                }
                // Nobody else knows the copy, and the source is not written by this connection.
                _ => return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
            }
        }
        drop(backup);
        copy.close().map_err(|(_, error)| error)?;
        self.source.execute_batch("COMMIT")?;
        // One file that needs no other beside it, also where nothing can be written; a server goes back to a WAL.
        let copy = open()?;
        copy.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; PRAGMA journal_mode = DELETE;")?;
        copy.close().map_err(|(_, error)| error)?;
        Ok(anchor)
    }
}

/// A file without its final name, which goes when it does not get one.
struct Temporary {
    file: NamedTempFile,
    _beside: Beside,
}

impl Temporary {
    fn new(file: NamedTempFile) -> Self {
        let _beside = Beside(file.path().to_owned());
        Self { file, _beside }
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives it its name, which must not be taken.
    fn persist(self, name: &Path) -> io::Result<()> {
        self.file.persist_noclobber(name).map(drop).map_err(|refused| refused.error)
    }
}

/// What SQLite may have put beside a file and, had it failed, left there.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        for name in companions(&self.0) {
            // Mostly there is none.
            let _ = fs::remove_file(name);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name is on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
