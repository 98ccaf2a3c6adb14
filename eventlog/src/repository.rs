//! The one way of every write: state → `decide` → events → one durable append → `evolve`.

use std::{ops::ControlFlow, sync::Arc};

use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    Answer, Append, AppendError, AppendOutcome, Appended, Direction, ExpectedVersion, KeyLookup, Log, Metadata,
    NewEvent, Position, ReadError, Remember, RequestKey, StoredAnswer, StreamId, Version,
};

/// How often a decision is made anew after another writer was faster.
const CONFLICT_RETRIES_MAX: usize = 8;
/// Events folded into a state in one go when it is not in memory.
const LOAD_EVENTS_MAX: usize = usize::MAX;

/// Who asks for a write, and whether the answer is to be kept for a repetition.
#[derive(Debug, Clone, Default)]
pub struct Cause {
    /// Stored with every event.
    pub metadata: Metadata,
    /// Set when the request carried an idempotency key.
    pub request: Option<RequestKey>,
}

/// The streams of one decider: their states are kept in memory (a bounded number of them), checked by the expected
/// version at each append, and folded from the log when they are not there. Cheap to clone.
pub struct Repository<D: Decider> {
    log: Log,
    states: Arc<Cache<StreamId, Arc<Mutex<Loaded<D::State>>>>>,
}

impl<D: Decider> Clone for Repository<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), states: Arc::clone(&self.states) }
    }
}

struct Loaded<S> {
    state: S,
    /// The version of the stream's next event; `None` when the state has to be folded from the log.
    next: Option<Version>,
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
        for _ in 0..=CONFLICT_RETRIES_MAX {
            let mut locked = self.lock(stream).await?;
            match locked.execute(command, cause, Arc::clone(&answer)).await {
                Err(ExecuteError::Append(AppendError::Conflict { .. })) => {}
                Err(ExecuteError::Rejected(rejection)) => {
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

    /// The stream's state, with nobody else of this process deciding on it meanwhile: for decisions that need facts
    /// looked up by what the state says.
    ///
    /// # Errors
    /// [`ExecuteError::Read`], [`ExecuteError::Decode`]
    pub async fn lock(&self, stream: &StreamId) -> Result<LockedStream<D>, ExecuteError<D::Rejection>> {
        let entry = match self.states.get(stream) {
            Some(entry) => entry,
            None => {
                let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(Loaded { state: D::State::default(), next: None })));
                match self.states.get_or_insert_with(stream, fresh) {
                    Ok(entry) => entry,
                    Err(never) => match never {},
                }
            }
        };
        let mut loaded = entry.lock_owned().await;
        if loaded.next.is_none() {
            *loaded = self.load(stream).await?;
        }
        Ok(LockedStream { log: self.log.clone(), stream: stream.clone(), loaded })
    }

    async fn load(&self, stream: &StreamId) -> Result<Loaded<D::State>, ExecuteError<D::Rejection>> {
        let start = (Loaded { state: D::State::default(), next: Some(0) }, Ok(()));
        let fold = |(mut loaded, _): (Loaded<D::State>, Result<(), DecodeError>), event: &crate::EventRef<'_>| {
            match D::Event::decode(event.event_type, event.schema_version, event.data.as_bytes()) {
                Ok(decoded) => {
                    D::evolve(&mut loaded.state, &decoded);
                    loaded.next = Some(event.version + 1);
                    ControlFlow::Continue((loaded, Ok(())))
                }
                Err(error) => ControlFlow::Break((loaded, Err(error))),
            }
        };
        let folded = self.log.fold_stream(stream, Some(0), Direction::Forward, LOAD_EVENTS_MAX, start, fold).await;
        let (ControlFlow::Continue(folded) | ControlFlow::Break(folded)) = folded.map_err(ExecuteError::Read)?;
        let (loaded, decoded) = folded;
        decoded.map_err(ExecuteError::Decode)?;
        Ok(loaded)
    }
}

/// A stream that nobody else of this process decides on while this exists.
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

    /// Decides and writes, once: a writer of another process may still be faster.
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
        let Some(next) = self.loaded.next else { return Err(ExecuteError::Conflict) };
        if events.is_empty() && cause.request.is_none() {
            let appended = Appended { positions: Vec::new(), last: self.log.head(), repeated: false };
            let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
            return Ok(Executed { answer, position: appended.last });
        }
        let new = NewEvent::from_domain(&events, &cause.metadata.encode());
        let remember = cause.request.clone().map(|key| self.remember(key, &events, Arc::clone(&answer)));
        let append = Append::to(self.stream.clone(), ExpectedVersion::before(next), new).remembering(remember);
        // Until the log has answered, nobody knows what the stream holds: should this future be dropped (the caller
        // hung up), the state is folded anew.
        self.loaded.next = None;
        let outcome = self.log.append(append).await.map_err(ExecuteError::Append)?;
        let appended = match outcome {
            AppendOutcome::Remembered(stored) => return Ok(stored.into()),
            AppendOutcome::Appended(appended) => appended,
        };
        for event in &events {
            D::evolve(&mut self.loaded.state, event);
        }
        self.loaded.next = Some(next + events.len() as u64);
        let answer = answer(Decided { state: &self.loaded.state, events: &events, appended: &appended });
        Ok(Executed { answer, position: appended.last })
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
