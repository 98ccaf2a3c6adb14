//! Read models from outside a server: brought up to the log, built anew, compared with a fresh build.

mod on_server;

use std::{path::Path, sync::Arc};

use crate::{
    Differences, Progress, Projection, ReadModels, ReadModelsError,
    followers::{Follower, Followers, Hold, Observer},
    models::Checkpoint,
    rebuild::{self, Built},
};
use daybook_eventlog::{Log, Position};

/// Is told of each batch: the projection's name, and the position that it has come to.
pub type Told = Arc<dyn Fn(&'static str, Position) + Send + Sync>;

/// Brings `projections` in `models` up to the log's present head, calling `told` after each batch. Those that had
/// stopped try again, as at a server's start.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn catch_up(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    told: Told,
) -> Result<Progress, ReadModelsError> {
    let copies = models.prepare(&projections, log).await?;
    let progress = Progress::new(log.clone(), projections.iter().map(|one| (one.name(), one.version())));
    let followers = copies.into_iter().map(|(projection, copy)| {
        let mut follower = Follower::new(projection, copy);
        follower.try_again();
        follower
    });
    let observer = Arc::new(Both(progress.clone(), told));
    let mut followers = Followers::new(log.clone(), followers.collect(), observer);
    followers.follow_to(log.head()).await;
    let fenced = followers.iter().find(|follower| follower.hold == Hold::Fenced).map(Follower::name);
    followers.close().await;
    match fenced {
        Some(name) => Err(ReadModelsError::Fenced(name.to_owned())),
        None => Ok(progress),
    }
}

/// What became of a projection that was to be built anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its name.
    pub name: &'static str,
    /// Why not; the read model before stays in place then.
    pub failure: Option<String>,
}

/// Builds those of `projections` that are `wanted` from nothing, together, beside the ones in `models`; each takes
/// over when it has everything. What was interrupted goes on where it was. Where a node keeps the read models, that one
/// is asked to do it.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn rebuild(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    wanted: impl Fn(&str) -> bool,
    told: Told,
) -> Result<Vec<Rebuilt>, ReadModelsError> {
    match models.shared() {
        Some(server) => on_server::rebuild(log, models, server, projections, wanted, told).await,
        None => rebuild_here(log, models, projections, wanted, told).await,
    }
}

/// Where nobody else keeps the read models.
async fn rebuild_here(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    wanted: impl Fn(&str) -> bool,
    told: Told,
) -> Result<Vec<Rebuilt>, ReadModelsError> {
    for (_, copy) in models.prepare(&projections, log).await? {
        copy.close().await;
    }
    let mut copies = Vec::new();
    let mut unfinished = models.unfinished(&projections).await?;
    for projection in projections.into_iter().filter(|projection| wanted(projection.name())) {
        let begun = unfinished.iter().position(|(begun, _)| begun.name() == projection.name());
        let copy = match begun {
            Some(place) => unfinished.swap_remove(place).1,
            None => models.begin_beside(&*projection).await?,
        };
        copies.push((projection, copy));
    }
    // What a server began of the same ones is not needed any more.
    for (projection, copy) in unfinished {
        if copies.iter().any(|(wanted, _)| wanted.name() == projection.name()) {
            models.give_up(&copy).await;
        }
    }
    let built = rebuild::build_here(log, models, copies.clone(), Arc::new(Teller(told))).await;
    let mut rebuilt = Vec::with_capacity(built.len());
    for (name, built) in built {
        let Some((_, copy)) = copies.iter().find(|(projection, _)| projection.name() == name) else { continue };
        let failure = match built {
            Built::Stopped(Checkpoint { fault, .. }) => {
                models.give_up(copy).await;
                fault.map(|(position, reason)| format!("the event at position {position} cannot be taken: {reason}"))
            }
            Built::Failed { reason, .. } => Some(reason),
            Built::Whole => {
                models.take_over_in_the_end(copy).await?;
                models.forget_retired(name).await;
                None
            }
            Built::GivenUp | Built::Fenced | Built::Interrupted => Some("it was given up".to_owned()),
        };
        rebuilt.push(Rebuilt { name, failure });
    }
    Ok(rebuilt)
}

/// Gives up the rebuilds of those of `projections` that are `wanted`; answers their names.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn cancel(
    models: &ReadModels,
    projections: &[Arc<dyn Projection>],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<&'static str>, ReadModelsError> {
    let mut given_up = Vec::new();
    for (projection, copy) in models.unfinished(projections).await? {
        if wanted(projection.name()) {
            // Whoever may be building it hears of it before its tables go.
            if models.forget(&copy).await? {
                models.give_up(&copy).await;
                given_up.push(projection.name());
            }
        }
    }
    Ok(given_up)
}

/// A read model beside a fresh build of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The projection's name.
    pub name: &'static str,
    /// How far the read model is: the fresh one was built up to there. `None` when there is no read model of this
    /// build's version.
    pub checkpoint: Option<Position>,
    /// Where and why the served one, or else the fresh one, stopped.
    pub fault: Option<(Position, String)>,
    /// What the two disagree about.
    pub differences: Differences,
}

impl Verdict {
    /// The read model is there, and is what the log says.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checkpoint.is_some() && self.fault.is_none() && self.differences.different == 0
    }
}

/// Builds `projections` in the folder `scratch`, which is empty, up to where the ones in `models` are, and compares
/// them row by row. A server may be writing `models` meanwhile: what is compared is as it was when this began.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn verify(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    scratch: &Path,
    told: Told,
) -> Result<Vec<Verdict>, ReadModelsError> {
    let mut served = Vec::with_capacity(projections.len());
    for projection in &projections {
        served.push(models.freeze(&**projection).await?);
    }
    // Everything that the frozen copies have is there now.
    let log = log.beside().await.map_err(ReadModelsError::Log)?;
    let aside = ReadModels::open(scratch).await?;
    let mut followers = Vec::with_capacity(projections.len());
    let copies = aside.prepare(&projections, &log).await?;
    for ((projection, copy), frozen) in copies.into_iter().zip(&served) {
        let until = frozen.as_ref().map_or(Position::START, |frozen| frozen.checkpoint.position);
        followers.push(Follower::new(projection, copy).until(until));
    }
    let mut followers = Followers::new(log.clone(), followers, Arc::new(Teller(told)));
    followers.follow_to(log.head()).await;
    let built: Vec<_> = followers.iter().map(|one| one.checkpoint.clone()).collect();
    followers.close().await;
    let mut verdicts = Vec::with_capacity(projections.len());
    for ((projection, built), frozen) in projections.iter().zip(built).zip(served) {
        let mut verdict =
            Verdict { name: projection.name(), checkpoint: None, fault: None, differences: Differences::default() };
        if let Some(mut frozen) = frozen {
            verdict.differences = aside.compare(&mut frozen, &**projection).await?;
            let until = frozen.checkpoint.position;
            verdict.checkpoint = Some(until);
            verdict.fault = frozen.checkpoint.fault.or(built.fault).or_else(|| {
                let reason = format!("it is at position {until}, and the log ends here");
                (built.position < until).then_some((built.position, reason))
            });
        }
        verdicts.push(verdict);
    }
    aside.close().await;
    Ok(verdicts)
}

struct Teller(Told);

impl Observer for Teller {
    fn applied(&self, name: &'static str, position: Position, _: Position) {
        (self.0)(name, position);
    }

    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint) {
        (self.0)(name, checkpoint.position);
    }
}

struct Both(Progress, Told);

impl Observer for Both {
    fn applied(&self, name: &'static str, position: Position, head: Position) {
        self.0.applied(name, position, head);
        (self.1)(name, position);
    }

    fn stopped(&self, name: &'static str, checkpoint: &Checkpoint) {
        self.0.stopped(name, checkpoint);
        (self.1)(name, checkpoint.position);
    }
}
