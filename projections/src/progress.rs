//! How far the read models are: for callers that want to read their own writes, for health, for metrics.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_eventlog::{Log, Position};
use tokio::sync::{Notify, watch};

use crate::{
    followers::{CATCHING_UP_EVENTS, Observer},
    models::Checkpoint,
};

/// How far each projection is. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    projections: Arc<HashMap<&'static str, Tracked>>,
    heads: Arc<Mutex<VecDeque<(Position, Instant)>>>,
    waiting: Arc<Waiting>,
    log: Log,
}

/// Who waits for read models to move: whoever has to look for that looks more often then.
#[derive(Default)]
struct Waiting {
    callers: AtomicUsize,
    begun: Notify,
}

/// One who waits.
struct Waiter<'a>(&'a Waiting);

impl Waiting {
    fn enter(&self) -> Waiter<'_> {
        self.callers.fetch_add(1, Ordering::Relaxed);
        self.begun.notify_one();
        Waiter(self)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often the log's head is looked at to tell how old what is not applied yet is.
pub(crate) const HEAD_SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Heads remembered; a lag of more than this many samples is told as that long.
const HEAD_SAMPLES_MAX: usize = 7_200;

struct Tracked {
    /// `None` while there are no tables that this build could ask.
    checkpoint: watch::Sender<Option<Position>>,
    version: u32,
    state: RwLock<ProjectionState>,
    /// Whether anything has been heard of its tables.
    is_known: AtomicBool,
    /// Whether it is at an event that it could not take, also when it is to try again.
    has_stopped: AtomicBool,
    pace: Mutex<Pace>,
    rebuild: Mutex<Rebuild>,
}

/// What is known of the copy that is built beside.
#[derive(Default)]
struct Rebuild {
    /// How far it is, while there is one.
    running: Option<Running>,
    /// Why the last one was given up.
    failure: Option<String>,
}

struct Running {
    /// It has not begun: another one is being built.
    is_waiting: bool,
    position: Position,
    pace: Pace,
}

/// How quickly positions go by, over the last few seconds.
#[derive(Default)]
struct Pace(VecDeque<(Instant, Position)>);

impl Pace {
    const SAMPLES_MAX: usize = 20;

    fn note(&mut self, position: Position) {
        let now = Instant::now();
        if self.0.back().is_none_or(|(last, _)| now - *last >= HEAD_SAMPLE_EVERY / 2) {
            if self.0.len() == Self::SAMPLES_MAX {
                self.0.pop_front();
            }
            self.0.push_back((now, position));
        }
    }

    /// Events each second up to `position`, where it is now.
    fn per_second(&self, position: Position) -> f64 {
        let Some((since, from)) = self.0.front() else { return 0.0 };
        let seconds = since.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "2^52 events in a few seconds are out of reach")]
        let events = position.get().saturating_sub(from.get()) as f64;
        if seconds > 0.0 { events / seconds } else { 0.0 }
    }
}

impl Tracked {
    fn position(&self) -> Position {
        self.checkpoint.borrow().unwrap_or(Position::START)
    }

    fn is_faulted(&self) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), ProjectionState::Faulted { .. })
    }
}

/// What a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    /// It applies events as they come.
    Live,
    /// It is working through events that were there before.
    CatchingUp,
    /// It stopped at an event that it cannot take; its read model stays as it was before.
    Faulted {
        /// Where the event stands.
        position: Position,
        /// Why it cannot be taken.
        reason: String,
    },
}

/// A projection as health and metrics see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The version of its code.
    pub version: u32,
    /// The last position applied.
    pub checkpoint: Position,
    /// Events of the log not yet applied.
    pub lag_events: u64,
    /// How long it has not had everything there was.
    pub lag: Duration,
    /// Events passed each second, over the last seconds.
    pub per_second: f64,
    /// What it is doing.
    pub state: ProjectionState,
    /// Whether anything has been heard of its tables: before that it answers nobody.
    pub is_known: bool,
    /// The copy that is being built beside it.
    pub rebuild: Option<RebuildStatus>,
    /// Why the last rebuild was given up, if it was.
    pub rebuild_failure: Option<String>,
}

/// A copy that is built from nothing beside the one that is served.
#[derive(Debug, Clone, PartialEq)]
pub struct RebuildStatus {
    /// It begins when another one has ended.
    pub is_waiting: bool,
    /// The last position applied.
    pub checkpoint: Position,
    /// How much of the log that is: 0 to 100.
    pub percent: f64,
    /// Events applied each second, over the last seconds.
    pub per_second: f64,
    /// How long the rest takes at that pace, once that can be told.
    pub eta: Option<Duration>,
}

/// The read models did not get there in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the read model {projection} is at position {checkpoint}, {wanted} was asked for")]
pub struct Lagging {
    /// Which one.
    pub projection: &'static str,
    /// How far it is.
    pub checkpoint: Position,
    /// How far it should be.
    pub wanted: Position,
}

impl Progress {
    pub(crate) fn new(log: Log, projections: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        let track = |(name, version)| {
            let tracked = Tracked {
                checkpoint: watch::Sender::new(None),
                version,
                state: RwLock::new(ProjectionState::CatchingUp),
                is_known: AtomicBool::new(false),
                has_stopped: AtomicBool::new(false),
                pace: Mutex::default(),
                rebuild: Mutex::default(),
            };
            (name, tracked)
        };
        Self {
            projections: Arc::new(projections.into_iter().map(track).collect()),
            heads: Arc::default(),
            waiting: Arc::default(),
            log,
        }
    }

    /// Notes when the log had come how far.
    pub(crate) fn sample_head(&self) {
        let head = self.log.head();
        for tracked in self.projections.values() {
            tracked.pace.lock().unwrap_or_else(PoisonError::into_inner).note(tracked.position());
        }
        let applied = self.projections.values().map(Tracked::position).min().unwrap_or(head);
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        while heads.front().is_some_and(|(head, _)| *head <= applied) {
            heads.pop_front();
        }
        let now = Instant::now();
        let is_due = |(last, at): &(Position, Instant)| *last < head && now - *at >= HEAD_SAMPLE_EVERY / 2;
        if head > applied && heads.back().is_none_or(is_due) {
            if heads.len() == HEAD_SAMPLES_MAX {
                heads.pop_front();
            }
            heads.push_back((head, now));
        }
    }

    /// For how long something after `checkpoint` has been waiting, as far as the samples tell.
    fn lag(&self, checkpoint: Position) -> Duration {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = heads.iter().find(|(head, _)| *head > checkpoint);
        oldest.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    /// Waits until each of `projections` has applied `position`.
    ///
    /// # Errors
    /// [`Lagging`] when that takes longer than `patience`.
    pub async fn reached(
        &self,
        projections: &[&'static str],
        position: Position,
        patience: Duration,
    ) -> Result<(), Lagging> {
        let deadline = tokio::time::Instant::now() + patience;
        for projection in projections {
            let Some(tracked) = self.projections.get(projection) else {
                debug_assert!(false, "there is no projection {projection}");
                continue;
            };
            if *tracked.checkpoint.borrow() >= Some(position) {
                continue;
            }
            // It does not move before somebody looks at it: waiting would only take time.
            if tracked.is_faulted() {
                return Err(Lagging { projection, checkpoint: tracked.position(), wanted: position });
            }
            let _waiter = self.waiting.enter();
            let mut checkpoint = tracked.checkpoint.subscribe();
            let reached = tokio::time::timeout_at(deadline, checkpoint.wait_for(|at| *at >= Some(position))).await;
            if !matches!(reached, Ok(Ok(_))) {
                return Err(Lagging { projection, checkpoint: tracked.position(), wanted: position });
            }
        }
        Ok(())
    }

    /// Notes that there are no tables that this build could ask: those that are served are of another version.
    pub(crate) fn has_none(&self, projection: &str) {
        let Some(tracked) = self.projections.get(projection) else { return };
        *tracked.state.write().unwrap_or_else(PoisonError::into_inner) = ProjectionState::CatchingUp;
        tracked.is_known.store(true, Ordering::Relaxed);
        tracked.checkpoint.send_replace(None);
    }

    /// Notes that one that stopped is to try again, by whoever keeps it: whoever asks it may wait.
    pub(crate) fn tries_again(&self, projection: &str) {
        let Some(tracked) = self.projections.get(projection) else { return };
        *tracked.state.write().unwrap_or_else(PoisonError::into_inner) = ProjectionState::CatchingUp;
    }

    /// Whether it is at an event that it could not take, also when it is to try again.
    pub(crate) fn has_stopped(&self, projection: &str) -> bool {
        self.projections.get(projection).is_some_and(|tracked| tracked.has_stopped.load(Ordering::Relaxed))
    }

    /// Whether somebody waits for read models to move.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.callers.load(Ordering::Relaxed) > 0
    }

    /// Waits until somebody begins to wait.
    pub(crate) async fn awaited(&self) {
        self.waiting.begun.notified().await;
    }

    /// Every projection, by name.
    #[must_use]
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.sample_head();
        let head = self.log.head();
        let status = |(name, tracked): (&&'static str, &Tracked)| {
            let checkpoint = tracked.position();
            let lag_events = head.get().saturating_sub(checkpoint.get());
            let lag = if lag_events == 0 { Duration::ZERO } else { self.lag(checkpoint) };
            let state = tracked.state.read().unwrap_or_else(PoisonError::into_inner).clone();
            let per_second = tracked.pace.lock().unwrap_or_else(PoisonError::into_inner).per_second(checkpoint);
            let rebuild = tracked.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
            ProjectionStatus {
                name,
                version: tracked.version,
                checkpoint,
                lag_events,
                lag,
                per_second,
                state,
                is_known: tracked.is_known.load(Ordering::Relaxed),
                rebuild: rebuild.running.as_ref().map(|running| rebuild_status(running, head)),
                rebuild_failure: rebuild.failure.clone(),
            }
        };
        let mut all: Vec<_> = self.projections.iter().map(status).collect();
        all.sort_by_key(|status| status.name);
        all
    }

    /// Writes the gauges that a scrape shows.
    pub fn publish_metrics(&self) {
        for status in self.status() {
            let faulted = matches!(status.state, ProjectionState::Faulted { .. });
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^52 events are enough")]
            metrics::gauge!("daybook_projection_lag_events", "projection" => status.name).set(status.lag_events as f64);
            metrics::gauge!("daybook_projection_lag_seconds", "projection" => status.name)
                .set(status.lag.as_secs_f64());
            metrics::gauge!("daybook_projection_faulted", "projection" => status.name)
                .set(f64::from(u8::from(faulted)));
            metrics::gauge!("daybook_projection_events_per_second", "projection" => status.name).set(status.per_second);
            metrics::gauge!("daybook_projection_rebuild_percent", "projection" => status.name)
                .set(status.rebuild.map_or(100.0, |rebuild| rebuild.percent));
        }
    }

    /// Notes that a copy is to be built beside, when it is its turn.
    pub(crate) fn rebuild_waits(&self, projection: &str) {
        let running = Running { is_waiting: true, position: Position::START, pace: Pace::default() };
        self.set_rebuild(projection, Rebuild { running: Some(running), failure: None });
    }

    /// Notes how far the copy is that is built beside.
    pub(crate) fn rebuilding(&self, projection: &str, position: Position) {
        let Some(tracked) = self.projections.get(projection) else { return };
        let mut rebuild = tracked.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
        let running =
            rebuild.running.get_or_insert_with(|| Running { is_waiting: true, position, pace: Pace::default() });
        if running.is_waiting {
            *running = Running { is_waiting: false, position, pace: Pace::default() };
        }
        running.position = position;
        running.pace.note(position);
    }

    /// Notes how far another node is with the copy that it builds beside; it has not begun while it has nothing.
    pub(crate) fn rebuilding_elsewhere(&self, projection: &str, position: Position) {
        if position > Position::START {
            self.rebuilding(projection, position);
        } else {
            self.rebuild_waits(projection);
        }
    }

    /// Notes that no copy is built beside any more.
    pub(crate) fn rebuild_ended(&self, projection: &str) {
        self.set_rebuild(projection, Rebuild::default());
    }

    /// Notes why a rebuild was given up.
    pub(crate) fn rebuild_failed(&self, projection: &str, reason: String) {
        self.set_rebuild(projection, Rebuild { running: None, failure: Some(reason) });
    }

    fn set_rebuild(&self, projection: &str, rebuild: Rebuild) {
        if let Some(tracked) = self.projections.get(projection) {
            *tracked.rebuild.lock().unwrap_or_else(PoisonError::into_inner) = rebuild;
        }
    }
}

fn rebuild_status(running: &Running, head: Position) -> RebuildStatus {
    let Running { is_waiting, position, pace } = running;
    let per_second = pace.per_second(*position);
    #[expect(clippy::cast_precision_loss, reason = "a share of the log needs no 2^52 steps")]
    let (done, all) = (position.get() as f64, head.get().max(1) as f64);
    let eta = (per_second > 0.0).then(|| Duration::try_from_secs_f64((all - done).max(0.0) / per_second).ok());
    RebuildStatus {
        is_waiting: *is_waiting,
        checkpoint: *position,
        percent: (100.0 * done / all).min(100.0),
        per_second,
        eta: eta.flatten(),
    }
}

impl Observer for Progress {
    fn applied(&self, name: &'static str, position: Position, head: Position) {
        let Some(tracked) = self.projections.get(name) else { return };
        let mut state = tracked.state.write().unwrap_or_else(PoisonError::into_inner);
        // One that is live stays so while it is a little behind.
        let missing = head.get().saturating_sub(position.get());
        if missing == 0 {
            *state = ProjectionState::Live;
        } else if *state != ProjectionState::Live || missing > CATCHING_UP_EVENTS {
            *state = ProjectionState::CatchingUp;
        }
        drop(state);
        tracked.is_known.store(true, Ordering::Relaxed);
        tracked.has_stopped.store(false, Ordering::Relaxed);
        tracked.checkpoint.send_replace(Some(position));
    }

    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint) {
        let (Some(tracked), Some((position, reason))) = (self.projections.get(name), checkpoint.fault.clone()) else {
            return;
        };
        *tracked.state.write().unwrap_or_else(PoisonError::into_inner) = ProjectionState::Faulted { position, reason };
        tracked.is_known.store(true, Ordering::Relaxed);
        tracked.has_stopped.store(true, Ordering::Relaxed);
        tracked.checkpoint.send_replace(Some(checkpoint.position));
    }
}
