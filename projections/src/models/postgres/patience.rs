//! How long the server is waited for. A host that is gone without a word would otherwise be waited for until the system
//! gives its connections up, a quarter of an hour later.

use std::{io, time::Duration};

/// A question of whoever looks how far the copies are, or whether it is its turn.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(3);
/// A question of a request; the server itself gives up a little earlier.
pub(crate) const QUERY_MAX: Duration = Duration::from_secs(12);
/// A change of the catalog, which may wait for others and for locks.
pub(super) const CHANGE_MAX: Duration = Duration::from_secs(30);

/// The answer, if it comes in time. Otherwise whatever was used for it is dropped, connections with it.
pub(super) async fn within<T, E: From<sqlx::Error>>(
    max: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(max, answer).await.unwrap_or_else(|_| Err(late(max).into()))
}

pub(crate) fn late(max: Duration) -> sqlx::Error {
    let text = format!("the server did not answer within {} s", max.as_secs());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}
