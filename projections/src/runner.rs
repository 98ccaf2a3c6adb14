//! Keeps the read models up with the log: one read and one decode for all of them, whole batches, rows and
//! checkpoints in one transaction.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use daybook_eventlog::{Filter, Log, Page, Position, ReadError};
use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

use crate::{
    Changes, Decoded, FoldError, Progress, Projection, ReadModels, ReadModelsError, models::Checkpoint,
    progress::HEAD_SAMPLE_EVERY, projection::Undecodable,
};

/// Events written in one transaction when catching up; a few at a time when live.
const BATCH_EVENTS_MAX: usize = 50_000;
/// Events read at once.
const PAGE_EVENTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Pages that wait between the reader and the writer.
const PAGES_AHEAD: usize = 32;
/// With more than so many events missing, a batch waits for the next page: large transactions catch up faster. With
/// fewer it is written at once, because somebody may be waiting for it.
const CATCHING_UP_EVENTS: u64 = 8_192;
/// Pauses between tries when the read models cannot be written.
const RETRY_FIRST: Duration = Duration::from_millis(50);
// Shorter than a read waits: what waited for room on the disk is there for the first read after there is some.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The task that keeps read models live. Dropping it stops the task.
pub struct Runner {
    progress: Progress,
    task: JoinHandle<()>,
}

impl Runner {
    /// Makes the tables that are missing, then follows the log.
    ///
    /// # Errors
    /// [`ReadModelsError`] when the tables cannot be made.
    pub async fn start(
        log: Log,
        models: ReadModels,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Result<Self, ReadModelsError> {
        let checkpoints = models.prepare(&projections, source(&log).await?).await?;
        let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
        let mut batches = Batches::new(models, progress.clone(), log.clone(), projections, checkpoints);
        let sampled = progress.clone();
        let task = tokio::spawn(async move {
            let follow = async {
                while !batches.all_faulted() {
                    batches.follow(None).await;
                }
                std::future::pending::<()>().await;
            };
            let sample = async {
                let mut tick = tokio::time::interval(HEAD_SAMPLE_EVERY);
                loop {
                    tick.tick().await;
                    sampled.sample_head();
                }
            };
            futures::future::join(follow, sample).await;
        });
        Ok(Self { progress, task })
    }

    /// How far the read models are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Stops; what was applied stays applied.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only outcome of an aborted task is that it is gone.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Builds `projections` in `models` up to the log's present head, calling `told` after each batch with the position
/// reached. For benchmarks, and for comparing a fresh build with the live one.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn rebuild(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    mut told: impl FnMut(Position) + Send,
) -> Result<Progress, ReadModelsError> {
    let head = log.head();
    let checkpoints = models.prepare(&projections, source(log).await?).await?;
    let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
    let mut batches = Batches::new(models.clone(), progress.clone(), log.clone(), projections, checkpoints);
    while !batches.all_faulted() && batches.lowest() < head {
        batches.follow(Some((head, &mut told))).await;
    }
    Ok(progress)
}

/// What tells one log from another: its first event, and how far it is.
async fn source(log: &Log) -> Result<(Option<Uuid>, Position), ReadModelsError> {
    let first = log.event_at(Position::new(1)).await.map_err(ReadModelsError::Log)?;
    Ok((first.map(|event| event.id), log.head()))
}

/// Where a bounded run ends, and whom it tells how far it is.
type Until<'a> = (Position, &'a mut (dyn FnMut(Position) + Send));

struct Batches {
    models: ReadModels,
    progress: Progress,
    log: Log,
    projections: Vec<(Arc<dyn Projection>, Checkpoint)>,
}

impl Batches {
    fn new(
        models: ReadModels,
        progress: Progress,
        log: Log,
        projections: Vec<Arc<dyn Projection>>,
        checkpoints: Vec<Checkpoint>,
    ) -> Self {
        for (projection, checkpoint) in projections.iter().zip(&checkpoints) {
            match &checkpoint.fault {
                // A fault is looked at again at each start: the build may be one that takes the event.
                Some((position, _)) => {
                    tracing::info!(projection = projection.name(), %position, "trying again where it stopped")
                }
                None => {
                    tracing::debug!(projection = projection.name(), checkpoint = %checkpoint.position, "following the log")
                }
            }
            progress.applied(projection.name(), checkpoint.position, log.head());
        }
        let forgiven = checkpoints.into_iter().map(|checkpoint| Checkpoint { fault: None, ..checkpoint });
        Self { models, progress, log, projections: projections.into_iter().zip(forgiven).collect() }
    }

    fn all_faulted(&self) -> bool {
        self.projections.iter().all(|(_, checkpoint)| checkpoint.fault.is_some())
    }

    /// Where the slowest projection that still works is.
    fn lowest(&self) -> Position {
        let working = self.projections.iter().filter(|(_, checkpoint)| checkpoint.fault.is_none());
        working.map(|(_, checkpoint)| checkpoint.position).min().unwrap_or_else(|| self.log.head())
    }

    /// Applies what the log has, until `until` or for ever; returns early when reading has to begin anew.
    async fn follow(&mut self, mut until: Option<Until<'_>>) {
        let mut pages = self.read_ahead(self.lowest());
        let mut batch = Vec::new();
        while let Some(first) = pages.recv().await {
            let mut next = Some(first);
            let mut reached = Position::START;
            while let Some(page) = next.take() {
                match page {
                    Ok(page) => {
                        reached = page.next_after;
                        batch.extend(page.events);
                    }
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the log could not be read for the read models; trying again"
                        );
                        tokio::time::sleep(RETRY_FIRST).await;
                        return;
                    }
                }
                if batch.len() < BATCH_EVENTS_MAX {
                    next = pages.try_recv().ok();
                    let missing = self.log.head().get().saturating_sub(reached.get());
                    if next.is_none() && missing > CATCHING_UP_EVENTS {
                        next = pages.recv().await;
                    }
                }
            }
            self.apply(&mut batch, reached).await;
            if self.all_faulted() {
                return;
            }
            if let Some((last, told)) = &mut until {
                told(reached.min(*last));
                if reached >= *last {
                    return;
                }
            }
        }
        // The reader ended: the log was closed.
        tokio::time::sleep(RETRY_MAX).await;
    }

    /// Reads and decodes on other threads while the batch before is being written.
    fn read_ahead(&self, after: Position) -> mpsc::Receiver<Result<Page<Result<Decoded, Undecodable>>, ReadError>> {
        let (pages, waiting) = mpsc::channel(PAGES_AHEAD);
        let log = self.log.clone();
        tokio::spawn(async move {
            let head = log.head();
            let mut after = after;
            if after < head {
                let mut parts = Box::pin(log.replay(after, head, Decoded::read));
                while let Some(part) = parts.next().await {
                    let page = part.map(|events| {
                        after = after.plus(events.len() as u64);
                        Page { events, next_after: after }
                    });
                    let failed = page.is_err();
                    if pages.send(page).await.is_err() || failed {
                        return;
                    }
                }
            }
            let mut live = Box::pin(log.subscribe(after, Filter::all(), PAGE_EVENTS, Decoded::read));
            loop {
                // Without a look at the other end this task would hold the log until the next append.
                let page = tokio::select! {
                    () = pages.closed() => return,
                    page = live.next() => page,
                };
                let Some(page) = page else { return };
                let failed = page.is_err();
                if pages.send(page).await.is_err() || failed {
                    return;
                }
            }
        });
        waiting
    }

    /// Folds and writes one batch that ends at `reached`; tries again until it is written.
    async fn apply(&mut self, batch: &mut Vec<Result<Decoded, Undecodable>>, reached: Position) {
        let events = std::mem::take(batch);
        let working: Vec<_> = self
            .projections
            .iter()
            .filter(|(_, checkpoint)| checkpoint.fault.is_none() && checkpoint.position < reached)
            .map(|(projection, checkpoint)| (Arc::clone(projection), checkpoint.position))
            .collect();
        let large = events.len() > 256;
        let fold = move || fold_all(&working, events, reached);
        // A live batch is folded in microseconds: cheaper here than on another thread.
        let folded = if large { tokio::task::spawn_blocking(fold).await.ok() } else { Some(fold()) };
        let Some(folded) = folded else {
            tracing::error!("a fold panicked; the read models stop here");
            return std::future::pending().await;
        };
        let checkpoints = match self.write(&folded).await {
            Ok(()) => folded.into_iter().map(|(name, _, checkpoint)| (name, checkpoint)).collect(),
            Err(RowsRefused) => self.write_one_by_one(folded).await,
        };
        let head = self.log.head();
        for (name, checkpoint) in checkpoints {
            match &checkpoint.fault {
                None => self.progress.applied(name, checkpoint.position, head),
                Some((position, reason)) => {
                    tracing::error!(projection = name, %position, reason, "a projection stopped at an event it cannot take");
                    self.progress.faulted(name, checkpoint.position, *position, reason.clone());
                }
            }
            if let Some((_, stored)) = self.projections.iter_mut().find(|(projection, _)| projection.name() == name) {
                *stored = checkpoint;
            }
        }
    }

    /// Writes everything in one transaction; what is in the way for now (a full disk, a busy file) is waited out.
    async fn write(&self, folded: &[Folded]) -> Result<(), RowsRefused> {
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.models.write(folded).await {
            if RowsRefused::is(&error) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the tables refuse rows: writing each projection on its own");
                return Err(RowsRefused);
            }
            report(&error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        Ok(())
    }

    /// Finds the projection whose rows are refused: it stops where it was, the others go on.
    async fn write_one_by_one(&self, folded: Vec<Folded>) -> Vec<(&'static str, Checkpoint)> {
        let mut checkpoints = Vec::with_capacity(folded.len());
        for one in folded {
            let name = one.0;
            if self.write(std::slice::from_ref(&one)).await.is_ok() {
                checkpoints.push((name, one.2));
                continue;
            }
            let stands = self.projections.iter().find(|(projection, _)| projection.name() == name);
            let position = stands.map_or(Position::START, |(_, checkpoint)| checkpoint.position);
            let reason = "its table refused a row of the batch that begins here".to_owned();
            let stopped = Checkpoint { position, fault: Some((position.plus(1), reason)) };
            if self.write(&[(name, Changes::default(), stopped.clone())]).await.is_err() {
                tracing::error!(projection = name, "where the projection stopped could not be written");
            }
            checkpoints.push((name, stopped));
        }
        checkpoints
    }
}

/// What a projection makes of a batch: its rows, and where it stands then.
type Folded = (&'static str, Changes, Checkpoint);

fn report(error: &ReadModelsError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, "the read models could not be written; trying again");
}

/// The database does not take rows as they are: trying again would not help.
struct RowsRefused;

impl RowsRefused {
    fn is(error: &ReadModelsError) -> bool {
        /// SQLite's primary result codes TOOBIG, CONSTRAINT and MISMATCH: they are about the values, not the moment.
        const ABOUT_VALUES: [i32; 3] = [18, 19, 20];
        let ReadModelsError::Storage(sqlx::Error::Database(error)) = error else { return false };
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        code.is_some_and(|code| ABOUT_VALUES.contains(&(code & 0xff)))
    }
}

fn fold_all(
    working: &[(Arc<dyn Projection>, Position)],
    events: Vec<Result<Decoded, Undecodable>>,
    reached: Position,
) -> Vec<Folded> {
    let mut decoded = Vec::with_capacity(events.len());
    let mut broken = Vec::new();
    for event in events {
        match event {
            Ok(event) => decoded.push(event),
            Err(event) => broken.push(event),
        }
    }
    let fold = |(projection, after): &(Arc<dyn Projection>, Position)| {
        let broken = broken.iter().find(|event| event.position > *after && projection.takes(&event.event_type));
        let fault = broken.map(|event| FoldError { position: event.position, reason: event.reason.clone() });
        fold_one(&**projection, *after, &decoded, reached, fault)
    };
    working.iter().map(fold).collect()
}

/// A fold that panics stops its projection like one that says no.
fn folded(projection: &dyn Projection, events: &[Decoded]) -> Result<Changes, FoldError> {
    catch_unwind(AssertUnwindSafe(|| projection.fold(events))).unwrap_or_else(|_| {
        let position = events.first().map_or(Position::START, |event| event.position);
        Err(FoldError { position, reason: "the fold of the batch that begins here panicked".to_owned() })
    })
}

/// Folds what comes after `after`, up to the first event that the projection cannot take.
fn fold_one(
    projection: &dyn Projection,
    after: Position,
    decoded: &[Decoded],
    reached: Position,
    fault: Option<FoldError>,
) -> Folded {
    let from = decoded.partition_point(|event| event.position <= after);
    let mut fault = fault;
    loop {
        let to = fault
            .as_ref()
            .map_or(decoded.len(), |fault| decoded.partition_point(|event| event.position < fault.position));
        match folded(projection, &decoded[from..to.max(from)]) {
            Ok(changes) => {
                let position =
                    fault.as_ref().map_or(reached, |fault| Position::new(fault.position.get() - 1).max(after));
                let fault = fault.map(|fault| (fault.position, fault.reason));
                return (projection.name(), changes, Checkpoint { position, fault });
            }
            // An error at an event that was not part of the fold would come again for ever: stop at the start.
            Err(error) if to <= from || error.position <= after => {
                let stopped = Checkpoint { position: after, fault: Some((error.position, error.reason)) };
                return (projection.name(), Changes::default(), stopped);
            }
            Err(error) => fault = Some(error),
        }
    }
}
