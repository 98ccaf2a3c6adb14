//! The log's files on the command line: out of the log, into a log, copied, and checked.
//!
//! One verb a file. What reads takes the log beside its writer, so that it also works while a server has the folder
//! open; what makes a log takes the folder's lock. Nothing here is reachable over HTTP.

mod backup;
mod export;
mod exporter;
mod head;
mod import;
mod lines;
mod output;
mod parquet;
mod verify;

use std::{
    error::Error,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use daybook_eventlog::{Log, OpenError};

pub use self::{
    backup::{BackupArgs, RestoreArgs},
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
            Self::Verify(args) => args.run().await,
            Self::Head(args) => args.run().await,
        }
    }
}

/// The data folder of the settings in force.
fn data_folder(settings: &SettingsArgs) -> Result<PathBuf, Failed> {
    let settings = settings.load()?;
    for warning in &settings.warnings {
        tell(warning);
    }
    Ok(settings.data)
}

/// Opens the log in `folder` beside whoever writes it.
async fn open_to_read(folder: &Path) -> Result<Log, Failed> {
    match Log::open_to_read(folder).await {
        Err(OpenError::Folder { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no log in {}: say where it is with --data", folder.display()).into())
        }
        opened => Ok(opened?),
    }
}

/// A line on standard output. Whoever reads it may have seen enough.
fn print(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
