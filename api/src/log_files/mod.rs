//! The log on the command line: out of it, into it, from one place to another, and checked.
//!
//! One verb a file. What reads takes the log beside its writer, so that it also works while it is served; what makes a
//! log takes the folder's lock. Nothing here is reachable over HTTP.

mod backup;
mod copy;
mod copying;
mod export;
mod exporter;
mod filler;
mod head;
mod import;
mod lines;
mod output;
mod parquet;
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
    export::ExportArgs,
    head::HeadArgs,
    import::ImportArgs,
    verify::VerifyArgs,
};
pub(crate) use self::{
    exporter::{Export, Format},
    output::Output,
};
use crate::progress::tell;
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
