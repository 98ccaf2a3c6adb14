//! Keeps the read models of a running server up with the log: alone, or in turns with the other nodes that share them.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::Log;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::{KeeperCommands, ProjectionControl},
    keeper::Keeper,
    node::{Node, gauge_of_lead},
    progress::HEAD_SAMPLE_EVERY,
    supervise::{PAUSE_FIRST, PAUSE_MAX, supervised},
};

/// How long a node may take to let go of the read models.
const STOP_MAX: Duration = Duration::from_secs(12);

/// The tasks that keep read models up with the log and rebuild them. Dropping it stops them.
pub struct Runner {
    control: ProjectionControl,
    role: Role,
    _sampler: Sampler,
}

/// Looks when the log had come how far, until it is dropped.
struct Sampler(JoinHandle<()>);

impl Drop for Sampler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Role {
    /// The only one who has the read models.
    Alone { task: JoinHandle<()>, leads: watch::Sender<bool>, stop: mpsc::Sender<()> },
    /// One of several nodes, of which one at a time keeps them.
    Node { task: JoinHandle<()>, leads: watch::Receiver<bool>, stop: mpsc::Sender<()> },
}

impl Runner {
    /// Makes the tables that are missing, follows the log, and goes on with rebuilds that were under way; where several
    /// nodes share the read models, all of that as soon as it is this one's turn.
    ///
    /// # Errors
    /// [`ReadModelsError`] when the tables cannot be made.
    pub async fn start(
        log: Log,
        models: ReadModels,
        projections: Vec<Arc<dyn Projection>>,
    ) -> Result<Self, ReadModelsError> {
        let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
        let (role, keeper) = if let Some(server) = models.shared() {
            let (leading, leads) = watch::channel(false);
            let node = Node {
                server: server.clone(),
                log,
                models: models.clone(),
                projections: projections.clone(),
                progress: progress.clone(),
                leading,
            };
            let (stop, stopped) = mpsc::channel(1);
            let stopped = Arc::new(Mutex::new(stopped));
            let run = move || {
                let (node, stopped) = (node.clone(), Arc::clone(&stopped));
                async move { node.run(&mut *stopped.lock().await).await }
            };
            (Role::Node { task: tokio::spawn(supervised("node", run)), leads, stop }, None)
        } else {
            let keeper = Keeper::start(&log, &models, &projections, &progress).await?;
            let commands = KeeperCommands::new(keeper.commands().clone());
            gauge_of_lead(true);
            let (stop, stopped) = mpsc::channel(1);
            let alone = Alone {
                log,
                models: models.clone(),
                projections: projections.clone(),
                progress: progress.clone(),
                commands: commands.clone(),
            };
            let task = tokio::spawn(alone.run(keeper, stopped));
            (Role::Alone { task, leads: watch::Sender::new(true), stop }, Some(commands))
        };
        let sampled = progress.clone();
        let sampler = supervised("head-sampler", move || sample_heads(sampled.clone()));
        let sampler = Sampler(tokio::spawn(sampler));
        let control = ProjectionControl { progress, projections: projections.into(), models, keeper };
        Ok(Self { control, role, _sampler: sampler })
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

    /// Whether this is the one node that does, at present, what is to be done once for all nodes: keeping the read
    /// models, and whatever else runs by the clock.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<bool> {
        match &self.role {
            Role::Alone { leads, .. } => leads.subscribe(),
            Role::Node { leads, .. } => leads.clone(),
        }
    }

    /// Stops. What was applied stays applied, and a rebuild under way goes on at the next start, or on another node.
    pub async fn stop(self) {
        match self.role {
            Role::Alone { mut task, stop, .. } | Role::Node { mut task, stop, .. } => {
                // It stops as well when nobody could tell it any more.
                drop(stop);
                // One that panicked has ended.
                if tokio::time::timeout(STOP_MAX, &mut task).await.is_err() {
                    task.abort();
                }
            }
        }
    }
}

/// The only one who has the read models.
struct Alone {
    log: Log,
    models: ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    progress: Progress,
    commands: KeeperCommands,
}

impl Alone {
    /// Keeps them until `stopped`. When a task of the keeper panics, all of them are started again.
    async fn run(self, keeper: Keeper, mut stopped: mpsc::Receiver<()>) {
        let mut keeper = keeper;
        loop {
            let panicked = tokio::select! {
                _ = stopped.recv() => false,
                panicked = keeper.ended() => panicked,
            };
            keeper.stop().await;
            if !panicked {
                return;
            }
            let next = tokio::select! {
                _ = stopped.recv() => return,
                next = self.start_again() => next,
            };
            self.commands.set(next.commands().clone());
            keeper = next;
        }
    }

    async fn start_again(&self) -> Keeper {
        let mut pause = PAUSE_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            match Keeper::start(&self.log, &self.models, &self.projections, &self.progress).await {
                Ok(keeper) => return keeper,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the read models cannot be kept; trying again");
                }
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

async fn sample_heads(progress: Progress) {
    let mut tick = tokio::time::interval(HEAD_SAMPLE_EVERY);
    loop {
        tick.tick().await;
        progress.sample_head();
    }
}

#[cfg(test)]
mod tests {
    use daybook_eventlog::{Append, ExpectedVersion, NewEvent};

    use super::*;
    use crate::control::Command;

    #[tokio::test]
    async fn read_models_are_kept_on_after_the_live_task_has_panicked() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).await.unwrap();
        let models = ReadModels::open(folder.path()).await.unwrap();
        let runner = Runner::start(log.clone(), models.clone(), crate::all()).await.unwrap();
        for version in 0..3 {
            let live = runner.control.keeper.as_ref().unwrap().get().live;
            live.send(Command::Panic).await.unwrap();
            live.closed().await;
            let event = NewEvent {
                id: uuid::Uuid::now_v7(),
                event_type: "Said".into(),
                schema_version: 1,
                data: "{}".to_owned(),
                metadata: "{}".into(),
                occurred_at: chrono::Utc::now(),
            };
            log.append(Append::to("test-1".into(), ExpectedVersion::Any, vec![event])).await.unwrap();
            let names: Vec<_> = runner.control.projections.iter().map(|one| one.name()).collect();
            let head = log.head();
            assert_eq!(head.get(), version + 1);
            runner.progress().reached(&names, head, Duration::from_secs(20)).await.unwrap();
            // Whoever takes commands now is not the one that panicked.
            let live = async {
                while runner.control.keeper.as_ref().unwrap().get().live.is_closed() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), live).await.unwrap();
        }
        runner.stop().await;
        models.close().await;
        log.close().await;
    }
}
