//! What a reader's ended sessions add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::{Streak, calendar, streak as streak_of};
use daybook_projections::reading::statistics::{self, Day};
use daybook_projections::reading::{history, profiles};
use daybook_projections::{ReadModelsError, library};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::reader::Reader;
use super::zone::AskedZone;
use crate::app::App;
use crate::http::fields::{FieldValue, Fields};
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
    let (zone, today) = today(&app, &reader, zone, after).await?;
    let days = statistics::days(&app.models, reader.id).await.map_err(failed)?;
    let totals = statistics::totals(&app.models, reader.id).await.map_err(failed)?;
    let streak = streak_over(&days, today);
    let names = day_names(&headers);
    let by_date: HashMap<NaiveDate, &Day> = days.iter().map(|day| (day.date, day)).collect();
    let week_day = |date: NaiveDate| {
        let day = by_date.get(&date);
        WeekDay {
            date,
            day: names[date.weekday().num_days_from_monday() as usize % names.len()],
            minutes: day.map_or(0, |day| day.minutes),
            sessions: day.map_or(0, |day| day.sessions),
            progress: day.map_or(0, |day| day.progress),
        }
    };
    Ok(Json(Weekly {
        weekly_activity: back_from(today, WEEK_DAYS).map(week_day).collect(),
        current_streak: streak.current,
        longest_streak: streak.longest,
        total_minutes: totals.minutes,
        total_sessions: totals.sessions,
        average_speed: per(totals.progress, totals.minutes),
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
    let (zone, today) = today(&app, &reader, zone, after).await?;
    let listed = listed.unsigned_abs();
    let days = statistics::days(&app.models, reader.id).await.map_err(failed)?;
    let streak = streak_over(&days, today);
    let sessions = sessions_by_date(&app, reader.id, today, listed).await?;
    let minutes: HashMap<NaiveDate, i64> = days.iter().map(|day| (day.date, day.minutes)).collect();
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
) -> Result<Json<Patterns>, Problem> {
    let (zone, _) = today(&app, &reader, zone, after).await?;
    let days = statistics::days(&app.models, reader.id).await.map_err(failed)?;
    let totals = statistics::totals(&app.models, reader.id).await.map_err(failed)?;
    let books = statistics::books(&app.models, reader.id).await.map_err(failed)?;
    let mut by_weekday = vec![0; 7];
    for day in &days {
        by_weekday[day.date.weekday().num_days_from_monday() as usize % 7] += day.minutes;
    }
    let [mobile, tablet, desktop, unknown] = totals.devices;
    let by_book = |book: statistics::BookSums| ByBook {
        book_id: book.book_id,
        title: book.title,
        minutes: book.minutes,
        sessions: book.sessions,
        progress: book.progress,
    };
    Ok(Json(Patterns {
        timezone: zone.name(),
        by_hour: totals.hours.to_vec(),
        by_weekday,
        by_device: ByDevice { mobile, tablet, desktop, unknown },
        by_book: books.into_iter().map(by_book).collect(),
    }))
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
    responses((status = 200, description = "Over all ended sessions", body = Overview), ReadProblems)
)]
pub async fn overview(
    State(app): State<App>,
    reader: Reader,
    _: NoQuery,
    After(after): After,
) -> Result<Json<Overview>, Problem> {
    app.caught_up(&[statistics::NAME, library::NAME], after).await?;
    let days = statistics::days(&app.models, reader.id).await.map_err(failed)?;
    let totals = statistics::totals(&app.models, reader.id).await.map_err(failed)?;
    let books = statistics::books(&app.models, reader.id).await.map_err(failed)?;
    let read_days = days.iter().filter(|day| day.sessions > 0).count();
    Ok(Json(Overview {
        total_minutes: totals.minutes,
        total_sessions: totals.sessions,
        books_started: books.len(),
        books_finished: books.iter().filter(|book| book.finished).count(),
        average_speed: per(totals.progress, totals.minutes),
        average_minutes_per_day: per(totals.minutes, i64::try_from(read_days).unwrap_or(i64::MAX)),
        average_minutes_per_session: per(totals.minutes, totals.sessions),
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

/// The zone to answer in and its date now, once the read models show everything that was answered.
async fn today(
    app: &App,
    reader: &Reader,
    zone: AskedZone,
    after: Option<daybook_eventlog::Position>,
) -> Result<(Tz, NaiveDate), Problem> {
    app.caught_up(&[statistics::NAME, history::NAME, profiles::NAME, library::NAME], after).await?;
    let profile = profiles::profile(&app.models, reader.id).await.map_err(failed)?;
    let zone = zone.or_stored(&profile);
    Ok((zone, calendar::local_date(zone, Utc::now())))
}

fn streak_over(days: &[Day], today: NaiveDate) -> Streak {
    streak_of(days.iter().filter(|day| day.sessions > 0).map(|day| day.date), today)
}

/// The sessions that count on each of the last days, oldest first.
async fn sessions_by_date(
    app: &App,
    reader: Uuid,
    today: NaiveDate,
    days: u64,
) -> Result<BTreeMap<NaiveDate, Vec<Uuid>>, Problem> {
    // Zones differ by up to 26 hours, and a session may have started the day before.
    let from = today.checked_sub_days(Days::new(days + 3)).unwrap_or(NaiveDate::MIN);
    let sessions = history::ended_since(&app.models, reader, from.and_time(NaiveTime::MIN).and_utc()).await;
    let mut by_date: BTreeMap<NaiveDate, Vec<Uuid>> = BTreeMap::new();
    for session in sessions.map_err(failed)? {
        let (Ok(zone), Some(ended_at)) = (session.timezone.parse::<Tz>(), session.ended_at) else { continue };
        let shares = calendar::shares(zone, session.started_at, ended_at);
        for date in shares.iter().map(|share| share.date).collect::<BTreeSet<_>>() {
            by_date.entry(date).or_default().push(session.id);
        }
    }
    Ok(by_date)
}

/// `today` and the days before it, newest first.
fn back_from(today: NaiveDate, days: u64) -> impl Iterator<Item = NaiveDate> {
    (0..days).filter_map(move |back| today.checked_sub_days(Days::new(back)))
}

/// A quotient for people; 0 when there is nothing to divide by.
fn per(sum: i64, count: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "minutes and percents stay far below 2^52")]
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

const RUSSIAN: [&str; 7] = ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"];
const ENGLISH: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// English when the caller prefers it to Russian.
fn day_names(headers: &HeaderMap) -> [&'static str; 7] {
    let languages = headers.get("accept-language").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weight = |wanted: &str| {
        let language = |entry: &str| {
            let mut parts = entry.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
            let primary = tag.split('-').next() == Some(wanted);
            let weight =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse::<f64>().ok());
            primary.then_some(weight).flatten()
        };
        languages.split(',').filter_map(language).fold(0.0, f64::max)
    };
    let (english, russian) = (weight("en"), weight("ru"));
    let english_first = english == russian && languages.find("en") < languages.find("ru");
    if english > 0.0 && (english > russian || english_first) { ENGLISH } else { RUSSIAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(accept_language: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert("accept-language", accept_language.parse().unwrap());
        day_names(&headers)[0]
    }

    #[test]
    fn days_are_russian_unless_english_is_preferred() {
        assert_eq!(day_names(&HeaderMap::new())[0], "Пн");
        assert_eq!(names("en"), "Mon");
        assert_eq!(names("en-US,en;q=0.9"), "Mon");
        assert_eq!(names("ru,en;q=0.8"), "Пн");
        assert_eq!(names("en;q=0.8, ru;q=0.2"), "Mon");
        assert_eq!(names("en, ru"), "Mon");
        assert_eq!(names("ru, en"), "Пн");
        assert_eq!(names("fr"), "Пн");
        assert_eq!(names("en;q=0"), "Пн");
    }

    #[test]
    fn nothing_divided_by_nothing_is_zero() {
        assert!(per(0, 0).abs() < f64::EPSILON);
        assert!((per(20, 45) - 20.0 / 45.0).abs() < f64::EPSILON);
    }
}
