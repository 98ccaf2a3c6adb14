//! The tasks that keep read models: they follow the log, rebuild what is asked for, and let it take over.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::Log;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::{Command, Commands},
    followers::Follower,
    live::Live,
    rebuild::{Rebuilder, Rebuilds},
    supervise::report_panic,
};

/// How long the batch being written may take when the tasks are to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Commands that wait for the batch being written.
const COMMANDS_MAX: usize = 16;

/// The tasks that keep read models. Dropping it stops them.
pub(crate) struct Keeper {
    commands: Commands,
    live: JoinHandle<()>,
    rebuilder: JoinHandle<()>,
    stop_rebuild: mpsc::Sender<()>,
}

impl Keeper {
    /// Makes the tables that are missing, follows the log, and goes on with rebuilds that were under way.
    ///
    /// # Errors
    /// [`ReadModelsError`] when the tables cannot be made.
    pub(crate) async fn start(
        log: &Log,
        models: &ReadModels,
        projections: &[Arc<dyn Projection>],
        progress: &Progress,
    ) -> Result<Self, ReadModelsError> {
        let copies = models.prepare(projections, log).await?;
        let rebuilds = Arc::new(Rebuilds::default());
        for (projection, copy) in models.unfinished(projections).await? {
            if rebuilds.begin(&projection) {
                tracing::info!(projection = projection.name(), "going on with its rebuild");
                progress.rebuild_waits(projection.name());
                rebuilds.ready(projection.name(), copy);
            } else {
                models.give_up(&copy).await;
            }
        }
        let mut followers = Vec::with_capacity(copies.len());
        for (projection, copy) in copies {
            let mut follower = Follower::new(projection, copy);
            // A fault is looked at again at each start: the build may be one that takes the event.
            if let Some((position, _)) = follower.try_again() {
                tracing::info!(projection = follower.name(), %position, "trying again where it stopped");
            }
            followers.push(follower);
        }
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let live = Live::new(log.clone(), models.clone(), progress.clone(), followers, commands.downgrade());
        let (stop_rebuild, stopped) = mpsc::channel(1);
        let commands = Commands { rebuilds, live: commands };
        let rebuilder = Rebuilder {
            log: log.clone(),
            models: models.clone(),
            progress: progress.clone(),
            commands: commands.clone(),
        };
        Ok(Self {
            commands,
            live: tokio::spawn(live.run(waiting)),
            rebuilder: tokio::spawn(rebuilder.run(stopped)),
            stop_rebuild,
        })
    }

    /// What can be asked of the tasks.
    pub(crate) fn commands(&self) -> &Commands {
        &self.commands
    }

    /// Waits until the read models are not kept any more: another node writes them, or the log was closed. Whether that
    /// is because a task panicked, which is reported here.
    pub(crate) async fn ended(&mut self) -> bool {
        let (task, ended) = tokio::select! {
            ended = &mut self.live => ("live", ended),
            ended = &mut self.rebuilder => ("rebuilder", ended),
        };
        ended.is_err_and(|error| report_panic(task, error))
    }

    /// Stops. What was applied stays applied, and a rebuild under way goes on at the next start.
    pub(crate) async fn stop(mut self) {
        // Those that have ended need not be told.
        let _ = self.stop_rebuild.try_send(());
        let rebuilder = async {
            if !self.rebuilder.is_finished() {
                let _ = (&mut self.rebuilder).await;
            }
        };
        let rebuilder = tokio::time::timeout(STOP_PATIENCE, rebuilder).await;
        let stop = async {
            if !self.live.is_finished() {
                let _ = self.commands.live.send(Command::Stop).await;
                let _ = (&mut self.live).await;
            }
        };
        let live = tokio::time::timeout(STOP_PATIENCE, stop).await;
        if rebuilder.is_err() || live.is_err() {
            tracing::warn!("the read models were in the middle of something: the next start does it again");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for task in [&self.live, &self.rebuilder] {
            task.abort();
        }
    }
}
