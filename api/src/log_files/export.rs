//! Out of the log: as lines of JSON, or as a Parquet file.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use daybook_eventlog::{EventRef, Filter, LineEncoder, Log, Position, StreamId};
use futures::TryStreamExt as _;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Failed, WrongUse, data_folder, open_to_read,
    output::Output,
    parquet::{Columns, EventFile},
    tell,
};
use crate::progress::{Progress, Unit, summary};
use crate::settings::SettingsArgs;

/// Parts of the log that wait to be written.
const PARTS_WAITING_MAX: usize = 4;

/// Writes the log's events to a file.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log export --out log.ndjson\n  daybook log export | gzip > log.ndjson.gz\n  daybook log export --format parquet --out log.parquet\n  daybook log export --types SaleRecorded,SaleCancelled --after 120000\n  daybook log export --stream shop-2 | jq -c .data\n\nOnly an export of everything (without --after, --types, --category, --stream) can be imported."
)]
pub struct ExportArgs {
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Only events above this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
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

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line of JSON for each event
    Ndjson,
    /// Columns, for DuckDB, pandas, Spark
    Parquet,
}

impl ExportArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let folder = data_folder(&self.settings)?;
        if self.format == Format::Parquet && self.out.is_none() && io::stdout().is_terminal() {
            let message = "a Parquet file is nothing for a terminal: say where it goes with --out FILE, or with > FILE";
            return Err(WrongUse(message.to_owned()).into());
        }
        let log = open_to_read(&folder).await?;
        let output = Output::open(self.out.as_deref(), self.force)?;
        let exported = match self.format {
            Format::Ndjson => self.lines(&log, output).await,
            Format::Parquet => self.columns(&log, output).await,
        };
        log.close().await;
        exported
    }

    fn filter(&self) -> Filter {
        Filter {
            types: self.types.clone(),
            categories: self.category.iter().cloned().collect(),
            stream: self.stream.clone().map(StreamId::from),
        }
    }

    async fn lines(&self, log: &Log, mut output: Output) -> Result<(), Failed> {
        let write = move |mut parts: Parts<Lines>| {
            let mut bytes = 0;
            while let Some(part) = parts.next()? {
                output.write_all(&part.bytes)?;
                bytes += part.bytes.len() as u64;
            }
            output.finish()?;
            Ok(bytes)
        };
        self.export(log, write, Lines::add, |part| part.events).await
    }

    async fn columns(&self, log: &Log, output: Output) -> Result<(), Failed> {
        let about = [
            ("daybook.format", "1".to_owned()),
            ("daybook.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("daybook.after", self.after.to_string()),
            ("daybook.head", log.head().to_string()),
            ("daybook.types", self.types.join(",")),
            ("daybook.category", self.category.clone().unwrap_or_default()),
            ("daybook.stream", self.stream.clone().unwrap_or_default()),
        ];
        let write = move |mut parts: Parts<Columns>| {
            let mut file = EventFile::new(io::BufWriter::new(output))?;
            while let Some(part) = parts.next()? {
                file.add(&part)?;
            }
            let (output, bytes) = file.finish(&about)?;
            output.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
            Ok(bytes)
        };
        self.export(log, write, Columns::add, Columns::rows).await
    }

    /// Reads side by side, folding each part of the log with `add` where it is read, and hands the parts to a thread
    /// that does `write`, in order.
    async fn export<P: Default + Send + 'static>(
        &self,
        log: &Log,
        write: impl FnOnce(Parts<P>) -> Result<u64, Failed> + Send + 'static,
        add: impl Fn(&mut P, &EventRef<'_>) + Clone + Send + 'static,
        events_of: impl Fn(&P) -> u64,
    ) -> Result<(), Failed> {
        let (to_writer, parts) = mpsc::channel(PARTS_WAITING_MAX);
        let writer = tokio::task::spawn_blocking(move || write(Parts(parts)));
        let after = Position::new(self.after);
        let progress = Progress::new("exporting", Unit::Events, log.head().get().saturating_sub(after.get()));
        let mut read = std::pin::pin!(log.parts(after, log.head(), self.filter(), P::default, add));
        let mut events = 0;
        while let Some((until, part)) = read.try_next().await? {
            events += events_of(&part);
            if to_writer.send(Some(part)).await.is_err() {
                // It says why when it is asked.
                break;
            }
            progress.at(until.get().saturating_sub(after.get()));
        }
        // The same: a writer that has given up says why below.
        let _ = to_writer.send(None).await;
        let Some(bytes) = written(writer).await? else { return Ok(()) };
        let took = progress.end();
        tell(&format!("exported {}, up to position {}", summary(events, bytes, took), log.head()));
        Ok(())
    }
}

/// The parts of the log on their way to the writer; `None` after the last one.
struct Parts<P>(mpsc::Receiver<Option<P>>);

impl<P> Parts<P> {
    /// The next part. Without word of the end it is an error: what was written so far must not get its name.
    fn next(&mut self) -> Result<Option<P>, Failed> {
        self.0.blocking_recv().ok_or_else(|| "reading the log was interrupted".into())
    }
}

/// How many bytes were written; nothing when whoever reads them has seen enough, which is no failure.
async fn written(writer: JoinHandle<Result<u64, Failed>>) -> Result<Option<u64>, Failed> {
    match writer.await? {
        Err(error) if is_broken_pipe(&*error) => Ok(None),
        written => written.map(Some),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The lines of one part of the log.
#[derive(Default)]
struct Lines {
    encoder: LineEncoder,
    bytes: Vec<u8>,
    events: u64,
}

impl Lines {
    fn add(&mut self, event: &EventRef<'_>) {
        self.encoder.encode(event, &mut self.bytes);
        self.bytes.push(b'\n');
        self.events += 1;
    }
}
