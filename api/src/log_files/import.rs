//! Into an empty log: everything that an export holds, or nothing.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    pin::pin,
};

use clap::Args;
use daybook_eventlog::{APPEND_EVENTS_MAX, Anchor, ImportError, LOG_FILE, Log, RecordedEvent, lock_folder};
use daybook_projections::READ_MODELS_FOLDER;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::{
    Failed, data_folder,
    lines::{Batch, Source, SourceError},
    open_to_read,
    output::sync_folder,
    tell,
};
use crate::progress::{Progress, Unit, summary};
use crate::settings::SettingsArgs;

/// Where the log is made before it gets its place; what a crash leaves of it goes with the next import.
const STAGE: &str = "import.partial";
/// Bytes of lines that are written in one go, unless one chunk has more.
const COMMIT_BYTES: u64 = 16 << 20;

/// Fills an empty log from an export.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log import log.ndjson --data new-folder\n  gunzip -c log.ndjson.gz | daybook log import - --data new-folder\n\nThe log must not have events yet, and no server may have the folder open. All lines are taken, or none: a line that\nis wrong is named, and nothing is imported. The read models are built at the next start."
)]
pub struct ImportArgs {
    /// The export: one event a line; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ImportArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let folder = data_folder(&self.settings)?;
        refuse_events(&folder).await?;
        let source = Source::open(&self.file)?;
        let progress = Progress::new("importing", Unit::Bytes, source.length);
        let mut batches = pin!(source.batches().peekable());
        // Before anything is made: a file that is something else altogether shows in its first lines.
        if let Some(Err(_)) = batches.as_mut().peek().await
            && let Some(Err(error)) = batches.next().await
        {
            return Err(error.into());
        }
        fs::create_dir_all(&folder).map_err(|error| format!("cannot use {}: {error}", folder.display()))?;
        let _lock = lock_folder(&folder)?;
        // Nobody else writes from here on; before, somebody may have.
        refuse_events(&folder).await?;
        let stage = Stage::make(&folder)?;
        let (anchor, bytes) = stage.fill(batches, &progress).await?;
        stage.take_place()?;
        let took = progress.end();
        tell(&format!("imported {}; the last one is {anchor}", summary(anchor.position.get(), bytes, took)));
        Ok(())
    }
}

/// Only a log without events can be filled.
async fn refuse_events(folder: &Path) -> Result<(), Failed> {
    if !folder.join(LOG_FILE).try_exists()? {
        return Ok(());
    }
    let log = open_to_read(folder).await?;
    let head = log.head();
    log.close().await;
    if head.get() == 0 {
        return Ok(());
    }
    let folder = folder.display();
    Err(format!("the log in {folder} has {head} events: import into another folder, with --data").into())
}

/// The folder inside the data folder in which the log is made. Dropping it removes it.
struct Stage {
    folder: PathBuf,
    path: PathBuf,
}

impl Stage {
    fn make(folder: &Path) -> Result<Self, Failed> {
        let stage = Self { folder: folder.to_owned(), path: folder.join(STAGE) };
        stage.remove()?;
        fs::create_dir(&stage.path)?;
        Ok(stage)
    }

    /// Writes all events; answers the last one, and how many bytes they were.
    async fn fill(
        &self,
        batches: impl Stream<Item = Result<Batch, SourceError>>,
        progress: &Progress,
    ) -> Result<(Anchor, u64), Failed> {
        let log = Log::open(&self.path).await?;
        let written = write(&log, batches, progress).await;
        let anchor = log.anchor().await;
        log.close().await;
        Ok((anchor?, written?))
    }

    /// Puts the finished log into the data folder.
    fn take_place(self) -> Result<(), Failed> {
        let (made, place) = (self.path.join(LOG_FILE), self.folder.join(LOG_FILE));
        let wal = with_suffix(&made, "-wal");
        if fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
            return Err(format!("{} was not folded into the log: try again", wal.display()).into());
        }
        File::open(&made)?.sync_all()?;
        // What belongs to a log without events must not meet the new one; read models are built from it anyway.
        for suffix in ["-wal", "-shm"] {
            remove_file(&with_suffix(&place, suffix))?;
        }
        remove_folder(&self.folder.join(READ_MODELS_FOLDER))?;
        fs::rename(&made, &place)?;
        Ok(sync_folder(&self.folder)?)
    }

    fn remove(&self) -> io::Result<()> {
        remove_folder(&self.path)
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tell(&format!("{} could not be removed: {error}; the next import does it", self.path.display()));
        }
    }
}

/// Writes while the next lines are taken apart.
async fn write(
    log: &Log,
    batches: impl Stream<Item = Result<Batch, SourceError>>,
    progress: &Progress,
) -> Result<u64, Failed> {
    let mut batches = pin!(batches);
    let (mut read, mut waiting_from) = (0, 0);
    let mut waiting: Vec<RecordedEvent> = Vec::new();
    let mut writing = None;
    while let Some(batch) = batches.try_next().await? {
        if waiting.len() + batch.events.len() > APPEND_EVENTS_MAX || batch.read - waiting_from > COMMIT_BYTES {
            written(writing.take()).await?;
            progress.at(waiting_from);
            writing = Some(start_writing(log, std::mem::take(&mut waiting)));
            waiting_from = read;
        }
        read = batch.read;
        waiting.extend(batch.events);
    }
    written(writing).await?;
    written(Some(start_writing(log, waiting))).await?;
    Ok(read)
}

type Writing = tokio::task::JoinHandle<Result<(), ImportError>>;

fn start_writing(log: &Log, events: Vec<RecordedEvent>) -> Writing {
    let log = log.clone();
    tokio::spawn(async move { log.import(events).await.map(drop) })
}

async fn written(writing: Option<Writing>) -> Result<(), Failed> {
    let Some(writing) = writing else { return Ok(()) };
    match writing.await? {
        // The event of position n stands in line n.
        Err(ImportError::Refused { position, refusal }) => {
            Err(SourceError::Line { line: position.get(), what: refusal.to_string() }.into())
        }
        written => Ok(written?),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
