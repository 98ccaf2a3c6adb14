//! Requests that write: the body as a command's fields, the cause of the events, the answer with its position.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use daybook_eventlog::{Answer, AppendError, Cause, ExecuteError, Executed, Metadata, ReadError, RequestKey};
use serde::Serialize;

use super::body::JsonBody;
use super::fields::Fields;
use super::idempotency::{self, BodyFingerprint, IdempotencyScope};
use super::read::NoQuery;
use super::unread::{AWAY_RETRY_S, log_unread};
use super::{Problem, RequestId};
use crate::auth::Caller;

const DAYBOOK_POSITION: HeaderName = HeaderName::from_static("daybook-position");
/// Seconds until a log that was taken away may be back: a person has to see to it.
const FILE_GONE_RETRY_S: u64 = 30;
const NOT_WRITTEN: &str = "The database is not reachable now. Nothing was written: try again.";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body that is read field by field.
pub trait Body: Sized {
    /// Takes its fields; what is wrong with them is remembered by `fields`.
    fn read(fields: &mut Fields<'_>) -> Self;
}

/// A request that writes, with `C` (a kind of caller) as its author.
pub struct Write<C, B> {
    /// Who asks.
    pub caller: C,
    /// What is asked.
    pub body: B,
    /// What the events will tell about where they come from.
    pub cause: Cause,
}

impl<S, C, B> FromRequest<S> for Write<C, B>
where
    S: Send + Sync,
    C: FromRequestParts<S, Rejection = Problem> + AsRef<Caller> + Send,
    B: Body,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = C::from_request_parts(&mut parts, state).await?;
        NoQuery::of(&parts)?;
        let subject = &caller.as_ref().subject;
        let scope = idempotency::scope(&parts.headers, subject, &parts.method, parts.uri.path())?;
        let (actor, request_id) = (subject.clone(), parts.extensions.get::<RequestId>().cloned());
        let JsonBody(bytes) = JsonBody::from_request(Request::from_parts(parts, body), state).await?;
        let cause = cause(actor, request_id.as_ref(), scope, &bytes);
        let mut fields = Fields::from_json(&bytes)?;
        let body = B::read(&mut fields);
        fields.finish()?;
        Ok(Self { caller, body, cause })
    }
}

/// What the events of a request tell about where they come from, and what makes the request recognisable.
pub fn cause(actor: String, request_id: Option<&RequestId>, scope: Option<IdempotencyScope>, body: &[u8]) -> Cause {
    let id = request_id.map(|id| id.as_str().to_owned());
    let request = scope.map(|scope| RequestKey {
        caller: scope.caller,
        route: scope.route,
        key: scope.key,
        fingerprint: BodyFingerprint::of(body).0,
    });
    Cause { metadata: Metadata { actor: Some(actor), correlation_id: id.clone(), causation_id: id }, request }
}

/// The digits of the status that every answer begins with.
const STATUS_DIGITS: usize = 3;

/// A JSON answer of this status, encoded for the log: the three digits of the status, then the body.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut encoded = status.as_str().as_bytes().to_vec();
    // Answers are plain structs, which always serialise.
    if serde_json::to_writer(&mut encoded, body).is_err() {
        encoded.truncate(STATUS_DIGITS);
    }
    Answer(encoded)
}

/// What [`answer`] encoded, on the wire.
pub fn response(Answer(encoded): Answer) -> Response {
    let mut body = Bytes::from(encoded);
    let status = body.split_to(STATUS_DIGITS.min(body.len()));
    let status = StatusCode::from_bytes(&status).unwrap_or(StatusCode::OK);
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// The answer on the wire, with the position of the last event that it caused.
pub fn respond(executed: Executed) -> Response {
    let position = HeaderValue::from(executed.position.get());
    ([(DAYBOOK_POSITION, position)], response(executed.answer)).into_response()
}

/// What a failed write is answered; `refusal` answers the decider's no.
pub fn problem<R: std::error::Error + Send + Sync + 'static>(
    error: ExecuteError<R>,
    refusal: impl FnOnce(R) -> Problem,
) -> Problem {
    match error {
        ExecuteError::Rejected(rejection) => refusal(rejection),
        ExecuteError::Conflict | ExecuteError::Append(AppendError::Conflict { .. }) => {
            Problem::conflict("Others kept changing the same thing: look at it again and repeat the request.")
        }
        ExecuteError::Append(error) => append_problem(&error),
        ExecuteError::Read(ReadError::Unavailable(_)) => Problem::unavailable(NOT_WRITTEN, AWAY_RETRY_S),
        ExecuteError::Read(error) => log_unread(error),
        error @ ExecuteError::Decode(_) => Problem::internal(&error),
    }
}

/// What an append that the log refused is answered.
pub fn append_problem(error: &AppendError) -> Problem {
    match error {
        AppendError::KeyReused => {
            Problem::unprocessable("This Idempotency-Key was used with another body: use a new key.")
        }
        AppendError::QueueFull => Problem::unavailable("The write queue is full. Nothing was written: try again.", 1),
        AppendError::FileGone => Problem::unavailable(
            "The server's log is not in its place. Nothing was written; the server's operator has to put it back.",
            FILE_GONE_RETRY_S,
        ),
        AppendError::Closed => Problem::unavailable("The server is stopping. Nothing was written: try again.", 2),
        AppendError::Unavailable(_) => Problem::unavailable(NOT_WRITTEN, AWAY_RETRY_S),
        AppendError::InDoubt(_) => Problem::unavailable(
            "The database is not reachable, and went away while it was writing, so nobody knows yet whether it was: try \
             again with the same Idempotency-Key, or look first.",
            AWAY_RETRY_S,
        ),
        AppendError::StorageFull(_) => Problem::insufficient_storage(error).retry_after(10),
        AppendError::Conflict { .. }
        | AppendError::IdReused { .. }
        | AppendError::Invalid(_)
        | AppendError::Storage(_) => Problem::internal(error),
    }
}
