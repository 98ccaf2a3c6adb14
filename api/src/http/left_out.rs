//! Answers that leave something out, because the projection that knows it has stopped, say so in a header.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Names the projection whose part is left out of an answer.
pub const LEFT_OUT: HeaderName = HeaderName::from_static("daybook-left-out");

/// The header, where what `projection` knows is not shown.
pub fn left_out(projection: &'static str, is_shown: bool) -> HeaderMap {
    let header = (LEFT_OUT, HeaderValue::from_static(projection));
    (!is_shown).then_some(header).into_iter().collect()
}
