//! Finished sessions of devices that were offline.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::instant::to_micros;
use daybook_domain::reading::{
    self, DeviceType, OfflineSession, Percent, ReaderCommand, ReaderDecider, offline_session_id,
};
use daybook_eventlog::{Decided, LookUp, Render};
use daybook_projections::reading::history::{self, Session};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reader::Reader;
use super::session::Device;
use super::sessions::{readable_book, stream};
use super::zone::AskedZone;
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::Fields;
use crate::http::openapi::WriteProblems;
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, problem, respond};

const SESSIONS_MAX: usize = 100;
const SESSION_HOURS_MAX: i64 = 24;
/// A device's clock may be ahead by this much: what ends by then counts as ending now.
const AHEAD_MAX: TimeDelta = TimeDelta::seconds(30);
/// The longest that recording a session takes, from the look at the clock to the log.
const RECORDING_MAX: TimeDelta = TimeDelta::seconds(60);
/// Before this, a device's clock was wrong.
const EARLIEST_START: &str = "2000-01-01";
const EARLIEST_START_MICROS: i64 = 946_684_800_000_000;

/// Finished sessions.
#[derive(ToSchema)]
pub struct OfflineSessions {
    #[schema(value_type = Vec<OfflineSessionItem>, min_items = 1, max_items = 100)]
    sessions: Items,
}

/// A session that was read without a connection. An item that is malformed is answered as an error of its own.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an item; `Item::read` reads it")]
pub struct OfflineSessionItem {
    /// The device's own id for the session: sent again, it is the same session.
    client_id: Uuid,
    book_id: Uuid,
    /// Not before 2000-01-01.
    started_at: DateTime<Utc>,
    /// Not before the start and at most 24 h after it. Up to 30 s in the future counts as now, more is an error.
    ended_at: DateTime<Utc>,
    #[schema(minimum = 0, maximum = 100)]
    start_position: u8,
    #[schema(minimum = 0, maximum = 100)]
    end_position: u8,
    device_type: Option<Device>,
    /// IANA zone whose calendar the session counts in; goes before `X-Timezone`.
    timezone: Option<String>,
}

/// What became of each session, in the order of the request.
#[derive(Serialize, ToSchema)]
pub struct Recorded {
    results: Vec<RecordedItem>,
}

/// What became of one session.
#[derive(Clone, Serialize, ToSchema)]
pub struct RecordedItem {
    /// As it was sent; null when there was none to read.
    #[schema(required)]
    client_id: Option<String>,
    success: bool,
    /// The session's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// What is wrong with the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Record finished sessions
#[utoipa::path(
    post,
    path = "/api/v1/reading-sessions/batch",
    tag = "Reading sessions",
    request_body = OfflineSessions,
    params(("X-Timezone" = Option<String>, Header, description = "IANA zone whose calendar the sessions count in")),
    responses((status = 200, description = "A result for each session, in order", body = Recorded), WriteProblems)
)]
pub async fn record(
    State(app): State<App>,
    zone: AskedZone,
    request: Write<Reader, OfflineSessions>,
) -> Result<Response, Problem> {
    let reader = request.caller.id;
    let items = Items::checked(request.body.sessions, &app, reader).await?;
    let offline = Offline { app: &app, reader, zone, items };
    let executed = app.readers.execute_with(&stream(reader), &request.cause, &offline).await;
    let failed = |error| problem(error, |rejection| Problem::internal(&rejection));
    executed.map(respond).map_err(|error| error.or_else(failed))
}

/// Sessions on their way to a decision.
struct Offline<'a> {
    app: &'a App,
    reader: Uuid,
    zone: AskedZone,
    items: Vec<Item>,
}

impl LookUp<ReaderDecider> for Offline<'_> {
    type Failure = Problem;

    async fn prepare(&self) -> Result<(), Problem> {
        Ok(self.app.caught_up(&[history::NAME], None).await?)
    }

    /// While the stream is locked nothing is recorded for this reader, so what is looked up now still holds when the
    /// events are appended.
    async fn look_up(&self, _: &reading::Reader) -> Result<(ReaderCommand, Render<ReaderDecider>), Problem> {
        self.app.caught_up(&[history::NAME], None).await?;
        let known = known_sessions(self.app, &self.items).await?;
        let (sessions, results) = sort_out(&self.items, known);
        let command = ReaderCommand::RecordOffline { user_id: self.reader, timezone: self.zone.asked(), sessions };
        let recorded = Recorded { results };
        let render = move |_: Decided<'_, ReaderDecider>| answer(StatusCode::OK, &recorded);
        Ok((command, Arc::new(render)))
    }
}

/// The items as they came, not yet looked at.
struct Items(Vec<Box<RawValue>>);

impl Body for OfflineSessions {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self { sessions: Items(fields.items("sessions", 1..=SESSIONS_MAX)) }
    }
}

/// An item that is well formed, and what identifies one that is not.
enum Item {
    Good(OfflineSession),
    Bad { client_id: Option<String>, error: String },
}

impl Items {
    /// Reads each item and looks its book up.
    async fn checked(items: Self, app: &App, reader: Uuid) -> Result<Vec<Item>, Problem> {
        let now = Utc::now();
        let mut books: HashMap<Uuid, bool> = HashMap::new();
        let mut checked = Vec::with_capacity(items.0.len());
        for raw in items.0 {
            let item = Item::read(&raw, reader, now);
            let Item::Good(session) = item else {
                checked.push(item);
                continue;
            };
            let readable = match books.get(&session.book_id) {
                Some(readable) => *readable,
                None => {
                    let readable = match readable_book(app, session.book_id, reader).await {
                        Ok(_) => true,
                        Err(problem) if problem.status() == StatusCode::NOT_FOUND => false,
                        Err(problem) => return Err(problem),
                    };
                    books.insert(session.book_id, readable);
                    readable
                }
            };
            checked.push(if readable {
                Item::Good(session)
            } else {
                Item::bad(&session, "book_id: the book is unknown, or not yours to read")
            });
        }
        Ok(checked)
    }
}

impl Item {
    fn bad(session: &OfflineSession, error: &str) -> Self {
        Self::Bad { client_id: Some(session.client_id.to_string()), error: error.to_owned() }
    }

    fn read(raw: &RawValue, reader: Uuid, now: DateTime<Utc>) -> Self {
        let bytes = raw.get().as_bytes();
        Self::parse(bytes, reader, now).unwrap_or_else(|problem| {
            let client_id = Fields::from_json(bytes).ok().and_then(|mut sent| sent.optional("client_id"));
            let errors = problem.errors().iter().map(|error| format!("{}: {}", error.field, error.message));
            Self::Bad { client_id, error: errors.collect::<Vec<_>>().join("; ") }
        })
    }

    fn parse(bytes: &[u8], reader: Uuid, now: DateTime<Utc>) -> Result<Self, Problem> {
        let mut fields = Fields::from_json(bytes)?;
        let client_id: Uuid = fields.required("client_id");
        let started_at: DateTime<Utc> = fields.required("started_at");
        let ended_at: DateTime<Utc> = fields.required("ended_at");
        let session = OfflineSession {
            session_id: offline_session_id(reader, client_id),
            client_id,
            book_id: fields.required("book_id"),
            // As precise as they are stored, so that a repetition compares equal.
            started_at: to_micros(started_at),
            ended_at: to_micros(ended_at),
            start_position: fields.required::<Percent>("start_position"),
            end_position: fields.required::<Percent>("end_position"),
            device_type: fields.optional::<DeviceType>("device_type"),
            timezone: fields.optional::<Tz>("timezone"),
        };
        if session.started_at.timestamp_micros() < EARLIEST_START_MICROS {
            fields.invalid("started_at", format!("must not be before {EARLIEST_START}"));
        }
        if session.ended_at > now + AHEAD_MAX {
            fields.invalid("ended_at", "must not be in the future");
        }
        if session.ended_at < session.started_at {
            fields.invalid("ended_at", "must not be before started_at");
        }
        if session.ended_at - session.started_at > TimeDelta::hours(SESSION_HOURS_MAX) {
            fields.invalid("ended_at", format!("must be at most {SESSION_HOURS_MAX} h after started_at"));
        }
        if session.end_position < session.start_position {
            fields.invalid("end_position", "must not be before start_position");
        }
        fields.finish()?;
        Ok(Self::Good(session))
    }
}

async fn known_sessions(app: &App, items: &[Item]) -> Result<HashMap<Uuid, Known>, Problem> {
    let ids: Vec<Uuid> = items
        .iter()
        .filter_map(|item| match item {
            Item::Good(session) => Some(session.session_id),
            Item::Bad { .. } => None,
        })
        .collect();
    let known = history::sessions(&app.models, &ids).await.map_err(models_unread)?;
    Ok(known.into_iter().map(|recorded| (recorded.session.id, Known::recorded(&recorded))).collect())
}

/// A session that is recorded, or comes earlier in the same request.
struct Known {
    session: OfflineSession,
    /// It was recorded just as it ended: its end may be the time of recording instead of a later one that was sent.
    may_be_cut: bool,
}

impl Known {
    fn recorded(recorded: &history::Recorded) -> Self {
        let session = as_sent(&recorded.session);
        let may_be_cut = recorded.recorded_at - session.ended_at <= RECORDING_MAX;
        Self { session, may_be_cut }
    }

    /// Whether `sent` is this session. A zone that the device does not name is the request's, which may differ.
    fn is(&self, sent: &OfflineSession) -> bool {
        let known = OfflineSession {
            client_id: sent.client_id,
            timezone: sent.timezone.and(self.session.timezone),
            ..self.session.clone()
        };
        let is_cut = self.may_be_cut && (TimeDelta::zero()..=AHEAD_MAX).contains(&(sent.ended_at - known.ended_at));
        known == *sent || is_cut && known == ended_by(sent, known.ended_at)
    }
}

/// The session as it is recorded at `now`: what its device's clock puts a little later is now.
fn ended_by(sent: &OfflineSession, now: DateTime<Utc>) -> OfflineSession {
    let (started_at, ended_at) = (sent.started_at.min(now), sent.ended_at.min(now));
    OfflineSession { started_at, ended_at, ..sent.clone() }
}

/// A recorded session in the shape it was sent in. Its client id is not compared: the session's id stands for it.
fn as_sent(session: &Session) -> OfflineSession {
    OfflineSession {
        session_id: session.id,
        client_id: Uuid::nil(),
        book_id: session.book_id,
        started_at: session.started_at,
        ended_at: session.ended_at.unwrap_or(session.started_at),
        start_position: Percent::new(session.start_position).unwrap_or_default(),
        end_position: Percent::new(session.end_position).unwrap_or_default(),
        device_type: session.device_type.as_deref().and_then(|device| device.parse().ok()),
        timezone: session.timezone.parse().ok(),
    }
}

/// What is new, and what to answer for each item.
fn sort_out(items: &[Item], mut known: HashMap<Uuid, Known>) -> (Vec<OfflineSession>, Vec<RecordedItem>) {
    let now = to_micros(Utc::now());
    let mut new = Vec::new();
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        results.push(match item {
            Item::Bad { client_id, error } => {
                RecordedItem { client_id: client_id.clone(), success: false, id: None, error: Some(error.clone()) }
            }
            Item::Good(session) => {
                let client_id = Some(session.client_id.to_string());
                match known.get(&session.session_id) {
                    Some(recorded) if !recorded.is(session) => RecordedItem {
                        client_id,
                        success: false,
                        id: None,
                        error: Some("client_id: was used for another session".to_owned()),
                    },
                    recorded => {
                        if recorded.is_none() {
                            new.push(ended_by(session, now));
                            let session = session.clone();
                            known.insert(session.session_id, Known { session, may_be_cut: false });
                        }
                        RecordedItem { client_id, success: true, id: Some(session.session_id), error: None }
                    }
                }
            }
        });
    }
    (new, results)
}
