//! Building a read model anew, and going on where one stopped.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use daybook_eventlog::{Append, AppendOutcome, KeyLookup, Remember, RequestKey};
use daybook_projections::ControlError;

use super::status::{Projection, find};
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::openapi::CommandProblems;
use crate::http::read::NoQuery;
use crate::http::unread::{log_unread, models_unread};
use crate::http::write::{answer, append_problem, cause, response};
use crate::http::{Problem, idempotency};

/// An administrator's request, and the key that makes it recognisable, if it has one. It needs no body.
pub struct Asked {
    by: String,
    name: String,
    key: Option<RequestKey>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.must_be(&[Role::Admin])?;
        NoQuery::of(parts)?;
        let path = Path::<String>::from_request_parts(parts, app).await;
        let name = path.map(|Path(name)| name).unwrap_or_default();
        let scope = idempotency::scope(&parts.headers, &caller.subject, &parts.method, parts.uri.path())?;
        let by = caller.subject.clone();
        Ok(Self { by, name, key: cause(caller.subject, None, scope, b"").request })
    }
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
        CommandProblems
    )
)]
pub async fn rebuild(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, "rebuild", StatusCode::ACCEPTED, async || app.projections.rebuild(&name).await).await
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
        CommandProblems
    )
)]
pub async fn cancel(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, "rebuild/cancel", StatusCode::OK, async || app.projections.cancel(&name).await).await
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
        CommandProblems
    )
)]
pub async fn resume(State(app): State<App>, asked: Asked) -> Result<Response, Problem> {
    let name = asked.name.clone();
    once(&app, asked, "resume", StatusCode::OK, async || app.projections.resume(&name).await).await
}

/// Does it, unless this very request was answered before.
async fn once(
    app: &App,
    asked: Asked,
    route: &'static str,
    status: StatusCode,
    act: impl AsyncFnOnce() -> Result<(), ControlError>,
) -> Result<Response, Problem> {
    if let Some(key) = &asked.key {
        match app.log.remembered(key).await.map_err(log_unread)? {
            KeyLookup::Unknown => {}
            KeyLookup::Answered(stored) => return Ok(response(stored.answer)),
            KeyLookup::OtherBody => return Err(append_problem(&daybook_eventlog::AppendError::KeyReused)),
        }
    }
    act().await.map_err(problem)?;
    tracing::info!(by = asked.by, projection = asked.name, route, "done as an administrator asked");
    let answer = answer(status, &find(app, &asked.name)?);
    if let Some(key) = asked.key {
        let kept = answer.clone();
        let remember = Remember { key, answer: Box::new(move |_| kept) };
        match app.log.append(Append::default().remembering(Some(remember))).await {
            Ok(AppendOutcome::Remembered(stored)) => return Ok(response(stored.answer)),
            Ok(AppendOutcome::Appended(_)) => {}
            // It is done; only a repetition will not be recognised.
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an answer was not kept"),
        }
    }
    Ok(response(answer))
}

fn problem(error: ControlError) -> Problem {
    match error {
        ControlError::Unknown => Problem::not_found("There is no such projection: GET /api/v1/projections."),
        ControlError::Rebuilding => {
            Problem::conflict("It is being rebuilt already: wait for it, or give it up by rebuild/cancel.")
        }
        ControlError::Newer => Problem::conflict("A newer build keeps it: ask a node of that build."),
        ControlError::NotRebuilding => Problem::conflict("It is not being rebuilt."),
        ControlError::NotStopped => Problem::conflict("It has not stopped at any event."),
        ControlError::Stopping => Problem::unavailable("The server is stopping: try again.", 2),
        ControlError::ReadModels(error) => models_unread(error),
    }
}
