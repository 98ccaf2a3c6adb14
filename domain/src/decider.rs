//! The shape every decision has: `decide` says which events follow from a command, `evolve` remembers them.

use crate::event::DomainEvent;

/// A consistency boundary: the rules of one kind of stream.
///
/// Both functions are pure and never panic; whatever they need from outside (the time, new ids, facts of other
/// streams) travels in the command.
pub trait Decider {
    /// What a caller wants to happen (imperative: `Start`).
    type Command;
    /// What happened (past tense: `ReadingSessionStarted`).
    type Event: DomainEvent;
    /// What has to be remembered of the stream to decide; `Default` is the state of a stream with no event.
    type State: Default + Clone + Send + Sync + 'static;
    /// A typed no.
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// The events that follow from `command`, in order; none when nothing changes.
    ///
    /// # Errors
    /// The rule that the command breaks.
    fn decide(state: &Self::State, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Takes one event of the stream into `state`.
    fn evolve(state: &mut Self::State, event: &Self::Event);
}
