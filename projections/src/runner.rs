//! Keeps the read models of a running server up with the log: alone, or in turns with the other nodes that share them.

use std::sync::Arc;

use daybook_eventlog::Log;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::ProjectionControl,
    keeper::Keeper,
    node::{Node, gauge_of_lead},
    progress::HEAD_SAMPLE_EVERY,
};

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
    Alone { keeper: Keeper, leads: watch::Sender<bool> },
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
        let (role, commands) = if let Some(server) = models.shared() {
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
            (Role::Node { task: tokio::spawn(node.run(stopped)), leads, stop }, None)
        } else {
            let keeper = Keeper::start(&log, &models, &projections, &progress).await?;
            let commands = keeper.commands().clone();
            gauge_of_lead(true);
            (Role::Alone { keeper, leads: watch::Sender::new(true) }, Some(commands))
        };
        let sampler = Sampler(tokio::spawn(sample_heads(progress.clone())));
        let control = ProjectionControl { progress, projections: projections.into(), models, commands };
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
            Role::Alone { keeper, .. } => keeper.stop().await,
            Role::Node { task, stop, .. } => {
                // It stops as well when nobody could tell it any more.
                drop(stop);
                // It ends within the patience of what it does; one that panicked has ended.
                let _ = task.await;
            }
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
