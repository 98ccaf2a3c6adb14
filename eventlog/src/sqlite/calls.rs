//! What a log asks of this engine, each call on one of the connections that read.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use super::{SqliteEngine, reader::ReadConnection};
use crate::{
    Anchor, EventRef, KeyLookup, Position, ReadError, RequestKey, Scan, Snapshot, StreamId, StreamRead, Version,
    read::step,
};

impl SqliteEngine {
    /// An engine that reads the same file on connections of its own, up to the present head.
    pub(crate) async fn beside(&self) -> Result<Self, ReadError> {
        let folder = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        match tokio::task::spawn_blocking(move || Self::open_to_read(&folder)).await {
            Ok(opened) => opened.map_err(|error| ReadError::Storage(Arc::new(error))),
            Err(error) => Err(ReadError::Storage(Arc::new(error))),
        }
    }

    /// No other process writes, and a commit is announced before it is answered: the file has nothing newer.
    pub(crate) async fn stored_head(&self) -> Result<Position, ReadError> {
        Ok(*self.head.borrow())
    }

    pub(crate) async fn anchor(&self) -> Result<Anchor, ReadError> {
        self.readers.with(ReadConnection::anchor).await
    }

    pub(crate) async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        self.readers.with(move |connection| connection.anchor_at(position)).await
    }

    /// None is told: the verification of a file looks at every version itself.
    pub(crate) async fn broken_streams(&self, _limit: u32) -> Result<Vec<StreamId>, ReadError> {
        Ok(Vec::new())
    }

    pub(crate) async fn fold<S: Send + 'static>(
        &self,
        scan: Scan,
        mut state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        let read = move |connection: &ReadConnection| {
            let seen = connection.scan(&scan, |event| fold(&mut state, event))?;
            Ok((state, seen))
        };
        self.readers.with(read).await
    }

    pub(crate) async fn fold_stream<S: Send + 'static>(
        &self,
        read: StreamRead,
        state: S,
        fold: impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S> + Send + 'static,
    ) -> Result<ControlFlow<S, S>, ReadError> {
        let mut folded = Some(ControlFlow::Continue(state));
        let read = move |connection: &ReadConnection| {
            let StreamRead { stream, from, direction, limit } = read;
            connection.read_stream(&stream, from, direction, limit, |event| step(&mut folded, event, &fold))?;
            folded.ok_or(ReadError::Closed)
        };
        self.readers.with(read).await
    }

    pub(crate) async fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        self.readers.with(move |connection| connection.last_before(micros)).await
    }

    pub(crate) async fn stream_head(&self, stream: StreamId) -> Result<Option<Version>, ReadError> {
        self.readers.with(move |connection| connection.stream_head(&stream)).await
    }

    pub(crate) async fn remembered(&self, request: RequestKey) -> Result<KeyLookup, ReadError> {
        self.readers.with(move |connection| connection.remembered(&request)).await
    }

    pub(crate) fn next_version(&self, stream: &StreamId) -> Option<Version> {
        self.versions.next(stream)
    }

    pub(crate) fn learned_version(&self, stream: &StreamId, next: Version) {
        self.versions.learned(stream, next);
    }

    pub(crate) async fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        self.readers.with(move |connection| connection.snapshot(stream)).await
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    pub(crate) fn place(&self) -> String {
        self.path.display().to_string()
    }
}
