//! The engines that a log can stand on. Everything a log does is a match over them, and nothing else.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use tokio::sync::watch;

use crate::{
    Anchor, Append, AppendError, AppendOutcome, EventRef, ImportError, KeyLookup, Position, ReadError, RecordedEvent,
    RequestKey, Scan, Snapshot, StreamId, StreamRead, Version,
    postgres::{PostgresEngine, ReadPool},
    queue::Queue,
    sqlite::{ReadConnection, SqliteEngine},
};

pub(crate) enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

impl Engine {
    /// The way to the one who writes.
    fn queue(&self) -> &Queue {
        match self {
            Self::Sqlite(sqlite) => &sqlite.queue,
            Self::Postgres(postgres) => &postgres.queue,
        }
    }

    pub(crate) async fn append(&self, append: Append) -> Result<AppendOutcome, AppendError> {
        self.queue().append(append).await
    }

    pub(crate) async fn import(&self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        self.queue().import(events).await
    }

    pub(crate) async fn anchor(&self) -> Result<Anchor, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(|connection| connection.anchor()).await,
            Self::Postgres(postgres) => postgres.read(|pool| async move { pool.anchor().await }).await,
        }
    }

    pub(crate) async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(move |connection| connection.anchor_at(position)).await,
            Self::Postgres(postgres) => postgres.read(move |pool| async move { pool.anchor_at(position).await }).await,
        }
    }

    /// Streams whose versions are not those from 0 on without a gap, by name, at most `limit` of them.
    pub(crate) async fn broken_streams(&self, limit: u32) -> Result<Vec<StreamId>, ReadError> {
        match self {
            // Its own verification looks closer.
            Self::Sqlite(_) => Ok(Vec::new()),
            Self::Postgres(postgres) => {
                postgres.read(move |pool| async move { pool.broken_streams(limit).await }).await
            }
        }
    }

    pub(crate) fn head(&self) -> &watch::Receiver<Position> {
        match self {
            Self::Sqlite(sqlite) => &sqlite.head,
            Self::Postgres(postgres) => postgres.head(),
        }
    }

    /// The head as the store has it.
    pub(crate) async fn stored_head(&self) -> Result<Position, ReadError> {
        match self {
            // Nobody else writes, and a commit is announced before it is answered.
            Self::Sqlite(sqlite) => Ok(*sqlite.head.borrow()),
            Self::Postgres(postgres) => postgres.read(|pool| async move { pool.stored_head().await }).await,
        }
    }

    pub(crate) async fn fold<S: Send + 'static>(
        &self,
        scan: Scan,
        mut state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        match self {
            Self::Sqlite(sqlite) => {
                let read = move |connection: &ReadConnection| {
                    let seen = connection.scan(&scan, |event| fold(&mut state, event))?;
                    Ok((state, seen))
                };
                sqlite.readers.with(read).await
            }
            Self::Postgres(postgres) => {
                let read = |pool: Arc<ReadPool>| async move {
                    let folded = &mut state;
                    let seen = pool.scan(&scan, &mut move |event: &EventRef<'_>| fold(folded, event)).await?;
                    Ok((state, seen))
                };
                postgres.read(read).await
            }
        }
    }

    /// Folds a stream's events into `state` where they are read, until `fold` breaks.
    pub(crate) async fn fold_stream<S: Send + 'static>(
        &self,
        read: StreamRead,
        state: S,
        fold: impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S> + Send + 'static,
    ) -> Result<ControlFlow<S, S>, ReadError> {
        let mut folded = Some(ControlFlow::Continue(state));
        match self {
            Self::Sqlite(sqlite) => {
                let read = move |connection: &ReadConnection| {
                    let StreamRead { stream, from, direction, limit } = read;
                    connection.read_stream(&stream, from, direction, limit, |event| step(&mut folded, event, &fold))?;
                    folded.ok_or(ReadError::Closed)
                };
                sqlite.readers.with(read).await
            }
            Self::Postgres(postgres) => {
                let read = |pool: Arc<ReadPool>| async move {
                    let fold_into = &mut folded;
                    let visit = &mut move |event: &EventRef<'_>| step(fold_into, event, &fold);
                    pool.read_stream(&read, visit).await?;
                    folded.ok_or(ReadError::Closed)
                };
                postgres.read(read).await
            }
        }
    }

    pub(crate) async fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(move |connection| connection.last_before(micros)).await,
            Self::Postgres(postgres) => postgres.read(move |pool| async move { pool.last_before(micros).await }).await,
        }
    }

    /// The version that the stream's next event will have; `None` when it has no event.
    pub(crate) async fn stream_head(&self, stream: StreamId) -> Result<Option<Version>, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(move |connection| connection.stream_head(&stream)).await,
            Self::Postgres(postgres) => postgres.read(|pool| async move { pool.stream_head(&stream).await }).await,
        }
    }

    pub(crate) async fn remembered(&self, request: RequestKey) -> Result<KeyLookup, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(move |connection| connection.remembered(&request)).await,
            Self::Postgres(postgres) => postgres.read(|pool| async move { pool.remembered(&request).await }).await,
        }
    }

    /// The version the stream's next event will have, as far as this process can know it for certain without a look
    /// into the store. On a server it never can: another node may have written a moment ago.
    pub(crate) fn next_version(&self, stream: &StreamId) -> Option<Version> {
        match self {
            Self::Sqlite(sqlite) => sqlite.versions.next(stream),
            Self::Postgres(_) => None,
        }
    }

    pub(crate) fn learned_version(&self, stream: &StreamId, next: Version) {
        match self {
            Self::Sqlite(sqlite) => sqlite.versions.learned(stream, next),
            Self::Postgres(_) => {}
        }
    }

    pub(crate) async fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.readers.with(move |connection| connection.snapshot(stream)).await,
            Self::Postgres(postgres) => postgres.read(|pool| async move { pool.snapshot(stream).await }).await,
        }
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

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(sqlite) => Some(sqlite.path()),
            Self::Postgres(_) => None,
        }
    }

    pub(crate) fn place(&self) -> String {
        match self {
            Self::Sqlite(sqlite) => sqlite.path().display().to_string(),
            Self::Postgres(postgres) => postgres.place().to_owned(),
        }
    }

    pub(crate) fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close(),
            Self::Postgres(postgres) => postgres.close(),
        }
    }
}

/// Folds one more event, unless the fold has come to its end.
fn step<S>(
    folded: &mut Option<ControlFlow<S, S>>,
    event: &EventRef<'_>,
    fold: &impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S>,
) -> ControlFlow<()> {
    *folded = folded.take().map(|flow| match flow {
        ControlFlow::Continue(state) => fold(state, event),
        stopped @ ControlFlow::Break(_) => stopped,
    });
    match folded {
        Some(ControlFlow::Continue(_)) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}
