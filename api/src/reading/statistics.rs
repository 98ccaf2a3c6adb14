//! What a reader's ended sessions add up to.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::{Streak, calendar, streak as streak_of};
use daybook_eventlog::Position;
use daybook_projections::reading::profiles;
use daybook_projections::reading::statistics::{self, Day};
use daybook_projections::{ReadModels, ReadModelsError, library};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::language::prefers_english;
use super::reader::Reader;
use super::zone::AskedZone;
use crate::app::App;
use crate::http::fields::{FieldValue, Fields};
use crate::http::left_out::left_out;
use crate::http::openapi::ReadProblems;
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::models_unread;
use crate::http::{Problem, instant};

const WEEK_DAYS: u64 = 7;
const STREAK_DAYS_MAX: i64 = 366;
const STREAK_DAYS_DEFAULT: i64 = 90;

/// The last seven days, and what all sessions add up to.
#[derive(Serialize, ToSchema)]
pub struct Weekly {
    /// Today first.
    #[schema(min_items = 7, max_items = 7)]
    weekly_activity: Vec<WeekDay>,
    current_streak: u32,
    longest_streak: u32,
    total_minutes: i64,
    total_sessions: i64,
    /// Percent of a book per minute.
    average_speed: f64,
    /// IANA zone whose calendar today is taken from.
    timezone: &'static str,
}

/// One of the last seven days.
#[derive(Serialize, ToSchema)]
pub struct WeekDay {
    date: NaiveDate,
    /// Пн to Вс; Mon to Sun with `Accept-Language: en`.
    day: &'static str,
    minutes: i64,
    sessions: i64,
    /// Percent of books.
    progress: i64,
}

/// Which activity counts in a streak.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `Activity` reads it")]
pub struct ActivityQuery {
    #[param(inline)]
    activity: Option<ActivityName>,
}

/// Which activity counts.
#[derive(ToSchema)]
#[schema(as = Activity, rename_all = "lowercase")]
#[expect(dead_code, reason = "the document's name for `Activity`")]
pub enum ActivityName {
    Reading,
    All,
}

/// The last seven days
#[utoipa::path(
    get,
    path = "/api/v1/users/stats/weekly",
    tag = "Statistics",
    params(
        ActivityQuery,
        ("X-Timezone" = Option<String>, Header, description = "IANA zone whose calendar today is taken from"),
        ("Accept-Language" = Option<String>, Header, description = "`en` for English names of days")
    ),
    responses((status = 200, description = "The week", body = Weekly), ReadProblems)
)]
pub async fn weekly(
    State(app): State<App>,
    reader: Reader,
    After(after): After,
    zone: AskedZone,
    Query(query): Query,
    headers: HeaderMap,
) -> Result<Json<Weekly>, Problem> {
    let mut fields = Fields::from_query(&query);
    let _: Option<Activity> = fields.optional("activity");
    fields.finish()?;
    let (models, zone, today) = today(&app, &reader, zone, &NEEDED, after).await?;
    let days = statistics::days(&models, reader.id).await.map_err(failed)?;
    let totals = statistics::totals(&models, reader.id).await.map_err(failed)?;
    let streak = streak_over(&days, today);
    let time = total_time(&days);
    let names = if prefers_english(&headers) { ENGLISH } else { RUSSIAN };
    let by_date: HashMap<NaiveDate, &Day> = days.iter().map(|day| (day.date, day)).collect();
    let week_day = |date: NaiveDate| {
        let day = by_date.get(&date);
        WeekDay {
            date,
            day: names[date.weekday().num_days_from_monday() as usize % names.len()],
            minutes: day.map_or(0, |day| day.time.num_minutes()),
            sessions: day.map_or(0, |day| day.sessions),
            progress: day.map_or(0, |day| day.progress),
        }
    };
    Ok(Json(Weekly {
        weekly_activity: back_from(today, WEEK_DAYS).map(week_day).collect(),
        current_streak: streak.current,
        longest_streak: streak.longest,
        total_minutes: time.num_minutes(),
        total_sessions: totals.sessions,
        average_speed: speed(totals.progress, time),
        timezone: zone.name(),
    }))
}

/// A streak, and why it is what it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Streak)]
pub struct StreakBody {
    /// Days up to the last counted one, when that is today or yesterday; else 0.
    current: u32,
    longest: u32,
    /// The last date on which reading keeps the streak; null when there is none.
    #[schema(required)]
    alive_until: Option<NaiveDate>,
    timezone: &'static str,
    /// Newest first, from today.
    days: Vec<StreakDay>,
}

/// A day of a streak.
#[derive(Serialize, ToSchema)]
pub struct StreakDay {
    date: NaiveDate,
    counted: bool,
    reason: DayReason,
    minutes: i64,
    /// The sessions that count on the day.
    sessions: Vec<Uuid>,
}

/// Why a day counts or not.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DayReason {
    /// Something was read.
    Read,
    /// Nothing was read.
    Missed,
    /// Today, and nothing yet.
    Open,
}

/// Which days of the streak are listed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `streak` reads it")]
pub struct StreakQuery {
    #[param(minimum = 1, maximum = 366, default = 90)]
    days: Option<u32>,
    #[param(inline)]
    activity: Option<ActivityName>,
}

/// The streak, day by day
#[utoipa::path(
    get,
    path = "/api/v1/users/stats/streak",
    tag = "Statistics",
    params(
        StreakQuery,
        ("X-Timezone" = Option<String>, Header, description = "IANA zone whose calendar today is taken from")
    ),
    responses((status = 200, description = "The streak", body = StreakBody), ReadProblems)
)]
pub async fn streak(
    State(app): State<App>,
    reader: Reader,
    After(after): After,
    zone: AskedZone,
    Query(query): Query,
) -> Result<Json<StreakBody>, Problem> {
    let mut fields = Fields::from_query(&query);
    let listed = fields.optional_integer("days", 1..=STREAK_DAYS_MAX).unwrap_or(STREAK_DAYS_DEFAULT);
    let _: Option<Activity> = fields.optional("activity");
    fields.finish()?;
    let (models, zone, today) = today(&app, &reader, zone, &NEEDED, after).await?;
    let listed = listed.unsigned_abs();
    let days = statistics::days(&models, reader.id).await.map_err(failed)?;
    let streak = streak_over(&days, today);
    let sessions = sessions_by_date(&models, reader.id, today, listed).await?;
    let minutes: HashMap<NaiveDate, i64> = days.iter().map(|day| (day.date, day.time.num_minutes())).collect();
    let day = |date: NaiveDate| {
        let sessions: Vec<Uuid> = sessions.get(&date).cloned().unwrap_or_default();
        let counted = !sessions.is_empty();
        let reason = match counted {
            true => DayReason::Read,
            false if date == today => DayReason::Open,
            false => DayReason::Missed,
        };
        StreakDay { date, counted, reason, minutes: minutes.get(&date).copied().unwrap_or(0), sessions }
    };
    Ok(Json(StreakBody {
        current: streak.current,
        longest: streak.longest,
        alive_until: streak.alive_until,
        timezone: zone.name(),
        days: back_from(today, listed).map(day).collect(),
    }))
}

/// When and on what is read.
#[derive(Serialize, ToSchema)]
pub struct Patterns {
    timezone: &'static str,
    /// Minutes by the local hour, from midnight.
    #[schema(min_items = 24, max_items = 24)]
    by_hour: Vec<i64>,
    /// Minutes, Monday first.
    #[schema(min_items = 7, max_items = 7)]
    by_weekday: Vec<i64>,
    by_device: ByDevice,
    /// The most read first.
    by_book: Vec<ByBook>,
}

/// Minutes by device.
#[derive(Serialize, ToSchema)]
pub struct ByDevice {
    mobile: i64,
    tablet: i64,
    desktop: i64,
    unknown: i64,
}

/// What counts of one book.
#[derive(Serialize, ToSchema)]
pub struct ByBook {
    book_id: Uuid,
    #[schema(required)]
    title: Option<String>,
    minutes: i64,
    sessions: i64,
    /// Percent of the book.
    progress: i64,
}

/// When and on what is read
#[utoipa::path(
    get,
    path = "/api/v1/users/stats/patterns",
    tag = "Statistics",
    params(("X-Timezone" = Option<String>, Header, description = "IANA zone to answer with")),
    responses((status = 200, description = "The patterns, over all ended sessions", body = Patterns), ReadProblems)
)]
pub async fn patterns(
    State(app): State<App>,
    reader: Reader,
    _: NoQuery,
    After(after): After,
    zone: AskedZone,
) -> Result<(HeaderMap, Json<Patterns>), Problem> {
    let with_titles = app.can_show(library::NAME, after).await?;
    let projections = if with_titles { [statistics::NAME, profiles::NAME, library::NAME].as_slice() } else { &NEEDED };
    let (models, zone, _) = today(&app, &reader, zone, projections, after).await?;
    let days = statistics::days(&models, reader.id).await.map_err(failed)?;
    let hours = statistics::hours(&models, reader.id).await.map_err(failed)?;
    let devices = statistics::devices(&models, reader.id).await.map_err(failed)?;
    let books = statistics::books(&models, reader.id, with_titles).await.map_err(failed)?;
    let mut by_weekday = [TimeDelta::zero(); 7];
    for day in &days {
        by_weekday[day.date.weekday().num_days_from_monday() as usize % 7] += day.time;
    }
    let minutes = |times: &[TimeDelta]| times.iter().map(TimeDelta::num_minutes).collect();
    let on =
        |name: &str| devices.iter().find(|device| device.device == name).map_or(0, |device| device.time.num_minutes());
    let by_book = |book: statistics::BookSums| ByBook {
        book_id: book.book_id,
        title: book.title,
        minutes: book.time.num_minutes(),
        sessions: book.sessions,
        progress: book.progress,
    };
    let patterns = Patterns {
        timezone: zone.name(),
        by_hour: minutes(&hours),
        by_weekday: minutes(&by_weekday),
        by_device: ByDevice {
            mobile: on("mobile"),
            tablet: on("tablet"),
            desktop: on("desktop"),
            unknown: on("unknown"),
        },
        by_book: books.into_iter().map(by_book).collect(),
    };
    Ok((left_out(library::NAME, with_titles), Json(patterns)))
}

/// All in all.
#[derive(Serialize, ToSchema)]
pub struct Overview {
    total_minutes: i64,
    /// Ended sessions.
    total_sessions: i64,
    /// Books with an ended session.
    books_started: usize,
    /// Books with a session that ended at 100.
    books_finished: usize,
    /// Percent of a book per minute.
    average_speed: f64,
    /// Over the days on which something was read.
    average_minutes_per_day: f64,
    average_minutes_per_session: f64,
    /// Start of the earliest session.
    #[serde(with = "instant::option")]
    #[schema(required)]
    first_session_at: Option<DateTime<Utc>>,
    /// Start of the latest session.
    #[serde(with = "instant::option")]
    #[schema(required)]
    last_session_at: Option<DateTime<Utc>>,
}

/// All in all
#[utoipa::path(
    get,
    path = "/api/v1/users/stats/overview",
    tag = "Statistics",
    params(("X-Timezone" = Option<String>, Header, description = "IANA zone; changes nothing here")),
    responses((status = 200, description = "Over all ended sessions", body = Overview), ReadProblems)
)]
pub async fn overview(
    State(app): State<App>,
    reader: Reader,
    _: NoQuery,
    After(after): After,
    // No figure here depends on today's date. An unknown zone is refused all the same.
    _: AskedZone,
) -> Result<Json<Overview>, Problem> {
    let models = snapshot(&app, &[statistics::NAME], after).await?;
    let days = statistics::days(&models, reader.id).await.map_err(failed)?;
    let totals = statistics::totals(&models, reader.id).await.map_err(failed)?;
    let books = statistics::books(&models, reader.id, false).await.map_err(failed)?;
    let read_days = days.iter().filter(|day| day.sessions > 0).count();
    let time = total_time(&days);
    Ok(Json(Overview {
        total_minutes: time.num_minutes(),
        total_sessions: totals.sessions,
        books_started: books.len(),
        books_finished: books.iter().filter(|book| book.finished).count(),
        average_speed: speed(totals.progress, time),
        average_minutes_per_day: per(minutes(time), i64::try_from(read_days).unwrap_or(i64::MAX)),
        average_minutes_per_session: per(minutes(time), totals.sessions),
        first_session_at: totals.first_started_at,
        last_session_at: totals.last_started_at,
    }))
}

/// `activity=reading|all`. Reading is the only activity so far, so both mean the same.
struct Activity;

impl FieldValue for Activity {
    fn placeholder() -> Self {
        Self
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "reading" | "all" => Ok(Self),
            _ => Err("must be reading or all".to_owned()),
        }
    }
}

fn failed(error: ReadModelsError) -> Problem {
    models_unread(error)
}

/// What statistics that depend on today cannot be answered without.
const NEEDED: [&str; 2] = [statistics::NAME, profiles::NAME];

/// The read models at one moment that shows everything that was answered: all figures of an answer are of it.
async fn snapshot(app: &App, projections: &[&'static str], after: Option<Position>) -> Result<ReadModels, Problem> {
    app.caught_up(projections, after).await?;
    app.models.snapshot(projections).await.map_err(failed)
}

/// The read models to answer from, the zone to answer in, and its date now.
async fn today(
    app: &App,
    reader: &Reader,
    zone: AskedZone,
    projections: &[&'static str],
    after: Option<Position>,
) -> Result<(ReadModels, Tz, NaiveDate), Problem> {
    let models = snapshot(app, projections, after).await?;
    let profile = profiles::profile(&models, reader.id).await.map_err(failed)?;
    let zone = zone.or_stored(&profile);
    Ok((models, zone, calendar::local_date(zone, Utc::now())))
}

fn streak_over(days: &[Day], today: NaiveDate) -> Streak {
    streak_of(days.iter().filter(|day| day.sessions > 0).map(|day| day.date), today)
}

/// The sessions that count on each of the last days, oldest first.
async fn sessions_by_date(
    models: &ReadModels,
    reader: Uuid,
    today: NaiveDate,
    days: u64,
) -> Result<BTreeMap<NaiveDate, Vec<Uuid>>, Problem> {
    let first = back_from(today, days).last().unwrap_or(today);
    let mut by_date: BTreeMap<NaiveDate, Vec<Uuid>> = BTreeMap::new();
    for (date, session) in statistics::sessions_by_date(models, reader, first, today).await.map_err(failed)? {
        by_date.entry(date).or_default().push(session);
    }
    Ok(by_date)
}

/// `today` and the days before it, newest first.
fn back_from(today: NaiveDate, days: u64) -> impl Iterator<Item = NaiveDate> {
    (0..days).filter_map(move |back| today.checked_sub_days(Days::new(back)))
}

/// The time of all days. Each day's is exact, so that the sum is rounded once, where it is shown.
fn total_time(days: &[Day]) -> TimeDelta {
    days.iter().map(|day| day.time).sum()
}

/// Minutes with their fraction.
fn minutes(time: TimeDelta) -> f64 {
    time.as_seconds_f64() / 60.0
}

/// Percent of a book per minute; 0 while less than a minute was read, which tells no speed.
fn speed(progress: i64, time: TimeDelta) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "percents stay far below 2^52")]
    if time.num_minutes() == 0 { 0.0 } else { progress as f64 / minutes(time) }
}

/// A quotient; 0 when there is nothing to divide by.
fn per(sum: f64, count: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    if count == 0 { 0.0 } else { sum / count as f64 }
}

const RUSSIAN: [&str; 7] = ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"];
const ENGLISH: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_divided_by_nothing_is_zero() {
        assert!(per(0.0, 0).abs() < f64::EPSILON);
        assert!((per(20.0, 45) - 20.0 / 45.0).abs() < f64::EPSILON);
    }

    #[test]
    fn speed_is_told_from_the_exact_time_once_there_is_a_minute_of_it() {
        assert!(speed(50, TimeDelta::seconds(59)).abs() < f64::EPSILON);
        assert!((speed(3, TimeDelta::seconds(90)) - 2.0).abs() < f64::EPSILON);
    }
}
