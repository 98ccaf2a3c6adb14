//! Why an answer has to wait longer than a request can.

use daybook_eventlog::ReadError;
use daybook_projections::Lagging;

/// What was asked for cannot be shown yet.
#[derive(Debug, thiserror::Error)]
pub enum NotCaughtUp {
    /// How far the log is could not be read.
    #[error("the head of the log could not be read")]
    Head(#[from] ReadError),
    /// The read models did not reach the position in time.
    #[error("the read models did not reach the position in time")]
    Behind(#[source] Lagging),
    /// This node did not see the log reach the position in time.
    #[error("the log did not reach the position in time")]
    LogBehind,
}
