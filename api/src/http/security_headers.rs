//! Headers that tell browsers what not to do with an answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_FRAMES: HeaderValue = HeaderValue::from_static("frame-ancestors 'none'");
// Swagger UI sets styles inline and draws its icons from data URLs; scripts come from this server only.
const SWAGGER_UI: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; frame-ancestors 'none'",
);
const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Whether a proxy says that the caller came over TLS. A promise of HSTS to a plain caller would lock it out.
pub(super) fn came_over_tls(headers: &HeaderMap) -> bool {
    headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

pub(super) fn add(headers: &mut HeaderMap, path: &str, over_tls: bool) {
    let is_docs = path == "/docs" || path.starts_with("/docs/");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    headers.insert(header::CONTENT_SECURITY_POLICY, if is_docs { SWAGGER_UI } else { NO_FRAMES });
    if over_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, A_YEAR);
    }
}
