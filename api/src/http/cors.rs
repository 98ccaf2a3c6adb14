//! Which browser pages may call: those of the configured origins.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::left_out::LEFT_OUT;
use super::request_id::X_REQUEST_ID;

const PREFLIGHT_AGE: Duration = Duration::from_secs(3600);

pub(super) fn layer(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT_LANGUAGE,
            X_REQUEST_ID,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("daybook-after"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-timezone"),
            HeaderName::from_static("x-device-serial"),
            HeaderName::from_static("x-device-key"),
        ])
        .expose_headers([
            X_REQUEST_ID,
            HeaderName::from_static("daybook-position"),
            LEFT_OUT,
            header::RETRY_AFTER,
            header::ETAG,
        ])
        .max_age(PREFLIGHT_AGE)
}
