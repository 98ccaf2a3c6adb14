//! Copies of read models on their way along the log: one read and one decode for all of them, whole batches, and
//! each copy's rows and checkpoint in one transaction of its own file.
//!
//! Catching up, three things go on at once: the log is read and decoded, a batch is folded, and the batch before it
//! is written, by all copies side by side.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use daybook_eventlog::{Filter, Log, Page, Position, ReadError};
use futures::{StreamExt, future::join_all};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModelsError,
    models::{Checkpoint, ProjectionCopy},
    projection::Undecodable,
};

/// Events written in one transaction when catching up; a few at a time when live.
const BATCH_EVENTS_MAX: usize = 30_000;
/// Events read at once.
const PAGE_EVENTS: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Pages that wait between the reader and the fold.
const PAGES_AHEAD: usize = 32;
/// With more than so many events missing, a batch waits for the next page: large transactions catch up faster. With
/// fewer it is written at once, because somebody may be waiting for it.
const CATCHING_UP_EVENTS: u64 = 8_192;
/// A batch of more events is folded on a thread of its own, and written while the next one is folded.
const SMALL_BATCH_EVENTS: usize = 256;
/// A checkpoint that moved on without rows is written after so many events, or when nothing else comes for a while.
const UNSAVED_EVENTS_MAX: u64 = 50_000;
const UNSAVED_MAX: Duration = Duration::from_secs(1);
/// Pauses between tries when a copy cannot be written.
const RETRY_FIRST: Duration = Duration::from_millis(50);
// Shorter than a read waits: what waited for room on the disk is there for the first read after there is some.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Who is told how the copies get on.
pub(crate) trait Observer: Send + Sync {
    /// A copy has everything up to `position`; the log is at `head`.
    fn applied(&self, name: &'static str, position: Position, head: Position);

    /// A copy stopped at an event that it cannot take.
    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint);

    /// Whether the copy is still wanted.
    fn wants(&self, name: &'static str) -> bool {
        let _ = name;
        true
    }
}

/// A copy, and how far it is.
pub(crate) struct Follower {
    pub(crate) projection: Arc<dyn Projection>,
    copy: Arc<Mutex<ProjectionCopy>>,
    /// Everything up to here is applied; the file may not say so yet.
    pub(crate) checkpoint: Checkpoint,
    /// Everything up to here is folded.
    folded: Position,
    /// What the file says.
    saved: Position,
    /// Nothing after it is applied.
    until: Position,
    /// Others wait for what the file says.
    is_shared: bool,
}

impl Follower {
    /// A copy that goes on from where its file says it is.
    pub(crate) fn new(projection: Arc<dyn Projection>, copy: ProjectionCopy) -> Self {
        let checkpoint = copy.stored().clone();
        let position = checkpoint.position;
        Self {
            projection,
            is_shared: copy.is_shared(),
            copy: Arc::new(Mutex::new(copy)),
            checkpoint,
            folded: position,
            saved: position,
            until: Position::new(u64::MAX),
        }
    }

    /// Stops at `until`.
    pub(crate) fn until(mut self, until: Position) -> Self {
        self.until = until;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.projection.name()
    }

    /// Its copy is the one that is served now.
    pub(crate) async fn has_taken_over(&self) {
        self.copy.lock().await.has_taken_over();
    }

    pub(crate) fn is_working(&self) -> bool {
        self.checkpoint.fault.is_none() && self.checkpoint.position < self.until
    }
}

/// Why following came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<C> {
    /// The given position is reached, or nothing works any more.
    Reached,
    /// Somebody wants something else first.
    Interrupted(C),
    /// The log was closed.
    LogClosed,
    /// Another node keeps this projection's copy now: the ones here are none of this process's business any more.
    Fenced(&'static str),
}

/// Copies that move along the log together.
pub(crate) struct Followers {
    log: Log,
    all: Vec<Follower>,
    observer: Arc<dyn Observer>,
    /// One whose copy another node keeps now.
    fenced: Option<&'static str>,
}

impl Followers {
    pub(crate) fn new(log: Log, all: Vec<Follower>, observer: Arc<dyn Observer>) -> Self {
        for follower in &all {
            match &follower.checkpoint.fault {
                Some(_) => observer.stopped(follower.name(), &follower.checkpoint),
                None => observer.applied(follower.name(), follower.checkpoint.position, log.head()),
            }
        }
        Self { log, all, observer, fenced: None }
    }

    /// Reads by another handle from now on.
    pub(crate) fn read_from(&mut self, log: Log) {
        self.log = log;
    }

    pub(crate) fn find(&mut self, name: &str) -> Option<&mut Follower> {
        self.all.iter_mut().find(|follower| follower.name() == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Follower> {
        self.all.iter()
    }

    /// Puts `follower` in the place of the copy of its name, which is handed back if there is one.
    pub(crate) fn put(&mut self, follower: Follower) -> Option<Follower> {
        if let Some(old) = self.find(follower.name()) {
            return Some(std::mem::replace(old, follower));
        }
        self.all.push(follower);
        None
    }

    /// Takes a copy out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Follower> {
        let place = self.all.iter().position(|follower| follower.name() == name)?;
        Some(self.all.swap_remove(place))
    }

    /// A copy that stopped tries again from where it was.
    pub(crate) fn resume(&mut self, name: &str) -> bool {
        let head = self.log.head();
        let Some(follower) = self.all.iter_mut().find(|follower| follower.name() == name) else { return false };
        if follower.checkpoint.fault.take().is_none() {
            return false;
        }
        follower.folded = follower.checkpoint.position;
        // What the file says of the fault is no longer true.
        follower.saved = Position::START;
        self.observer.applied(follower.name(), follower.checkpoint.position, head);
        true
    }

    /// Where the slowest copy is that still works.
    pub(crate) fn lowest(&self) -> Option<Position> {
        self.all.iter().filter(|follower| follower.is_working()).map(|follower| follower.checkpoint.position).min()
    }

    /// Writes every checkpoint and closes the files.
    pub(crate) async fn close(mut self) {
        if self.fenced.is_none() {
            self.save().await;
        }
        for follower in self.all {
            if let Some(copy) = Arc::into_inner(follower.copy) {
                copy.into_inner().close().await;
            }
        }
    }

    /// Applies what the log has: up to `last`, or for ever; ends early when `interrupts` has something.
    pub(crate) async fn follow<C>(&mut self, last: Option<Position>, interrupts: &mut mpsc::Receiver<C>) -> End<C> {
        let mut is_listening = true;
        loop {
            if let Some(name) = self.fenced {
                return End::Fenced(name);
            }
            let Some(lowest) = self.lowest() else {
                if last.is_some() {
                    return End::Reached;
                }
                // All have stopped: only a command helps.
                return interrupts.recv().await.map_or(End::LogClosed, End::Interrupted);
            };
            if last.is_some_and(|last| lowest >= last) {
                return End::Reached;
            }
            // Otherwise reading begins anew, from where the slowest is now.
            if let Some(end) = self.follow_pages(lowest, last, interrupts, &mut is_listening).await {
                return end;
            }
        }
    }

    async fn follow_pages<C>(
        &mut self,
        after: Position,
        last: Option<Position>,
        interrupts: &mut mpsc::Receiver<C>,
        is_listening: &mut bool,
    ) -> Option<End<C>> {
        let mut pages = self.read_ahead(after, last);
        let mut writing: Option<Writing> = None;
        loop {
            let first = tokio::select! {
                biased;
                interrupt = interrupts.recv(), if *is_listening => match interrupt {
                    Some(interrupt) => {
                        self.settle(&mut writing).await;
                        return Some(End::Interrupted(interrupt));
                    }
                    None => {
                        *is_listening = false;
                        continue;
                    }
                },
                page = pages.recv() => page,
                written = written(&mut writing), if writing.is_some() => {
                    if let Some(writing) = writing.take() && !self.note(writing, written) {
                        return None;
                    }
                    continue;
                }
                () = tokio::time::sleep(UNSAVED_MAX), if writing.is_none() && self.is_unsaved() => {
                    self.save().await;
                    continue;
                }
            };
            let Some(first) = first else {
                self.settle(&mut writing).await;
                return match last {
                    _ if self.fenced.is_some() => None,
                    Some(last) if self.lowest().is_none_or(|lowest| lowest >= last) => Some(End::Reached),
                    Some(_) => None,
                    None => Some(End::LogClosed),
                };
            };
            let gathered = self.gather(first, &mut pages).await;
            let (events, reached) = match gathered {
                Ok(gathered) => gathered,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the log could not be read for the read models; trying again"
                    );
                    self.settle(&mut writing).await;
                    tokio::time::sleep(RETRY_FIRST).await;
                    return None;
                }
            };
            let is_small = events.len() <= SMALL_BATCH_EVENTS;
            let folded = self.fold(events, reached).await;
            let mut goes_on = self.settle(&mut writing).await;
            // The process is ending; were the batch left out, the next one would not follow on.
            let folded = folded?;
            writing = Some(self.write(folded, reached));
            if is_small || !goes_on {
                goes_on &= self.settle(&mut writing).await;
            }
            if !goes_on {
                return None;
            }
        }
    }

    /// What is there of pages, as one batch.
    async fn gather(
        &self,
        first: ReadPage,
        pages: &mut mpsc::Receiver<ReadPage>,
    ) -> Result<(Vec<Result<Decoded, Undecodable>>, Position), ReadError> {
        let Page { mut events, next_after: mut reached } = first?;
        while events.len() < BATCH_EVENTS_MAX {
            let mut next = pages.try_recv().ok();
            let missing = self.log.head().get().saturating_sub(reached.get());
            if next.is_none() && missing > CATCHING_UP_EVENTS {
                next = pages.recv().await;
            }
            let Some(page) = next else { break };
            let page = page?;
            reached = page.next_after;
            events.extend(page.events);
        }
        Ok((events, reached))
    }

    /// Reads and decodes on other threads while the batches before are folded and written.
    fn read_ahead(&self, after: Position, last: Option<Position>) -> mpsc::Receiver<ReadPage> {
        let (pages, waiting) = mpsc::channel(PAGES_AHEAD);
        let log = self.log.clone();
        tokio::spawn(async move {
            let head = last.map_or_else(|| log.head(), |last| last.min(log.head()));
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
            if last.is_some() {
                return;
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

    /// What the events change in each copy.
    async fn fold(&mut self, events: Vec<Result<Decoded, Undecodable>>, reached: Position) -> Option<Vec<Folded>> {
        let working: Vec<_> = self
            .all
            .iter()
            .filter(|follower| follower.is_working() && follower.folded < reached)
            .map(|follower| (Arc::clone(&follower.projection), follower.folded, reached.min(follower.until)))
            .collect();
        let is_small = events.len() <= SMALL_BATCH_EVENTS;
        let fold = move || fold_all(&working, events);
        // A small batch is folded in microseconds: cheaper here than on another thread.
        let folded = if is_small { fold() } else { tokio::task::spawn_blocking(fold).await.ok()? };
        for one in &folded {
            if let Some(follower) = self.find(one.name) {
                follower.folded = one.checkpoint.position;
            }
        }
        Some(folded)
    }

    /// Begins to write: every copy that has rows, side by side. The others only note how far they are.
    fn write(&mut self, folded: Vec<Folded>, reached: Position) -> Writing {
        let mut writes = Vec::new();
        let mut noted = Vec::new();
        for Folded { name, changes, checkpoint } in folded {
            let Some(follower) = self.find(name) else { continue };
            // It stopped while this was folded.
            if !follower.is_working() {
                continue;
            }
            let unsaved = checkpoint.position.get().saturating_sub(follower.saved.get());
            let may_wait = !follower.is_shared && unsaved < UNSAVED_EVENTS_MAX;
            if changes.0.is_empty() && checkpoint.fault.is_none() && may_wait {
                noted.push((name, checkpoint));
            } else {
                let (copy, after) = (Arc::clone(&follower.copy), follower.checkpoint.position);
                writes.push(Write { name, copy, after, changes, checkpoint });
            }
        }
        let task = if writes.is_empty() {
            None
        } else {
            Some(AbortOnDrop(tokio::spawn(join_all(writes.into_iter().map(Write::run)))))
        };
        Writing { task, noted, reached }
    }

    /// Waits for what is being written; whether everybody goes on.
    async fn settle(&mut self, writing: &mut Option<Writing>) -> bool {
        let written = written(writing).await;
        writing.take().is_none_or(|writing| self.note(writing, written))
    }

    /// Notes where the copies are after a batch was written; whether everybody goes on.
    fn note(&mut self, writing: Writing, written: Vec<Written>) -> bool {
        let Writing { noted, reached, .. } = writing;
        let head = self.log.head().max(reached);
        let observer = Arc::clone(&self.observer);
        let mut is_whole = true;
        let noted = noted.into_iter().map(|(name, checkpoint)| (false, name, Some(checkpoint)));
        let written = written.into_iter().map(|Written { name, checkpoint }| (true, name, checkpoint));
        for (is_saved, name, checkpoint) in noted.chain(written) {
            let Some(checkpoint) = checkpoint else {
                is_whole = false;
                self.fenced = Some(name);
                continue;
            };
            let Some(follower) = self.find(name) else { continue };
            if is_saved {
                follower.saved = checkpoint.position;
            }
            follower.checkpoint = checkpoint;
            match &follower.checkpoint.fault {
                None => observer.applied(name, follower.checkpoint.position, head),
                Some((position, reason)) => {
                    is_whole = false;
                    tracing::error!(projection = name, %position, reason, "a projection stopped at an event it cannot take");
                    observer.stopped(name, &follower.checkpoint);
                }
            }
        }
        let before = self.all.len();
        self.all.retain(|follower| observer.wants(follower.name()));
        is_whole && self.all.len() == before
    }

    fn is_unsaved(&self) -> bool {
        self.all.iter().any(|follower| follower.saved != follower.checkpoint.position)
    }

    /// Writes the checkpoints that moved on without rows.
    async fn save(&mut self) {
        for follower in &mut self.all {
            if follower.saved != follower.checkpoint.position {
                let mut copy = follower.copy.lock().await;
                match copy.write(&Changes::default(), &follower.checkpoint).await {
                    Ok(()) => follower.saved = follower.checkpoint.position,
                    Err(ReadModelsError::Fenced(_)) => self.fenced = Some(follower.projection.name()),
                    // Nothing is lost: the events after the old one change nothing.
                    Err(error) => tracing::debug!(%error, "a checkpoint could not be written"),
                }
            }
        }
    }
}

type ReadPage = Result<Page<Result<Decoded, Undecodable>>, ReadError>;

/// What a projection makes of a batch: its rows, and where it stands then.
struct Folded {
    name: &'static str,
    changes: Changes,
    checkpoint: Checkpoint,
}

/// A batch on its way into the files.
struct Writing {
    task: Option<AbortOnDrop<Vec<Written>>>,
    noted: Vec<(&'static str, Checkpoint)>,
    reached: Position,
}

/// Where a copy stands that had rows to write; nowhere when another node keeps it now.
struct Written {
    name: &'static str,
    checkpoint: Option<Checkpoint>,
}

/// Where the copies are that have written their rows.
async fn written(writing: &mut Option<Writing>) -> Vec<Written> {
    match writing {
        Some(Writing { task: Some(AbortOnDrop(task)), .. }) => task.await.unwrap_or_default(),
        _ => Vec::new(),
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A batch on its way into one file.
struct Write {
    name: &'static str,
    copy: Arc<Mutex<ProjectionCopy>>,
    /// Where the copy was before.
    after: Position,
    changes: Changes,
    checkpoint: Checkpoint,
}

fn report(projection: &str, error: &ReadModelsError, what: &str) {
    tracing::error!(error = error as &dyn std::error::Error, projection, "{what}");
}

impl Write {
    /// Writes; what is in the way for now (a full disk, a busy file) is waited out. Answers where the copy stands.
    async fn run(self) -> Written {
        let Self { name, copy, after, changes, checkpoint } = self;
        let mut copy = copy.lock().await;
        let mut pause = RETRY_FIRST;
        let refusal = loop {
            let Err(error) = copy.write(&changes, &checkpoint).await else {
                return Written { name, checkpoint: Some(checkpoint) };
            };
            if matches!(error, ReadModelsError::Fenced(_)) {
                return Written { name, checkpoint: None };
            }
            if !error.may_pass() {
                break error;
            }
            report(name, &error, "a read model could not be written; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        };
        report(name, &refusal, "a read model takes no rows");
        let position = after;
        let reason = match &refusal {
            ReadModelsError::Storage(sqlx::Error::Database(refusal)) => refusal.message().to_owned(),
            other => other.to_string(),
        };
        let reason = format!("the tables refused the batch that begins here: {reason}");
        let stopped = Checkpoint { position, fault: Some((position.plus(1), reason)) };
        if let Err(error) = copy.write(&Changes::default(), &stopped).await {
            report(name, &error, "where a projection stopped could not be written");
        }
        Written { name, checkpoint: Some(stopped) }
    }
}

fn fold_all(
    working: &[(Arc<dyn Projection>, Position, Position)],
    events: Vec<Result<Decoded, Undecodable>>,
) -> Vec<Folded> {
    let mut decoded = Vec::with_capacity(events.len());
    let mut broken = Vec::new();
    for event in events {
        match event {
            Ok(event) => decoded.push(event),
            Err(event) => broken.push(event),
        }
    }
    let fold = |(projection, after, reached): &(Arc<dyn Projection>, Position, Position)| {
        let broken = broken
            .iter()
            .find(|event| event.position > *after && event.position <= *reached && projection.takes(&event.event_type));
        let fault = broken.map(|event| FoldError { position: event.position, reason: event.reason.clone() });
        fold_one(&**projection, *after, &decoded, *reached, fault)
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

/// Folds what comes after `after`, up to `reached` or the first event that the projection cannot take.
fn fold_one(
    projection: &dyn Projection,
    after: Position,
    decoded: &[Decoded],
    reached: Position,
    fault: Option<FoldError>,
) -> Folded {
    let name = projection.name();
    let from = decoded.partition_point(|event| event.position <= after);
    let mut fault = fault;
    loop {
        let end = fault.as_ref().map_or(reached.plus(1), |fault| fault.position.min(reached.plus(1)));
        let to = decoded.partition_point(|event| event.position < end);
        match folded(projection, &decoded[from..to.max(from)]) {
            Ok(changes) => {
                let position =
                    fault.as_ref().map_or(reached, |fault| Position::new(fault.position.get() - 1).max(after));
                let fault = fault.map(|fault| (fault.position, fault.reason));
                return Folded { name, changes, checkpoint: Checkpoint { position, fault } };
            }
            // An error at an event that was not part of the fold would come again for ever: stop at the start.
            Err(error) if to <= from || error.position <= after => {
                let stopped = Checkpoint { position: after, fault: Some((error.position, error.reason)) };
                return Folded { name, changes: Changes::default(), checkpoint: stopped };
            }
            Err(error) => fault = Some(error),
        }
    }
}
