//! The copies that are served: kept up with the log, and replaced by rebuilt ones.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use crate::{
    Progress, ProjectionState, ReadModels, ReadModelsError,
    control::Command,
    followers::{CATCHING_UP_EVENTS, End, Follower, Followers, Hold, Observer},
    models::{Checkpoint, Source},
    progress::HEAD_SAMPLE_EVERY,
    rebuild::{Building, TakeOverError},
};

/// How long a read model that cannot be written keeps the others waiting.
const STUCK_PATIENCE: Duration = Duration::from_secs(10);

/// The copies that are served.
pub(crate) struct Live {
    followers: Followers,
    /// Those that are too far behind for the others to wait for.
    behind: Option<Behind>,
    log: Log,
    models: ReadModels,
    progress: Progress,
    /// To hear of those that have caught up. Not a sender: the task ends when nobody else commands it.
    commands: mpsc::WeakSender<Command>,
}

/// Copies that catch up on their own.
struct Behind {
    stop: mpsc::Sender<()>,
    task: JoinHandle<Vec<Follower>>,
}

impl Live {
    /// Follows the log with `followers`; `commands` tells of those that have caught up.
    pub(crate) fn new(
        log: Log,
        models: ReadModels,
        progress: Progress,
        followers: Vec<Follower>,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        let followers =
            Followers::new(log.clone(), followers, Arc::new(progress.clone())).with_patience(STUCK_PATIENCE);
        Self { followers, behind: None, log, models, progress, commands }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        // Ends with this task, however that ends.
        let mut tidying = JoinSet::new();
        tidying.spawn(tidy(self.log.clone(), self.models.clone(), self.progress.clone()));
        loop {
            self.part_behind().await;
            match self.followers.follow(None, &mut commands).await {
                End::Interrupted(Command::TakeOver(building, reply)) => {
                    // The one who asked may have gone; the copy is served all the same.
                    let _ = reply.send(self.take_over(building).await);
                }
                End::Interrupted(Command::Resume(name, reply)) => {
                    if self.followers.find(name).is_none() {
                        self.reclaim().await;
                    }
                    let _ = reply.send(self.followers.resume(name));
                }
                End::Interrupted(Command::CaughtUp) => self.reclaim().await,
                #[cfg(test)]
                End::Interrupted(Command::Panic) => panic!("it was asked to"),
                End::Stuck => {}
                End::Fenced => {
                    tracing::warn!("another node keeps the read models");
                    break;
                }
                End::Interrupted(Command::Stop) | End::LogClosed | End::Abandoned | End::Reached => break,
            }
        }
        drop(tidying);
        self.reclaim().await;
        self.followers.close().await;
    }

    /// Lets those that are far behind the others, or cannot be written, go on on their own: nobody waits for them.
    async fn part_behind(&mut self) {
        let working = || self.followers.iter().filter(|follower| follower.is_working());
        let first = working().filter(|one| one.hold != Hold::Stuck).map(|one| one.checkpoint.position).max();
        let Some(first) = first else { return };
        let is_behind = |one: &Follower| {
            let missing = first.get().saturating_sub(one.checkpoint.position.get());
            one.is_working() && (one.hold == Hold::Stuck || missing > CATCHING_UP_EVENTS)
        };
        if !working().any(is_behind) {
            return;
        }
        self.reclaim().await;
        let mut apart = self.followers.part(is_behind);
        apart.iter_mut().for_each(|follower| follower.hold = Hold::Free);
        let names: Vec<_> = apart.iter().map(Follower::name).collect();
        tracing::info!(projections = ?names, "catching up on their own");
        let (stop, stopped) = mpsc::channel(1);
        let catching_up = catch_up(self.log.clone(), apart, self.progress.clone(), stopped, self.commands.clone());
        self.behind = Some(Behind { stop, task: tokio::spawn(catching_up) });
    }

    /// Takes back those that catch up on their own, wherever they are.
    async fn reclaim(&mut self) {
        if let Some(Behind { stop, task }) = self.behind.take() {
            drop(stop);
            match task.await {
                Ok(followers) => self.followers.add(followers),
                // It has lost its copies: this task panics with it, and those that are started next have them again.
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Brings a copy to where the served one is, and serves it instead.
    async fn take_over(&mut self, (projection, id): Building) -> Result<(), TakeOverError> {
        let name = projection.name();
        if self.followers.find(name).is_none() {
            self.reclaim().await;
        }
        // One that stopped stays behind, and of an older version there is none here: what takes over has everything.
        let target = match self.followers.find(name) {
            Some(served) if served.checkpoint.fault.is_none() => served.checkpoint.position,
            _ => self.log.head(),
        };
        let copy = self.models.open_copy(id.clone(), &*projection).await?;
        let mut alone = Followers::new(self.log.clone(), vec![Follower::new(projection, copy)], Arc::new(Silent));
        alone.follow_to(target).await;
        let Some(fresh) = alone.into_all().pop() else { return Err(TakeOverError::Stopping) };
        if let Some(fault) = fresh.checkpoint.fault {
            return Err(TakeOverError::Stopped(fault));
        }
        if fresh.hold == Hold::Fenced {
            return Err(ReadModelsError::Fenced(name.to_owned()).into());
        }
        self.models.take_over(&id).await?;
        fresh.has_taken_over().await;
        let position = fresh.checkpoint.position;
        // The connection of the old one closes here; its file goes when nobody reads it any more.
        drop(self.followers.part(|follower| follower.name() == name));
        self.followers.add(vec![fresh]);
        self.progress.applied(name, position, self.log.head());
        tracing::info!(projection = name, %position, "its rebuilt read model has taken over");
        Ok(())
    }
}

/// Brings copies near the log's head, says so, and hands them back; earlier when `stopped`.
async fn catch_up(
    log: Log,
    followers: Vec<Follower>,
    progress: Progress,
    mut stopped: mpsc::Receiver<()>,
    commands: mpsc::WeakSender<Command>,
) -> Vec<Follower> {
    let mut followers = Followers::new(log.clone(), followers, Arc::new(progress));
    while let Some(lowest) = followers.lowest() {
        let head = log.head();
        if head.get().saturating_sub(lowest.get()) < CATCHING_UP_EVENTS / 2 {
            break;
        }
        match followers.follow(Some(head), &mut stopped).await {
            End::Reached => {}
            End::Fenced => break,
            End::Interrupted(()) | End::Abandoned | End::Stuck | End::LogClosed => return followers.into_all(),
        }
    }
    if let Some(commands) = commands.upgrade() {
        // In a task of its own: whoever takes the copies back need not listen at this moment. When nobody listens any
        // more, they are taken back all the same.
        tokio::spawn(async move { drop(commands.send(Command::CaughtUp).await) });
    }
    followers.into_all()
}

/// Copies of older versions stay until the ones of this version have everything; and once the log has an event, the
/// copies are known to be of it.
async fn tidy(log: Log, models: ReadModels, progress: Progress) {
    let mut head = log.watch_head();
    if head.wait_for(|head| *head > Position::START).await.is_err() {
        return;
    }
    if let Ok(Source { first_event: Some(first), .. }) = Source::of(&log).await
        && let Err(error) = models.note_source(first).await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "which log the read models are of was not noted");
    }
    let mut waiting: Vec<&'static str> = progress.status().iter().map(|status| status.name).collect();
    while !waiting.is_empty() {
        for status in progress.status() {
            if status.state == ProjectionState::Live && waiting.contains(&status.name) {
                waiting.retain(|name| *name != status.name);
                models.forget_retired(status.name).await;
            }
        }
        tokio::time::sleep(HEAD_SAMPLE_EVERY).await;
    }
}

/// Nobody is told.
struct Silent;

impl Observer for Silent {
    fn applied(&self, _: &'static str, _: Position, _: Position) {}

    fn stopped(&self, _: &'static str, _: &Checkpoint) {}
}
