//! One copy on its way along the log.

use std::sync::Arc;

use daybook_eventlog::Position;
use tokio::sync::Mutex;

use crate::{
    Projection,
    models::{Checkpoint, CopyId, ProjectionCopy},
};

/// A copy, and how far it is: `saved ≤ checkpoint.position ≤ folded ≤ until`.
pub(crate) struct Follower {
    pub(crate) projection: Arc<dyn Projection>,
    pub(crate) id: CopyId,
    pub(super) copy: Arc<Mutex<ProjectionCopy>>,
    /// What the file says.
    pub(super) saved: Position,
    /// Everything up to here is applied.
    pub(crate) checkpoint: Checkpoint,
    /// Everything up to here is folded, and on its way into the file.
    pub(super) folded: Position,
    /// Nothing after it is applied.
    pub(super) until: Position,
    /// Whether anything can be written to it.
    pub(crate) hold: Hold,
    /// Others wait for what is stored of it: every step is written, even one without rows.
    pub(super) is_shared: bool,
}

/// What is in the way of writing a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing.
    Free,
    /// It cannot be written for now: others do not wait for it any more.
    Stuck,
    /// Another node writes it: this one leaves it alone from now on.
    Fenced,
}

impl Follower {
    /// A copy that goes on from where its file says it is.
    pub(crate) fn new(projection: Arc<dyn Projection>, copy: ProjectionCopy) -> Self {
        let checkpoint = copy.stored().clone();
        let position = checkpoint.position;
        Self {
            projection,
            id: copy.id().clone(),
            is_shared: copy.is_shared(),
            copy: Arc::new(Mutex::new(copy)),
            saved: position,
            checkpoint,
            folded: position,
            until: Position::new(u64::MAX),
            hold: Hold::Free,
        }
    }

    /// Forgets that it stopped, and answers where and why it had.
    pub(crate) fn try_again(&mut self) -> Option<(Position, String)> {
        let fault = self.checkpoint.fault.take();
        if fault.is_some() {
            // What the file says of it is no longer true.
            self.saved = Position::START;
        }
        fault
    }

    /// Stops at `until`.
    pub(crate) fn until(mut self, until: Position) -> Self {
        self.until = until;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.projection.name()
    }

    /// Its copy is the one that is served now.
    pub(crate) async fn has_taken_over(&self) {
        self.copy.lock().await.has_taken_over();
    }

    /// It moved on without rows, and what is stored of it does not say so yet.
    pub(super) fn is_unsaved(&self) -> bool {
        self.hold != Hold::Fenced && self.saved != self.checkpoint.position
    }

    pub(crate) fn is_working(&self) -> bool {
        self.hold != Hold::Fenced && self.checkpoint.fault.is_none() && self.checkpoint.position < self.until
    }
}
