//! Whether a caller's positions belong to this log.
//!
//! A log that was restored from a backup is shorter than the one a caller has read. Its next events get positions that
//! the caller already knows as other events, so a position from the other history must not be taken silently.

use daybook_eventlog::{Anchor, Beyond, Log};

use crate::http::Problem;
use crate::http::fields::{FieldValue, Fields};
use crate::http::unread::log_unread;

impl From<Beyond> for Problem {
    fn from(beyond: Beyond) -> Self {
        Self::conflict(format!("The {beyond}."))
    }
}

/// 409 for a log that does not begin as the caller's anchor says. Call it once the log is known to be up to date.
pub async fn begins_with(log: &Log, anchor: Option<Anchor>) -> Result<(), Problem> {
    let Some(anchor) = anchor else { return Ok(()) };
    if log.anchor_at(anchor.position).await.map_err(log_unread)? == Some(anchor) {
        return Ok(());
    }
    let head = log.head();
    Err(Problem::conflict(format!(
        "The log does not begin with the anchor {anchor}: it has another history. Its head is {head}."
    )))
}

/// `anchor` of a query.
pub fn anchor(fields: &mut Fields<'_>) -> Option<Anchor> {
    fields.optional::<AnchorField>("anchor").map(|AnchorField(anchor)| anchor)
}

struct AnchorField(Anchor);

impl FieldValue for AnchorField {
    fn placeholder() -> Self {
        Self(Anchor::default())
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let anchor = text.parse().ok().filter(|_| text.trim() == text).map(Self);
        anchor.ok_or_else(|| "must be a position and 16 hexadecimal digits, like 12345:0f3a9c0d5be17a42".to_owned())
    }
}

/// 409 for a version that the stream has not reached.
pub fn version_reached(version: u64, last: u64) -> Result<(), Problem> {
    if version <= last {
        return Ok(());
    }
    Err(Problem::conflict(format!(
        "The version {version} is beyond the stream's last one, which is {last}: it belongs to another history of the \
         log."
    )))
}
