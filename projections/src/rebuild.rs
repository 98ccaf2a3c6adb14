//! Copies that are built from nothing beside the ones that are served.
//!
//! All that is asked for at one time is built together, with one pass over the log, on a thread of low priority and
//! on connections of its own: whoever reads and writes meanwhile comes first. What is asked for while others are being
//! built waits for its turn.

mod jobs;

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::sync::mpsc;

pub(crate) use self::jobs::Rebuilds;
use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::Commands,
    followers::{End, Follower, Followers, Hold, Observer},
    models::{Checkpoint, CopyId, TAKE_OVER_PAUSE, TAKE_OVER_TRIES_MAX},
};

/// What is left for the one who takes the copy over, at most, unless the log grows faster than a copy does.
const HANDOVER_EVENTS: u64 = 2_048;
/// How nice the thread is: of two that want the processor, the other one gets nearly all of it.
const NICENESS: i32 = 19;
/// How long to wait before something is tried again that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A copy to be built, and of what.
pub(crate) type Building = (Arc<dyn Projection>, CopyId);

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Built {
    /// It is as far as the log, but for a little.
    Whole,
    /// It stopped at an event that it cannot take.
    Stopped(Checkpoint),
    /// It could not be built; what was built so far is of no use, or may go on later.
    Failed { reason: String, may_pass: bool },
    /// Nobody wanted it any more.
    GivenUp,
    /// Somebody else builds it now, or has taken it out of the catalog.
    Fenced,
    /// It goes on at the next start.
    Interrupted,
}

/// Why a copy that was built is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeOverError {
    #[error("its last events could not be applied")]
    ReadModels(#[from] ReadModelsError),
    #[error("the event at position {} cannot be taken: {}", .0.0, .0.1)]
    Stopped((Position, String)),
    #[error("the server is stopping")]
    Stopping,
}

/// Builds what is asked for while the server runs.
pub(crate) struct Rebuilder {
    pub(crate) log: Log,
    pub(crate) models: ReadModels,
    pub(crate) progress: Progress,
    /// Who asks for rebuilds, and who serves what is built.
    pub(crate) commands: Commands,
}

impl Rebuilder {
    /// Builds whatever is asked for, all of one time together, until `stopped`.
    pub(crate) async fn run(self, mut stopped: mpsc::Receiver<()>) {
        loop {
            let waiting = self.commands.rebuilds.take_waiting();
            if waiting.is_empty() {
                tokio::select! {
                    () = self.commands.rebuilds.asked.notified() => continue,
                    _ = stopped.recv() => return,
                }
            }
            let (outcomes, mut told) = mpsc::unbounded_channel();
            let observer = Watched {
                progress: self.progress.clone(),
                rebuilds: Arc::clone(&self.commands.rebuilds),
                outcomes: outcomes.clone(),
            };
            let (stop, stop_heard) = mpsc::channel(1);
            let mut left: HashMap<&'static str, Building> =
                waiting.iter().map(|building| (building.0.name(), building.clone())).collect();
            begin_aside(self.log.clone(), self.models.clone(), waiting, observer, stop_heard, outcomes);
            let mut stop = Some(stop);
            while !left.is_empty() {
                tokio::select! {
                    outcome = told.recv() => match outcome {
                        Some((name, built)) => {
                            if let Some(building) = left.remove(name) {
                                self.finish(building, built).await;
                            }
                        }
                        // The thread is gone without a word.
                        None => {
                            for (name, building) in left.drain() {
                                tracing::error!(projection = name, "the thread of its rebuild panicked");
                                let reason = "the thread of the rebuild panicked".to_owned();
                                self.finish(building, Built::Failed { reason, may_pass: false }).await;
                            }
                        }
                    },
                    _ = stopped.recv(), if stop.is_some() => drop(stop.take()),
                }
            }
            if stop.is_none() {
                return;
            }
        }
    }

    async fn finish(&self, (projection, copy): Building, built: Built) {
        let name = projection.name();
        // Whatever it has come to.
        let built = if self.commands.rebuilds.is_given_up(name) { Built::GivenUp } else { built };
        match built {
            Built::Interrupted => {}
            Built::Whole if self.commands.rebuilds.begin_handover(name) => {
                match self.hand_over((projection, copy.clone())).await {
                    Ok(()) => {
                        self.progress.rebuild_ended(name);
                        self.commands.rebuilds.end(name);
                    }
                    // The next start goes on with it.
                    Err(TakeOverError::Stopping) => {}
                    Err(TakeOverError::ReadModels(ReadModelsError::Fenced(_))) => self.let_go(name, &copy).await,
                    Err(TakeOverError::ReadModels(error)) if error.may_pass() => self.try_later(name, &error),
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            projection = name,
                            "a rebuilt read model could not take over"
                        );
                        self.fail(name, &copy, error.to_string()).await;
                    }
                }
            }
            Built::Stopped(Checkpoint { fault: Some((position, reason)), .. }) => {
                self.fail(name, &copy, format!("the event at position {position} cannot be taken: {reason}")).await;
            }
            Built::Fenced => self.let_go(name, &copy).await,
            Built::Failed { reason, may_pass: true } => self.try_later(name, &io::Error::other(reason)),
            Built::Failed { reason, may_pass: false } => self.fail(name, &copy, reason).await,
            Built::GivenUp | Built::Whole | Built::Stopped(_) => {
                self.models.give_up(&copy).await;
                self.progress.rebuild_ended(name);
                self.commands.rebuilds.end(name);
            }
        }
    }

    /// What is served is kept up between two tries.
    async fn hand_over(&self, building: Building) -> Result<(), TakeOverError> {
        let mut tries = 0;
        loop {
            match self.commands.take_over(building.clone()).await {
                Err(TakeOverError::ReadModels(error)) if error.may_pass() && tries < TAKE_OVER_TRIES_MAX => tries += 1,
                handed_over => return handed_over,
            }
            tokio::time::sleep(TAKE_OVER_PAUSE).await;
        }
    }

    /// What was built stays, and is built on.
    fn try_later(&self, name: &'static str, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(error, projection = name, "a rebuild goes on later");
        self.progress.rebuild_waits(name);
        self.commands.rebuilds.wait_again(name);
        let rebuilds = Arc::clone(&self.commands.rebuilds);
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_AFTER).await;
            rebuilds.asked.notify_one();
        });
    }

    /// It is another node's, unless it is nobody's.
    async fn let_go(&self, name: &'static str, copy: &CopyId) {
        let is_others = match self.models.shared() {
            Some(server) => server.is_building(copy).await.unwrap_or(true),
            None => false,
        };
        if !is_others {
            self.models.give_up(copy).await;
        }
        self.progress.rebuild_ended(name);
        self.commands.rebuilds.end(name);
    }

    async fn fail(&self, name: &'static str, copy: &CopyId, reason: String) {
        self.models.give_up(copy).await;
        if let Some(server) = self.models.shared()
            && let Err(error) = server.note_failure(name, &reason).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                projection = name,
                "only this node knows why it failed"
            );
        }
        self.progress.rebuild_failed(name, reason);
        self.commands.rebuilds.end(name);
    }
}

/// Tells the progress of the rebuilds of a running server, and what becomes of them before the others.
struct Watched {
    progress: Progress,
    rebuilds: Arc<Rebuilds>,
    outcomes: mpsc::UnboundedSender<(&'static str, Built)>,
}

impl Watched {
    fn outcome(&self, name: &'static str, built: Built) {
        // The one who listens ends only with the server.
        let _ = self.outcomes.send((name, built));
    }
}

impl Observer for Watched {
    fn applied(&self, name: &'static str, position: Position, _: Position) {
        if self.wants(name) {
            self.progress.rebuilding(name, position);
        }
    }

    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint) {
        self.outcome(name, Built::Stopped(checkpoint.clone()));
    }

    fn wants(&self, name: &'static str) -> bool {
        self.rebuilds.is_running(name)
    }

    fn left_out(&self, name: &'static str) {
        self.outcome(name, Built::GivenUp);
    }
}

/// Builds `copies` on a thread of its own, and tells what becomes of each.
fn begin_aside(
    log: Log,
    models: ReadModels,
    copies: Vec<Building>,
    observer: Watched,
    stop: mpsc::Receiver<()>,
    outcomes: mpsc::UnboundedSender<(&'static str, Built)>,
) {
    let names: Vec<&'static str> = copies.iter().map(|(projection, _)| projection.name()).collect();
    let fail = move |outcomes: &mpsc::UnboundedSender<_>, error: io::Error| {
        for name in names {
            // The one who listens ends only with the server; here and below.
            let _ = outcomes.send((name, Built::Failed { reason: error.to_string(), may_pass: true }));
        }
    };
    let (told, cannot_build) = (outcomes.clone(), fail.clone());
    let work = move || {
        // Of this thread, and of those that it begins: the ones that read the log and those of the copies' files.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the rebuild runs at the usual priority");
        }
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let build = build(&log, &models, copies, Arc::new(observer), stop, HANDOVER_EVENTS);
                for outcome in runtime.block_on(build) {
                    let _ = told.send(outcome);
                }
            }
            Err(error) => cannot_build(&told, error),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("rebuild".to_owned()).spawn(work) {
        fail(&outcomes, error);
    }
}

/// Builds `copies` until each is as far as the log, but for `leave` events.
pub(crate) async fn build(
    log: &Log,
    models: &ReadModels,
    copies: Vec<Building>,
    observer: Arc<dyn Observer>,
    mut stop: mpsc::Receiver<()>,
    leave: u64,
) -> Vec<(&'static str, Built)> {
    let mut built = Vec::with_capacity(copies.len());
    let mut followers = Vec::with_capacity(copies.len());
    for (projection, id) in copies {
        let name = projection.name();
        match models.open_build(id, &*projection).await {
            Ok(copy) => {
                let mut follower = Follower::new(projection, copy);
                // The build that goes on may be one that takes the event.
                follower.try_again();
                followers.push((name, follower));
            }
            Err(ReadModelsError::Fenced(_)) => built.push((name, Built::Fenced)),
            Err(error) => {
                let reason = format!("its copy cannot be used: {error}");
                built.push((name, Built::Failed { reason, may_pass: error.may_pass() }));
            }
        }
    }
    let (names, followers): (Vec<_>, Vec<_>) = followers.into_iter().unzip();
    let mut followers = Followers::new(log.clone(), followers, observer);
    let mut is_interrupted = false;
    while let Some(lowest) = followers.lowest() {
        let head = log.head();
        if head.get().saturating_sub(lowest.get()) <= leave {
            break;
        }
        match log.beside().await {
            Ok(beside) => followers.read_from(beside),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the log cannot be read beside its writer; trying again"
                );
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => continue,
                    _ = stop.recv() => {
                        is_interrupted = true;
                        break;
                    }
                }
            }
        }
        match followers.follow(Some(head), &mut stop).await {
            End::Reached => {}
            End::Fenced => {
                let fenced = followers.part(|follower| follower.hold == Hold::Fenced);
                built.extend(fenced.iter().map(|follower| (follower.name(), Built::Fenced)));
            }
            End::Interrupted(()) | End::Abandoned | End::Stuck | End::LogClosed => {
                is_interrupted = true;
                break;
            }
        }
    }
    let mut whole = Vec::new();
    for name in names {
        let outcome = match followers.find(name) {
            None if built.iter().any(|(fenced, _)| *fenced == name) => continue,
            None => Built::GivenUp,
            Some(follower) if follower.checkpoint.fault.is_some() => Built::Stopped(follower.checkpoint.clone()),
            Some(_) if is_interrupted => Built::Interrupted,
            Some(follower) => {
                whole.push((name, follower.id.clone()));
                continue;
            }
        };
        built.push((name, outcome));
    }
    followers.close().await;
    for (name, copy) in whole {
        let outcome = match models.sync(&copy).await {
            Ok(()) => Built::Whole,
            Err(error) => Built::Failed { reason: format!("it could not be put on the disk: {error}"), may_pass: true },
        };
        built.push((name, outcome));
    }
    built
}

/// As [`build`], up to the log's end, where nobody can give it up.
pub(crate) async fn build_here(
    log: &Log,
    models: &ReadModels,
    copies: Vec<Building>,
    observer: Arc<dyn Observer>,
) -> Vec<(&'static str, Built)> {
    let (_keep_open, nobody) = mpsc::channel(1);
    build(log, models, copies, observer, nobody, 0).await
}
