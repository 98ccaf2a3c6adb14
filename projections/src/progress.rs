//! How far the read models are: for callers that want to read their own writes, for health, for metrics.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use daybook_eventlog::{Log, Position};
use tokio::sync::watch;

/// How far each projection is. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    projections: Arc<HashMap<&'static str, Tracked>>,
    heads: Arc<Mutex<VecDeque<(Position, Instant)>>>,
    log: Log,
}

/// How often the log's head is looked at to tell how old what is not applied yet is.
pub(crate) const HEAD_SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Heads remembered; a lag of more than this many samples is told as that long.
const HEAD_SAMPLES_MAX: usize = 7_200;

struct Tracked {
    checkpoint: watch::Sender<Position>,
    version: u32,
    state: RwLock<ProjectionState>,
}

impl Tracked {
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What it is doing.
    pub state: ProjectionState,
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
            let state = RwLock::new(ProjectionState::CatchingUp);
            (name, Tracked { checkpoint: watch::Sender::new(Position::START), version, state })
        };
        Self { projections: Arc::new(projections.into_iter().map(track).collect()), heads: Arc::default(), log }
    }

    /// Notes when the log had come how far.
    pub(crate) fn sample_head(&self) {
        let head = self.log.head();
        let applied = self.projections.values().map(|tracked| *tracked.checkpoint.borrow()).min().unwrap_or(head);
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        while heads.front().is_some_and(|(head, _)| *head <= applied) {
            heads.pop_front();
        }
        if head > applied && heads.back().is_none_or(|(last, _)| *last < head) && heads.len() < HEAD_SAMPLES_MAX {
            heads.push_back((head, Instant::now()));
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
            let Some(tracked) = self.projections.get(projection) else { continue };
            if *tracked.checkpoint.borrow() >= position {
                continue;
            }
            // It does not move before somebody looks at it: waiting would only take time.
            if tracked.is_faulted() {
                let checkpoint = *tracked.checkpoint.borrow();
                return Err(Lagging { projection, checkpoint, wanted: position });
            }
            let mut checkpoint = tracked.checkpoint.subscribe();
            let reached = tokio::time::timeout_at(deadline, checkpoint.wait_for(|at| *at >= position)).await;
            if !matches!(reached, Ok(Ok(_))) {
                let checkpoint = *tracked.checkpoint.borrow();
                return Err(Lagging { projection, checkpoint, wanted: position });
            }
        }
        Ok(())
    }

    /// Every projection, by name.
    #[must_use]
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.sample_head();
        let head = self.log.head();
        let status = |(name, tracked): (&&'static str, &Tracked)| {
            let checkpoint = *tracked.checkpoint.borrow();
            let lag_events = head.get().saturating_sub(checkpoint.get());
            let lag = if lag_events == 0 { Duration::ZERO } else { self.lag(checkpoint) };
            let state = tracked.state.read().unwrap_or_else(PoisonError::into_inner).clone();
            ProjectionStatus { name, version: tracked.version, checkpoint, lag_events, lag, state }
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
        }
    }

    pub(crate) fn applied(&self, projection: &str, position: Position, head: Position) {
        if let Some(tracked) = self.projections.get(projection) {
            let mut state = tracked.state.write().unwrap_or_else(PoisonError::into_inner);
            if position >= head {
                *state = ProjectionState::Live;
            } else if *state != ProjectionState::Live {
                *state = ProjectionState::CatchingUp;
            }
            drop(state);
            tracked.checkpoint.send_replace(position);
        }
    }

    pub(crate) fn faulted(&self, projection: &str, checkpoint: Position, position: Position, reason: String) {
        if let Some(tracked) = self.projections.get(projection) {
            *tracked.state.write().unwrap_or_else(PoisonError::into_inner) =
                ProjectionState::Faulted { position, reason };
            tracked.checkpoint.send_replace(checkpoint);
        }
    }
}
