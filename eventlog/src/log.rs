//! The log: what every engine promises, whichever it is.

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::{
    Anchor, Append, AppendError, AppendOutcome, Direction, EventRef, Filter, ImportError, KeyLookup, OpenError, Page,
    Position, PostgresOptions, READ_EVENTS_MAX, ReadError, RecordedEvent, RequestKey, Scan, ServerError, Snapshot,
    StreamId, StreamRead, Version, engine::Engine, postgres::PostgresEngine, rules, sqlite::SqliteEngine,
};

/// An append-only log. Cheap to clone; all clones are the same log.
///
/// What it promises, on every engine:
/// 1. An acknowledged append survives the process and the power.
/// 2. Positions are gapless and in commit order.
/// 3. Expected versions hold, per stream.
/// 4. An event id is taken once, for ever: the same event again answers its first position.
/// 5. An append over several streams is all or nothing.
/// 6. The store itself refuses to change or delete an event.
/// 7. Reads go forwards and backwards, filtered inside the engine; subscriptions catch up and go live without a gap
///    and without a repeat.
#[derive(Clone)]
pub struct Log {
    engine: Arc<Engine>,
}

impl Log {
    /// Opens the embedded log in `folder` beside whoever writes it: without the folder's lock, and unable to append.
    /// Its head is the one at this moment.
    ///
    /// # Errors
    /// [`OpenError`]: among others when there is no log.
    pub async fn open_to_read(folder: &Path) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let path = folder.clone();
        let open = tokio::task::spawn_blocking(move || SqliteEngine::open_to_read(&folder));
        let engine = open.await.map_err(|error| OpenError::Folder { path, source: std::io::Error::other(error) })??;
        Ok(Self { engine: Arc::new(Engine::Sqlite(engine)) })
    }

    /// Another handle on the same log, to read much without standing in anybody's way: it has connections of its own,
    /// and its head is the one at this moment.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn beside(&self) -> Result<Self, ReadError> {
        Ok(Self { engine: Arc::new(self.engine.beside().await?) })
    }

    /// Opens the embedded log in `folder`; makes it when there is none.
    ///
    /// # Errors
    /// [`OpenError`]: among others when another process has the folder open.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let path = folder.clone();
        let open = tokio::task::spawn_blocking(move || SqliteEngine::open(&folder));
        let engine = open.await.map_err(|error| OpenError::Folder { path, source: std::io::Error::other(error) })??;
        Ok(Self { engine: Arc::new(Engine::Sqlite(engine)) })
    }

    /// Opens the log on a PostgreSQL server, together with any number of other nodes; makes it, or brings it to this
    /// build's format, when the options allow that.
    ///
    /// # Errors
    /// [`ServerError`]: among others when the server cannot be reached, or holds something else.
    pub async fn connect(options: &PostgresOptions) -> Result<Self, ServerError> {
        let engine = PostgresEngine::connect(options).await?;
        Ok(Self { engine: Arc::new(Engine::Postgres(engine)) })
    }

    /// Writes events; answers when they are on disk. Waiting appends share one commit.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the append was written then, but for [`AppendError::InDoubt`].
    pub async fn append(&self, append: Append) -> Result<AppendOutcome, AppendError> {
        rules::check_append(&append)?;
        let started = Instant::now();
        let outcome = self.engine.append(append).await;
        metrics::histogram!("daybook_log_append_seconds").record(started.elapsed().as_secs_f64());
        outcome
    }

    /// Writes events that another log recorded, with their positions, versions, ids and times; answers the new head
    /// when they are on disk. They go on exactly where this log ends, at most [`APPEND_EVENTS_MAX`] of them a call.
    /// Whether the log has to be empty before the first call is the caller's decision.
    ///
    /// [`APPEND_EVENTS_MAX`]: crate::APPEND_EVENTS_MAX
    ///
    /// # Errors
    /// [`ImportError`]; nothing of these events was written then.
    pub async fn import(&self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        rules::check_import_size(events.len())?;
        self.engine.import(events).await
    }

    /// The head's position and its checksum, read in one go: write it down, and a verification can say later whether
    /// this log still is the one that it was.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn anchor(&self) -> Result<Anchor, ReadError> {
        self.engine.anchor().await
    }

    /// A position and its checksum, which covers every event up to there: two logs that show the same one are the same
    /// up to that position. `None` where no event stands; position 0 is the start, which all logs share.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        if position == Position::START {
            return Ok(Some(Anchor::default()));
        }
        self.engine.anchor_at(position).await
    }

    /// The last position that this process knows to be committed.
    #[must_use]
    pub fn head(&self) -> Position {
        *self.engine.head().borrow()
    }

    /// Changes whenever the head does.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Position> {
        self.engine.head().clone()
    }

    /// The last position that is committed, as the store has it at this moment: where several nodes share a log,
    /// [`head`](Self::head) may be a moment behind what another node has answered.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn stored_head(&self) -> Result<Position, ReadError> {
        self.engine.stored_head().await
    }

    /// A page of the log after `after`: at most `limit` events (bounded by [`READ_EVENTS_MAX`] and
    /// [`READ_BYTES_MAX`](crate::READ_BYTES_MAX)).
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn read_all(&self, after: Position, limit: usize, filter: &Filter) -> Result<Page, ReadError> {
        self.read_all_with(after, limit, filter, |event| event.to_recorded()).await
    }

    /// As [`read_all`](Self::read_all), with `map` run on each event where it was read: what is decoded there is
    /// neither copied nor decoded on the caller's thread.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn read_all_with<T: Send + 'static>(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        map: impl Fn(&EventRef<'_>) -> T + Send + 'static,
    ) -> Result<Page<T>, ReadError> {
        let limit = limit.min(READ_EVENTS_MAX);
        let left = usize::try_from(self.head().get().saturating_sub(after.get())).unwrap_or(usize::MAX);
        let expected = if *filter == Filter::all() { limit.min(left) } else { 0 };
        let scan = Scan::forward(after, Position::new(u64::MAX), filter.clone()).limit(limit);
        let collect = move |events: &mut Vec<T>, event: &EventRef<'_>| events.push(map(event));
        let (events, next_after) = self.fold(scan, Vec::with_capacity(expected), collect).await?;
        Ok(Page { events, next_after })
    }

    /// Folds a part of the log into `state`, on the thread that reads it, and says up to where everything wanted has
    /// been seen: a scan that goes on there misses nothing. The scan may end early, so that no read holds its
    /// snapshot of the file for long, nor its state much memory (after [`READ_EVENTS_MAX`] events or
    /// [`READ_BYTES_MAX`](crate::READ_BYTES_MAX) bytes, among others); [`Scan::is_over`] tells whether there is more.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn fold<S: Send + 'static>(
        &self,
        scan: Scan,
        state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        let fold = move |state: &mut S, event: &EventRef<'_>| {
            fold(state, event);
            ControlFlow::Continue(())
        };
        self.fold_until(scan, state, fold).await
    }

    /// As [`fold`](Self::fold), and the scan ends with the event at which `fold` breaks: for whoever counts bytes.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn fold_until<S: Send + 'static>(
        &self,
        mut scan: Scan,
        state: S,
        fold: impl Fn(&mut S, &EventRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(S, Position), ReadError> {
        scan.limit = scan.limit.min(READ_EVENTS_MAX);
        counted_read();
        self.engine.fold(scan, state, fold).await
    }

    /// The last position that was recorded before `moment`; the start when there is none.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn last_before(&self, moment: DateTime<Utc>) -> Result<Position, ReadError> {
        self.engine.last_before(moment.timestamp_micros()).await
    }

    /// A page of a stream from the version `from` on, in `direction`; from its end when there is no `from`.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn read_stream(
        &self,
        stream: &StreamId,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let fold = |mut events: Vec<RecordedEvent>, event: &EventRef<'_>| {
            events.push(event.to_recorded());
            ControlFlow::Continue(events)
        };
        let limit = limit.min(READ_EVENTS_MAX);
        Ok(match self.fold_stream(stream, from, direction, limit, Vec::new(), fold).await? {
            ControlFlow::Continue(events) | ControlFlow::Break(events) => events,
        })
    }

    /// Folds a stream's events into `state` where they are read, at most `limit`, until `fold` breaks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn fold_stream<S: Send + 'static>(
        &self,
        stream: &StreamId,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        state: S,
        fold: impl Fn(S, &EventRef<'_>) -> ControlFlow<S, S> + Send + 'static,
    ) -> Result<ControlFlow<S, S>, ReadError> {
        let read = StreamRead { stream: stream.clone(), from, direction, limit };
        counted_read();
        self.engine.fold_stream(read, state, fold).await
    }

    /// The event at `position`, if there is one.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        let Some(before) = position.get().checked_sub(1) else { return Ok(None) };
        let page = self.read_all(Position::new(before), 1, &Filter::all()).await?;
        Ok(page.events.into_iter().next())
    }

    /// The version of the stream's last event; `None` when it has none.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn last_version(&self, stream: &StreamId) -> Result<Option<Version>, ReadError> {
        let next = self.engine.stream_head(stream.clone()).await?;
        Ok(next.and_then(|next| next.checked_sub(1)))
    }

    /// The answer that was kept for a request.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn remembered(&self, request: &RequestKey) -> Result<KeyLookup, ReadError> {
        counted_read();
        let found = self.engine.remembered(request.clone()).await?;
        if let KeyLookup::Answered(stored) = &found {
            self.announced(stored.position).await?;
        }
        Ok(found)
    }

    /// The version the stream's next event will have, as far as this process knows it for certain.
    pub(crate) fn next_version(&self, stream: &StreamId) -> Option<Version> {
        self.engine.next_version(stream)
    }

    /// Remembers what a reader found to be the version of the stream's next event.
    pub(crate) fn learned_version(&self, stream: &StreamId, next: Version) {
        self.engine.learned_version(stream, next);
    }

    /// What has been read from the store may not have been announced yet: waits until the head covers `position`, so
    /// that whoever waits for the head from now on waits for that as well.
    pub(crate) async fn announced(&self, position: Position) -> Result<(), ReadError> {
        self.watch_head().wait_for(|head| *head >= position).await.map(drop).map_err(|_| ReadError::Closed)
    }

    /// Streams without all of their versions, at most `limit` of them.
    pub(crate) async fn broken_streams(&self, limit: u32) -> Result<Vec<StreamId>, ReadError> {
        self.engine.broken_streams(limit).await
    }

    /// The kept copy of a stream's state.
    pub(crate) async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        counted_read();
        self.engine.snapshot(stream.clone()).await
    }

    /// Keeps a copy of a stream's state, when there is time.
    pub(crate) fn keep_snapshot(&self, snapshot: Snapshot) {
        self.engine.keep_snapshot(snapshot);
    }

    /// Whether writes go through; tries one when the last one failed.
    pub async fn is_writable(&self) -> bool {
        self.engine.is_writable().await
    }

    /// Appends that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.engine.queued()
    }

    /// The embedded engine's file; none on a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.engine.path()
    }

    /// Where the log stands, in words: a file, or a server without its password.
    #[must_use]
    pub fn place(&self) -> String {
        self.engine.place()
    }

    /// Writes what is waiting and closes the log; later calls fail with `Closed`.
    pub async fn close(&self) {
        let engine = Arc::clone(&self.engine);
        if tokio::task::spawn_blocking(move || engine.close()).await.is_err() {
            tracing::error!("closing the log was interrupted");
        }
    }
}

/// One more question that is answered from the store.
fn counted_read() {
    metrics::counter!("daybook_log_reads_total").increment(1);
}
