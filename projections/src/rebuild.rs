//! Copies that are built from nothing beside the ones that are served.
//!
//! All that is asked for at one time is built together, with one pass over the log, on a thread of low priority and
//! on connections of its own: whoever reads and writes meanwhile comes first. What is asked for while others are being
//! built waits for its turn.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_eventlog::{Log, Position};
use tokio::sync::{Notify, mpsc};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    followers::{End, Follower, Followers, Observer},
    models::{Checkpoint, CopyId},
    runner::ProjectionControl,
};

/// What is left for the one who takes the copy over, at most, unless the log grows faster than a copy does.
const HANDOVER_EVENTS: u64 = 2_048;
/// How nice the thread is: of two that want the processor, the other one gets nearly all of it.
const NICENESS: i32 = 15;
/// How long to wait before something is tried again that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A copy to be built, and of what.
pub(crate) type Building = (Arc<dyn Projection>, CopyId);

/// Rebuilds that were asked for, by the projection's name.
#[derive(Default)]
pub(crate) struct Rebuilds {
    jobs: Mutex<HashMap<&'static str, Job>>,
    asked: Notify,
}

struct Job {
    projection: Arc<dyn Projection>,
    /// Known once the catalog has it.
    copy: Option<CopyId>,
    state: JobState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobState {
    Waiting,
    Running,
    /// It is past the point where it could be given up.
    TakingOver,
    GivenUp,
}

impl Rebuilds {
    /// Takes the place of the rebuild of `projection`, unless there is one already.
    pub(crate) fn begin(&self, projection: &Arc<dyn Projection>) -> bool {
        let mut jobs = self.lock();
        let is_new = !jobs.contains_key(projection.name());
        if is_new {
            let job = Job { projection: Arc::clone(projection), copy: None, state: JobState::Waiting };
            jobs.insert(projection.name(), job);
        }
        is_new
    }

    /// The copy is in the catalog: it can be built.
    pub(crate) fn ready(&self, name: &str, copy: CopyId) {
        if let Some(job) = self.lock().get_mut(name) {
            job.copy = Some(copy);
        }
        self.asked.notify_one();
    }

    /// Gives one up, and answers its copy; `None` when there is none, or it is too late. One that nobody is building
    /// yet is gone then; the others go when they are left out.
    pub(crate) fn give_up(&self, name: &str) -> Option<(CopyId, bool)> {
        let mut jobs = self.lock();
        let job = jobs.get_mut(name)?;
        let copy = job.copy.clone()?;
        match job.state {
            JobState::Waiting => {
                jobs.remove(name);
                Some((copy, true))
            }
            JobState::Running => {
                job.state = JobState::GivenUp;
                Some((copy, false))
            }
            JobState::TakingOver | JobState::GivenUp => None,
        }
    }

    /// Whether there is a rebuild of that name, in whatever state.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// There is no rebuild of that name any more.
    pub(crate) fn end(&self, name: &str) {
        self.lock().remove(name);
        // Others may have waited for it.
        self.asked.notify_one();
    }

    /// All that wait, which run from now on. None of them yet while the catalog is still to have one: what is asked for
    /// at one time shares one pass over the log.
    fn take_waiting(&self) -> Vec<Building> {
        let mut jobs = self.lock();
        if jobs.values().any(|job| job.state == JobState::Waiting && job.copy.is_none()) {
            return Vec::new();
        }
        let waiting = jobs.values_mut().filter(|job| job.state == JobState::Waiting);
        let ready = waiting.filter_map(|job| {
            let copy = job.copy.clone()?;
            job.state = JobState::Running;
            Some((Arc::clone(&job.projection), copy))
        });
        ready.collect()
    }

    /// Whether the copy is still wanted; it cannot be given up any more then.
    fn begin_handover(&self, name: &str) -> bool {
        self.move_to(name, JobState::Running, JobState::TakingOver)
    }

    /// It is built on when it is its turn again.
    fn wait_again(&self, name: &str) {
        self.move_to(name, JobState::TakingOver, JobState::Waiting);
        self.move_to(name, JobState::Running, JobState::Waiting);
    }

    fn move_to(&self, name: &str, from: JobState, to: JobState) -> bool {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(name).filter(|job| job.state == from) else { return false };
        job.state = to;
        true
    }

    fn is_running(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|job| job.state == JobState::Running)
    }

    fn is_given_up(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|job| job.state == JobState::GivenUp)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    pub(crate) rebuilds: Arc<Rebuilds>,
    /// Whoever serves what is built.
    pub(crate) control: ProjectionControl,
}

impl Rebuilder {
    /// Builds whatever is asked for, all of one time together, until `stopped`.
    pub(crate) async fn run(self, mut stopped: mpsc::Receiver<()>) {
        loop {
            let waiting = self.rebuilds.take_waiting();
            if waiting.is_empty() {
                tokio::select! {
                    () = self.rebuilds.asked.notified() => continue,
                    _ = stopped.recv() => return,
                }
            }
            let (outcomes, mut told) = mpsc::unbounded_channel();
            let observer = Watched {
                progress: self.progress.clone(),
                rebuilds: Arc::clone(&self.rebuilds),
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
        match built {
            Built::Interrupted if !self.rebuilds.is_given_up(name) => {}
            Built::Whole if self.rebuilds.begin_handover(name) => {
                match self.control.take_over((projection, copy.clone())).await {
                    Ok(()) => {
                        self.progress.rebuild_ended(name);
                        self.rebuilds.end(name);
                    }
                    // The next start goes on with it.
                    Err(TakeOverError::Stopping) => {}
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
            Built::Failed { reason, may_pass: true } => self.try_later(name, &io::Error::other(reason)),
            Built::Failed { reason, may_pass: false } => self.fail(name, &copy, reason).await,
            Built::GivenUp | Built::Interrupted | Built::Whole | Built::Stopped(_) => {
                self.models.give_up(&copy).await;
                self.progress.rebuild_ended(name);
                self.rebuilds.end(name);
            }
        }
    }

    /// What was built stays, and is built on.
    fn try_later(&self, name: &'static str, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(error, projection = name, "a rebuild goes on later");
        self.progress.rebuild_waits(name);
        self.rebuilds.wait_again(name);
        let rebuilds = Arc::clone(&self.rebuilds);
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_AFTER).await;
            rebuilds.asked.notify_one();
        });
    }

    async fn fail(&self, name: &'static str, copy: &CopyId, reason: String) {
        self.models.give_up(copy).await;
        self.progress.rebuild_failed(name, reason);
        self.rebuilds.end(name);
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
        match models.open_copy(id, &*projection).await {
            Ok(copy) => {
                let mut follower = Follower::new(projection, copy);
                // The build that goes on may be one that takes the event.
                follower.try_again();
                followers.push((name, follower));
            }
            Err(error) => {
                let reason = format!("its file cannot be used: {error}");
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
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
        }
        if followers.follow(Some(head), &mut stop).await != End::Reached {
            is_interrupted = true;
            break;
        }
    }
    for name in names {
        let outcome = match followers.find(name) {
            None => Built::GivenUp,
            Some(follower) if follower.checkpoint.fault.is_some() => Built::Stopped(follower.checkpoint.clone()),
            Some(_) if is_interrupted => Built::Interrupted,
            Some(_) => Built::Whole,
        };
        built.push((name, outcome));
    }
    followers.close().await;
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
