//! Answers that are errors: RFC 9457, `application/problem+json`.

use std::borrow::Cow;
use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id;
use crate::auth::AuthError;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const FIXED_DETAIL: &str = "Something went wrong on this side. The log has the cause under the request id.";

/// An error answer. The request's path and id are filled in when it becomes a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
    challenge: Option<&'static str>,
}

/// What is wrong with one field of a body, a query or the headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's name as it is sent; `body` when it is the body as a whole.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

impl FieldError {
    /// An error of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// A problem on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the status says which kind it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: &'static str,
    /// The status code.
    #[schema(example = 400)]
    status: u16,
    /// What happened and what to do next.
    detail: &'a str,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    /// The fields that are wrong; left out when none is.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    /// Of a 5xx: the id under which the log has the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of any status.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after_s: None, challenge: None }
    }

    /// 400: these fields are wrong.
    pub fn bad_request(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are wrong: see errors", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// 400: this one field is wrong.
    pub fn bad_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::bad_request(vec![FieldError::new(field, message)])
    }

    /// 401, with the challenge that RFC 6750 asks for.
    pub fn unauthorized(error: AuthError) -> Self {
        let challenge = match error {
            AuthError::Missing => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, error.to_string()) }
    }

    /// 403: the caller is known, and may not.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422.
    pub fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 413: the body has more than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body may have {limit} bytes: send less at once."))
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        let detail = "Send the body as application/json in UTF-8, without a content encoding.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429: too many requests of one caller.
    pub fn too_many_requests(retry_after_s: u64) -> Self {
        let detail = "Too many requests: wait as long as Retry-After says.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after_s)
    }

    /// 503: nothing was written; the same request may succeed later.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after_s: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after_s)
    }

    /// 507: the disk is full; nothing was written. The cause goes to the log.
    pub fn insufficient_storage(cause: &(dyn Error + 'static)) -> Self {
        log(cause);
        let detail = "There is no room left to store anything. Nothing was written.";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, detail)
    }

    /// 500. The cause goes to the log, here and nowhere else, and never to the caller.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        log(cause);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, FIXED_DETAIL)
    }

    /// The same with `Retry-After`, in whole seconds and at least one.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds.max(1)), ..self }
    }

    /// The status that the answer will have.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            // The token may well be good: a client must not throw it away.
            AuthError::KeysUnavailable => Self::unavailable(error.to_string(), 10),
            _ => Self::unauthorized(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let current = request_id::current();
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: current.as_ref().map(|request| request.path()),
            errors: &self.errors,
            request_id: current.as_ref().filter(|_| self.status.is_server_error()).map(|request| request.id.as_str()),
        };
        // Texts and numbers always serialise; an empty body is still better than a panic.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

fn log(cause: &(dyn Error + 'static)) {
    let current = request_id::current();
    let request_id = current.as_ref().map_or("", |request| request.id.as_str());
    let path = current.as_ref().map_or("", |request| request.path());
    tracing::error!(request_id, path, error = cause, "a request failed");
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json(problem: Problem) -> (Response<()>, serde_json::Value) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_bad_request_names_its_fields() {
        let (response, body) = json(Problem::bad_field("page", "must be a whole number")).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        insta::assert_snapshot!(body, @r#"{"detail":"page: must be a whole number","errors":[{"field":"page","message":"must be a whole number"}],"status":400,"title":"Bad Request","type":"about:blank"}"#);
    }

    #[tokio::test]
    async fn an_internal_error_keeps_its_cause_to_itself() {
        let (response, body) = json(Problem::internal(&std::io::Error::other("the password is 1234"))).await;
        assert_eq!(response.status(), 500);
        assert!(!body.to_string().contains("1234"));
    }

    #[tokio::test]
    async fn retry_after_is_at_least_a_second_and_challenges_follow_rfc_6750() {
        assert_eq!(json(Problem::too_many_requests(0)).await.0.headers()["retry-after"], "1");
        let challenge = |error: AuthError| Problem::from(error).into_response().headers()["www-authenticate"].clone();
        assert_eq!(challenge(AuthError::Missing), "Bearer");
        assert_eq!(challenge(AuthError::Expired), "Bearer error=\"invalid_token\"");
        assert_eq!(Problem::from(AuthError::KeysUnavailable).status(), 503);
    }
}
