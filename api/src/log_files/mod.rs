//! The log on the command line: export, import, copy, verify, back up, restore. One command a file.
//!
//! Commands that read open the log beside its writer, so they also work while a server runs; commands that make a log
//! take the folder's lock. Nothing here is reachable over HTTP. What moves events is `daybook_eventlog::transfer`.

mod backup;
mod copy;
mod export;
mod head;
mod import;
mod output;
mod place;
mod verify;

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Subcommand;

use self::place::Place;
pub use self::{
    backup::{BackupArgs, RestoreArgs},
    copy::CopyArgs,
    export::{ExportArgs, Format},
    head::HeadArgs,
    import::ImportArgs,
    verify::VerifyArgs,
};
use crate::progress::{Progress, Unit, tell};
use crate::settings::SettingsArgs;

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// The command line was understood, but asks for something that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Write the log's events to a file or to standard output, also while a server runs
    Export(ExportArgs),
    /// Fill an empty log from an export: same positions, versions, ids and times
    Import(ImportArgs),
    /// Copy a log from one place to another, folders or databases: the same positions, versions, ids and times
    Copy(CopyArgs),
    /// Check every event, and that the log was only ever appended to
    Verify(VerifyArgs),
    /// Print the last position, its anchor to write down, and when it was recorded
    Head(HeadArgs),
}

impl LogCommand {
    pub(crate) async fn run(self) -> Result<(), Failed> {
        match self {
            Self::Export(args) => args.run().await,
            Self::Import(args) => args.run().await,
            Self::Copy(args) => args.run().await,
            Self::Verify(args) => args.run().await,
            Self::Head(args) => args.run().await,
        }
    }
}

/// The data folder of the settings in force, for what knows folders only; `instead` says what serves a database.
fn data_folder(settings: &SettingsArgs, instead: &str) -> Result<PathBuf, Failed> {
    match Place::of(settings)? {
        Place::Folder(folder) => Ok(folder),
        Place::Database(_) => Err(WrongUse(instead.to_owned()).into()),
    }
}

/// A line on standard output. Whoever reads it may have seen enough.
fn print(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Shows how far a copy from one log to another is.
fn copy_progress() -> impl Fn(u64, u64) {
    let mut progress = None;
    let shown = std::cell::RefCell::new(move |done: u64, total: u64| {
        progress.get_or_insert_with(|| Progress::new("copying", Unit::Events, total)).at(done);
    });
    move |done, total| (shown.borrow_mut())(done, total)
}
