//! Folders and files of the embedded engine: who may read them, and whether they are still there.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{OpenError, lock};

/// Only the account that runs Daybook reads its files: they hold names, e-mails and sales.
pub(super) const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Makes a data folder, with the folders above it, that only this account may enter. A folder that exists stays as it
/// is.
///
/// # Errors
/// [`io::Error`] when the folder cannot be made, or something else has its name.
pub fn make_data_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Makes an empty file that only this account may read and write. A file that exists stays as it is.
///
/// # Errors
/// [`io::Error`] when the file cannot be made, or not be opened for writing.
pub fn make_private_file(path: &Path) -> io::Result<()> {
    private_file(path).map(drop)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(FILE_MODE).open(path)
}

/// The log's file, locked as long as this lives. The lock file alone would let a second server in when somebody
/// removes it.
#[derive(Debug)]
pub(super) struct LogFile {
    // Closing any handle of a file ends SQLite's own locks on it, so this one is dropped after the connections.
    _file: File,
    path: PathBuf,
    identity: (u64, u64),
}

impl LogFile {
    /// Locks the log's file, which is made when it is missing.
    pub(super) fn lock(folder: &Path, path: &Path) -> Result<Self, OpenError> {
        let on_file = |source| OpenError::Folder { path: path.to_owned(), source };
        let file = private_file(path).map_err(on_file)?;
        lock::exclusively(&file, folder, path)?;
        let identity = identity(&file.metadata().map_err(on_file)?);
        Ok(Self { _file: file, path: path.to_owned(), identity })
    }

    /// Whether the log's name still leads to this file: it may have been removed or replaced.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
