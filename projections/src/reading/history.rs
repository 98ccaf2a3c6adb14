//! The history of reading sessions: one row a session, the active ones included.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use daybook_domain::{
    event::{Event, Stored},
    reading::{
        DeviceType, EndReason, Percent, ReaderEvent, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
    },
};
use daybook_eventlog::from_micros;
use uuid::Uuid;

use super::micros;
use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    table::{Column, Table, Value},
};

/// `reading_sessions`.
pub struct ReadingHistory;

/// The projection's name.
pub const NAME: &str = "reading_sessions";

const SESSIONS: Table = Table {
    name: "reading_sessions",
    key: 1,
    columns: &[
        Column::new("session_id"),
        Column::new("user_id"),
        Column::new("book_id"),
        Column::new("started_at"),
        Column::new("ended_at"),
        Column::new("last_seen_at"),
        Column::new("start_position"),
        Column::new("end_position"),
        Column::new("device_type"),
        Column::new("timezone"),
        Column::new("reason"),
        Column::new("client_id"),
        Column::new("recorded_at"),
    ],
};

impl Projection for ReadingHistory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&SESSIONS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/read_models/reading_sessions.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [ReadingSessionStarted::TYPE, ReadingSessionUpdated::TYPE, ReadingSessionEnded::TYPE].contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut whole: HashMap<Uuid, Row> = HashMap::new();
        let mut moved: HashMap<Uuid, (Percent, DateTime<Utc>)> = HashMap::new();
        for decoded in events {
            let Some(Event::Reader(event)) = &decoded.event else { continue };
            match event {
                ReaderEvent::ReadingSessionStarted(started) => {
                    whole.insert(started.session_id, Row::started(started, decoded.recorded_at));
                }
                ReaderEvent::ReadingSessionUpdated(updated) => match whole.get_mut(&updated.session_id) {
                    Some(row) => {
                        row.end_position = updated.position;
                        row.last_seen_at = updated.reported_at;
                    }
                    None => {
                        moved.insert(updated.session_id, (updated.position, updated.reported_at));
                    }
                },
                ReaderEvent::ReadingSessionEnded(ended) => {
                    moved.remove(&ended.session_id);
                    whole.insert(ended.session_id, Row::ended(ended, decoded.recorded_at));
                }
                ReaderEvent::ReaderProfileChanged(_) => {}
            }
        }
        let mut changes = Changes::default();
        changes.upsert(&SESSIONS, sorted(whole).into_iter().map(|(id, row)| row.values(id)));
        let moved = sorted(moved).into_iter();
        changes.update(
            &SESSIONS,
            &["last_seen_at", "end_position"],
            moved.map(|(id, (position, at))| [Value::Id(id), micros(at), percent(position)]),
        );
        Ok(changes)
    }
}

struct Row {
    user_id: Uuid,
    book_id: Uuid,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    last_seen_at: DateTime<Utc>,
    start_position: Percent,
    end_position: Percent,
    device_type: Option<DeviceType>,
    timezone: &'static str,
    reason: Option<EndReason>,
    client_id: Option<Uuid>,
    recorded_at: i64,
}

impl Row {
    fn started(event: &ReadingSessionStarted, recorded_at: i64) -> Self {
        Self {
            user_id: event.user_id,
            book_id: event.book_id,
            started_at: event.started_at,
            ended_at: None,
            last_seen_at: event.started_at,
            start_position: event.start_position,
            end_position: event.start_position,
            device_type: event.device_type,
            timezone: event.timezone.name(),
            reason: None,
            client_id: None,
            recorded_at,
        }
    }

    fn ended(event: &ReadingSessionEnded, recorded_at: i64) -> Self {
        Self {
            user_id: event.user_id,
            book_id: event.book_id,
            started_at: event.started_at,
            ended_at: Some(event.ended_at),
            last_seen_at: event.ended_at,
            start_position: event.start_position,
            end_position: event.end_position,
            device_type: event.device_type,
            timezone: event.timezone.name(),
            reason: Some(event.reason),
            client_id: event.client_id,
            recorded_at,
        }
    }

    fn values(self, id: Uuid) -> [Value; 13] {
        [
            Value::Id(id),
            Value::Id(self.user_id),
            Value::Id(self.book_id),
            micros(self.started_at),
            self.ended_at.map(micros).into(),
            micros(self.last_seen_at),
            percent(self.start_position),
            percent(self.end_position),
            self.device_type.map(|device| Value::Word(device.as_str())).into(),
            Value::Word(self.timezone),
            self.reason.map(|reason| Value::Word(reason.as_str())).into(),
            self.client_id.map(Value::Id).into(),
            Value::Int(self.recorded_at),
        ]
    }
}

fn percent(position: Percent) -> Value {
    Value::Int(i64::from(position.get()))
}

/// In the order of the key, so that rows that lie together are written together.
fn sorted<T>(rows: HashMap<Uuid, T>) -> Vec<(Uuid, T)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    rows
}

/// A session as the history shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// The reader.
    pub user_id: Uuid,
    /// The book.
    pub book_id: Uuid,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it is active.
    pub ended_at: Option<DateTime<Utc>>,
    /// In percent of the book.
    pub start_position: u8,
    /// The last reported position, in percent of the book.
    pub end_position: u8,
    /// `mobile`, `tablet` or `desktop`.
    pub device_type: Option<String>,
    /// The zone on its last event.
    pub timezone: String,
    /// What the book's register says now.
    pub total_pages: Option<u32>,
}

type SessionRow = (Uuid, Uuid, Uuid, i64, Option<i64>, i64, i64, Option<String>, String, Option<i64>);

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        let (
            id,
            user_id,
            book_id,
            started_at,
            ended_at,
            start_position,
            end_position,
            device_type,
            timezone,
            total_pages,
        ) = row;
        Self {
            id,
            user_id,
            book_id,
            started_at: from_micros(started_at),
            ended_at: ended_at.map(from_micros),
            start_position: percent_of(start_position),
            end_position: percent_of(end_position),
            device_type,
            timezone,
            total_pages: total_pages.and_then(|pages| u32::try_from(pages).ok()),
        }
    }
}

/// Only percents are stored.
fn percent_of(stored: i64) -> u8 {
    u8::try_from(stored).unwrap_or_default()
}

/// With or without the books' pages, which are another projection's: without, its tables are not asked.
fn select(with_pages: bool) -> String {
    let (pages, books) = match with_pages {
        true => ("b.total_pages", "LEFT JOIN books b ON b.book_id = s.book_id"),
        false => ("CAST(NULL AS BIGINT)", ""),
    };
    format!(
        "SELECT s.session_id, s.user_id, s.book_id, s.started_at, s.ended_at, s.start_position, s.end_position, \
         s.device_type, s.timezone, {pages} AS total_pages FROM reading_sessions s {books}"
    )
}

/// Where a page of the history ends: the next one begins below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Of the last session shown, in microseconds.
    pub started_at: i64,
    /// Of the last session shown.
    pub id: Uuid,
}

/// Which part of the history is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// After so many sessions.
    Skip(u64),
    /// Below a session.
    Below(Cursor),
}

/// A reader's active session, with its book's pages or without.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn active(models: &ReadModels, user: Uuid, with_pages: bool) -> Result<Option<Session>, ReadModelsError> {
    let select = select(with_pages);
    let sql = format!("{select} WHERE s.user_id = $1 AND s.ended_at IS NULL ORDER BY s.started_at DESC LIMIT 1");
    let row: Option<SessionRow> = models.query(sql).bind(user).fetch_optional().await?;
    Ok(row.map(Session::from))
}

/// A session, whoever's it is; without its book's pages.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn session(models: &ReadModels, id: Uuid) -> Result<Option<Session>, ReadModelsError> {
    let sql = format!("{} WHERE s.session_id = $1", select(false));
    let row: Option<SessionRow> = models.query(sql).bind(id).fetch_optional().await?;
    Ok(row.map(Session::from))
}

/// A session as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The session.
    pub session: Session,
    /// When the log took its end; its start, while it is active.
    pub recorded_at: DateTime<Utc>,
}

/// Those of `ids` that there are, without their books' pages.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn sessions(models: &ReadModels, ids: &[Uuid]) -> Result<Vec<Recorded>, ReadModelsError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(128) {
        let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let places = places.join(", ");
        let sql = format!("{} WHERE s.session_id IN ({places}) ORDER BY s.session_id", select(false));
        let rows: Vec<SessionRow> = models.query(sql).bind_all(ids.iter().copied()).fetch_all().await?;
        let sql = format!("SELECT session_id, recorded_at FROM reading_sessions WHERE session_id IN ({places})");
        let times: Vec<(Uuid, i64)> = models.query(sql).bind_all(ids.iter().copied()).fetch_all().await?;
        let times: HashMap<Uuid, i64> = times.into_iter().collect();
        found.extend(rows.into_iter().map(Session::from).filter_map(|session| {
            let recorded_at = from_micros(*times.get(&session.id)?);
            Some(Recorded { session, recorded_at })
        }));
    }
    Ok(found)
}

/// A page of a reader's sessions, of one book or of all, newest start first, and how many there are; with their books'
/// pages or without.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn page(
    models: &ReadModels,
    user: Uuid,
    book: Option<Uuid>,
    place: Place,
    limit: u32,
    with_pages: bool,
) -> Result<(Vec<Session>, u64), ReadModelsError> {
    let (below, skip) = match place {
        Place::Skip(skip) => (Cursor { started_at: i64::MAX, id: Uuid::max() }, skip),
        Place::Below(cursor) => (cursor, 0),
    };
    let select = select(with_pages);
    let sql = format!(
        "{select} WHERE s.user_id = $1 AND ($2 IS NULL OR s.book_id = $2) AND (s.started_at, s.session_id) < ($3, $4) \
         ORDER BY s.started_at DESC, s.session_id DESC LIMIT $5 OFFSET $6"
    );
    let all = "SELECT count(*) FROM reading_sessions WHERE user_id = $1 AND ($2 IS NULL OR book_id = $2)";
    let (rows, total) = models
        .query(sql)
        .bind(user)
        .bind(book)
        .bind(below.started_at)
        .bind(below.id)
        .bind(limit)
        .bind(i64::try_from(skip).unwrap_or(i64::MAX))
        .fetch_page::<SessionRow>(all)
        .await?;
    Ok((rows.into_iter().map(Session::from).collect(), total))
}

/// Active sessions without a sign of life since `before`, the quietest first: reader and session.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn idle_since(
    models: &ReadModels,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<(Uuid, Uuid)>, ReadModelsError> {
    let sql = "SELECT user_id, session_id FROM reading_sessions WHERE ended_at IS NULL AND last_seen_at <= $1 \
               ORDER BY last_seen_at LIMIT $2";
    models.query(sql).bind(before.timestamp_micros()).bind(limit).fetch_all().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, rows};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn percent(number: u8) -> Percent {
        Percent::new(number).unwrap()
    }

    fn started() -> Given {
        ReaderEvent::ReadingSessionStarted(ReadingSessionStarted {
            session_id: Uuid::from_u128(7),
            user_id: Uuid::from_u128(1),
            book_id: Uuid::from_u128(2),
            started_at: at(10),
            start_position: percent(25),
            device_type: None,
            timezone: chrono_tz::Tz::UTC,
        })
        .into()
    }

    fn moved(position: u8, seconds: i64) -> Given {
        let moved = ReadingSessionUpdated {
            session_id: Uuid::from_u128(7),
            position: percent(position),
            reported_at: at(seconds),
        };
        ReaderEvent::ReadingSessionUpdated(moved).into()
    }

    #[test]
    fn a_session_that_starts_and_moves_is_one_row_at_its_last_position() {
        assert_eq!(
            rows(&ReadingHistory, [started(), moved(30, 20), moved(28, 30)]),
            ["reading_sessions: #7 | #1 | #2 | 10000000 | - | 30000000 | 25 | 28 | - | UTC | - | - | 0"]
        );
    }

    #[test]
    fn a_session_of_an_earlier_batch_only_moves() {
        assert_eq!(rows(&ReadingHistory, [moved(30, 20), moved(40, 30)]), ["reading_sessions: #7 | 30000000 | 40"]);
    }
}
