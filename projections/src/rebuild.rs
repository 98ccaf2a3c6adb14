//! Copies that are built from nothing beside the ones that are served.
//!
//! All that is asked for at one time is built together, with one pass over the log, on a thread of low priority and
//! on connections of its own: whoever reads and writes meanwhile comes first.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use daybook_eventlog::{Log, Position};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    followers::{End, Follower, Followers, Observer},
    models::{Checkpoint, CopyId},
};

/// What is left for the one who takes the copy over, at most, unless the log grows faster than a copy does.
const HANDOVER_EVENTS: u64 = 2_048;
/// How nice the thread is: of two that want the processor, the other one gets nearly all of it.
const NICENESS: i32 = 15;

/// Rebuilds that were asked for, by the projection's name.
#[derive(Default)]
pub(crate) struct Rebuilds {
    jobs: Mutex<HashMap<&'static str, Job>>,
    pub(crate) asked: Notify,
}

#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) projection: Arc<dyn Projection>,
    /// Known once the catalog has it.
    pub(crate) copy: Option<CopyId>,
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

    /// Gives one up; `false` when there is none, or it is too late. The second value is the copy to throw away, when
    /// nobody is building it yet.
    pub(crate) fn give_up(&self, name: &str) -> (bool, Option<CopyId>) {
        let mut jobs = self.lock();
        match jobs.get_mut(name) {
            None => (false, None),
            Some(job) => match job.state {
                JobState::Waiting if job.copy.is_some() => (true, jobs.remove(name).and_then(|job| job.copy)),
                JobState::Waiting | JobState::TakingOver | JobState::GivenUp => (false, None),
                JobState::Running => {
                    job.state = JobState::GivenUp;
                    (true, None)
                }
            },
        }
    }

    /// All that wait, which run from now on.
    pub(crate) fn take_waiting(&self) -> Vec<(Arc<dyn Projection>, CopyId)> {
        let mut jobs = self.lock();
        let waiting = jobs.values_mut().filter(|job| job.state == JobState::Waiting);
        let ready = waiting.filter_map(|job| {
            let copy = job.copy.clone()?;
            job.state = JobState::Running;
            Some((Arc::clone(&job.projection), copy))
        });
        ready.collect()
    }

    /// Whether the copy is built to its end; it cannot be given up any more then.
    pub(crate) fn take_over(&self, name: &str) -> bool {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(name).filter(|job| job.state == JobState::Running) else { return false };
        job.state = JobState::TakingOver;
        true
    }

    pub(crate) fn end(&self, name: &str) {
        self.lock().remove(name);
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|job| job.state == JobState::Running)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the progress of the rebuilds of a running server.
pub(crate) struct Watched {
    pub(crate) progress: Progress,
    pub(crate) rebuilds: Arc<Rebuilds>,
}

impl Observer for Watched {
    fn applied(&self, name: &'static str, position: Position, _: Position) {
        self.progress.rebuilding(name, Some(position));
    }

    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint) {
        if let Some((position, reason)) = &checkpoint.fault {
            self.progress.rebuild_failed(name, format!("the event at position {position} cannot be taken: {reason}"));
        }
    }

    fn wants(&self, name: &'static str) -> bool {
        self.rebuilds.is_wanted(name)
    }
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Built {
    /// It is as far as the log, but for a little.
    Whole,
    /// It stopped at an event that it cannot take.
    Stopped(Checkpoint),
    /// Nobody wanted it any more.
    GivenUp,
    /// It goes on at the next start.
    Interrupted,
}

/// Builds `copies` on a thread of its own, until each is as far as the log, or `stop` is heard of.
pub(crate) async fn build_aside(
    log: Log,
    models: ReadModels,
    copies: Vec<(Arc<dyn Projection>, CopyId)>,
    observer: Arc<dyn Observer>,
    stop: mpsc::Receiver<()>,
) -> Result<Vec<(CopyId, Built)>, ReadModelsError> {
    let (reply, answer) = oneshot::channel();
    let work = move || {
        // Of this thread, and of those that it begins: the ones that read the log and those of the copies' files.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the rebuild runs at the usual priority");
        }
        let built = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(build(&log, &models, copies, observer, stop)),
            Err(error) => Err(ReadModelsError::Storage(sqlx::Error::Io(error))),
        };
        // Whoever asked has gone: so has the server.
        let _ = reply.send(built);
    };
    let spawned = std::thread::Builder::new().name("rebuild".to_owned()).spawn(work);
    spawned.map_err(|error| ReadModelsError::Storage(sqlx::Error::Io(error)))?;
    answer.await.unwrap_or_else(|_| {
        let panicked = io::Error::other("the thread of the rebuild panicked");
        Err(ReadModelsError::Storage(sqlx::Error::Io(panicked)))
    })
}

/// Builds `copies` until each is as far as the log.
pub(crate) async fn build(
    log: &Log,
    models: &ReadModels,
    copies: Vec<(Arc<dyn Projection>, CopyId)>,
    observer: Arc<dyn Observer>,
    mut stop: mpsc::Receiver<()>,
) -> Result<Vec<(CopyId, Built)>, ReadModelsError> {
    let ids: Vec<(&'static str, CopyId)> = copies.iter().map(|(one, id)| (one.name(), id.clone())).collect();
    let mut followers = Vec::with_capacity(copies.len());
    for (projection, id) in copies {
        let copy = models.open_copy(id, &*projection).await?;
        followers.push(Follower::new(projection, copy));
    }
    let mut followers = Followers::new(log.clone(), followers, observer);
    let mut is_interrupted = false;
    while let Some(lowest) = followers.lowest() {
        let head = log.head();
        if head.get().saturating_sub(lowest.get()) <= HANDOVER_EVENTS && lowest > Position::START || lowest >= head {
            break;
        }
        followers.read_from(log.beside().await.map_err(ReadModelsError::Log)?);
        match followers.follow(Some(head), &mut stop).await {
            End::Reached => {}
            // One that another node builds now is that node's.
            End::Interrupted(()) | End::LogClosed | End::Fenced(_) => {
                is_interrupted = true;
                break;
            }
        }
    }
    let built = ids.into_iter().map(|(name, id)| {
        let built = match followers.find(name) {
            None => Built::GivenUp,
            Some(follower) if follower.checkpoint.fault.is_some() => Built::Stopped(follower.checkpoint.clone()),
            Some(_) if is_interrupted => Built::Interrupted,
            Some(_) => Built::Whole,
        };
        (id, built)
    });
    let built = built.collect();
    followers.close().await;
    Ok(built)
}
