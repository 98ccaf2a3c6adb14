//! What a log asks of this engine, each call on the engine's own threads.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use super::{PostgresEngine, reader::ReadPool};
use crate::{
    Anchor, EventRef, KeyLookup, Position, ReadError, RequestKey, Scan, Snapshot, StreamId, StreamRead, Version,
    read::step,
};

impl PostgresEngine {
    pub(crate) async fn stored_head(&self) -> Result<Position, ReadError> {
        self.read(|pool| async move { pool.stored_head().await }).await
    }

    pub(crate) async fn anchor(&self) -> Result<Anchor, ReadError> {
        self.read(|pool| async move { pool.anchor().await }).await
    }

    pub(crate) async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        self.read(move |pool| async move { pool.anchor_at(position).await }).await
    }

    pub(crate) async fn broken_streams(&self, limit: u32) -> Result<Vec<StreamId>, ReadError> {
        self.read(move |pool| async move { pool.broken_streams(limit).await }).await
    }

    pub(crate) async fn fold<S: Send + 'static>(
        &self,
        scan: Scan,
        mut state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        let read = |pool: Arc<ReadPool>| async move {
            let folded = &mut state;
            let seen = pool.scan(&scan, &mut move |event: &EventRef<'_>| fold(folded, event)).await?;
            Ok((state, seen))
        };
        self.read(read).await
    }

    pub(crate) async fn fold_stream<S: Send + 'static>(
        &self,
        read: StreamRead,
        state: S,
        fold: impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S> + Send + 'static,
    ) -> Result<ControlFlow<S, S>, ReadError> {
        let mut folded = Some(ControlFlow::Continue(state));
        let read = |pool: Arc<ReadPool>| async move {
            let fold_into = &mut folded;
            let visit = &mut move |event: &EventRef<'_>| step(fold_into, event, &fold);
            pool.read_stream(&read, visit).await?;
            folded.ok_or(ReadError::Closed)
        };
        self.read(read).await
    }

    pub(crate) async fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        self.read(move |pool| async move { pool.last_before(micros).await }).await
    }

    pub(crate) async fn stream_head(&self, stream: StreamId) -> Result<Option<Version>, ReadError> {
        self.read(|pool| async move { pool.stream_head(&stream).await }).await
    }

    pub(crate) async fn remembered(&self, request: RequestKey) -> Result<KeyLookup, ReadError> {
        self.read(|pool| async move { pool.remembered(&request).await }).await
    }

    /// Never known without a look: another node may have written a moment ago.
    pub(crate) fn next_version(&self, _stream: &StreamId) -> Option<Version> {
        None
    }

    /// Of no use here, as [`next_version`](Self::next_version) says.
    pub(crate) fn learned_version(&self, _stream: &StreamId, _next: Version) {}

    pub(crate) async fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        self.read(|pool| async move { pool.snapshot(stream).await }).await
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        None
    }

    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }
}
