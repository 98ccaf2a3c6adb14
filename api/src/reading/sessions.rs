//! Starting, updating, ending a session, and the active one.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::Utc;
use daybook_domain::book::{self, Book};
use daybook_domain::reading::{self, DeviceType, Percent, ReaderCommand, ReaderDecider, ReaderEvent, ReaderRejection};
use daybook_eventlog::{Answer, Decided, ExecuteError, StreamId};
use daybook_projections::{library, reading::history};
use utoipa::ToSchema;
use uuid::Uuid;

use super::reader::Reader;
use super::session::{Device, SessionBody};
use super::values::PathId;
use super::zone::AskedZone;
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::Fields;
use crate::http::left_out::left_out;
use crate::http::openapi::{ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery};
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, problem, respond};

/// A session to start.
#[derive(ToSchema)]
pub struct StartSession {
    book_id: Uuid,
    /// Percent of the book.
    #[schema(value_type = Option<u8>, minimum = 0, maximum = 100, default = 0)]
    start_position: Percent,
    #[schema(value_type = Option<Device>)]
    device_type: Option<DeviceType>,
}

impl Body for StartSession {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            book_id: fields.required("book_id"),
            start_position: fields.optional("start_position").unwrap_or_default(),
            device_type: fields.optional("device_type"),
        }
    }
}

/// Where the reader is.
#[derive(ToSchema)]
pub struct UpdateSession {
    /// Percent of the book; may be before the session's start.
    #[schema(value_type = u8, minimum = 0, maximum = 100)]
    current_position: Percent,
}

impl Body for UpdateSession {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self { current_position: fields.required("current_position") }
    }
}

/// Where the reader stops.
#[derive(ToSchema)]
pub struct EndSession {
    /// Percent of the book; not before the session's start.
    #[schema(value_type = u8, minimum = 0, maximum = 100)]
    end_position: Percent,
}

impl Body for EndSession {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self { end_position: fields.required("end_position") }
    }
}

/// Start a session; an active one is ended first
#[utoipa::path(
    post,
    path = "/api/v1/reading-sessions/start",
    tag = "Reading sessions",
    request_body = StartSession,
    params(("X-Timezone" = Option<String>, Header, description = "IANA zone whose calendar the session counts in")),
    responses((status = 201, description = "The session", body = SessionBody), WriteProblems)
)]
pub async fn start(
    State(app): State<App>,
    zone: AskedZone,
    request: Write<Reader, StartSession>,
) -> Result<Response, Problem> {
    let (reader, body) = (&request.caller, &request.body);
    let failed = |error| problem(error, |rejection| Problem::internal(&rejection));
    // Before the book is looked at: who repeats a request is told the same, also when the book is no longer shared.
    if let Some(executed) = app.readers.already_answered(&request.cause).await.map_err(failed)? {
        return Ok(respond(executed));
    }
    let total_pages = readable_book(&app, body.book_id, reader.id).await?;
    let command = ReaderCommand::Start {
        session_id: Uuid::now_v7(),
        user_id: reader.id,
        book_id: body.book_id,
        start_position: body.start_position,
        device_type: body.device_type,
        timezone: zone.asked(),
        now: Utc::now(),
    };
    let started = move |decided: Decided<'_, ReaderDecider>| {
        let session = match &decided.state.session {
            reading::Situation::Reading(session) => Some(SessionBody::active(session, total_pages)),
            reading::Situation::Idle => None,
        };
        answer(StatusCode::CREATED, &session)
    };
    app.readers.execute(&stream(reader.id), &command, &request.cause, started).await.map(respond).map_err(failed)
}

/// Report where the reader is
#[utoipa::path(
    put,
    path = "/api/v1/reading-sessions/{session_id}/update",
    tag = "Reading sessions",
    params(("session_id" = Uuid, Path)),
    request_body = UpdateSession,
    responses((status = 200, description = "The session", body = SessionBody), WriteProblems)
)]
pub async fn update(
    State(app): State<App>,
    PathId(session_id): PathId,
    request: Write<Reader, UpdateSession>,
) -> Result<Response, Problem> {
    let command = ReaderCommand::Update { session_id, position: request.body.current_position, now: Utc::now() };
    let updated = move |decided: Decided<'_, ReaderDecider>, total_pages| {
        let session = decided.state.session.active(session_id);
        answer(StatusCode::OK, &session.map(|session| SessionBody::active(session, total_pages)))
    };
    on_session(&app, &request, session_id, &command, updated).await
}

/// End the session
#[utoipa::path(
    put,
    path = "/api/v1/reading-sessions/{session_id}/end",
    tag = "Reading sessions",
    params(
        ("session_id" = Uuid, Path),
        ("X-Timezone" = Option<String>, Header, description = "IANA zone whose calendar the session counts in")
    ),
    request_body = EndSession,
    responses((status = 200, description = "The session", body = SessionBody), WriteProblems)
)]
pub async fn end(
    State(app): State<App>,
    PathId(session_id): PathId,
    zone: AskedZone,
    request: Write<Reader, EndSession>,
) -> Result<Response, Problem> {
    let command =
        ReaderCommand::End { session_id, position: request.body.end_position, timezone: zone.asked(), now: Utc::now() };
    let ended = |decided: Decided<'_, ReaderDecider>, total_pages| {
        let session = decided.events.iter().find_map(|event| match event {
            ReaderEvent::ReadingSessionEnded(ended) => Some(SessionBody::ended(ended, total_pages)),
            _ => None,
        });
        answer(StatusCode::OK, &session)
    };
    on_session(&app, &request, session_id, &command, ended).await
}

/// The active session, or null
#[utoipa::path(
    get,
    path = "/api/v1/reading-sessions/active",
    tag = "Reading sessions",
    responses((status = 200, description = "The session, null when there is none", body = Option<SessionBody>), ReadProblems)
)]
pub async fn active(
    State(app): State<App>,
    reader: Reader,
    _: NoQuery,
    After(after): After,
) -> Result<(HeaderMap, Json<Option<SessionBody>>), Problem> {
    let with_pages = app.can_show(library::NAME, after).await?;
    app.caught_up(&[history::NAME], after).await?;
    let session = history::active(&app.models, reader.id, with_pages).await.map_err(models_unread)?;
    Ok((left_out(library::NAME, with_pages), Json(session.map(SessionBody::from))))
}

/// The reader's stream.
pub fn stream(reader: Uuid) -> StreamId {
    StreamId::from(reading::stream(reader))
}

/// The pages of a book that the reader may read, when they are known; 404 when it is not theirs to read.
pub async fn readable_book(app: &App, book_id: Uuid, reader: Uuid) -> Result<Option<u32>, Problem> {
    let look = |state: &Book| match state {
        Book::Known(known) if known.is_readable_by(reader) => Some(known.total_pages),
        Book::Known(_) | Book::Unknown => None,
    };
    let found = app.books.view(&StreamId::from(book::stream(book_id)), look).await;
    found
        .map_err(|error| problem(error, |rejection| Problem::internal(&rejection)))?
        .ok_or_else(|| Problem::not_found("The book is unknown, or not yours to read."))
}

/// A command on the reader's active session.
async fn on_session<B>(
    app: &App,
    request: &Write<Reader, B>,
    session_id: Uuid,
    command: &ReaderCommand,
    render: impl Fn(Decided<'_, ReaderDecider>, Option<u32>) -> Answer + Send + Sync + 'static,
) -> Result<Response, Problem> {
    let stream = stream(request.caller.id);
    let unread = |error| problem(error, |rejection: ReaderRejection| Problem::internal(&rejection));
    let book = app.readers.view(&stream, |reader| reader.session.active(session_id).map(|session| session.book_id));
    let total_pages = match book.await.map_err(unread)? {
        Some(book_id) => pages_of(app, book_id).await?,
        None => None,
    };
    let render = move |decided: Decided<'_, ReaderDecider>| render(decided, total_pages);
    match app.readers.execute(&stream, command, &request.cause, render).await {
        Ok(executed) => Ok(respond(executed)),
        Err(ExecuteError::Rejected(rejection)) => Err(refusal(app, request.caller.id, rejection).await),
        Err(error) => Err(unread(error)),
    }
}

async fn pages_of(app: &App, book_id: Uuid) -> Result<Option<u32>, Problem> {
    let look = |state: &Book| match state {
        Book::Known(known) => known.total_pages,
        Book::Unknown => None,
    };
    let pages = app.books.view(&StreamId::from(book::stream(book_id)), look).await;
    pages.map_err(|error| problem(error, |rejection| Problem::internal(&rejection)))
}

/// Why the session is not the reader's active one: ended, somebody else's, or not there at all.
async fn refusal(app: &App, reader: Uuid, rejection: ReaderRejection) -> Problem {
    let session_id = match rejection {
        ReaderRejection::EndsBeforeItsStart { start, .. } => {
            return Problem::bad_field("end_position", format!("must not be before the start, {}", start.get()));
        }
        ReaderRejection::NotActive { session_id } | ReaderRejection::NotIdle { session_id } => session_id,
    };
    if let Err(error) = app.caught_up(&[history::NAME], None).await {
        return error.into();
    }
    match history::session(&app.models, session_id).await {
        Ok(Some(session)) if session.user_id == reader => {
            Problem::new(StatusCode::BAD_REQUEST, "The session has ended: start a new one.")
        }
        Ok(Some(_)) => Problem::forbidden("The session belongs to another reader."),
        Ok(None) => Problem::not_found("There is no such session."),
        Err(error) => models_unread(error),
    }
}
