//! Times on the wire: RFC 3339 in UTC with `Z`, and only as many digits of a second as there are.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// `2025-10-28T10:30:00Z`
pub fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// For `#[serde(with = "instant")]`.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*at))
}

/// For times that may be absent.
pub mod option {
    use super::{DateTime, Serializer, Utc};

    /// For `#[serde(with = "instant::option")]`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }
}
