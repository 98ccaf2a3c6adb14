//! Attempts of one decision until it is settled.

use super::{Cause, ExecuteError, Executed};
use crate::{AppendError, KeyLookup, Log, tries::Tries};

/// Why a decision had no effect that needed more than the state of one stream.
#[derive(Debug)]
pub enum DecideError<R: std::error::Error + 'static, L> {
    /// What the decision needs could not be looked up, or there is nothing to decide.
    LookUp(L),
    /// The decision was refused, or could not be written.
    Execute(ExecuteError<R>),
}

impl<R: std::error::Error + 'static, L> From<ExecuteError<R>> for DecideError<R, L> {
    fn from(error: ExecuteError<R>) -> Self {
        Self::Execute(error)
    }
}

impl<R: std::error::Error + 'static, L> DecideError<R, L> {
    /// What a look-up failed with, or what `other` makes of the rest.
    pub fn or_else(self, other: impl FnOnce(ExecuteError<R>) -> L) -> L {
        match self {
            Self::LookUp(failure) => failure,
            Self::Execute(error) => other(error),
        }
    }
}

/// Attempts a decision, and again while other writers are faster. An attempt locks its streams, always in one order,
/// decides, and commits to all of them or none; it holds no lock when it returns.
///
/// A repeated request gets its first answer, also when what it asks for would be refused by now.
///
/// # Errors
/// What the last attempt failed with; [`ExecuteError::Conflict`] when other writers were faster too often;
/// [`ExecuteError::Read`] when the kept answers cannot be read.
pub async fn settle<R, L, F>(log: &Log, cause: &Cause, attempt: impl Fn() -> F) -> Result<Executed, DecideError<R, L>>
where
    R: std::error::Error + 'static,
    F: Future<Output = Result<Executed, DecideError<R, L>>>,
{
    if let Some(executed) = kept_answer(log, cause).await? {
        return Ok(executed);
    }
    let mut tries = Tries::default();
    while tries.next().await {
        match attempt().await {
            Ok(executed) => return Ok(executed),
            Err(DecideError::Execute(ExecuteError::Append(AppendError::Conflict { .. }))) => {}
            // The same request may have been answered while this one waited for the locks.
            Err(refused @ (DecideError::LookUp(_) | DecideError::Execute(ExecuteError::Rejected(_)))) => {
                return kept_answer(log, cause).await?.ok_or(refused);
            }
            Err(error) => return Err(error),
        }
    }
    Err(ExecuteError::Conflict.into())
}

/// The answer kept for this request, if it was answered before.
pub(super) async fn kept_answer<R: std::error::Error + 'static>(
    log: &Log,
    cause: &Cause,
) -> Result<Option<Executed>, ExecuteError<R>> {
    let Some(request) = &cause.request else { return Ok(None) };
    match log.remembered(request).await.map_err(ExecuteError::Read)? {
        KeyLookup::Unknown => Ok(None),
        KeyLookup::Answered(stored) => Ok(Some(stored.into())),
        KeyLookup::OtherBody => Err(ExecuteError::Append(AppendError::KeyReused)),
    }
}
