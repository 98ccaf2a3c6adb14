//! Keeps the read models of a running server up with the log, and lets rebuilt ones take over.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Progress, Projection, ProjectionState, ReadModels, ReadModelsError,
    followers::{End, Follower, Followers, Observer},
    models::{Checkpoint, CopyId},
    progress::HEAD_SAMPLE_EVERY,
    rebuild::{self, Built, Rebuilds, Watched},
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

/// What can be asked of the projections of a running server. Cheap to clone.
#[derive(Clone)]
pub struct ProjectionControl {
    progress: Progress,
    projections: Arc<[Arc<dyn Projection>]>,
    models: ReadModels,
    rebuilds: Arc<Rebuilds>,
    commands: mpsc::Sender<Command>,
}

/// Why a projection does not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none of that name.
    #[error("there is no such projection")]
    Unknown,
    /// It is being rebuilt already.
    #[error("it is being rebuilt already")]
    Rebuilding,
    /// There is no rebuild that could be given up.
    #[error("it is not being rebuilt")]
    NotRebuilding,
    /// It has not stopped.
    #[error("it has not stopped at any event")]
    NotStopped,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The files could not be reached.
    #[error(transparent)]
    ReadModels(#[from] ReadModelsError),
}

enum Command {
    /// A copy is built: serve it.
    TakeOver(Arc<dyn Projection>, CopyId, oneshot::Sender<Result<(), TakeOverError>>),
    /// A projection that stopped tries again.
    Resume(&'static str, oneshot::Sender<bool>),
    /// Write what is under way, and end.
    Stop,
}

#[derive(Debug, thiserror::Error)]
enum TakeOverError {
    #[error("its last events could not be applied")]
    ReadModels(#[from] ReadModelsError),
    #[error("the event at position {} cannot be taken: {}", .0.0, .0.1)]
    Stopped((Position, String)),
    #[error("the server is stopping")]
    Stopping,
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
        let copies = models.prepare(&projections, &log).await?;
        let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let rebuilds = Arc::new(Rebuilds::default());
        for (projection, copy) in models.unfinished(&projections).await? {
            if rebuilds.begin(&projection) {
                tracing::info!(projection = projection.name(), "going on with its rebuild");
                progress.rebuilding(projection.name(), Some(Position::START));
                rebuilds.ready(projection.name(), copy);
            } else {
                models.give_up(&copy).await;
            }
        }
        let mut followers = Vec::with_capacity(copies.len());
        for (projection, copy) in copies {
            let mut follower = Follower::new(projection, copy);
            // A fault is looked at again at each start: the build may be one that takes the event.
            if let Some((position, _)) = follower.checkpoint.fault.take() {
                tracing::info!(projection = follower.name(), %position, "trying again where it stopped");
            }
            followers.push(follower);
        }
        let live = Live {
            followers: Followers::new(log.clone(), followers, Arc::new(progress.clone())),
            log: log.clone(),
            models: models.clone(),
            progress: progress.clone(),
        };
        let (stop_rebuild, stopped) = mpsc::channel(1);
        let control = ProjectionControl { progress, projections: projections.into(), models, rebuilds, commands };
        Ok(Self {
            live: tokio::spawn(live.run(waiting)),
            rebuilder: tokio::spawn(control.clone().rebuild_on_demand(log, stopped)),
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
        let all = async {
            // Those that have ended need not be told.
            let _ = self.stop_rebuild.send(()).await;
            let _ = (&mut self.rebuilder).await;
            let _ = self.control.commands.send(Command::Stop).await;
            let _ = (&mut self.live).await;
        };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
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

async fn sample_heads(progress: Progress) {
    let mut tick = tokio::time::interval(HEAD_SAMPLE_EVERY);
    loop {
        tick.tick().await;
        progress.sample_head();
    }
}

/// The copies that are served.
struct Live {
    followers: Followers,
    log: Log,
    models: ReadModels,
    progress: Progress,
}

impl Live {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let caught_up = tokio::spawn(forget_retired(self.models.clone(), self.progress.clone()));
        loop {
            match self.followers.follow(None, &mut commands).await {
                End::Interrupted(Command::TakeOver(projection, copy, reply)) => {
                    // The one who asked may have gone; the copy is served all the same.
                    let _ = reply.send(self.take_over(projection, copy).await);
                }
                End::Interrupted(Command::Resume(name, reply)) => {
                    let _ = reply.send(self.followers.resume(name));
                }
                End::Fenced(projection) => {
                    tracing::warn!(projection, "another node keeps the read models now: this one stops writing them");
                    break;
                }
                End::Interrupted(Command::Stop) | End::LogClosed | End::Reached => break,
            }
        }
        caught_up.abort();
        self.followers.close().await;
    }

    /// Brings a copy to where the served one is, and serves it instead.
    async fn take_over(&mut self, projection: Arc<dyn Projection>, id: CopyId) -> Result<(), TakeOverError> {
        let name = projection.name();
        let target = match self.followers.find(name) {
            Some(served) if served.checkpoint.fault.is_none() => served.checkpoint.position,
            // One that stopped stays behind, as does one of another version; what takes over from it has everything.
            _ => self.log.head(),
        };
        let copy = self.models.open_copy(id.clone(), &*projection).await?;
        let mut alone = Followers::new(self.log.clone(), vec![Follower::new(projection, copy)], Arc::new(Silent));
        let (_keep_open, mut nobody) = mpsc::channel::<()>(1);
        if alone.follow(Some(target), &mut nobody).await != End::Reached {
            return Err(TakeOverError::Stopping);
        }
        let Some(fresh) = alone.remove(name) else { return Err(TakeOverError::Stopping) };
        if let Some(fault) = fresh.checkpoint.fault {
            return Err(TakeOverError::Stopped(fault));
        }
        self.models.take_over(&id).await?;
        fresh.has_taken_over().await;
        let position = fresh.checkpoint.position;
        // The connection of the old one closes here; its file goes when nobody reads it any more.
        drop(self.followers.put(fresh));
        self.progress.applied(name, position, self.log.head());
        tracing::info!(projection = name, %position, "its rebuilt read model has taken over");
        Ok(())
    }
}

/// Copies of older versions stay until the ones of this version have everything.
async fn forget_retired(models: ReadModels, progress: Progress) {
    let mut waiting: Vec<&'static str> = progress.status().iter().map(|status| status.name).collect();
    while !waiting.is_empty() {
        for status in progress.status() {
            if status.state == ProjectionState::Live && waiting.contains(&status.name) {
                waiting.retain(|name| *name != status.name);
                models.forget_retired(status.name).await;
            }
        }
        tokio::time::sleep(HEAD_SAMPLE_EVERY).await;
    }
}

/// Nobody is told.
struct Silent;

impl Observer for Silent {
    fn applied(&self, _: &'static str, _: Position, _: Position) {}

    fn stopped(&self, _: &'static str, _: &Checkpoint) {}
}

impl ProjectionControl {
    /// How far the read models are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Builds a second copy of `name` from nothing, beside the one that is served; when it has everything it takes
    /// over in one step. It goes on after a restart.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn rebuild(&self, name: &str) -> Result<(), ControlError> {
        let projection = self.find(name)?;
        if !self.rebuilds.begin(projection) {
            return Err(ControlError::Rebuilding);
        }
        match self.models.begin_beside(&**projection).await {
            Ok(copy) => {
                self.progress.rebuilding(projection.name(), Some(Position::START));
                self.rebuilds.ready(projection.name(), copy);
                Ok(())
            }
            Err(error) => {
                self.rebuilds.end(projection.name());
                Err(error.into())
            }
        }
    }

    /// Gives a rebuild up; the copy that is served stays.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn cancel(&self, name: &str) -> Result<(), ControlError> {
        let projection = self.find(name)?;
        let (is_given_up, copy) = self.rebuilds.give_up(projection.name());
        if !is_given_up {
            return Err(ControlError::NotRebuilding);
        }
        if let Some(copy) = copy {
            self.models.give_up(&copy).await;
        }
        self.progress.rebuilding(projection.name(), None);
        Ok(())
    }

    /// A projection that stopped at an event tries again.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn resume(&self, name: &str) -> Result<(), ControlError> {
        let projection = self.find(name)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Resume(projection.name(), reply)).await;
        sent.map_err(|_| ControlError::Stopping)?;
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ControlError::NotStopped),
            Err(_) => Err(ControlError::Stopping),
        }
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Projection>, ControlError> {
        self.projections.iter().find(|projection| projection.name() == name).ok_or(ControlError::Unknown)
    }

    /// Builds what is asked for, all of one time together.
    async fn rebuild_on_demand(self, log: Log, mut stopped: mpsc::Receiver<()>) {
        loop {
            let waiting = self.rebuilds.take_waiting();
            if waiting.is_empty() {
                tokio::select! {
                    () = self.rebuilds.asked.notified() => continue,
                    _ = stopped.recv() => return,
                }
            }
            let (stop, stop_heard) = mpsc::channel(1);
            let observer = Arc::new(Watched { progress: self.progress(), rebuilds: Arc::clone(&self.rebuilds) });
            let building =
                rebuild::build_aside(log.clone(), self.models.clone(), waiting.clone(), observer, stop_heard);
            tokio::pin!(building);
            let (built, is_stopping) = tokio::select! {
                built = &mut building => (built, false),
                _ = stopped.recv() => {
                    // An error means that it has just ended by itself.
                    let _ = stop.send(()).await;
                    (building.await, true)
                }
            };
            match built {
                Ok(built) => {
                    for ((projection, copy), (_, built)) in waiting.into_iter().zip(built) {
                        self.finish(projection, copy, built).await;
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a rebuild failed");
                    for (projection, copy) in waiting {
                        self.fail(projection.name(), &copy, format!("{error}; the server's log says why")).await;
                    }
                }
            }
            if is_stopping {
                return;
            }
        }
    }

    async fn finish(&self, projection: Arc<dyn Projection>, copy: CopyId, built: Built) {
        let name = projection.name();
        match built {
            Built::Interrupted => {}
            Built::Stopped(Checkpoint { fault: Some((position, reason)), .. }) => {
                self.fail(name, &copy, format!("the event at position {position} cannot be taken: {reason}")).await;
            }
            Built::Whole if self.rebuilds.take_over(name) => {
                let (reply, answer) = oneshot::channel();
                let sent = self.commands.send(Command::TakeOver(projection, copy.clone(), reply)).await;
                match (sent, answer.await) {
                    (Ok(()), Ok(Ok(()))) => {
                        self.progress.rebuilding(name, None);
                        self.rebuilds.end(name);
                    }
                    // The next start goes on with it.
                    (Err(_), _) | (_, Err(_) | Ok(Err(TakeOverError::Stopping))) => {}
                    (_, Ok(Err(error))) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            projection = name,
                            "a rebuilt read model could not take over"
                        );
                        self.fail(name, &copy, error.to_string()).await;
                    }
                }
            }
            Built::GivenUp | Built::Whole | Built::Stopped(_) => {
                self.models.give_up(&copy).await;
                self.progress.rebuilding(name, None);
                self.rebuilds.end(name);
            }
        }
    }

    async fn fail(&self, name: &'static str, copy: &CopyId, reason: String) {
        self.models.give_up(copy).await;
        self.progress.rebuild_failed(name, reason);
        self.rebuilds.end(name);
    }
}
