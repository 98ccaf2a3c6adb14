//! The one way of every write: state → `decide` → events → one durable append → `evolve`.

use std::{convert::Infallible, ops::ControlFlow, sync::Arc};

use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
};
use quick_cache::sync::Cache;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    Answer, Append, AppendError, AppendOutcome, Appended, Direction, EventRef, ExpectedVersion, KeyLookup, Log,
    Metadata, NewEvent, Position, ReadError, Remember, RequestKey, Snapshot, StoredAnswer, StreamAppend, StreamId,
    Tries, Version,
};

/// After so many events of a stream its state is kept again.
const SNAPSHOT_EVERY_EVENTS: u64 = 10_000;

/// Who asks for a write, and whether the answer is to be kept for a repetition.
#[derive(Debug, Clone, Default)]
pub struct Cause {
    /// Stored with every event.
    pub metadata: Metadata,
    /// Set when the request carried an idempotency key.
    pub request: Option<RequestKey>,
}

/// The streams of one decider: their states are kept in memory (a bounded number of them) and folded from the log when
/// they are not there. Each append checks the expected version, and what appends nothing (a rejection, nothing to do, a
/// view) looks for later events first: an answer never rests on an old state. Cheap to clone.
pub struct Repository<D: Decider> {
    log: Log,
    states: Arc<States<D::State>>,
    snapshots: Option<Snapshots<D::State>>,
}

type States<S> = Cache<StreamId, Arc<Mutex<Loaded<S>>>>;

impl<D: Decider> Clone for Repository<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), states: Arc::clone(&self.states), snapshots: self.snapshots }
    }
}

#[derive(Default)]
struct Loaded<S> {
    state: S,
    /// The version of the first event that is not in the state.
    next: Version,
    /// Nobody is known to have written since; while this is not so, the state is not decided on.
    is_fresh: bool,
}

/// What a decision came to, for making the answer.
pub struct Decided<'a, D: Decider> {
    /// The state after the events.
    pub state: &'a D::State,
    /// The events decided on; none when nothing changed.
    pub events: &'a [D::Event],
    /// Where they stand.
    pub appended: &'a Appended,
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// What to answer.
    pub answer: Answer,
    /// The position of the last event written, or that of the head when there was none.
    pub position: Position,
}

impl From<StoredAnswer> for Executed {
    fn from(stored: StoredAnswer) -> Self {
        Self { answer: stored.answer, position: stored.position }
    }
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R: std::error::Error + 'static> {
    /// The decider said no.
    #[error("the command was refused")]
    Rejected(#[source] R),
    /// Other writers were faster, again and again.
    #[error("the stream kept changing while a decision was made")]
    Conflict,
    /// The log did not take the events.
    #[error("the decision could not be written")]
    Append(#[source] AppendError),
    /// The stream could not be read.
    #[error("the state to decide on could not be read")]
    Read(#[source] ReadError),
    /// The stream holds an event that this build cannot read.
    #[error("the state to decide on holds an unreadable event")]
    Decode(#[source] DecodeError),
}

impl<D: Decider> Repository<D>
where
    D::Command: Send + Sync,
{
    /// A repository that keeps up to `states_max` states in memory.
    #[must_use]
    pub fn new(log: Log, states_max: usize) -> Self {
        Self { log, states: Arc::new(Cache::new(states_max)), snapshots: None }
    }

    /// Keeps copies of long streams' states in the log's file, so that a state that is not in memory is not folded
    /// from the stream's first event. `shape` names the state's shape: a copy of another shape is not looked at.
    #[must_use]
    pub fn with_snapshots(self, shape: &'static str) -> Self
    where
        D::State: Serialize + DeserializeOwned,
    {
        Self { snapshots: Some(Snapshots::new(shape)), ..self }
    }

    /// Decides on `command` and writes what follows; `answer` is made from the outcome (when the request carries a
    /// key, inside the same transaction, and kept).
    ///
    /// # Errors
    /// [`ExecuteError`]; nothing was written then.
    pub async fn execute(
        &self,
        stream: &StreamId,
        command: &D::Command,
        cause: &Cause,
        answer: impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static,
    ) -> Result<Executed, ExecuteError<D::Rejection>> {
        if let Some(executed) = self.already_answered(cause).await? {
            return Ok(executed);
        }
        let answer = Arc::new(answer);
        let mut locked = self.hold(stream).await;
        let mut tries = Tries::default();
        while tries.next().await {
            if !locked.loaded.is_fresh {
                locked.catch_up().await?;
            }
            match locked.execute(command, cause, Arc::clone(&answer)).await {
                Err(ExecuteError::Append(AppendError::Conflict { .. })) => {}
                Err(ExecuteError::Rejected(rejection)) => {
                    // A no is checked by no expected version: it counts when nobody else has written.
                    if locked.catch_up().await? {
                        continue;
                    }
                    // The same request may have been answered while this one waited for the stream.
                    let answered = self.already_answered(cause).await?;
                    return answered.ok_or(ExecuteError::Rejected(rejection));
                }
                outcome => return outcome,
            }
        }
        Err(ExecuteError::Conflict)
    }

    /// The answer kept for this request, if it was answered before.
    ///
    /// # Errors
    /// [`AppendError::KeyReused`] when its key was used with another body.
    pub async fn already_answered(&self, cause: &Cause) -> Result<Option<Executed>, ExecuteError<D::Rejection>> {
        let Some(request) = &cause.request else { return Ok(None) };
        match self.log.remembered(request).await.map_err(ExecuteError::Read)? {
            KeyLookup::Unknown => Ok(None),
            KeyLookup::Answered(stored) => Ok(Some(stored.into())),
            KeyLookup::OtherBody => Err(ExecuteError::Append(AppendError::KeyReused)),
        }
    }

    /// What `view` sees of the stream's present state.
    ///
    /// # Errors
    /// [`ExecuteError::Read`], [`ExecuteError::Decode`]
    pub async fn view<T>(
        &self,
        stream: &StreamId,
        view: impl FnOnce(&D::State) -> T,
    ) -> Result<T, ExecuteError<D::Rejection>> {
        Ok(view(self.lock(stream).await?.state()))
    }

    /// The stream's present state, with nobody else of this repository deciding on it meanwhile: for decisions that
    /// need facts looked up by what the state says.
    ///
    /// # Errors
    /// [`ExecuteError::Read`], [`ExecuteError::Decode`]
    pub async fn lock(&self, stream: &StreamId) -> Result<LockedStream<D>, ExecuteError<D::Rejection>> {
        let mut locked = self.hold(stream).await;
        locked.catch_up().await?;
        Ok(locked)
    }

    /// The stream with whatever is in memory of it.
    async fn hold(&self, stream: &StreamId) -> LockedStream<D> {
        let entry = match self.states.get(stream) {
            Some(entry) => entry,
            None => {
                let empty = || Ok::<_, Infallible>(Arc::default());
                match self.states.get_or_insert_with(stream, empty) {
                    Ok(entry) => entry,
                    Err(never) => match never {},
                }
            }
        };
        let loaded = entry.lock_owned().await;
        LockedStream { log: self.log.clone(), stream: stream.clone(), loaded, snapshots: self.snapshots }
    }
}

/// A stream that nobody else of this repository decides on while this exists.
pub struct LockedStream<D: Decider> {
    log: Log,
    stream: StreamId,
    loaded: OwnedMutexGuard<Loaded<D::State>>,
    snapshots: Option<Snapshots<D::State>>,
}

/// How states of one kind are kept.
struct Snapshots<S> {
    shape: &'static str,
    encode: fn(&S) -> Option<Vec<u8>>,
    decode: fn(&[u8]) -> Option<S>,
}

impl<S> Clone for Snapshots<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Snapshots<S> {}

impl<S: Serialize + DeserializeOwned> Snapshots<S> {
    fn new(shape: &'static str) -> Self {
        let encode = |state: &S| serde_json::to_vec(state).ok();
        let decode = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
        Self { shape, encode, decode }
    }
}

impl<D: Decider> LockedStream<D> {
    /// The state to decide on.
    #[must_use]
    pub fn state(&self) -> &D::State {
        &self.loaded.state
    }

    /// Decides and writes, once: a writer of another repository may still be faster.
    ///
    /// # Errors
    /// [`ExecuteError`]; `Append(Conflict)` asks for another try on a fresh lock.
    pub async fn execute(
        &mut self,
        command: &D::Command,
        cause: &Cause,
        answer: Arc<impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static>,
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

    /// Writes events that were decided on with this lock held.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn commit(
        &mut self,
        events: Vec<D::Event>,
        cause: &Cause,
        answer: Arc<impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static>,
    ) -> Result<Executed, AppendError> {
        if events.is_empty() && cause.request.is_none() {
            let appended = Appended { positions: Vec::new(), last: self.log.head(), repeated: false };
            let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
            return Ok(Executed { answer, position: appended.last });
        }
        let parts = vec![self.part(&events, &cause.metadata.encode())];
        let remember = self.remember(cause, &events, &answer);
        // Until the log has answered, nobody knows what the stream holds: should this future be dropped (the caller
        // hung up), the state has to catch up first.
        self.loaded.is_fresh = false;
        let appended = match self.log.append(Append { parts, remember }).await? {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        self.advance(&events);
        let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
        Ok(Executed { answer, position: appended.last })
    }

    /// Writes events for this stream and another one, both or neither; both were decided on with the locks held. The
    /// answer is made from this one.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then.
    pub async fn commit_with<E: Decider>(
        &mut self,
        events: Vec<D::Event>,
        (other, other_events): (&mut LockedStream<E>, Vec<E::Event>),
        cause: &Cause,
        answer: Arc<impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static>,
    ) -> Result<Executed, AppendError> {
        let metadata = cause.metadata.encode();
        // This stream's events come first, so that their positions are the first ones, too.
        let parts = vec![self.part(&events, &metadata), other.part(&other_events, &metadata)];
        let remember = self.remember(cause, &events, &answer);
        self.loaded.is_fresh = false;
        other.loaded.is_fresh = false;
        let appended = match self.log.append(Append { parts, remember }).await? {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        self.advance(&events);
        other.advance(&other_events);
        let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
        Ok(Executed { answer, position: appended.last })
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
    async fn catch_up(&mut self) -> Result<bool, ExecuteError<D::Rejection>> {
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

    fn remember(
        &self,
        cause: &Cause,
        events: &[D::Event],
        answer: &Arc<impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static>,
    ) -> Option<Remember> {
        let key = cause.request.clone()?;
        let (mut state, events, answer) = (self.loaded.state.clone(), events.to_vec(), Arc::clone(answer));
        let answer = move |appended: &Appended| {
            for event in &events {
                D::evolve(&mut state, event);
            }
            answer(Decided { state: &state, events: &events, appended })
        };
        Some(Remember { key, answer: Box::new(answer) })
    }
}
