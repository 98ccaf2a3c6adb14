//! A stream while one decision is made on it.

use std::{ops::ControlFlow, sync::Arc};

use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
};
use tokio::sync::OwnedMutexGuard;

use super::{Cause, Decided, ExecuteError, Executed, Render, snapshots::Snapshots};
use crate::{
    Answer, Append, AppendError, AppendOutcome, Appended, Direction, EventRef, ExpectedVersion, Log, NewEvent,
    Position, Remember, Snapshot, StreamAppend, StreamId, Version,
};

/// After so many events of a stream its state is kept again.
const SNAPSHOT_EVERY_EVENTS: u64 = 10_000;

#[derive(Default)]
pub(super) struct Loaded<S> {
    state: S,
    /// The version of the first event that is not in the state.
    next: Version,
    /// Nobody is known to have written since; while this is not so, the state is not decided on.
    is_fresh: bool,
}

/// A stream that nobody else of this repository decides on while this exists.
pub struct LockedStream<D: Decider> {
    log: Log,
    stream: StreamId,
    loaded: OwnedMutexGuard<Loaded<D::State>>,
    snapshots: Option<Snapshots<D::State>>,
}

impl<D: Decider + 'static> LockedStream<D> {
    /// The state to decide on.
    #[must_use]
    pub fn state(&self) -> &D::State {
        &self.loaded.state
    }

    pub(super) fn new(
        log: Log,
        stream: StreamId,
        loaded: OwnedMutexGuard<Loaded<D::State>>,
        snapshots: Option<Snapshots<D::State>>,
    ) -> Self {
        Self { log, stream, loaded, snapshots }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.loaded.is_fresh
    }

    /// Decides and writes, once. A writer of another repository may still be faster: `Append(Conflict)` asks for
    /// another try.
    pub(super) async fn execute(
        &mut self,
        command: &D::Command,
        cause: &Cause,
        answer: Option<&Render<D>>,
    ) -> Result<Executed, ExecuteError<D::Rejection>> {
        let events = D::decide(&self.loaded.state, command).map_err(ExecuteError::Rejected)?;
        if events.is_empty() && cause.request.is_none() {
            // No append checks the version: what is nothing to do now was perhaps decided on an old state.
            let expected = ExpectedVersion::before(self.loaded.next);
            if self.catch_up().await? {
                let (stream, next) = (self.stream.clone(), self.loaded.next);
                return Err(ExecuteError::Append(AppendError::Conflict { stream, expected, next }));
            }
        }
        self.commit(events, cause, answer).await.map_err(ExecuteError::Append)
    }

    /// Writes events that were decided on with this lock held. Without `answer` nothing is kept for a repetition.
    ///
    /// # Errors
    /// [`AppendError`] when the log refuses them, or another writer was faster; nothing was written then.
    pub async fn commit(
        &mut self,
        events: Vec<D::Event>,
        cause: &Cause,
        answer: Option<&Render<D>>,
    ) -> Result<Executed, AppendError> {
        if events.is_empty() && cause.request.is_none() {
            let appended = Appended { positions: Vec::new(), last: self.log.head(), repeated: false };
            return Ok(self.executed(&events, &appended, answer));
        }
        let parts = vec![self.part(&events, &cause.metadata.encode())];
        let remember = self.remember(cause, &events, answer);
        // Until the log has answered, nobody knows what the stream holds: should this future be dropped (the caller
        // hung up), the state has to catch up first.
        self.loaded.is_fresh = false;
        let appended = match self.log.append(Append { parts, remember }).await? {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        self.advance(&events);
        Ok(self.executed(&events, &appended, answer))
    }

    /// Writes events for this stream and another one, both or neither; both were decided on with the locks held. The
    /// answer is made from this one.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_with<E: Decider + 'static>(
        &mut self,
        events: Vec<D::Event>,
        (other, other_events): (&mut LockedStream<E>, Vec<E::Event>),
        cause: &Cause,
        answer: Option<&Render<D>>,
    ) -> Result<Executed, AppendError> {
        let metadata = cause.metadata.encode();
        // This stream's events come first, so that their positions are the first ones, too.
        let parts = vec![self.part(&events, &metadata), other.part(&other_events, &metadata)];
        let remember = self.remember(cause, &events, answer);
        self.loaded.is_fresh = false;
        other.loaded.is_fresh = false;
        let appended = match self.log.append(Append { parts, remember }).await? {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        self.advance(&events);
        other.advance(&other_events);
        Ok(self.executed(&events, &appended, answer))
    }

    fn executed(&self, events: &[D::Event], appended: &Appended, answer: Option<&Render<D>>) -> Executed {
        let decided = Decided { state: &self.loaded.state, events, appended };
        Executed { answer: answer.map(|answer| answer(decided)).unwrap_or_default(), position: appended.last }
    }

    fn part(&self, events: &[D::Event], metadata: &Arc<str>) -> StreamAppend {
        StreamAppend {
            stream: self.stream.clone(),
            expected: ExpectedVersion::before(self.loaded.next),
            events: NewEvent::from_domain(events, metadata),
        }
    }

    fn advance(&mut self, events: &[D::Event]) {
        for event in events {
            D::evolve(&mut self.loaded.state, event);
        }
        let before = self.loaded.next;
        self.loaded.next += events.len() as u64;
        self.loaded.is_fresh = true;
        if before / SNAPSHOT_EVERY_EVENTS != self.loaded.next / SNAPSHOT_EVERY_EVENTS {
            self.keep_snapshot();
        }
    }

    /// Nobody waits for it: a copy that is missing or late costs time at the next start, nothing else.
    fn keep_snapshot(&self) {
        let Some(snapshots) = self.snapshots else { return };
        let (log, stream, next, state) =
            (self.log.clone(), self.stream.clone(), self.loaded.next, self.loaded.state.clone());
        drop(tokio::task::spawn_blocking(move || {
            if let Some(state) = (snapshots.encode)(&state) {
                log.keep_snapshot(Snapshot { stream, shape: snapshots.shape.to_owned(), next, state });
            }
        }));
    }

    /// The kept copy of the state, if there is a usable one.
    async fn snapshot(&self) -> Option<Loaded<D::State>> {
        let snapshots = self.snapshots?;
        match self.log.snapshot(&self.stream).await {
            Ok(snapshot) => {
                let snapshot = snapshot.filter(|snapshot| snapshot.shape == snapshots.shape)?;
                let state = (snapshots.decode)(&snapshot.state)?;
                Some(Loaded { state, next: snapshot.next, is_fresh: false })
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(stream = %self.stream, error, "a state's copy could not be read: folding it from the start");
                None
            }
        }
    }

    /// Folds what was written since into the state; whether there was anything.
    pub(super) async fn catch_up(&mut self) -> Result<bool, ExecuteError<D::Rejection>> {
        let before = self.loaded.next;
        if self.log.next_version(&self.stream) == Some(before) {
            self.loaded.is_fresh = true;
            return Ok(false);
        }
        if before == 0
            && let Some(snapshot) = self.snapshot().await
        {
            *self.loaded = snapshot;
        }
        // Should this future be dropped, or fail, an empty state stays behind, which is folded from the beginning.
        let loaded = std::mem::take(&mut *self.loaded);
        type Folded<S> = (Loaded<S>, Position, Result<(), DecodeError>);
        let fold = |(mut loaded, seen, _): Folded<D::State>, event: &EventRef<'_>| match D::Event::decode(
            event.event_type,
            event.schema_version,
            event.data.as_bytes(),
        ) {
            Ok(decoded) => {
                D::evolve(&mut loaded.state, &decoded);
                loaded.next = event.version + 1;
                ControlFlow::Continue((loaded, event.position, Ok(())))
            }
            Err(error) => ControlFlow::Break((loaded, seen, Err(error))),
        };
        let (from, start) = (Some(loaded.next), (loaded, Position::START, Ok(())));
        let folded = self.log.fold_stream(&self.stream, from, Direction::Forward, usize::MAX, start, fold).await;
        let (ControlFlow::Continue((loaded, seen, decoded)) | ControlFlow::Break((loaded, seen, decoded))) =
            folded.map_err(ExecuteError::Read)?;
        decoded.map_err(ExecuteError::Decode)?;
        self.log.announced(seen).await.map_err(ExecuteError::Read)?;
        self.log.learned_version(&self.stream, loaded.next);
        *self.loaded = Loaded { is_fresh: true, ..loaded };
        Ok(self.loaded.next > before)
    }

    fn remember(&self, cause: &Cause, events: &[D::Event], answer: Option<&Render<D>>) -> Option<Remember> {
        let (key, answer) = (cause.request.clone()?, Arc::clone(answer?));
        let (mut state, events) = (self.loaded.state.clone(), events.to_vec());
        let answer = move |appended: &Appended| -> Answer {
            for event in &events {
                D::evolve(&mut state, event);
            }
            answer(Decided { state: &state, events: &events, appended })
        };
        Some(Remember { key, answer: Box::new(answer) })
    }
}
