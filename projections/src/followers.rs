//! Copies of read models on their way along the log: one read and one decode for all of them, whole batches, and
//! each copy's rows and checkpoint in one transaction of its own file.
//!
//! Catching up, three things go on at once: the log is read and decoded, a batch is folded, and the batch before it
//! is written, by all copies side by side.

mod fold;
mod read;
mod write;

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::sync::{Mutex, mpsc};

use self::{
    fold::{Folded, fold_all},
    read::{gather, read_ahead},
    write::{RETRY_FIRST, Write, Writing, Written, written},
};
use crate::{
    Changes, Decoded, Projection, ReadModelsError,
    models::{Checkpoint, ProjectionCopy},
    projection::Undecodable,
};

/// A batch of more events is folded on a thread of its own, and written while the next one is folded.
const SMALL_BATCH_EVENTS: usize = 256;
/// A checkpoint that moved on without rows is written after so many events, or when nothing else comes for a while.
const UNSAVED_EVENTS_MAX: u64 = 50_000;
const UNSAVED_MAX: Duration = Duration::from_secs(1);
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
        let mut pages = read_ahead(self.log.clone(), after, last);
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
            let gathered = gather(&self.log, first, &mut pages).await;
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
        Writing::begin(writes, noted, reached)
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
