//! One process at a time in a data folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::OpenError;

const LOCK_FILE: &str = "daybook.lock";

/// Another process has the data folder open.
#[derive(Debug, thiserror::Error)]
#[error("the data folder {folder} is in use by another daybook{holder}: stop it, or choose another folder with --data")]
pub struct FolderInUse {
    folder: PathBuf,
    holder: String,
}

/// A data folder that no other process may open as long as this lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Keeps every other process out of the data folder `folder`, which has to exist, without opening its log.
///
/// # Errors
/// [`OpenError`]: among others when another process has the folder open.
pub fn lock_folder(folder: &Path) -> Result<FolderLock, OpenError> {
    lock(folder).map(|_file| FolderLock { _file })
}

/// Held for as long as the file is open; the system lets go of it when the process ends, however it ends.
pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let on_file = |source| OpenError::Folder { path: path.clone(), source };
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(on_file)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The holder's number is a courtesy: without it the message is still true.
            let _ = file.read_to_string(&mut pid);
            let holder = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
            return Err(FolderInUse { folder: folder.to_owned(), holder }.into());
        }
        Err(TryLockError::Error(source)) => return Err(on_file(source)),
    }
    let note = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    };
    if let Err(error) = note(&mut file) {
        // A full disk must not keep a server from starting: the lock holds without the number.
        tracing::warn!(%error, "the process number could not be written to the lock file");
    }
    Ok(file)
}
