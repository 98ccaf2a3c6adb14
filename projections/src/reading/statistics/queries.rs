//! The questions to the statistics.
//!
//! Time is exact in these answers; whoever shows it in minutes rounds it once, then.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use daybook_eventlog::from_micros;
use uuid::Uuid;

use crate::{ReadModels, ReadModelsError, models::StoredText};

/// What counts on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// By the calendar of the sessions' zones.
    pub date: NaiveDate,
    /// The time read: the union of the sessions' times.
    pub time: TimeDelta,
    /// Sessions with a share in the day.
    pub sessions: i64,
    /// Percent of books, of sessions that ended on the day.
    pub progress: i64,
}

/// What counts of one book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookSums {
    /// The book.
    pub book_id: Uuid,
    /// Its title, when the register knows it.
    pub title: Option<String>,
    /// The time read.
    pub time: TimeDelta,
    /// Sessions.
    pub sessions: i64,
    /// Percent of the book.
    pub progress: i64,
    /// A session ended at 100.
    pub finished: bool,
}

/// The time read on one kind of device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTime {
    /// `mobile`, `tablet`, `desktop` or `unknown`.
    pub device: String,
    /// The time read.
    pub time: TimeDelta,
}

/// Counts over all sessions. The time read in total is that of all [`days`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ended sessions.
    pub sessions: i64,
    /// Percent of books.
    pub progress: i64,
    /// Start of the earliest session.
    pub first_started_at: Option<DateTime<Utc>>,
    /// Start of the latest session.
    pub last_started_at: Option<DateTime<Utc>>,
}

/// The time of a reader's spans, `$1`, summed up by `column`: `spans(column, time)`.
///
/// A time that several spans of one date cover counts once, for the first of them: `covered` is how far the spans
/// before it reach. The order is that of the primary key, so that nothing has to be sorted. Because each time counts
/// for one span, the sums by any column add up to the same total.
fn time_by(column: &str) -> String {
    format!(
        "SELECT {column}, CAST(sum(CASE WHEN covered IS NULL OR covered <= from_at THEN to_at - from_at \
                                       WHEN covered < to_at THEN to_at - covered ELSE 0 END) AS BIGINT) AS time \
         FROM (SELECT {column}, from_at, to_at, \
                      max(to_at) OVER (PARTITION BY date ORDER BY from_at, started_at, session_id \
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered \
               FROM reading_spans WHERE user_id = $1) ordered \
         GROUP BY {column}"
    )
}

/// Every day on which something counts, oldest first.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn days(models: &ReadModels, user: Uuid) -> Result<Vec<Day>, ReadModelsError> {
    let sql = format!(
        "SELECT d.date, s.time, d.sessions, d.progress FROM reading_days d \
         LEFT JOIN ({}) s ON s.date = d.date WHERE d.user_id = $1 ORDER BY d.date",
        time_by("date")
    );
    let rows: Vec<(String, Option<i64>, i64, i64)> = models.query(sql).bind(user).fetch_all().await?;
    rows.into_iter()
        .map(|(date, time, sessions, progress)| {
            Ok(Day { date: date_of(&date)?, time: time_of(time), sessions, progress })
        })
        .collect()
}

/// Every book with an ended session, the most read first. Titles are another projection's: without them, its tables
/// are not asked.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn books(models: &ReadModels, user: Uuid, with_titles: bool) -> Result<Vec<BookSums>, ReadModelsError> {
    let (title, books) = match with_titles {
        true => ("b.title", "LEFT JOIN books b ON b.book_id = r.book_id"),
        false => ("CAST(NULL AS TEXT)", ""),
    };
    let sql = format!(
        "SELECT r.book_id, {title}, s.time, r.sessions, r.progress, r.finished FROM reading_books r \
         LEFT JOIN ({}) s ON s.book_id = r.book_id {books} \
         WHERE r.user_id = $1 ORDER BY coalesce(s.time, 0) DESC, r.sessions DESC, r.book_id",
        time_by("book_id")
    );
    type Row = (Uuid, Option<StoredText>, Option<i64>, i64, i64, i64);
    let rows: Vec<Row> = models.query(sql).bind(user).fetch_all().await?;
    let sums = |(book_id, title, time, sessions, progress, finished): Row| BookSums {
        book_id,
        title: title.map(String::from),
        time: time_of(time),
        sessions,
        progress,
        finished: finished != 0,
    };
    Ok(rows.into_iter().map(sums).collect())
}

/// The time read by the hour of the local clock, from midnight.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn hours(models: &ReadModels, user: Uuid) -> Result<[TimeDelta; 24], ReadModelsError> {
    let rows: Vec<(i64, i64)> = models.query(time_by("hour")).bind(user).fetch_all().await?;
    let mut hours = [TimeDelta::zero(); 24];
    for (hour, time) in rows {
        let slot = usize::try_from(hour).ok().and_then(|hour| hours.get_mut(hour));
        *slot.ok_or_else(|| ReadModelsError::Corrupt(format!("{hour} is no hour")))? = time_of(Some(time));
    }
    Ok(hours)
}

/// The time read by kind of device, of those that anything was read on.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn devices(models: &ReadModels, user: Uuid) -> Result<Vec<DeviceTime>, ReadModelsError> {
    let sql = format!("{} ORDER BY device", time_by("device"));
    let rows: Vec<(String, i64)> = models.query(sql).bind(user).fetch_all().await?;
    Ok(rows.into_iter().map(|(device, time)| DeviceTime { device, time: time_of(Some(time)) }).collect())
}

/// Counts over all sessions.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn totals(models: &ReadModels, user: Uuid) -> Result<Totals, ReadModelsError> {
    const SQL: &str =
        "SELECT sessions, progress, first_started_at, last_started_at FROM reading_totals WHERE user_id = $1";
    let row: Option<(i64, i64, i64, i64)> = models.query(SQL).bind(user).fetch_optional().await?;
    Ok(row.map_or_else(Totals::default, |(sessions, progress, first, last)| Totals {
        sessions,
        progress,
        first_started_at: Some(from_micros(first)),
        last_started_at: Some(from_micros(last)),
    }))
}

/// The sessions that count on the days from `first` to `last`, by date and then by their start.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn sessions_by_date(
    models: &ReadModels,
    user: Uuid,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<Vec<(NaiveDate, Uuid)>, ReadModelsError> {
    const SQL: &str = "SELECT DISTINCT date, started_at, session_id FROM reading_spans \
                       WHERE user_id = $1 AND date >= $2 AND date <= $3 ORDER BY date, started_at, session_id";
    let query = models.query(SQL).bind(user).bind(first.to_string()).bind(last.to_string());
    let rows: Vec<(String, i64, Uuid)> = query.fetch_all().await?;
    rows.into_iter().map(|(date, _, session)| Ok((date_of(&date)?, session))).collect()
}

fn date_of(text: &str) -> Result<NaiveDate, ReadModelsError> {
    text.parse().map_err(|_| ReadModelsError::Corrupt(format!("{text:?} is no date")))
}

fn time_of(micros: Option<i64>) -> TimeDelta {
    TimeDelta::microseconds(micros.unwrap_or(0))
}
