//! Where an export goes: standard output, or a file that is there whole or not at all.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::{Failed, WrongUse};

/// The place that an export is written to.
pub(crate) enum Output {
    /// Whoever reads the pipe, or the terminal.
    Stdout,
    /// A file under a temporary name beside its own.
    File {
        written: NamedTempFile,
        path: PathBuf,
        /// Another file may be in its place.
        replace: bool,
    },
}

impl Output {
    /// A file called `path` that does not exist yet, unless it may be replaced; else standard output.
    pub(crate) fn open(path: Option<&Path>, replace: bool) -> Result<Self, Failed> {
        let Some(path) = path else {
            refuse_closed_stdout()?;
            return Ok(Self::Stdout);
        };
        match fs::metadata(path) {
            Ok(there) if !there.is_file() => {
                return Err(WrongUse(format!("{} is no file: choose another --out", path.display())).into());
            }
            Ok(_) if !replace => return Err(exists(path).into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(path, &error).into()),
            _ => {}
        }
        let name = path.file_name().ok_or_else(|| WrongUse(format!("{} is no name of a file", path.display())))?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".partial");
        #[cfg(unix)]
        builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let written = builder.tempfile_in(folder_of(path)).map_err(|error| unwritable(path, &error))?;
        Ok(Self::File { written, path: path.to_owned(), replace })
    }

    /// Brings everything to the disk and gives a file its name.
    pub(super) fn finish(self) -> Result<(), Failed> {
        match self {
            Self::Stdout => Ok(io::stdout().flush()?),
            Self::File { written, path, replace } => {
                written.as_file().sync_all().map_err(|error| unwritable(&path, &error))?;
                let named = if replace { written.persist(&path) } else { written.persist_noclobber(&path) };
                named.map_err(|failed| match failed.error.kind() {
                    io::ErrorKind::AlreadyExists => exists(&path).into(),
                    _ => Failed::from(unwritable(&path, &failed.error)),
                })?;
                Ok(sync_folder(folder_of(&path))?)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(bytes),
            Self::File { written, .. } => written.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::File { written, .. } => written.flush(),
        }
    }
}

/// Refuses to write to a standard output that was closed (`>&-`). Rust's runtime opens `/dev/null` in its place, for
/// reading and writing, so that everything would be lost in silence.
fn refuse_closed_stdout() -> Result<(), Failed> {
    let stdout = io::stdout();
    let is_null = rustix::fs::fstat(&stdout)?.st_rdev == rustix::fs::stat("/dev/null")?.st_rdev;
    if is_null && rustix::fs::fcntl_getfl(&stdout)?.contains(OFlags::RDWR) {
        return Err(WrongUse("standard output is closed: name a file with --out".to_owned()).into());
    }
    Ok(())
}

/// The folder that a file with this path lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Brings the names in a folder to the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only unix opens folders as files; elsewhere names are the file system's business.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn exists(path: &Path) -> WrongUse {
    WrongUse(format!("{} exists: choose another --out, or replace it with --force", path.display()))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
