//! How long the server is waited for. A host that disappears without closing its connections would otherwise be waited
//! for until the operating system gives them up, a quarter of an hour later.

use std::{io, time::Duration};

/// The answer, if it comes in time. If it does not, the future is dropped, and with it every connection that it owns.
///
/// # Errors
/// What `answer` fails with, or [`late`] when `max` has passed.
pub async fn within<T, E: From<sqlx::Error>>(
    max: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(max, answer).await.unwrap_or_else(|_| Err(late(max).into()))
}

/// The error of an answer that did not come within `max`. It is not known what the server did.
#[must_use]
pub fn late(max: Duration) -> sqlx::Error {
    let text = format!("the server did not answer within {max:?}");
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}
