//! Into an empty log: everything that an export holds, or nothing.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use clap::Args;
use daybook_eventlog::transfer::{Batch, CopyError, Filler, Source, SourceError, copy};
use daybook_eventlog::{Anchor, ImportError, LOG_FILE, Log, lock_folder, make_data_folder};
use daybook_projections::READ_MODELS_FOLDER;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;

use super::{Failed, Place, copy_progress, output::sync_folder, tell};
use crate::progress::{Progress, Unit, summary};
use crate::settings::SettingsArgs;

/// Where the log is made before it gets its place; what a crash leaves of it goes with the next import.
const STAGE: &str = "import.partial";

/// Fills an empty log from an export.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log import log.ndjson --data new-folder\n  gunzip -c log.ndjson.gz | daybook log import - --data new-folder\n\nThe log must not have events yet, and no server may have it open. All lines are taken, or none: a line that is wrong\nis named, and nothing is imported. The read models are built at the next start.\n\nInto a database (DAYBOOK_DATABASE_URL) the lines go by way of a log in a temporary folder (TMPDIR), which needs as much\nroom as they do. To go on after an interruption, import into a folder and copy that with `daybook log copy`."
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
        let place = Place::of(&self.settings)?;
        refuse_events(&place).await?;
        let source = Source::open(&self.file)?;
        let progress = Progress::new("importing", Unit::Bytes, source.length);
        let mut batches = pin!(source.batches().peekable());
        // Before anything is made: a file that is something else altogether shows in its first lines.
        if let Some(Err(_)) = batches.as_mut().peek().await
            && let Some(Err(error)) = batches.next().await
        {
            return Err(error.into());
        }
        let (anchor, bytes) = match &place {
            Place::Folder(folder) => into_folder(folder, &place, batches, &progress).await?,
            Place::Database(_) => into_database(&place, batches, &progress).await?,
        };
        let took = progress.end();
        tell(&format!("imported {}; the last one is {anchor}", summary(anchor.position.get(), bytes, took)));
        Ok(())
    }
}

async fn into_folder(
    folder: &Path,
    place: &Place,
    batches: impl Stream<Item = Result<Batch, SourceError>>,
    progress: &Progress,
) -> Result<(Anchor, u64), Failed> {
    make_data_folder(folder).map_err(|error| format!("cannot use {}: {error}", folder.display()))?;
    let _lock = lock_folder(folder)?;
    // Nobody else writes from here on; before, somebody may have.
    refuse_events(place).await?;
    let stage = Arc::new(Stage::make(folder)?);
    let filled = fill(open_in(&stage.path, &stage).await?, batches, progress).await?;
    stage.take_place()?;
    Ok(filled)
}

/// Makes the log in a temporary folder first: every line is looked at before the database is written to, and what is
/// interrupted after that can go on.
async fn into_database(
    place: &Place,
    batches: impl Stream<Item = Result<Batch, SourceError>>,
    progress: &Progress,
) -> Result<(Anchor, u64), Failed> {
    let stage = Arc::new(tempfile::tempdir()?);
    let (anchor, bytes) = fill(open_in(stage.path(), &stage).await?, batches, progress).await?;
    progress.end();
    let (made, target) = (Log::open_to_read(stage.path()).await?, place.open_to_fill().await?);
    // Before, the tables may have been missing, or somebody else may have written since.
    if let Err(refused) = refuse_events(place).await {
        made.close().await;
        target.close().await;
        return Err(refused);
    }
    let (copied, there) = (copy(&made, &target, copy_progress()).await, target.place());
    made.close().await;
    target.close().await;
    match copied {
        Ok(_) => Ok((anchor, bytes)),
        Err(CopyError::Foreign { .. } | CopyError::Ahead { .. }) => {
            Err(format!("others have written to {there} meanwhile: nothing was imported").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Only a log without events can be filled.
async fn refuse_events(place: &Place) -> Result<(), Failed> {
    let log = match place {
        Place::Folder(folder) if !folder.join(LOG_FILE).try_exists()? => return Ok(()),
        Place::Folder(_) => place.open_to_read().await?,
        Place::Database(_) => match place.open_to_read().await {
            Ok(log) => log,
            // Its tables are made before it is filled; what else is wrong with it is said there.
            Err(_) => return Ok(()),
        },
    };
    let (head, there) = (log.stored_head().await, log.place());
    log.close().await;
    let head = head?;
    if head.get() == 0 {
        return Ok(());
    }
    Err(match place {
        Place::Folder(folder) => {
            format!("the log in {} has {head} events: import into another folder, with --data", folder.display()).into()
        }
        Place::Database(_) => format!(
            "the log in {there} has {head} events: import into a database without any. To go on with an import that was \
             interrupted, import into a folder, and copy that with daybook log copy"
        )
        .into(),
    })
}

/// Makes the log in `folder`, which `stage` removes when it goes. Whoever is stopped in the middle of it does not take
/// the folder away before it is over, or it would come back.
async fn open_in<S: Send + Sync + 'static>(folder: &Path, stage: &Arc<S>) -> Result<Log, Failed> {
    let (folder, stage, runtime) = (folder.to_owned(), Arc::clone(stage), Handle::current());
    let open = tokio::task::spawn_blocking(move || (runtime.block_on(Log::open(&folder)), stage));
    let (log, _stage) = open.await?;
    Ok(log?)
}

/// Writes all events into a new log; answers the last one, and how many bytes their lines were.
async fn fill(
    log: Log,
    batches: impl Stream<Item = Result<Batch, SourceError>>,
    progress: &Progress,
) -> Result<(Anchor, u64), Failed> {
    let written = write(&log, batches, progress).await;
    let anchor = log.anchor().await;
    log.close().await;
    Ok((anchor?, written?))
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

    /// Puts the finished log into the data folder.
    fn take_place(&self) -> Result<(), Failed> {
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
    let (mut filler, mut read) = (Filler::new(log), 0);
    while let Some(batch) = batches.try_next().await? {
        progress.at(filler.take(batch.events, batch.read - read).await.map_err(in_line)?.bytes);
        read = batch.read;
    }
    Ok(filler.finish().await.map_err(in_line)?.bytes)
}

/// The event of position n stands in line n.
fn in_line(error: ImportError) -> Failed {
    match error {
        ImportError::Refused { position, refusal } => {
            SourceError::Line { line: position.get(), what: refusal.to_string() }.into()
        }
        error => error.into(),
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
