//! Building a read model anew, and going on where one stopped.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use daybook_eventlog::{Answer, Append, AppendOutcome, KeyLookup, Remember, RequestKey};
use daybook_projections::ControlError;

use super::status::{Projection, find};
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::idempotency::{BodyFingerprint, scope};
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::write::{answer, append_problem};
use crate::http::{Problem, ProblemBody};

/// An administrator's request, and the key that makes it recognisable, if it has one. It needs no body.
pub struct Asked {
    name: String,
    key: Option<RequestKey>,
}

impl axum::extract::FromRequestParts<App> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.must_be(&[Role::Admin])?;
        let path = Path::<String>::from_request_parts(parts, app).await;
        let name = path.map(|Path(name)| name).unwrap_or_default();
        let key = key(&parts.headers, &caller, &parts.method, parts.uri.path())?;
        Ok(Self { name, key })
    }
}

fn key(headers: &HeaderMap, caller: &Caller, method: &Method, path: &str) -> Result<Option<RequestKey>, Problem> {
    let scope = scope(headers, &caller.subject, method, path)?;
    Ok(scope.map(|scope| RequestKey {
        caller: scope.caller,
        route: scope.route,
        key: scope.key,
        fingerprint: BodyFingerprint::of(b"").0,
    }))
}

/// Build a read model anew
///
/// A second copy is built from the log's first event beside the one that is served; when it has everything, it takes
/// over in one step. `GET` on the projection tells how far it is. It goes on after a restart of the server.
#[utoipa::path(
    post,
    operation_id = "rebuild_projection",
    path = "/api/v1/projections/{name}/rebuild",
    tag = "Projections",
    params(("name" = String, Path)),
    responses(
        (status = 202, description = "The rebuild has begun", body = Projection),
        (status = 409, description = "It is being rebuilt already", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key was used otherwise", body = ProblemBody, content_type = "application/problem+json"),
        ReadProblems, Forbidden
    )
)]
pub async fn rebuild(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, StatusCode::ACCEPTED, async || app.projections.rebuild(&name).await).await
}

/// Give a rebuild up
///
/// What was built so far is thrown away; the read model that is served stays.
#[utoipa::path(
    post,
    operation_id = "cancel_rebuild",
    path = "/api/v1/projections/{name}/rebuild/cancel",
    tag = "Projections",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The projection, without a rebuild", body = Projection),
        (status = 409, description = "It is not being rebuilt", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key was used otherwise", body = ProblemBody, content_type = "application/problem+json"),
        ReadProblems, Forbidden
    )
)]
pub async fn cancel(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, StatusCode::OK, async || app.projections.cancel(&name).await).await
}

/// Go on where a projection stopped
///
/// After what was in the way is mended. It stops again when the event still cannot be taken.
#[utoipa::path(
    post,
    operation_id = "resume_projection",
    path = "/api/v1/projections/{name}/resume",
    tag = "Projections",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The projection, working again", body = Projection),
        (status = 409, description = "It has not stopped", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key was used otherwise", body = ProblemBody, content_type = "application/problem+json"),
        ReadProblems, Forbidden
    )
)]
pub async fn resume(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, StatusCode::OK, async || app.projections.resume(&name).await).await
}

/// Does it, unless this very request was answered before.
async fn once(
    app: &App,
    asked: Asked,
    status: StatusCode,
    act: impl AsyncFnOnce() -> Result<(), ControlError>,
) -> Result<Response, Problem> {
    if let Some(key) = &asked.key {
        match app.log.remembered(key).await.map_err(|error| Problem::internal(&error))? {
            KeyLookup::Unknown => {}
            KeyLookup::Answered(stored) => return Ok(respond(stored.answer)),
            KeyLookup::OtherBody => return Err(append_problem(&daybook_eventlog::AppendError::KeyReused)),
        }
    }
    act().await.map_err(problem)?;
    let answer = answer(status, &find(app, &asked.name)?);
    if let Some(key) = asked.key {
        let kept = answer.clone();
        let remember = Remember { key, answer: Box::new(move |_| kept) };
        match app.log.append(Append::default().remembering(Some(remember))).await {
            Ok(AppendOutcome::Remembered(stored)) => return Ok(respond(stored.answer)),
            Ok(AppendOutcome::Appended(_)) => {}
            // It is done; only a repetition will not be recognised.
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an answer was not kept"),
        }
    }
    Ok(respond(answer))
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer.body).into_response()
}

fn problem(error: ControlError) -> Problem {
    match error {
        ControlError::Unknown => Problem::not_found("There is no such projection: GET /api/v1/projections."),
        ControlError::Rebuilding => {
            Problem::conflict("It is being rebuilt already: wait for it, or give it up by rebuild/cancel.")
        }
        ControlError::NotRebuilding => Problem::conflict("It is not being rebuilt."),
        ControlError::NotStopped => Problem::conflict("It has not stopped at any event."),
        ControlError::Stopping => Problem::unavailable("The server is stopping: try again.", 2),
        ControlError::ReadModels(error) => Problem::internal(&error),
    }
}
