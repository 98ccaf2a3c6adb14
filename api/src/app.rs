//! What handlers work with: the log by its repositories, and the read models.

use std::time::Duration;

use daybook_domain::{book::BookDecider, reading::ReaderDecider, registry::RegistryDecider, shop::ShopDecider};
use daybook_eventlog::{Log, Position, Repository};
use daybook_projections::{Progress, ProjectionControl, ReadModels};

use crate::http::Problem;
use crate::http::unread::log_unread;
use crate::log::Streams;

/// States of readers kept in memory: a few hundred bytes each.
const READERS_MAX: usize = 50_000;
/// States of books kept in memory.
const BOOKS_MAX: usize = 20_000;
/// States of shops kept in memory: up to a few MiB each.
const SHOPS_MAX: usize = 256;
/// The shape of a shop's state, for the copies that are kept of it: another shape takes another name.
const SHOP_SHAPE: &str = "shop-1";
/// The shape of the registry's state, likewise.
const REGISTRY_SHAPE: &str = "registry-1";
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
    /// The log as it is being streamed to callers.
    pub streams: Streams,
}

impl App {
    /// The pieces on top of a log and its read models.
    #[must_use]
    pub fn new(log: Log, models: ReadModels, projections: ProjectionControl) -> Self {
        Self {
            books: Repository::new(log.clone(), BOOKS_MAX),
            shops: Repository::new(log.clone(), SHOPS_MAX).with_snapshots(SHOP_SHAPE),
            registry: Repository::new(log.clone(), 1).with_snapshots(REGISTRY_SHAPE),
            readers: Repository::new(log.clone(), READERS_MAX),
            streams: Streams::new(log.clone()),
            log,
            models,
            progress: projections.progress(),
            projections,
        }
    }

    /// The last position that any node has answered.
    ///
    /// # Errors
    /// 503 when the database is away.
    pub async fn head(&self) -> Result<Position, Problem> {
        // Where several nodes write, this one may not have heard yet of what another has answered.
        self.log.stored_head().await.map_err(log_unread)
    }

    /// Waits until these read models show every write that was answered before now, and `after`, if the caller named
    /// a position: what has been answered can be read, by anyone.
    ///
    /// # Errors
    /// 503 when the read models are too far behind.
    pub async fn caught_up(&self, projections: &[&'static str], after: Option<Position>) -> Result<(), Problem> {
        let head = self.head().await?;
        self.reached(projections, head.max(after.unwrap_or(Position::START))).await
    }

    /// Whether this read model shows what [`caught_up`](Self::caught_up) would wait for. It is for what an answer can do
    /// without: when the projection has stopped at a fault, or is too far behind, the answer leaves that out and
    /// [says so](crate::http::left_out).
    ///
    /// # Errors
    /// The log's head cannot be told.
    pub async fn can_show(&self, projection: &'static str, after: Option<Position>) -> Result<bool, Problem> {
        let position = self.head().await?.max(after.unwrap_or(Position::START));
        let reached = self.progress.reached(&[projection], position, PATIENCE).await;
        Ok(reached.inspect_err(|lagging| tracing::warn!(%lagging, "an answer leaves something out")).is_ok())
    }

    /// Waits until the log as this node knows it has every write that was answered before now, by any node, and
    /// `after`, if the caller named a position.
    ///
    /// # Errors
    /// 503 when it does not in time.
    pub async fn logged(&self, after: Option<Position>) -> Result<(), Problem> {
        let after = self.head().await?.max(after.unwrap_or(Position::START));
        let mut head = self.log.watch_head();
        let reached = tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= after)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::unavailable("The log has not come to that position yet: try again shortly.", 1)),
        }
    }

    /// Waits until these read models show everything up to `position`.
    ///
    /// # Errors
    /// 503 when they are too far behind.
    pub async fn reached(&self, projections: &[&'static str], position: Position) -> Result<(), Problem> {
        self.progress.reached(projections, position, PATIENCE).await.map_err(|lagging| {
            tracing::warn!(%lagging, "a read was not answered in time");
            Problem::unavailable("What was asked for cannot be shown yet: try again shortly.", 1)
        })?;
        // Each request has a clone of its own: a rebuilt read model that takes over in the middle of it waits its turn.
        self.models.pin();
        Ok(())
    }
}
