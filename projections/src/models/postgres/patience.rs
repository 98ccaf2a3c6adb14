//! How long answers of the server are waited for.

use std::time::Duration;

/// A question of whoever looks how far the copies are, or whether it is its turn.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(3);
/// A question of a request; the server itself gives up a little earlier.
pub(crate) const QUERY_MAX: Duration = Duration::from_secs(12);
/// A change of the catalog, which may wait for others and for locks.
pub(super) const CHANGE_MAX: Duration = Duration::from_secs(30);
