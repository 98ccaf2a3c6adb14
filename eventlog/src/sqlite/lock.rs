//! One process at a time in a data folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{OpenError, place::FILE_MODE};

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
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).read(true).write(true).mode(FILE_MODE);
    let mut file = open.open(&path).map_err(on_file)?;
    match exclusively(&file, folder, &path) {
        Ok(()) => {}
        Err(OpenError::InUse(mut in_use)) => {
            let mut pid = String::new();
            // The holder's process id is a courtesy: without it the message is still true.
            let _ = file.read_to_string(&mut pid);
            if !pid.trim().is_empty() {
                in_use.holder = format!(" (process {})", pid.trim());
            }
            return Err(in_use.into());
        }
        Err(error) => return Err(error),
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

/// Locks an open file of the data folder `folder` until it is closed.
pub(super) fn exclusively(file: &File, folder: &Path, path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(FolderInUse { folder: folder.to_owned(), holder: String::new() }.into()),
        Err(TryLockError::Error(source)) => Err(OpenError::Folder { path: path.to_owned(), source }),
    }
}
