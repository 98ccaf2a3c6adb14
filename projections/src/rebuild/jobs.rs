//! Which rebuilds were asked for, and how far each is on its way to being served.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Building;
use crate::{Projection, models::CopyId};

/// Rebuilds that were asked for, by the projection's name.
#[derive(Default)]
pub(crate) struct Rebuilds {
    jobs: Mutex<HashMap<&'static str, Job>>,
    pub(super) asked: Notify,
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

    /// Gives one up, as [`give_up`](Self::give_up) does, unless its copy is the one that is `wanted`.
    pub(crate) fn keep_only(&self, name: &str, wanted: Option<&CopyId>) -> Option<(CopyId, bool)> {
        let is_wanted = self.lock().get(name)?.copy.as_ref().is_none_or(|copy| Some(copy) == wanted);
        if is_wanted { None } else { self.give_up(name) }
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
    pub(super) fn take_waiting(&self) -> Vec<Building> {
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
    pub(super) fn begin_handover(&self, name: &str) -> bool {
        self.move_to(name, JobState::Running, JobState::TakingOver)
    }

    /// It is built on when it is its turn again.
    pub(super) fn wait_again(&self, name: &str) {
        self.move_to(name, JobState::TakingOver, JobState::Waiting);
        self.move_to(name, JobState::Running, JobState::Waiting);
    }

    fn move_to(&self, name: &str, from: JobState, to: JobState) -> bool {
        let mut jobs = self.lock();
        let Some(job) = jobs.get_mut(name).filter(|job| job.state == from) else { return false };
        job.state = to;
        true
    }

    pub(super) fn is_running(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|job| job.state == JobState::Running)
    }

    pub(super) fn is_given_up(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|job| job.state == JobState::GivenUp)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
