//! What an export is made of: the log, read side by side, and one thread that writes.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use clap::ValueEnum;
use daybook_eventlog::{EventRef, Filter, LineEncoder, Log, Position, StreamId};
use futures::TryStreamExt as _;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Failed,
    output::Output,
    parquet::{Columns, EventFile},
};
use crate::progress::{Progress, Unit};

/// Parts of the log that wait to be written.
const PARTS_WAITING_MAX: usize = 4;

/// Which events are exported, and how they are written.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) format: Format,
    /// Only events above this position.
    pub(crate) after: Position,
    /// Only events up to this one.
    pub(crate) until: Position,
    pub(crate) filter: Filter,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line of JSON for each event
    Ndjson,
    /// Columns, for DuckDB, pandas, Spark
    Parquet,
}

/// What was exported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exported {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

impl Export {
    /// Writes everything that is in `log` by now; nothing is said of it when whoever reads it has seen enough.
    pub(crate) async fn run(&self, log: &Log, output: Output) -> Result<Option<Exported>, Failed> {
        match self.format {
            Format::Ndjson => self.lines(log, output).await,
            Format::Parquet => self.columns(log, output).await,
        }
    }

    async fn lines(&self, log: &Log, mut output: Output) -> Result<Option<Exported>, Failed> {
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

    async fn columns(&self, log: &Log, mut output: Output) -> Result<Option<Exported>, Failed> {
        let about = [
            ("daybook.format", "2".to_owned()),
            ("daybook.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("daybook.after", self.after.to_string()),
            ("daybook.until", self.until.to_string()),
            ("daybook.head", log.head().to_string()),
            ("daybook.types", self.filter.types.join(",")),
            ("daybook.category", self.filter.categories.join(",")),
            ("daybook.stream", self.filter.stream.as_ref().map(StreamId::to_string).unwrap_or_default()),
        ];
        let write = move |mut parts: Parts<Columns>| {
            let mut file = EventFile::new(&mut output, &about)?;
            while let Some(part) = parts.next()? {
                file.add(part)?;
            }
            let bytes = file.finish()?;
            output.finish()?;
            Ok(bytes)
        };
        self.export(log, write, Columns::add, |part| part.rows() as u64).await
    }

    /// Reads side by side, folding each part of the log with `add` where it is read, and hands the parts to a thread
    /// that does `write`, in order.
    async fn export<P: Default + Send + 'static>(
        &self,
        log: &Log,
        write: impl FnOnce(Parts<P>) -> Result<u64, Failed> + Send + 'static,
        add: impl Fn(&mut P, &EventRef<'_>) + Clone + Send + 'static,
        events_of: impl Fn(&P) -> u64,
    ) -> Result<Option<Exported>, Failed> {
        let (to_writer, parts) = mpsc::channel(PARTS_WAITING_MAX);
        let writer = tokio::task::spawn_blocking(move || write(Parts(parts)));
        let (after, until) = (self.after, self.until);
        let progress = Progress::new("exporting", Unit::Events, until.get().saturating_sub(after.get()));
        let mut read = std::pin::pin!(log.parts(after, until, self.filter.clone(), P::default, add));
        let mut events = 0;
        while let Some((reached, part)) = read.try_next().await? {
            events += events_of(&part);
            if to_writer.send(Some(part)).await.is_err() {
                // It says why when it is asked.
                break;
            }
            progress.at(reached.get().saturating_sub(after.get()));
        }
        // The same: a writer that has given up says why below.
        let _ = to_writer.send(None).await;
        let bytes = written(writer).await?;
        Ok(bytes.map(|bytes| Exported { events, bytes, took: progress.end() }))
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
