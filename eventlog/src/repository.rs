//! The one way of every write: state → `decide` → events → one durable append → `evolve`.

use std::{convert::Infallible, ops::ControlFlow, sync::Arc};

use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    Answer, Append, AppendError, AppendOutcome, Appended, Direction, EventRef, ExpectedVersion, KeyLookup, Log,
    Metadata, NewEvent, Position, ReadError, Remember, RequestKey, StoredAnswer, StreamId, Version,
};

/// How often a decision is made anew after another writer was faster.
const CONFLICT_RETRIES_MAX: usize = 8;

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
    states: Arc<Cache<StreamId, Arc<Mutex<Loaded<D::State>>>>>,
}

impl<D: Decider> Clone for Repository<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), states: Arc::clone(&self.states) }
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
        Self { log, states: Arc::new(Cache::new(states_max)) }
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
        for _ in 0..=CONFLICT_RETRIES_MAX {
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
        LockedStream { log: self.log.clone(), stream: stream.clone(), loaded }
    }
}

/// A stream that nobody else of this repository decides on while this exists.
pub struct LockedStream<D: Decider> {
    log: Log,
    stream: StreamId,
    loaded: OwnedMutexGuard<Loaded<D::State>>,
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
        let expected = ExpectedVersion::before(self.loaded.next);
        if events.is_empty() && cause.request.is_none() {
            // No append checks the version: what is nothing to do now was perhaps decided on an old state.
            if self.catch_up().await? {
                let (stream, next) = (self.stream.clone(), self.loaded.next);
                return Err(ExecuteError::Append(AppendError::Conflict { stream, expected, next }));
            }
            let appended = Appended { positions: Vec::new(), last: self.log.head(), repeated: false };
            let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
            return Ok(Executed { answer, position: appended.last });
        }
        let new = NewEvent::from_domain(&events, &cause.metadata.encode());
        let remember = cause.request.clone().map(|key| self.remember(key, &events, Arc::clone(&answer)));
        let append = Append::to(self.stream.clone(), expected, new).remembering(remember);
        // Until the log has answered, nobody knows what the stream holds: should this future be dropped (the caller
        // hung up), the state has to catch up first.
        self.loaded.is_fresh = false;
        let outcome = self.log.append(append).await.map_err(ExecuteError::Append)?;
        let appended = match outcome {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        for event in &events {
            D::evolve(&mut self.loaded.state, event);
        }
        self.loaded.next += events.len() as u64;
        self.loaded.is_fresh = true;
        let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
        Ok(Executed { answer, position: appended.last })
    }

    /// Folds what was written since into the state; whether there was anything.
    async fn catch_up(&mut self) -> Result<bool, ExecuteError<D::Rejection>> {
        // Should this future be dropped, or fail, an empty state stays behind, which is folded from the beginning.
        let loaded = std::mem::take(&mut *self.loaded);
        let before = loaded.next;
        let fold = |(mut loaded, _): (Loaded<D::State>, Result<(), DecodeError>), event: &EventRef<'_>| {
            match D::Event::decode(event.event_type, event.schema_version, event.data.as_bytes()) {
                Ok(decoded) => {
                    D::evolve(&mut loaded.state, &decoded);
                    loaded.next = event.version + 1;
                    ControlFlow::Continue((loaded, Ok(())))
                }
                Err(error) => ControlFlow::Break((loaded, Err(error))),
            }
        };
        let (from, start) = (Some(before), (loaded, Ok(())));
        let folded = self.log.fold_stream(&self.stream, from, Direction::Forward, usize::MAX, start, fold).await;
        let (ControlFlow::Continue((loaded, decoded)) | ControlFlow::Break((loaded, decoded))) =
            folded.map_err(ExecuteError::Read)?;
        decoded.map_err(ExecuteError::Decode)?;
        *self.loaded = Loaded { is_fresh: true, ..loaded };
        Ok(self.loaded.next > before)
    }

    fn remember(
        &self,
        key: RequestKey,
        events: &[D::Event],
        answer: Arc<impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static>,
    ) -> Remember {
        let mut state = self.loaded.state.clone();
        let events = events.to_vec();
        let answer = move |appended: &Appended| {
            for event in &events {
                D::evolve(&mut state, event);
            }
            answer(Decided { state: &state, events: &events, appended })
        };
        Remember { key, answer: Box::new(answer) }
    }
}
