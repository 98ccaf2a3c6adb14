//! What handlers work with: the log by its repositories, and the read models.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use daybook_domain::{
    book::BookDecider,
    reading::ReaderDecider,
    registry::{RegistryDecider, RegistryState},
    shop::{Shop, ShopDecider},
};
use daybook_eventlog::{Log, Position, ReadError, Repository};
use daybook_projections::{Progress, ProjectionControl, ReadModels};

use crate::auth::Terminals;
use crate::caught_up::NotCaughtUp;
use crate::jobs::Jobs;
use crate::log::Streams;
use crate::settings::Settings;

/// States of readers kept in memory: a few hundred bytes each.
const READERS_MAX: usize = 50_000;
/// States of books kept in memory.
const BOOKS_MAX: usize = 20_000;
/// States of shops kept in memory: up to a few MiB each.
const SHOPS_MAX: usize = 256;
/// How long a read waits for the read models.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pieces of the running server. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Where everything is written.
    pub log: Log,
    /// The rules of books.
    pub books: Repository<BookDecider>,
    /// The rules of readers.
    pub readers: Repository<ReaderDecider>,
    /// The rules of shops.
    pub shops: Repository<ShopDecider>,
    /// What is unique over all shops.
    pub registry: Repository<RegistryDecider>,
    /// Where everything is read.
    pub models: ReadModels,
    /// How far the read models are.
    pub progress: Progress,
    /// What can be asked of the projections.
    pub projections: ProjectionControl,
    /// The terminals that may sell.
    pub terminals: Terminals,
    /// The log as it is being streamed to callers.
    pub streams: Streams,
    /// How long ago a sale may have happened by its till's clock.
    pub till_past_max: TimeDelta,
    /// What the server does by itself; none until they are started.
    pub jobs: Jobs,
}

impl App {
    /// The pieces on top of a log and its read models; inside a runtime, whose task follows the log's terminals.
    #[must_use]
    pub fn new(settings: &Settings, log: Log, models: ReadModels, projections: ProjectionControl) -> Self {
        Self {
            books: Repository::new(log.clone(), BOOKS_MAX),
            shops: Repository::new(log.clone(), SHOPS_MAX).with_snapshots(Shop::SHAPE),
            registry: Repository::new(log.clone(), 1).with_snapshots(RegistryState::SHAPE),
            readers: Repository::new(log.clone(), READERS_MAX),
            streams: Streams::new(log.clone()),
            terminals: Terminals::follow(log.clone()),
            till_past_max: TimeDelta::from_std(settings.till_past_max).unwrap_or(TimeDelta::MAX),
            log,
            models,
            progress: projections.progress(),
            projections,
            jobs: Jobs::default(),
        }
    }

    /// The last position that any node has answered.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away.
    pub async fn head(&self) -> Result<Position, ReadError> {
        // Where several nodes write, this one may not have heard yet of what another has answered.
        self.log.stored_head().await
    }

    /// Where the log had come to at a moment. Recorded times never go back, so that a position stands for all of it.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away.
    pub async fn recorded_by(&self, at: DateTime<Utc>) -> Result<Position, ReadError> {
        let after = at.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(at);
        self.log.last_before(after).await
    }

    /// Waits until these read models show every write that was answered before now, and `after`, if the caller named
    /// a position: what has been answered can be read, by anyone.
    ///
    /// # Errors
    /// [`NotCaughtUp`] when the read models are too far behind, or the head cannot be read.
    pub async fn caught_up(&self, projections: &[&'static str], after: Option<Position>) -> Result<(), NotCaughtUp> {
        let head = self.head().await?;
        self.reached(projections, head.max(after.unwrap_or(Position::START))).await
    }

    /// Whether this read model shows what [`caught_up`](Self::caught_up) would wait for. It is for what an answer can do
    /// without: when the projection has stopped at a fault, or is too far behind, the answer leaves that out and
    /// [says so](crate::http::left_out).
    ///
    /// # Errors
    /// [`NotCaughtUp::Head`] when the log's head cannot be read.
    pub async fn can_show(&self, projection: &'static str, after: Option<Position>) -> Result<bool, NotCaughtUp> {
        let position = self.head().await?.max(after.unwrap_or(Position::START));
        let reached = self.progress.reached(&[projection], position, PATIENCE).await;
        Ok(reached.inspect_err(|lagging| tracing::warn!(%lagging, "an answer leaves something out")).is_ok())
    }

    /// Waits until the log as this node knows it has every write that was answered before now, by any node, and
    /// `after`, if the caller named a position.
    ///
    /// # Errors
    /// [`NotCaughtUp`] when it does not in time, or the head cannot be read.
    pub async fn logged(&self, after: Option<Position>) -> Result<(), NotCaughtUp> {
        let after = self.head().await?.max(after.unwrap_or(Position::START));
        let mut head = self.log.watch_head();
        let reached = tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= after)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotCaughtUp::LogBehind),
        }
    }

    /// Waits until these read models show everything up to `position`.
    ///
    /// # Errors
    /// [`NotCaughtUp::Behind`] when they are too far behind.
    pub async fn reached(&self, projections: &[&'static str], position: Position) -> Result<(), NotCaughtUp> {
        self.progress.reached(projections, position, PATIENCE).await.map_err(NotCaughtUp::Behind)?;
        // Each request has a clone of its own: a rebuilt read model that takes over in the middle of it waits its turn.
        self.models.pin();
        Ok(())
    }
}
