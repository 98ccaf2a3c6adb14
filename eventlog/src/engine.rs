//! The engines that a log can stand on. Every call goes to the engine behind the log, which has a method of that name.

use std::{ops::ControlFlow, path::Path};

use tokio::sync::watch;

use crate::{
    Anchor, Append, AppendError, AppendOutcome, EventRef, ImportError, KeyLookup, Position, ReadError, RecordedEvent,
    RequestKey, Scan, Snapshot, StreamId, StreamRead, Version, postgres::PostgresEngine, queue::Queue,
    sqlite::SqliteEngine,
};

pub(crate) enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// The same call on whichever engine it is. It is a macro because the engines' methods take closures and return futures
/// of different types, so that no `dyn` trait fits; it is the one place where a call is given to an engine.
macro_rules! on {
    ($self:expr, $engine:ident => $call:expr) => {
        match $self {
            Self::Sqlite($engine) => $call,
            Self::Postgres($engine) => $call,
        }
    };
}

impl Engine {
    /// An engine of the same kind that only reads, on connections of its own and up to the present head.
    pub(crate) async fn beside(&self) -> Result<Self, ReadError> {
        Ok(match self {
            Self::Sqlite(sqlite) => Self::Sqlite(sqlite.beside().await?),
            Self::Postgres(postgres) => Self::Postgres(postgres.beside().await?),
        })
    }

    /// The way to the one who writes.
    fn queue(&self) -> &Queue {
        on!(self, engine => &engine.queue)
    }

    pub(crate) async fn append(&self, append: Append) -> Result<AppendOutcome, AppendError> {
        self.queue().append(append).await
    }

    pub(crate) async fn import(&self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        self.queue().import(events).await
    }

    pub(crate) fn keep_snapshot(&self, snapshot: Snapshot) {
        self.queue().keep_snapshot(snapshot);
    }

    pub(crate) async fn is_writable(&self) -> bool {
        self.queue().is_writable().await
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue().queued()
    }

    /// The last position that this process knows to be committed.
    pub(crate) fn head(&self) -> &watch::Receiver<Position> {
        on!(self, engine => &engine.head)
    }

    /// The head as the store has it.
    pub(crate) async fn stored_head(&self) -> Result<Position, ReadError> {
        on!(self, engine => engine.stored_head().await)
    }

    pub(crate) async fn anchor(&self) -> Result<Anchor, ReadError> {
        on!(self, engine => engine.anchor().await)
    }

    pub(crate) async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        on!(self, engine => engine.anchor_at(position).await)
    }

    /// Streams whose versions are not those from 0 on without a gap, by name, at most `limit` of them.
    pub(crate) async fn broken_streams(&self, limit: u32) -> Result<Vec<StreamId>, ReadError> {
        on!(self, engine => engine.broken_streams(limit).await)
    }

    pub(crate) async fn fold<S: Send + 'static>(
        &self,
        scan: Scan,
        state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        on!(self, engine => engine.fold(scan, state, fold).await)
    }

    /// Folds a stream's events into `state` where they are read, until `fold` breaks.
    pub(crate) async fn fold_stream<S: Send + 'static>(
        &self,
        read: StreamRead,
        state: S,
        fold: impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S> + Send + 'static,
    ) -> Result<ControlFlow<S, S>, ReadError> {
        on!(self, engine => engine.fold_stream(read, state, fold).await)
    }

    pub(crate) async fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        on!(self, engine => engine.last_before(micros).await)
    }

    /// The version that the stream's next event will have; `None` when it has no event.
    pub(crate) async fn stream_head(&self, stream: StreamId) -> Result<Option<Version>, ReadError> {
        on!(self, engine => engine.stream_head(stream).await)
    }

    pub(crate) async fn remembered(&self, request: RequestKey) -> Result<KeyLookup, ReadError> {
        on!(self, engine => engine.remembered(request).await)
    }

    /// The version that the stream's next event will have, as far as this process knows it for certain without a look
    /// into the store.
    pub(crate) fn next_version(&self, stream: &StreamId) -> Option<Version> {
        on!(self, engine => engine.next_version(stream))
    }

    /// Remembers what a reader found, where this process is the only one that writes.
    pub(crate) fn learned_version(&self, stream: &StreamId, next: Version) {
        on!(self, engine => engine.learned_version(stream, next));
    }

    pub(crate) async fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        on!(self, engine => engine.snapshot(stream).await)
    }

    /// The file, where there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        on!(self, engine => engine.path())
    }

    /// Where the log stands, in words, without a password.
    pub(crate) fn place(&self) -> String {
        on!(self, engine => engine.place())
    }

    pub(crate) fn close(&self) {
        on!(self, engine => engine.close());
    }
}
