//! Keeps the read models of a running server up with the log, and lets rebuilt ones take over.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    Progress, Projection, ProjectionState, ReadModels, ReadModelsError,
    followers::{CATCHING_UP_EVENTS, End, Follower, Followers, Observer},
    models::Checkpoint,
    progress::HEAD_SAMPLE_EVERY,
    rebuild::{Building, Rebuilder, Rebuilds, TakeOverError},
};

/// How long the batch being written may take when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a read model that cannot be written keeps the others waiting.
const STUCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long giving a rebuild up waits for the batch being written, and how often it looks.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
const CANCEL_LOOK_EVERY: Duration = Duration::from_millis(10);
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
    TakeOver(Building, oneshot::Sender<Result<(), TakeOverError>>),
    /// A projection that stopped tries again.
    Resume(&'static str, oneshot::Sender<bool>),
    /// Those that were behind have caught up, or stopped.
    CaughtUp,
    /// Write what is under way, and end.
    Stop,
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
        let live = Live {
            followers: Followers::new(log.clone(), followers, Arc::new(progress.clone())).with_patience(STUCK_PATIENCE),
            behind: None,
            log: log.clone(),
            models: models.clone(),
            progress: progress.clone(),
            commands: commands.downgrade(),
        };
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

/// The copies that are served.
struct Live {
    followers: Followers,
    /// Those that are too far behind for the others to wait for.
    behind: Option<Behind>,
    log: Log,
    models: ReadModels,
    progress: Progress,
    /// To hear of those that have caught up. Not a sender: the task ends when nobody else commands it.
    commands: mpsc::WeakSender<Command>,
}

/// Copies that catch up on their own.
struct Behind {
    stop: mpsc::Sender<()>,
    task: JoinHandle<Vec<Follower>>,
}

impl Live {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let tidy = tokio::spawn(tidy(self.log.clone(), self.models.clone(), self.progress.clone()));
        loop {
            self.part_behind().await;
            match self.followers.follow(None, &mut commands).await {
                End::Interrupted(Command::TakeOver(building, reply)) => {
                    // The one who asked may have gone; the copy is served all the same.
                    let _ = reply.send(self.take_over(building).await);
                }
                End::Interrupted(Command::Resume(name, reply)) => {
                    if self.followers.find(name).is_none() {
                        self.reclaim().await;
                    }
                    let _ = reply.send(self.followers.resume(name));
                }
                End::Interrupted(Command::CaughtUp) => self.reclaim().await,
                End::Stuck => {}
                End::Interrupted(Command::Stop) | End::LogClosed | End::Abandoned | End::Reached => break,
            }
        }
        tidy.abort();
        self.reclaim().await;
        self.followers.close().await;
    }

    /// Lets those that are far behind the others, or cannot be written, go on on their own: nobody waits for them.
    async fn part_behind(&mut self) {
        let working = || self.followers.iter().filter(|follower| follower.is_working());
        let first = working().filter(|one| !one.is_stuck).map(|one| one.checkpoint.position).max();
        let Some(first) = first else { return };
        let is_behind = |one: &Follower| {
            let missing = first.get().saturating_sub(one.checkpoint.position.get());
            one.is_working() && (one.is_stuck || missing > CATCHING_UP_EVENTS)
        };
        if !working().any(is_behind) {
            return;
        }
        self.reclaim().await;
        let mut apart = self.followers.part(is_behind);
        apart.iter_mut().for_each(|follower| follower.is_stuck = false);
        let names: Vec<_> = apart.iter().map(Follower::name).collect();
        tracing::info!(projections = ?names, "catching up on their own");
        let (stop, stopped) = mpsc::channel(1);
        let catching_up = catch_up(self.log.clone(), apart, self.progress.clone(), stopped, self.commands.clone());
        self.behind = Some(Behind { stop, task: tokio::spawn(catching_up) });
    }

    /// Takes back those that catch up on their own, wherever they are.
    async fn reclaim(&mut self) {
        if let Some(Behind { stop, task }) = self.behind.take() {
            drop(stop);
            // One that panicked has lost its copies; the next start has them again.
            self.followers.add(task.await.unwrap_or_default());
        }
    }

    /// Brings a copy to where the served one is, and serves it instead.
    async fn take_over(&mut self, (projection, id): Building) -> Result<(), TakeOverError> {
        let name = projection.name();
        if self.followers.find(name).is_none() {
            self.reclaim().await;
        }
        let Some(served) = self.followers.find(name) else { return Err(TakeOverError::Stopping) };
        // One that stopped stays behind; what takes over from it has everything.
        let target = if served.checkpoint.fault.is_some() { self.log.head() } else { served.checkpoint.position };
        let copy = self.models.open_copy(id.clone(), &*projection).await?;
        let mut alone = Followers::new(self.log.clone(), vec![Follower::new(projection, copy)], Arc::new(Silent));
        alone.follow_to(target).await;
        let Some(fresh) = alone.into_all().pop() else { return Err(TakeOverError::Stopping) };
        if let Some(fault) = fresh.checkpoint.fault {
            return Err(TakeOverError::Stopped(fault));
        }
        self.models.take_over(&id).await?;
        let position = fresh.checkpoint.position;
        // The connection of the old one closes here; its file goes when nobody reads it any more.
        drop(self.followers.part(|follower| follower.name() == name));
        self.followers.add(vec![fresh]);
        self.progress.applied(name, position, self.log.head());
        tracing::info!(projection = name, %position, "its rebuilt read model has taken over");
        Ok(())
    }
}

/// Brings copies near the log's head, says so, and hands them back; earlier when `stopped`.
async fn catch_up(
    log: Log,
    followers: Vec<Follower>,
    progress: Progress,
    mut stopped: mpsc::Receiver<()>,
    commands: mpsc::WeakSender<Command>,
) -> Vec<Follower> {
    let mut followers = Followers::new(log.clone(), followers, Arc::new(progress));
    while let Some(lowest) = followers.lowest() {
        let head = log.head();
        if head.get().saturating_sub(lowest.get()) < CATCHING_UP_EVENTS / 2 {
            break;
        }
        if followers.follow(Some(head), &mut stopped).await != End::Reached {
            return followers.into_all();
        }
    }
    if let Some(commands) = commands.upgrade() {
        // In a task of its own: whoever takes the copies back need not listen at this moment. When nobody listens any
        // more, they are taken back all the same.
        tokio::spawn(async move { drop(commands.send(Command::CaughtUp).await) });
    }
    followers.into_all()
}

/// Copies of older versions stay until the ones of this version have everything; and once the log has an event, the
/// copies are known to be of it.
async fn tidy(log: Log, models: ReadModels, progress: Progress) {
    let mut head = log.watch_head();
    if head.wait_for(|head| *head > Position::START).await.is_err() {
        return;
    }
    if let Ok((Some(first), _)) = source(&log).await
        && let Err(error) = models.note_source(first).await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "which log the read models are of was not noted");
    }
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
        let projection = Arc::clone(self.find(name)?);
        let control = self.clone();
        finished(async move {
            if !control.rebuilds.begin(&projection) {
                return Err(ControlError::Rebuilding);
            }
            match control.models.begin_beside(&*projection).await {
                Ok(copy) => {
                    control.progress.rebuild_waits(projection.name());
                    control.rebuilds.ready(projection.name(), copy);
                    Ok(())
                }
                Err(error) => {
                    control.rebuilds.end(projection.name());
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
        let name = self.find(name)?.name();
        let control = self.clone();
        finished(async move {
            let (copy, is_gone) = control.rebuilds.give_up(name).ok_or(ControlError::NotRebuilding)?;
            control.progress.rebuild_ended(name);
            if is_gone {
                control.models.give_up(&copy).await;
            } else if let Err(error) = control.models.forget(&copy).await {
                // Whoever builds it throws it away; only a crash before that would bring it back.
                tracing::warn!(error = &error as &dyn std::error::Error, projection = name, "its rebuild ends later");
            }
            // Whoever was told that it is given up may ask for another one.
            let gone = async {
                while control.rebuilds.has(name) {
                    tokio::time::sleep(CANCEL_LOOK_EVERY).await;
                }
            };
            if tokio::time::timeout(CANCEL_PATIENCE, gone).await.is_err() {
                tracing::info!(projection = name, "its rebuild ends after the batch being written");
            }
            Ok(())
        })
        .await
    }

    /// A projection that stopped at an event tries again.
    ///
    /// # Errors
    /// [`ControlError`]
    pub async fn resume(&self, name: &str) -> Result<(), ControlError> {
        let name = self.find(name)?.name();
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Resume(name, reply)).await.map_err(|_| ControlError::Stopping)?;
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ControlError::NotStopped),
            Err(_) => Err(ControlError::Stopping),
        }
    }

    /// Lets the live task serve a copy.
    pub(crate) async fn take_over(&self, building: Building) -> Result<(), TakeOverError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::TakeOver(building, reply)).await;
        sent.map_err(|_| TakeOverError::Stopping)?;
        answer.await.unwrap_or(Err(TakeOverError::Stopping))
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Projection>, ControlError> {
        self.projections.iter().find(|projection| projection.name() == name).ok_or(ControlError::Unknown)
    }
}

/// Comes to its end also when the caller goes away in the middle of it.
async fn finished(work: impl Future<Output = Result<(), ControlError>> + Send + 'static) -> Result<(), ControlError> {
    tokio::spawn(work).await.unwrap_or(Err(ControlError::Stopping))
}
