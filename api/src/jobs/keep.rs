//! The task that keeps one job: waits until it is due, runs it, notes how that went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use daybook_projections::{JobRecord, ReadModels};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::run::run_once;
use super::{Job, JobStatus, Outcome, Schedule};

/// The pause after a first failure; each further one doubles it, up to the longest.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_mins(5);
/// How often the clock is looked at while a time of the calendar is waited for: it may be set meanwhile.
const CLOCK_LOOK_EVERY: Duration = Duration::from_secs(15);
/// A clock that was set back by more than this was wrong before: times of the calendar are counted anew from now.
const CLOCK_SET_BACK_MAX: TimeDelta = TimeDelta::days(1);

/// A job as others see it: it can be asked for, and looked at. Cheap to clone.
#[derive(Clone)]
pub struct JobHandle(Arc<Shared>);

struct Shared {
    name: &'static str,
    schedule: String,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    record: JobRecord,
    is_running: bool,
    /// Those who wait for the outcome of the run under way, or of the next one.
    waiting: Vec<oneshot::Sender<Outcome>>,
}

/// Why a job that was asked for has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// Another node runs the jobs.
    #[error("another node runs the jobs")]
    NotLeading,
    /// The server is stopping, or another node leads from now on.
    #[error("this node stopped running jobs before the run ended")]
    Stopped,
}

impl JobHandle {
    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Asks for a run now. A run that is under way is followed by another one, so that what was there before this call
    /// is seen by a run that begins after it.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Runs the job now and waits for the outcome; joins a run that is under way.
    ///
    /// # Errors
    /// [`NotRun`] when this node does not run jobs, or stops doing so.
    pub async fn run(&self) -> Result<Outcome, NotRun> {
        if !*self.0.leads.borrow() {
            return Err(NotRun::NotLeading);
        }
        if self.0.stop.is_cancelled() {
            return Err(NotRun::Stopped);
        }
        let (waiting, outcome) = oneshot::channel();
        let is_running = {
            let mut state = self.0.state();
            state.waiting.push(waiting);
            state.is_running
        };
        if !is_running {
            self.wake();
        }
        outcome.await.map_err(|_| NotRun::Stopped)
    }

    pub(super) fn record(&self) -> JobRecord {
        self.0.state().record.clone()
    }

    pub(super) fn status(&self, record: JobRecord) -> JobStatus {
        JobStatus::of(self.0.name, self.0.schedule.clone(), record)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to keep a job as long as this node `leads`, until `stop`.
pub(super) fn start(
    job: Job,
    models: ReadModels,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
) -> (JobHandle, JoinHandle<()>) {
    let record = JobRecord { name: job.name.to_owned(), ..JobRecord::default() };
    let shared = Arc::new(Shared {
        name: job.name,
        schedule: job.schedule.to_string(),
        leads: leads.clone(),
        stop: stop.clone(),
        wake: Notify::new(),
        state: Mutex::new(State { record, ..State::default() }),
    });
    let keeping = Keeping { job, models, leads, stop, shared: Arc::clone(&shared) };
    (JobHandle(shared), tokio::spawn(keeping.run()))
}

struct Keeping {
    job: Job,
    models: ReadModels,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

/// When a run is due.
#[derive(Clone, Copy)]
enum Due {
    Never,
    /// By the clock that nobody can set.
    After(Instant),
    /// By the calendar.
    Calendar(DateTime<Utc>),
}

impl Due {
    fn after(pause: Duration) -> Self {
        Self::After(Instant::now() + pause)
    }

    fn calendar(moment: Option<DateTime<Utc>>) -> Self {
        moment.map_or(Self::Never, Self::Calendar)
    }

    /// The moment in microseconds, for those who look.
    fn micros(self) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::After(instant) => {
                let pause = TimeDelta::from_std(instant.saturating_duration_since(Instant::now())).ok()?;
                Utc::now().checked_add_signed(pause).map(|moment| moment.timestamp_micros())
            }
            Self::Calendar(moment) => Some(moment.timestamp_micros()),
        }
    }

    async fn come(self) {
        match self {
            Self::Never => std::future::pending().await,
            Self::After(instant) => tokio::time::sleep_until(instant).await,
            Self::Calendar(moment) => {
                while let Ok(left) = (moment - Utc::now()).to_std() {
                    tokio::time::sleep(left.clamp(Duration::from_millis(1), CLOCK_LOOK_EVERY)).await;
                }
            }
        }
    }
}

impl Keeping {
    async fn run(mut self) {
        loop {
            let led = tokio::select! {
                () = self.stop.cancelled() => break,
                led = self.leads.wait_for(|leads| *leads) => led.is_ok(),
            };
            if !led || !self.lead().await {
                break;
            }
            // Whoever waits for a run is not left waiting for the next time that this node leads.
            self.shared.state().waiting.clear();
        }
        self.shared.state().waiting.clear();
    }

    /// Runs the job whenever it is due, as long as this node leads; whether that may come again.
    async fn lead(&self) -> bool {
        let mut due = self.first_due().await;
        loop {
            self.note(|record| record.next_run_at = due.micros()).await;
            let mut leads = self.leads.clone();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                _ = leads.wait_for(|leads| !*leads) => return true,
                () = due.come() => {}
                () = self.shared.wake.notified() => {}
            }
            let failures = self.run_now().await;
            due = self.next_due(due, failures);
        }
    }

    /// When this node begins to lead: what another one has left due is due here.
    async fn first_due(&self) -> Due {
        let known = self.models.shared_jobs().await.unwrap_or_else(|error| {
            tracing::debug!(job = self.job.name, %error, "what other nodes know of the job could not be read");
            Vec::new()
        });
        if let Some(known) = known.into_iter().find(|record| record.name == self.job.name) {
            // The node that ran it does not any more.
            self.shared.state().record = JobRecord { running_since: None, ..known };
        }
        let left = self.shared.state().record.next_run_at.and_then(DateTime::from_timestamp_micros);
        match &self.job.schedule {
            Schedule::Every(_) => Due::after(Duration::ZERO),
            Schedule::Cron(cron) => Due::calendar(left.or_else(|| cron.after(Utc::now()))),
            Schedule::OnDemand => Due::calendar(left),
        }
    }

    /// `failures`: how many runs have failed since the last that did not.
    fn next_due(&self, last: Due, failures: u32) -> Due {
        let again = (failures > 0).then(|| back_off(failures));
        match &self.job.schedule {
            Schedule::Every(pause) => Due::after(again.unwrap_or_default().max(*pause)),
            Schedule::Cron(cron) => {
                let now = Utc::now();
                // A clock that is set back does not run again what has run.
                let after = match last {
                    Due::Calendar(moment) if moment - now <= CLOCK_SET_BACK_MAX => moment.max(now),
                    _ => now,
                };
                let next = cron.after(after);
                match again {
                    Some(again) if next.is_none_or(|next| (next - now).to_std().is_ok_and(|left| left > again)) => {
                        Due::after(again)
                    }
                    _ => Due::calendar(next),
                }
            }
            Schedule::OnDemand => again.map_or(Due::Never, Due::after),
        }
    }

    /// Runs the job once; how many runs have failed in a row now.
    async fn run_now(&self) -> u32 {
        let started = Instant::now();
        self.shared.state().is_running = true;
        let now = Utc::now().timestamp_micros();
        self.note(|record| {
            (record.running_since, record.last_started_at, record.next_run_at) = (Some(now), Some(now), None);
        })
        .await;
        let mut leads = self.leads.clone();
        let outcome = run_once(&self.job, async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = leads.wait_for(|leads| !*leads) => {}
            }
        })
        .await;
        self.report(&outcome, started.elapsed());
        let waiting = {
            let mut state = self.shared.state();
            state.is_running = false;
            std::mem::take(&mut state.waiting)
        };
        self.note(|record| note_outcome(record, &outcome)).await;
        for waiting in waiting {
            // One that has gone away does not need it.
            let _ = waiting.send(outcome.clone());
        }
        self.shared.state().record.consecutive_failures
    }

    fn report(&self, outcome: &Outcome, took: Duration) {
        let job = self.job.name;
        metrics::counter!("daybook_job_runs_total", "job" => job, "outcome" => outcome.name()).increment(1);
        metrics::histogram!("daybook_job_seconds", "job" => job).record(took.as_secs_f64());
        match outcome {
            Outcome::Succeeded => {
                #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
                metrics::gauge!("daybook_job_last_success_timestamp_seconds", "job" => job)
                    .set(Utc::now().timestamp_millis() as f64 / 1e3);
                tracing::debug!(job, ?took, "a job has run");
            }
            Outcome::Cancelled => tracing::info!(job, "a job was told to stop"),
            Outcome::Panicked(error) => tracing::error!(job, error, "a job panicked"),
            Outcome::Failed(_) | Outcome::TimedOut => {
                tracing::warn!(job, error = outcome.error().unwrap_or_default(), "a job failed; it is tried again");
            }
        }
    }

    /// Changes what is known of the job, and lets the other nodes know as long as this one leads.
    async fn note(&self, change: impl FnOnce(&mut JobRecord)) {
        let record = {
            let mut state = self.shared.state();
            change(&mut state.record);
            state.record.clone()
        };
        let is_leading = *self.leads.borrow();
        if is_leading && let Err(error) = self.models.share_job(&record).await {
            tracing::debug!(job = self.job.name, %error, "the other nodes could not be told about the job");
        }
    }
}

fn note_outcome(record: &mut JobRecord, outcome: &Outcome) {
    let now = Utc::now().timestamp_micros();
    record.running_since = None;
    record.last_ended_at = Some(now);
    record.last_outcome = Some(outcome.name().to_owned());
    record.last_error = outcome.error().map(str::to_owned);
    match outcome {
        Outcome::Succeeded => (record.last_succeeded_at, record.consecutive_failures) = (Some(now), 0),
        failed if failed.is_failure() => record.consecutive_failures = record.consecutive_failures.saturating_add(1),
        _ => {}
    }
}

/// The pause after so many failures: doubled each time, and random between a half and the whole of that, so that
/// several nodes or jobs do not try at the same moment.
fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(BACK_OFF_MAX).mul_f64(0.5 + fastrand::f64() / 2.0)
}
