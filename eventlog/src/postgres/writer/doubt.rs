//! What is not known after a connection was lost.

use uuid::Uuid;

use super::{
    super::error::StatementError,
    plan::{Outcome, Plan},
};
use crate::Position;

/// A commit without an answer: these outcomes are true if this event stands in the log. Whether it does is looked up with
/// the head locked. A commit of answers without events has nothing to look for: its answers are found by their keys, as
/// those of any repeated request.
///
/// A statement that is still on its way to the server while we look does no harm: the group is written again, at the same
/// positions or, if the head has moved, at others; either way that statement then finds the head elsewhere than it
/// expects it, and writes nothing.
pub(super) struct Doubt {
    pub(super) first: Option<(Position, Uuid)>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) head: Position,
}

/// A try that failed.
pub(super) struct Failed {
    pub(super) error: StatementError,
    pub(super) doubt: Option<Doubt>,
}

impl From<StatementError> for Failed {
    fn from(error: StatementError) -> Self {
        Self { error, doubt: None }
    }
}

/// A failure to hear of a commit's end. What the server refused in so many words did not come to be.
pub(super) fn in_doubt(error: StatementError, plan: Plan<'_>) -> Failed {
    let doubt =
        error.is_lost().then(|| Doubt { first: plan.rows.first_event(), outcomes: plan.outcomes, head: plan.head.to });
    Failed { error, doubt }
}
