//! Which browser pages may call, those of the configured origins, and which headers they may send and read.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::left_out::LEFT_OUT;
use super::request_id::X_REQUEST_ID;

const PREFLIGHT_AGE: Duration = Duration::from_secs(3600);

/// What the conventions read of any request.
const READ: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT_LANGUAGE,
    X_REQUEST_ID,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("daybook-after"),
];

/// What the conventions answer to any request.
const ANSWERED: [HeaderName; 6] = [
    X_REQUEST_ID,
    LEFT_OUT,
    HeaderName::from_static("daybook-position"),
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::ALLOW,
];

/// The headers that the routes themselves read and answer.
#[derive(Clone, Debug, Default)]
pub struct CorsHeaders {
    /// Read of requests: browsers may send them.
    pub read: HashSet<HeaderName>,
    /// Answered: pages may read them.
    pub answered: HashSet<HeaderName>,
}

pub(super) fn layer(origins: &[HeaderValue], routes: &CorsHeaders) -> CorsLayer {
    let with = |routes: &HashSet<HeaderName>, conventions: &[HeaderName]| -> HashSet<HeaderName> {
        routes.iter().chain(conventions).cloned().collect()
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(with(&routes.read, &READ).into_iter().collect::<Vec<_>>())
        .expose_headers(with(&routes.answered, &ANSWERED).into_iter().collect::<Vec<_>>())
        .max_age(PREFLIGHT_AGE)
}
