//! `daybook log export`: out of the log, as lines of JSON or as a Parquet file.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use daybook_eventlog::transfer::{self, Export};
use daybook_eventlog::{Filter, Position, StreamId, reached};

use super::{Failed, Place, WrongUse, output::Output, tell};
use crate::progress::{Progress, Unit, summary};
use crate::settings::SettingsArgs;

/// Writes the log's events to a file.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log export --out log.ndjson\n  daybook log export | gzip > log.ndjson.gz\n  daybook log export --format parquet --out log.parquet\n  daybook log export --types SaleRecorded,SaleCancelled --after 120000\n  daybook log export --stream shop-2 | jq -c .data\n  daybook log export --from 2026-11-20T00:00:00Z --to 2026-11-21T00:00:00Z\n\nOnly an export of everything (without --after, --from, --to, --types, --category, --stream) can be imported."
)]
pub struct ExportArgs {
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Only events above this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only events recorded at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// Only events recorded before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    to: Option<DateTime<Utc>>,
    /// Only events of these types, by commas
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Only streams of this category: what stands in front of their first '-'
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// The file to make; without it everything goes to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file when it exists
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// How events are written, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of JSON for each event
    Ndjson,
    /// Columns, for DuckDB, pandas, Spark
    Parquet,
}

impl From<Format> for transfer::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson,
            Format::Parquet => Self::Parquet,
        }
    }
}

impl ExportArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let place = Place::of(&self.settings)?;
        if self.format == Format::Parquet && self.out.is_none() && io::stdout().is_terminal() {
            let message = "a Parquet file is nothing for a terminal: say where it goes with --out FILE, or with > FILE";
            return Err(WrongUse(message.to_owned()).into());
        }
        let log = place.open_to_read().await?;
        if let Err(beyond) = reached(Position::new(self.after), log.head()) {
            log.close().await;
            return Err(beyond.into());
        }
        let output = Output::open(self.out.as_deref(), self.force)?;
        let filter = Filter {
            types: self.types,
            categories: self.category.into_iter().collect(),
            stream: self.stream.map(StreamId::from),
        };
        let before_from = match self.from {
            Some(from) => log.last_before(from).await?,
            None => Position::START,
        };
        let until = match self.to {
            Some(to) => log.last_before(to).await?,
            None => log.head(),
        };
        let after = Position::new(self.after).max(before_from);
        let progress = Progress::new("exporting", Unit::Events, until.get().saturating_sub(after.get()));
        let export = Export { format: self.format.into(), after, until, filter };
        let exported = export.run(&log, output, |reached| progress.at(reached.get().saturating_sub(after.get()))).await;
        log.close().await;
        if let Some(exported) = exported? {
            tokio::task::spawn_blocking(move || exported.output.finish()).await??;
            let summary = summary(exported.events, exported.bytes, progress.end());
            tell(&format!("exported {summary}, up to position {until}"));
        }
        Ok(())
    }
}
