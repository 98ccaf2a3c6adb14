//! What can be asked of the projections of a running server.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    rebuild::{Building, Rebuilds, TakeOverError},
};

/// How long giving a rebuild up waits for the batch being written, and how often it looks.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
const CANCEL_LOOK_EVERY: Duration = Duration::from_millis(10);

/// What can be asked of the projections of a running server. Cheap to clone.
#[derive(Clone)]
pub struct ProjectionControl {
    pub(crate) progress: Progress,
    pub(crate) projections: Arc<[Arc<dyn Projection>]>,
    pub(crate) models: ReadModels,
    /// Whoever keeps the read models, when that is always this process; else the catalog says what is asked.
    pub(crate) keeper: Option<KeeperCommands>,
}

/// The way to the tasks that keep the read models at this moment: others take their place when one of them panics.
#[derive(Clone)]
pub(crate) struct KeeperCommands(Arc<RwLock<Commands>>);

impl KeeperCommands {
    pub(crate) fn new(commands: Commands) -> Self {
        Self(Arc::new(RwLock::new(commands)))
    }

    pub(crate) fn get(&self) -> Commands {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, commands: Commands) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = commands;
    }
}

/// The way to the tasks that keep the read models.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) rebuilds: Arc<Rebuilds>,
    pub(crate) live: mpsc::Sender<Command>,
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
    /// A newer build keeps it, or builds it.
    #[error("a newer build keeps it")]
    Newer,
    /// There is no rebuild that could be given up.
    #[error("it is not being rebuilt")]
    NotRebuilding,
    /// It has not stopped.
    #[error("it has not stopped at any event")]
    NotStopped,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The read models could not be reached.
    #[error(transparent)]
    ReadModels(#[from] ReadModelsError),
}

/// What the live task is asked between two batches.
pub(crate) enum Command {
    /// A copy is built: serve it.
    TakeOver(Building, oneshot::Sender<Result<(), TakeOverError>>),
    /// A projection that stopped tries again.
    Resume(&'static str, oneshot::Sender<bool>),
    /// Those that were behind have caught up, or stopped.
    CaughtUp,
    /// Write what is under way, and end.
    Stop,
    /// Panic, to see what comes of it.
    #[cfg(test)]
    Panic,
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
        let projection = Arc::clone(self.find(name)?);
        let control = self.clone();
        finished(async move {
            let Some(commands) = control.commands() else {
                return match control.models.begin_beside(&*projection).await {
                    Ok(_) => {
                        control.progress.rebuild_waits(projection.name());
                        Ok(())
                    }
                    Err(ReadModelsError::Rebuilding(_)) => Err(ControlError::Rebuilding),
                    Err(ReadModelsError::TooNew { .. }) => Err(ControlError::Newer),
                    Err(error) => Err(error.into()),
                };
            };
            if !commands.rebuilds.begin(&projection) {
                return Err(ControlError::Rebuilding);
            }
            match control.models.begin_beside(&*projection).await {
                Ok(copy) => {
                    control.progress.rebuild_waits(projection.name());
                    commands.rebuilds.ready(projection.name(), copy);
                    Ok(())
                }
                Err(error) => {
                    commands.rebuilds.end(projection.name());
                    Err(error.into())
                }
            }
        })
        .await
    }

    /// Gives a rebuild up; the copy that is served stays.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn cancel(&self, name: &str) -> Result<(), ControlError> {
        let projection = Arc::clone(self.find(name)?);
        let control = self.clone();
        finished(async move {
            match control.commands() {
                Some(commands) => control.cancel_here(&commands, projection.name()).await,
                None => control.cancel_anywhere(&projection).await,
            }
        })
        .await
    }

    async fn cancel_here(&self, commands: &Commands, name: &'static str) -> Result<(), ControlError> {
        let (copy, is_gone) = commands.rebuilds.give_up(name).ok_or(ControlError::NotRebuilding)?;
        self.progress.rebuild_ended(name);
        if is_gone {
            self.models.give_up(&copy).await;
        } else if let Err(error) = self.models.forget(&copy).await {
            // Whoever builds it throws it away; only a crash before that would bring it back.
            tracing::warn!(error = &error as &dyn std::error::Error, projection = name, "its rebuild ends later");
        }
        // Whoever was told that it is given up may ask for another one.
        let gone = async {
            while commands.rebuilds.has(name) {
                tokio::time::sleep(CANCEL_LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(CANCEL_PATIENCE, gone).await.is_err() {
            tracing::info!(projection = name, "its rebuild ends after the batch being written");
        }
        Ok(())
    }

    /// Whoever builds it finds that it is not in the catalog any more.
    async fn cancel_anywhere(&self, projection: &Arc<dyn Projection>) -> Result<(), ControlError> {
        let unfinished = self.models.unfinished(std::slice::from_ref(projection)).await?;
        let (_, copy) = unfinished.into_iter().next().ok_or(ControlError::NotRebuilding)?;
        if !self.models.forget(&copy).await? {
            // It has taken over meanwhile.
            return Err(ControlError::NotRebuilding);
        }
        self.progress.rebuild_ended(projection.name());
        Ok(())
    }

    /// A projection that stopped at an event tries again.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn resume(&self, name: &str) -> Result<(), ControlError> {
        let name = self.find(name)?.name();
        let Some(commands) = self.commands() else {
            let Some(server) = self.models.shared() else { return Err(ControlError::Stopping) };
            if !server.try_again(name).await? {
                return Err(ControlError::NotStopped);
            }
            self.progress.tries_again(name);
            return Ok(());
        };
        let (reply, answer) = oneshot::channel();
        commands.live.send(Command::Resume(name, reply)).await.map_err(|_| ControlError::Stopping)?;
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ControlError::NotStopped),
            Err(_) => Err(ControlError::Stopping),
        }
    }

    fn commands(&self) -> Option<Commands> {
        self.keeper.as_ref().map(KeeperCommands::get)
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Projection>, ControlError> {
        self.projections.iter().find(|projection| projection.name() == name).ok_or(ControlError::Unknown)
    }
}

impl Commands {
    /// Lets the live task serve a copy.
    pub(crate) async fn take_over(&self, building: Building) -> Result<(), TakeOverError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.live.send(Command::TakeOver(building, reply)).await;
        sent.map_err(|_| TakeOverError::Stopping)?;
        answer.await.unwrap_or(Err(TakeOverError::Stopping))
    }
}

/// Comes to its end also when the caller goes away in the middle of it.
async fn finished(work: impl Future<Output = Result<(), ControlError>> + Send + 'static) -> Result<(), ControlError> {
    tokio::spawn(work).await.unwrap_or(Err(ControlError::Stopping))
}
