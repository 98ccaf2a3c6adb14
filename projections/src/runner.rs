//! Keeps the read models of a running server up with the log, and lets rebuilt ones take over.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::{Command, ProjectionControl},
    followers::Follower,
    live::Live,
    progress::HEAD_SAMPLE_EVERY,
    rebuild::{Rebuilder, Rebuilds},
};

/// How long the batch being written may take when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Commands that wait for the batch being written.
const COMMANDS_MAX: usize = 16;

/// The tasks that keep read models live and rebuild them. Dropping it stops them.
pub struct Runner {
    control: ProjectionControl,
    live: JoinHandle<()>,
    rebuilder: JoinHandle<()>,
    sampler: JoinHandle<()>,
    stop_rebuild: mpsc::Sender<()>,
}

impl Runner {
    /// Makes the tables that are missing, follows the log, and goes on with rebuilds that were under way.
    ///
    /// # Errors
    /// [`ReadModelsError`] when the tables cannot be made.
    pub async fn start(
        log: Log,
        models: ReadModels,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Result<Self, ReadModelsError> {
        let copies = models.prepare(&projections, source(&log).await?).await?;
        let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let rebuilds = Arc::new(Rebuilds::default());
        for (projection, copy) in models.unfinished(&projections).await? {
            if rebuilds.begin(&projection) {
                tracing::info!(projection = projection.name(), "going on with its rebuild");
                progress.rebuild_waits(projection.name());
                rebuilds.ready(projection.name(), copy);
            } else {
                models.give_up(&copy).await;
            }
        }
        let mut followers = Vec::with_capacity(copies.len());
        for (projection, copy) in projections.iter().zip(copies) {
            let mut follower = Follower::new(Arc::clone(projection), copy);
            // A fault is looked at again at each start: the build may be one that takes the event.
            if let Some((position, _)) = follower.try_again() {
                tracing::info!(projection = follower.name(), %position, "trying again where it stopped");
            }
            followers.push(follower);
        }
        let live = Live::new(log.clone(), models.clone(), progress.clone(), followers, commands.downgrade());
        let (stop_rebuild, stopped) = mpsc::channel(1);
        let control = ProjectionControl { progress, projections: projections.into(), models, rebuilds, commands };
        let rebuilder = Rebuilder {
            log,
            models: control.models.clone(),
            progress: control.progress(),
            rebuilds: Arc::clone(&control.rebuilds),
            control: control.clone(),
        };
        Ok(Self {
            live: tokio::spawn(live.run(waiting)),
            rebuilder: tokio::spawn(rebuilder.run(stopped)),
            sampler: tokio::spawn(sample_heads(control.progress())),
            control,
            stop_rebuild,
        })
    }

    /// How far the read models are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// What can be asked of the projections.
    #[must_use]
    pub fn control(&self) -> ProjectionControl {
        self.control.clone()
    }

    /// Stops. What was applied stays applied, and a rebuild under way goes on at the next start.
    pub async fn stop(mut self) {
        // Those that have ended need not be told.
        let _ = self.stop_rebuild.try_send(());
        let rebuilder = tokio::time::timeout(STOP_PATIENCE, &mut self.rebuilder).await;
        let stop = async {
            let _ = self.control.commands.send(Command::Stop).await;
            let _ = (&mut self.live).await;
        };
        let live = tokio::time::timeout(STOP_PATIENCE, stop).await;
        if rebuilder.is_err() || live.is_err() {
            tracing::warn!("the read models were in the middle of something: the next start does it again");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        for task in [&self.live, &self.rebuilder, &self.sampler] {
            task.abort();
        }
    }
}

/// What tells one log from another: its first event, and how far it is.
pub(crate) async fn source(log: &Log) -> Result<(Option<Uuid>, Position), ReadModelsError> {
    let first = log.event_at(Position::new(1)).await.map_err(ReadModelsError::Log)?;
    Ok((first.map(|event| event.id), log.head()))
}

async fn sample_heads(progress: Progress) {
    let mut tick = tokio::time::interval(HEAD_SAMPLE_EVERY);
    loop {
        tick.tick().await;
        progress.sample_head();
    }
}
