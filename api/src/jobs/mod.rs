//! What the server does by itself.
//!
//! A job has a name and a schedule. It runs on the node that leads, one run at a time, and each run is bounded in time.
//! A run that fails, panics or takes too long is reported and tried again after a pause that grows with each failure.
//! Nothing here knows what jobs do: each surface brings its own.

mod keep;
mod run;
mod schedule;
mod status;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daybook_projections::{ReadModels, ReadModelsError};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::keep::{JobHandle, NotRun};
pub use self::run::Outcome;
pub use self::schedule::{CronSchedule, Schedule};
pub use self::status::JobStatus;

/// What the actors of the server's own events begin with.
pub const ACTOR_PREFIX: &str = "system:";

/// How long the jobs may take to stop, all together: a little longer than one run may take after it was told.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Why a run did not succeed.
pub type JobError = Box<dyn Error + Send + Sync>;

type Work = Box<dyn Fn(CancellationToken) -> BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

/// Something that the server does by itself.
pub struct Job {
    name: &'static str,
    schedule: Schedule,
    time_max: Duration,
    work: Work,
}

impl Job {
    /// A job that does `work` on `schedule`, for at most `time_max` a run. `work` stops early when its token is
    /// cancelled; it is aborted when it does not.
    pub fn new<W, F>(name: &'static str, schedule: Schedule, time_max: Duration, work: W) -> Self
    where
        W: Fn(CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        Self { name, schedule, time_max, work: Box::new(move |cancelled| Box::pin(work(cancelled))) }
    }
}

/// The jobs of a server; none until they are started. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<OnceLock<Started>>);

struct Started {
    handles: Vec<JobHandle>,
    models: ReadModels,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Jobs {
    /// Starts the jobs: they run as long as this node `leads`. A second call changes nothing.
    pub fn start(&self, jobs: Vec<Job>, models: &ReadModels, leads: &watch::Receiver<bool>) {
        self.0.get_or_init(|| {
            let stop = CancellationToken::new();
            let kept = jobs.into_iter().map(|job| keep::start(job, models.clone(), leads.clone(), stop.clone()));
            let (handles, tasks) = kept.unzip();
            let (models, leads) = (models.clone(), leads.clone());
            Started { handles, models, leads, stop, tasks: std::sync::Mutex::new(tasks) }
        });
    }

    /// The job of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<JobHandle> {
        self.0.get()?.handles.iter().find(|handle| handle.name() == name).cloned()
    }

    /// What is known of all jobs. A node that does not lead answers what the leading one has let it know.
    ///
    /// # Errors
    /// [`ReadModelsError`] when this node does not lead and the shared database cannot be read.
    pub async fn status(&self) -> Result<Vec<JobStatus>, ReadModelsError> {
        let Some(started) = self.0.get() else { return Ok(Vec::new()) };
        if *started.leads.borrow() {
            return Ok(started.handles.iter().map(|handle| handle.status(handle.record())).collect());
        }
        let mut shared = started.models.shared_jobs().await?;
        let status = |handle: &JobHandle| {
            let known = shared.iter().position(|record| record.name == handle.name());
            handle.status(known.map(|place| shared.swap_remove(place)).unwrap_or_default())
        };
        Ok(started.handles.iter().map(status).collect())
    }

    /// Tells the runs under way to stop, and waits for them; what has not ended in time is aborted.
    pub async fn stop(&self) {
        let Some(started) = self.0.get() else { return };
        started.stop.cancel();
        let tasks = std::mem::take(&mut *started.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        if tokio::time::timeout(STOP_PATIENCE, futures::future::join_all(tasks)).await.is_err() {
            tracing::warn!("a job did not stop in time");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}
