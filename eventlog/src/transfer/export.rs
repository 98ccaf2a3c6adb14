//! An export: several readers of the log, and one thread that writes what they read, in order.

use std::io::{self, Write};

use ::parquet::errors::ParquetError;
use futures::TryStreamExt as _;
use tokio::{sync::mpsc, task::JoinHandle};

use super::parquet::{Columns, EventFile};
use crate::{EventRef, Filter, LineEncoder, Log, Position, ReadError, StreamId};

/// Parts of the log that wait to be written.
const PARTS_WAITING_MAX: usize = 4;

/// Which events are exported, and how they are written.
#[derive(Debug, Clone)]
pub struct Export {
    /// How they are written.
    pub format: Format,
    /// Only events above this position.
    pub after: Position,
    /// Only events up to this one.
    pub until: Position,
    /// Which of them.
    pub filter: Filter,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON for each event.
    Ndjson,
    /// Columns, for DuckDB, pandas, Spark.
    Parquet,
}

/// What was exported.
#[derive(Debug)]
pub struct Exported<W> {
    /// Events written.
    pub events: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What they were written to; everything was handed to it, and nothing was flushed.
    pub output: W,
}

/// Why an export came to no end. What was written by then is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    /// The output did not take the bytes.
    #[error("the export could not be written")]
    Write(#[source] io::Error),
    /// The events could not be encoded as Parquet.
    #[error("the events could not be encoded as Parquet")]
    Encode(#[source] ParquetError),
    /// The runtime stopped, or a thread of the export panicked.
    #[error("the export was interrupted")]
    Interrupted,
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<ParquetError> for ExportError {
    fn from(error: ParquetError) -> Self {
        match error {
            // An error of the output, which the encoder only passes on.
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => Self::Write(*error),
                Err(other) => Self::Encode(ParquetError::External(other)),
            },
            error => Self::Encode(error),
        }
    }
}

impl Export {
    /// Writes the events to `output`, and calls `at` with the position reached as it goes. Memory is bounded, however
    /// large the log is. Answers `None` when whoever reads the output has closed it early, which is no failure.
    ///
    /// # Errors
    /// [`ExportError`] when the log cannot be read, the output fails, or the export is interrupted.
    pub async fn run<W: Write + Send + 'static>(
        &self,
        log: &Log,
        output: W,
        at: impl Fn(Position),
    ) -> Result<Option<Exported<W>>, ExportError> {
        match self.format {
            Format::Ndjson => self.lines(log, output, at).await,
            Format::Parquet => self.columns(log, output, at).await,
        }
    }

    async fn lines<W: Write + Send + 'static>(
        &self,
        log: &Log,
        mut output: W,
        at: impl Fn(Position),
    ) -> Result<Option<Exported<W>>, ExportError> {
        let write = move |mut parts: Parts<Lines>| {
            let mut bytes = 0;
            while let Some(part) = parts.next()? {
                output.write_all(&part.bytes)?;
                bytes += part.bytes.len() as u64;
            }
            Ok((output, bytes))
        };
        self.export(log, at, write, Lines::add, |part| part.events).await
    }

    async fn columns<W: Write + Send + 'static>(
        &self,
        log: &Log,
        mut output: W,
        at: impl Fn(Position),
    ) -> Result<Option<Exported<W>>, ExportError> {
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
            Ok((output, bytes))
        };
        self.export(log, at, write, Columns::add, |part| part.rows() as u64).await
    }

    /// Several readers fold parts of the log with `add`; one thread takes the parts in order and runs `write`.
    async fn export<P: Default + Send + 'static, W: Send + 'static>(
        &self,
        log: &Log,
        at: impl Fn(Position),
        write: impl FnOnce(Parts<P>) -> Result<(W, u64), ExportError> + Send + 'static,
        add: impl Fn(&mut P, &EventRef<'_>) + Clone + Send + 'static,
        events_of: impl Fn(&P) -> u64,
    ) -> Result<Option<Exported<W>>, ExportError> {
        let (to_writer, parts) = mpsc::channel(PARTS_WAITING_MAX);
        let writer = tokio::task::spawn_blocking(move || write(Parts(parts)));
        let mut read = std::pin::pin!(log.parts(self.after, self.until, self.filter.clone(), P::default, add));
        let mut events = 0;
        while let Some((reached, part)) = read.try_next().await? {
            events += events_of(&part);
            if to_writer.send(Some(part)).await.is_err() {
                // The writer has failed, and says why when it is joined.
                break;
            }
            at(reached);
        }
        // A writer that has failed takes nothing any more.
        let _ = to_writer.send(None).await;
        Ok(joined(writer).await?.map(|(output, bytes)| Exported { events, bytes, output }))
    }
}

/// The parts of the log on their way to the writer; `None` after the last one.
struct Parts<P>(mpsc::Receiver<Option<P>>);

impl<P> Parts<P> {
    /// The next part. A channel that closes without the final `None` is an error: an incomplete export must not be
    /// taken for a whole one.
    fn next(&mut self) -> Result<Option<P>, ExportError> {
        self.0.blocking_recv().ok_or(ExportError::Interrupted)
    }
}

/// What the writer came to; `None` when whoever reads the output has closed it.
async fn joined<T>(writer: JoinHandle<Result<T, ExportError>>) -> Result<Option<T>, ExportError> {
    match writer.await.map_err(|_| ExportError::Interrupted)? {
        Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        written => written.map(Some),
    }
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
