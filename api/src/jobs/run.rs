//! One run of a job, within its time.

use std::time::Duration;

use daybook_projections::panic_message;
use error_reporter::Report;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Job, JobError};

/// How long a run that was told to stop may take for it.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it is for.
    Succeeded,
    /// It says why it could not.
    Failed(String),
    /// It took longer than it may.
    TimedOut,
    /// The server stopped, or another node leads now.
    Cancelled,
    /// It panicked, with this message.
    Panicked(String),
}

impl Outcome {
    /// The outcome in one word, as metrics and the API name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Panicked(_) => "panicked",
        }
    }

    /// Why the run did not succeed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Succeeded => None,
            Self::Failed(error) | Self::Panicked(error) => Some(error),
            Self::TimedOut => Some("the run took longer than it may"),
            Self::Cancelled => Some("the run was told to stop before it was done"),
        }
    }

    /// Whether the run counts as a failure. One that was told to stop does not.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::TimedOut | Self::Panicked(_))
    }
}

/// Runs the job once. Ends it when its time is over or `stopping` completes: its token is cancelled first, and what has
/// not ended then is aborted.
pub(super) async fn run_once(job: &Job, stopping: impl Future<Output = ()>) -> Outcome {
    let cancel = CancellationToken::new();
    let mut task = AbortOnDropHandle::new(tokio::spawn((job.work)(cancel.clone())));
    let cut = tokio::select! {
        biased;
        ended = &mut task => return outcome(ended, None),
        () = tokio::time::sleep(job.time_max) => Outcome::TimedOut,
        () = stopping => Outcome::Cancelled,
    };
    cancel.cancel();
    match tokio::time::timeout(CANCEL_PATIENCE, &mut task).await {
        Ok(ended) => outcome(ended, Some(cut)),
        Err(_) => cut,
    }
}

/// `cut`: why the run was told to stop, if it was.
fn outcome(ended: Result<Result<(), JobError>, JoinError>, cut: Option<Outcome>) -> Outcome {
    match ended {
        Ok(Ok(())) => Outcome::Succeeded,
        Ok(Err(error)) => cut.unwrap_or_else(|| Outcome::Failed(Report::new(&*error).to_string())),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => Outcome::Panicked(panic_message(payload.as_ref()).to_owned()),
            // Nobody aborts it but the runtime, at its end.
            Err(_) => Outcome::Cancelled,
        },
    }
}
