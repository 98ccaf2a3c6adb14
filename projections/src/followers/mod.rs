//! Copies of read models on their way along the log: one read and one decode for all of them, whole batches, and
//! each copy's rows and checkpoint in one transaction of its own file.
//!
//! Catching up, three things go on at once: the log is read and decoded, a batch is folded, and the batch before it
//! is written, by all copies side by side.

mod fold;
mod follower;
mod read;
mod write;

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position, ReadError};
use tokio::sync::mpsc;

pub(crate) use self::follower::{Follower, Hold};
use self::{
    fold::{Folded, fold_all},
    read::{Events, Page, Pages, read_ahead},
    write::{Write, Writes, Written},
};
use crate::{Changes, ReadModelsError, models::Checkpoint};

/// Events written in one transaction when catching up; a few at a time when live. Of more of them, more touch the same
/// rows and pages, which are written once; but all of them, decoded and as rows, are in memory.
const BATCH_EVENTS_MAX: usize = 60_000;
/// Bytes of events, as the log has them, written in one transaction.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// With more than so many events missing, a batch waits for the next page: large transactions catch up faster. With
/// fewer it is written at once, because somebody may be waiting for it.
pub(crate) const CATCHING_UP_EVENTS: u64 = 8_192;
/// A batch of more events is folded on a thread of its own, and written while the next one is folded.
const SMALL_BATCH_EVENTS: usize = 256;
/// A checkpoint that moved on without rows is written after so many events, or when nothing else comes for a while.
/// That loses nothing: events that change nothing may be folded again.
const UNSAVED_EVENTS_MAX: u64 = 50_000;
const UNSAVED_MAX: Duration = Duration::from_secs(1);
/// Pauses when the log cannot be read.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

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

    /// A copy was left out because nobody wants it.
    fn left_out(&self, name: &'static str) {
        let _ = name;
    }
}

/// Why following came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<C> {
    /// The given position is reached, or nothing works any more.
    Reached,
    /// Somebody wants something else first.
    Interrupted(C),
    /// Nobody can interrupt any more: whoever began this is gone.
    Abandoned,
    /// Some copies cannot be written, and keep the others waiting.
    Stuck,
    /// Another node writes some of the copies.
    Fenced,
    /// The log was closed.
    LogClosed,
}

/// Copies that move along the log together.
pub(crate) struct Followers {
    log: Log,
    all: Vec<Follower>,
    observer: Arc<dyn Observer>,
    /// How long the others wait for a copy that cannot be written; for ever when there is no limit.
    patience: Option<Duration>,
}

impl Followers {
    pub(crate) fn new(log: Log, all: Vec<Follower>, observer: Arc<dyn Observer>) -> Self {
        let followers = Self { log, all, observer, patience: None };
        followers.all.iter().for_each(|follower| followers.tell(follower));
        followers
    }

    /// Ends with [`End::Stuck`] when some copies cannot be written for so long, while others can.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
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

    pub(crate) fn add(&mut self, followers: Vec<Follower>) {
        self.all.extend(followers);
    }

    /// Takes those out that `leave`.
    pub(crate) fn part(&mut self, leave: impl Fn(&Follower) -> bool) -> Vec<Follower> {
        let (leaving, staying) = std::mem::take(&mut self.all).into_iter().partition(leave);
        self.all = staying;
        leaving
    }

    pub(crate) fn into_all(self) -> Vec<Follower> {
        self.all
    }

    /// A copy that stopped tries again from where it was.
    pub(crate) fn resume(&mut self, name: &str) -> bool {
        if self.find(name).and_then(Follower::try_again).is_none() {
            return false;
        }
        if let Some(follower) = self.all.iter().find(|follower| follower.name() == name) {
            self.tell(follower);
        }
        true
    }

    /// Where the slowest copy is that still works.
    pub(crate) fn lowest(&self) -> Option<Position> {
        self.all.iter().filter(|follower| follower.is_working()).map(|follower| follower.checkpoint.position).min()
    }

    /// Whether another node writes one of the copies.
    pub(crate) fn is_fenced(&self) -> bool {
        self.all.iter().any(|follower| follower.hold == Hold::Fenced)
    }

    /// Writes every checkpoint and closes the files.
    pub(crate) async fn close(mut self) {
        self.save().await;
        for follower in self.all {
            if let Some(copy) = Arc::into_inner(follower.copy) {
                copy.into_inner().close().await;
            }
        }
    }

    /// Applies what the log has up to `last`.
    pub(crate) async fn follow_to(&mut self, last: Position) {
        let (_keep_open, mut nobody) = mpsc::channel::<()>(1);
        self.follow(Some(last), &mut nobody).await;
    }

    /// Applies what the log has: up to `last`, or for ever; ends early when `interrupts` has something.
    pub(crate) async fn follow<C>(&mut self, last: Option<Position>, interrupts: &mut mpsc::Receiver<C>) -> End<C> {
        let mut pause = PAUSE_FIRST;
        loop {
            if self.is_fenced() {
                return End::Fenced;
            }
            let Some(lowest) = self.lowest() else {
                if last.is_some() {
                    return End::Reached;
                }
                // All have stopped: only a command helps.
                return interrupts.recv().await.map_or(End::Abandoned, End::Interrupted);
            };
            if last.is_some_and(|last| lowest >= last) {
                return End::Reached;
            }
            for follower in &mut self.all {
                follower.folded = follower.checkpoint.position;
            }
            // Otherwise reading begins anew, from where the slowest is now.
            if let Some(end) = self.follow_pages(lowest, last, interrupts).await {
                return end;
            }
            if self.lowest() == Some(lowest) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                pause = PAUSE_FIRST;
            }
        }
    }

    async fn follow_pages<C>(
        &mut self,
        after: Position,
        last: Option<Position>,
        interrupts: &mut mpsc::Receiver<C>,
    ) -> Option<End<C>> {
        let mut pages = read_ahead(self.log.clone(), after, last);
        let mut writing: Option<Writing> = None;
        loop {
            let first = tokio::select! {
                biased;
                interrupt = interrupts.recv() => {
                    self.settle(&mut writing).await;
                    return Some(interrupt.map_or(End::Abandoned, End::Interrupted));
                }
                page = pages.recv() => page,
                written = finished(&mut writing), if writing.is_some() => {
                    if !self.note(writing.take(), written).await {
                        return self.held();
                    }
                    continue;
                }
                () = tokio::time::sleep(UNSAVED_MAX), if writing.is_none() && self.is_unsaved() => {
                    self.save().await;
                    if self.is_fenced() {
                        return Some(End::Fenced);
                    }
                    continue;
                }
            };
            let (batch, error) = match first {
                Some(first) => self.gather(first, &mut pages).await,
                // The reader has come to `last`, or panicked.
                None => (None, None),
            };
            let Some((events, reached)) = batch else {
                self.settle(&mut writing).await;
                return match error {
                    Some(ReadError::Closed) => Some(End::LogClosed),
                    Some(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "the log could not be read for the read models; trying again");
                        None
                    }
                    None => None,
                };
            };
            let is_small = events.len() <= SMALL_BATCH_EVENTS;
            let folded = self.fold(events, reached).await;
            let mut goes_on = self.settle(&mut writing).await;
            if goes_on {
                writing = Some(self.write(folded?, reached));
                if is_small {
                    goes_on = self.settle(&mut writing).await;
                }
            }
            if !goes_on {
                return self.held();
            }
            if let Some(error) = error {
                self.settle(&mut writing).await;
                tracing::error!(error = &error as &dyn std::error::Error, "the log could not be read on");
                return None;
            }
        }
    }

    /// What keeps some copies from being written.
    fn held<C>(&self) -> Option<End<C>> {
        let is_any = |hold: Hold| self.all.iter().any(|follower| follower.hold == hold);
        if is_any(Hold::Fenced) {
            return Some(End::Fenced);
        }
        is_any(Hold::Stuck).then_some(End::Stuck)
    }

    /// What is there of pages, as one batch; and why there are no more, if so.
    async fn gather(
        &self,
        first: Result<Page, ReadError>,
        pages: &mut Pages,
    ) -> (Option<(Events, Position)>, Option<ReadError>) {
        let Page { mut events, mut reached } = match first {
            Ok(page) => page,
            Err(error) => return (None, Some(error)),
        };
        let weight = |events: &Events| events.iter().map(|event| event.as_ref().map_or(0, |event| event.weight)).sum();
        let mut bytes: usize = weight(&events);
        while events.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
            let mut next = pages.try_recv().ok();
            let missing = self.log.head().get().saturating_sub(reached.get());
            if next.is_none() && missing > CATCHING_UP_EVENTS {
                next = pages.recv().await;
            }
            match next {
                Some(Ok(page)) => {
                    reached = page.reached;
                    bytes += weight(&page.events);
                    events.extend(page.events);
                }
                Some(Err(error)) => return (Some((events, reached)), Some(error)),
                None => break,
            }
        }
        (Some((events, reached)), None)
    }

    /// What the events change in each copy; `None` when the process is ending.
    async fn fold(&mut self, events: Events, reached: Position) -> Option<Vec<Folded>> {
        let taking: Vec<_> = self
            .all
            .iter()
            .filter(|follower| follower.is_working() && follower.folded < reached)
            .map(|follower| (Arc::clone(&follower.projection), follower.folded, reached.min(follower.until)))
            .collect();
        let is_small = events.len() <= SMALL_BATCH_EVENTS;
        let fold = move || fold_all(&taking, events);
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
        let (observer, patience) = (Arc::clone(&self.observer), self.patience);
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
                let (copy, observer) = (Arc::clone(&follower.copy), Arc::clone(&observer));
                writes.push(Write { name, copy, changes, checkpoint, observer, patience });
            }
        }
        let writes = if writes.is_empty() { None } else { Writes::begin(writes) };
        Writing { writes, noted, reached }
    }

    /// Waits for what is being written; whether everybody goes on.
    async fn settle(&mut self, writing: &mut Option<Writing>) -> bool {
        let written = finished(writing).await;
        self.note(writing.take(), written).await
    }

    /// Notes where the copies are after a batch was written; whether everybody goes on.
    async fn note(&mut self, writing: Option<Writing>, written: Option<Vec<(&'static str, Written)>>) -> bool {
        let Some(Writing { noted, reached, .. }) = writing else { return true };
        let head = self.log.head().max(reached);
        let mut goes_on = true;
        let mut stopped = Vec::new();
        for (name, checkpoint) in noted {
            if let Some(follower) = self.find(name) {
                follower.checkpoint = checkpoint;
            }
        }
        match written {
            Some(written) => {
                for (name, written) in written {
                    let Some(follower) = self.find(name) else { continue };
                    match written {
                        Written::At(checkpoint) => {
                            follower.saved = checkpoint.position;
                            follower.checkpoint = checkpoint;
                            if follower.checkpoint.fault.is_some() {
                                goes_on = false;
                                stopped.push(name);
                            }
                        }
                        Written::Stuck => {
                            follower.hold = Hold::Stuck;
                            goes_on = false;
                        }
                        Written::Fenced => {
                            follower.hold = Hold::Fenced;
                            goes_on = false;
                        }
                        Written::Unwanted => goes_on = false,
                    }
                }
            }
            None => {
                tracing::error!("writing the read models panicked: asking their files where they are");
                goes_on = false;
                for follower in &mut self.all {
                    let stored = follower.copy.lock().await.stored().clone();
                    follower.saved = stored.position;
                    follower.checkpoint = stored;
                }
            }
        }
        let left_out = self.part_unwanted();
        for follower in &self.all {
            if follower.checkpoint.fault.is_none() {
                self.observer.applied(follower.name(), follower.checkpoint.position, head);
            } else if stopped.contains(&follower.name()) {
                self.tell(follower);
            }
        }
        goes_on && !left_out
    }

    /// Leaves out what nobody wants any more.
    fn part_unwanted(&mut self) -> bool {
        if self.all.iter().all(|follower| self.observer.wants(follower.name())) {
            return false;
        }
        let observer = Arc::clone(&self.observer);
        let unwanted = self.part(|follower| !observer.wants(follower.name()));
        for follower in &unwanted {
            observer.left_out(follower.name());
        }
        true
    }

    /// Tells where a copy is.
    fn tell(&self, follower: &Follower) {
        match &follower.checkpoint.fault {
            None => self.observer.applied(follower.name(), follower.checkpoint.position, self.log.head()),
            Some((position, reason)) => {
                tracing::error!(projection = follower.name(), %position, reason, "a projection stopped at an event it cannot take");
                self.observer.stopped(follower.name(), &follower.checkpoint);
            }
        }
    }

    fn is_unsaved(&self) -> bool {
        self.all.iter().any(Follower::is_unsaved)
    }

    /// Writes the checkpoints that moved on without rows.
    async fn save(&mut self) {
        for follower in &mut self.all {
            if follower.is_unsaved() {
                let mut copy = follower.copy.lock().await;
                match copy.write(&Changes::default(), &follower.checkpoint).await {
                    Ok(()) => follower.saved = follower.checkpoint.position,
                    Err(ReadModelsError::Fenced(_)) => follower.hold = Hold::Fenced,
                    Err(error) => tracing::debug!(%error, "a checkpoint could not be written"),
                }
            }
        }
    }
}

/// A batch that is being written.
struct Writing {
    writes: Option<Writes>,
    /// Who had nothing to write, and is this far.
    noted: Vec<(&'static str, Checkpoint)>,
    reached: Position,
}

/// What became of the batch that is being written; `None` when that has to be asked.
async fn finished(writing: &mut Option<Writing>) -> Option<Vec<(&'static str, Written)>> {
    match writing {
        Some(Writing { writes: Some(writes), .. }) => writes.finished().await,
        _ => Some(Vec::new()),
    }
}
