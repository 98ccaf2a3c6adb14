//! What is counted and traced of every request.

use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::{Extensions, Method, StatusCode};
use metrics::{SharedString, counter, histogram};
use tracing::Span;

use super::RequestId;

pub(crate) const REQUESTS_TOTAL: &str = "daybook_http_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "daybook_http_request_seconds";

/// One request under way.
pub(super) struct Access {
    began: Instant,
    method: &'static str,
    // The pattern, never the path: paths are without number, and hold ids.
    route: SharedString,
}

impl Access {
    pub(super) fn begin(method: &Method, extensions: &Extensions) -> Self {
        let route = match extensions.get::<MatchedPath>() {
            Some(matched) => SharedString::from(matched.as_str().to_owned()),
            None => SharedString::const_str("unmatched"),
        };
        Self { began: Instant::now(), method: method_label(method), route }
    }

    /// The span around everything that the request causes. Errors name the request id themselves, so the span is
    /// needed, and paid for, only when debugging.
    pub(super) fn span(&self, id: &RequestId, path: &str) -> Span {
        tracing::debug_span!("request", id = id.as_str(), method = self.method, path)
    }

    pub(super) fn end(self, status: StatusCode) {
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::debug!(status = status.as_u16(), seconds, "answered");
        let Self { method, route, .. } = self;
        counter!(REQUESTS_TOTAL, "method" => method, "route" => route.clone(), "status" => status.as_str().to_owned())
            .increment(1);
        histogram!(REQUEST_SECONDS, "method" => method, "route" => route).record(seconds);
    }
}

// Anyone can make up methods; a metric's labels must not grow with them.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
