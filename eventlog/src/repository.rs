//! The one way of every write: state → `decide` → events → one durable append → `evolve`.
//!
//! - [`Repository::execute`]: a command that is known when the request arrives.
//! - [`Repository::execute_with`]: a command that needs facts looked up while its stream is locked.
//! - [`Repository::run`]: what the server does by itself, which nobody is answered.
//! - [`settle`]: a decision on several streams, which are locked, decided on and committed together.

mod locked;
mod settle;
mod snapshots;

use std::{convert::Infallible, sync::Arc};

use daybook_domain::{decider::Decider, event::DecodeError};
use quick_cache::sync::Cache;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use self::{locked::Loaded, settle::kept_answer, snapshots::Snapshots};
pub use self::{
    locked::LockedStream,
    settle::{DecideError, settle},
};
use crate::{
    Answer, AppendError, Appended, Log, Metadata, Position, ReadError, RequestKey, StoredAnswer, StreamId, tries::Tries,
};

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

/// What a decision came to, for making the answer.
pub struct Decided<'a, D: Decider> {
    /// The state after the events.
    pub state: &'a D::State,
    /// The events decided on; none when nothing changed.
    pub events: &'a [D::Event],
    /// Where they stand.
    pub appended: &'a Appended,
}

/// Makes the answer of a decision. When the request carries a key it is called inside the transaction that writes the
/// events: it is short, and does no IO.
pub type Render<D> = Arc<dyn Fn(Decided<'_, D>) -> Answer + Send + Sync>;

/// What a decision has to know beyond the state of its stream, and how it is answered.
///
/// A trait rather than an asynchronous closure: a future that is sent between threads has to promise so, which
/// closures over borrowed values cannot.
pub trait LookUp<D: Decider>: Sync {
    /// Why something could not be looked up, or why there is nothing to decide.
    type Failure: Send;

    /// Called before the stream is locked: waits for read models, so that nobody else waits for the stream meanwhile.
    fn prepare(&self) -> impl Future<Output = Result<(), Self::Failure>> + Send {
        async { Ok(()) }
    }

    /// The command to decide on, and what makes the answer. The stream is locked, and `state` includes every event
    /// that was committed before; it is asked again for every try.
    fn look_up(&self, state: &D::State) -> impl Future<Output = Result<(D::Command, Render<D>), Self::Failure>> + Send;
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

impl<D: Decider + 'static> Repository<D>
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

    /// Decides on `command` and writes what follows. `answer` is made from the outcome; when the request carries a
    /// key, inside the same transaction, and kept.
    ///
    /// # Errors
    /// [`ExecuteError`] when the command is refused, the state cannot be read, or the events cannot be written;
    /// nothing was written then.
    pub async fn execute(
        &self,
        stream: &StreamId,
        command: &D::Command,
        cause: &Cause,
        answer: impl Fn(Decided<'_, D>) -> Answer + Send + Sync + 'static,
    ) -> Result<Executed, ExecuteError<D::Rejection>> {
        let answer: Render<D> = Arc::new(answer);
        self.decide(stream, command, cause, Some(&answer)).await
    }

    /// Decides on `command` and writes what follows; nobody is answered. Returns the position of the last event
    /// written, or that of the head when there was none.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn run(
        &self,
        stream: &StreamId,
        command: &D::Command,
        metadata: &Metadata,
    ) -> Result<Position, ExecuteError<D::Rejection>> {
        let cause = Cause { metadata: metadata.clone(), request: None };
        self.decide(stream, command, &cause, None).await.map(|executed| executed.position)
    }

    /// Decides on the command that `facts` makes of the stream's state, and writes what follows.
    ///
    /// A repeated request gets its first answer, also when what it asks for would be refused by now, or can no longer
    /// be looked up.
    ///
    /// # Errors
    /// [`DecideError`]: what `facts` could not look up, or an [`ExecuteError`]; nothing was written then.
    pub async fn execute_with<L: LookUp<D>>(
        &self,
        stream: &StreamId,
        cause: &Cause,
        facts: &L,
    ) -> Result<Executed, DecideError<D::Rejection, L::Failure>> {
        let attempt = || async {
            facts.prepare().await.map_err(DecideError::LookUp)?;
            let mut locked = self.lock(stream).await?;
            let (command, answer) = facts.look_up(locked.state()).await.map_err(DecideError::LookUp)?;
            let events = D::decide(locked.state(), &command).map_err(ExecuteError::Rejected)?;
            let executed = locked.commit(events, cause, Some(&answer)).await;
            executed.map_err(|error| ExecuteError::Append(error).into())
        };
        settle(&self.log, cause, attempt).await
    }

    async fn decide(
        &self,
        stream: &StreamId,
        command: &D::Command,
        cause: &Cause,
        answer: Option<&Render<D>>,
    ) -> Result<Executed, ExecuteError<D::Rejection>> {
        if let Some(executed) = self.already_answered(cause).await? {
            return Ok(executed);
        }
        let mut locked = self.hold(stream).await;
        let mut tries = Tries::default();
        while tries.next().await {
            if !locked.is_fresh() {
                locked.catch_up().await?;
            }
            match locked.execute(command, cause, answer).await {
                Err(ExecuteError::Append(AppendError::Conflict { .. })) => {}
                Err(ExecuteError::Rejected(rejection)) => {
                    // No append checks the version of a rejection: it counts when nobody else has written.
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
    /// [`AppendError::KeyReused`] when its key was used with another body; [`ExecuteError::Read`] when the log cannot
    /// be read.
    pub async fn already_answered(&self, cause: &Cause) -> Result<Option<Executed>, ExecuteError<D::Rejection>> {
        kept_answer(&self.log, cause).await
    }

    /// What `view` sees of the stream's present state.
    ///
    /// # Errors
    /// [`ExecuteError::Read`] when the stream cannot be read, [`ExecuteError::Decode`] when it holds an event that this
    /// build does not know.
    pub async fn view<T>(
        &self,
        stream: &StreamId,
        view: impl FnOnce(&D::State) -> T,
    ) -> Result<T, ExecuteError<D::Rejection>> {
        Ok(view(self.lock(stream).await?.state()))
    }

    /// The stream's present state, with nobody else of this repository deciding on it meanwhile: for decisions on
    /// several streams, see [`settle`].
    ///
    /// # Errors
    /// As [`view`](Self::view).
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
        LockedStream::new(self.log.clone(), stream.clone(), entry.lock_owned().await, self.snapshots)
    }
}
