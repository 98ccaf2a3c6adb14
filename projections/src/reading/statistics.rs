//! What ended sessions add up to: by day, by book, by hour, by device, and all in all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use daybook_domain::{
    event::{Event, Stored},
    reading::{DeviceType, ReaderEvent, ReadingSessionEnded, calendar},
};
use daybook_eventlog::from_micros;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;

use super::micros;
use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    models::StoredText,
    table::{Column, Merge, Table, Value},
};

/// `reading_days`, `reading_books`, `reading_totals`.
pub struct ReadingStatistics;

/// The projection's name.
pub const NAME: &str = "reading_statistics";

const DAYS: Table = Table {
    name: "reading_days",
    key: 2,
    columns: &[
        Column::new("user_id"),
        Column::new("date"),
        Column::merged("minutes", Merge::Add),
        Column::merged("sessions", Merge::Add),
        Column::merged("progress", Merge::Add),
    ],
};

const BOOKS: Table = Table {
    name: "reading_books",
    key: 2,
    columns: &[
        Column::new("user_id"),
        Column::new("book_id"),
        Column::merged("minutes", Merge::Add),
        Column::merged("sessions", Merge::Add),
        Column::merged("progress", Merge::Add),
        Column::merged("finished", Merge::Max),
    ],
};

const TOTALS: Table = Table { name: "reading_totals", key: 1, columns: &TOTALS_COLUMNS };

const TOTALS_COLUMNS: [Column; 34] = {
    const fn sum(name: &'static str) -> Column {
        Column::merged(name, Merge::Add)
    }
    [
        Column::new("user_id"),
        sum("minutes"),
        sum("sessions"),
        sum("progress"),
        Column::merged("first_started_at", Merge::Min),
        Column::merged("last_started_at", Merge::Max),
        sum("mobile"),
        sum("tablet"),
        sum("desktop"),
        sum("unknown"),
        sum("hour_00"),
        sum("hour_01"),
        sum("hour_02"),
        sum("hour_03"),
        sum("hour_04"),
        sum("hour_05"),
        sum("hour_06"),
        sum("hour_07"),
        sum("hour_08"),
        sum("hour_09"),
        sum("hour_10"),
        sum("hour_11"),
        sum("hour_12"),
        sum("hour_13"),
        sum("hour_14"),
        sum("hour_15"),
        sum("hour_16"),
        sum("hour_17"),
        sum("hour_18"),
        sum("hour_19"),
        sum("hour_20"),
        sum("hour_21"),
        sum("hour_22"),
        sum("hour_23"),
    ]
};

impl Projection for ReadingStatistics {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&DAYS, &BOOKS, &TOTALS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/read_models/reading_statistics.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        event_type == ReadingSessionEnded::TYPE
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut sums = Sums::default();
        for decoded in events {
            if let Some(Event::Reader(ReaderEvent::ReadingSessionEnded(session))) = &decoded.event {
                sums.add(session);
            }
        }
        Ok(sums.changes())
    }
}

#[derive(Default)]
struct Sums {
    days: BTreeMap<(Uuid, NaiveDate), Counts>,
    books: BTreeMap<(Uuid, Uuid), (Counts, bool)>,
    totals: BTreeMap<Uuid, TotalsRow>,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    minutes: i64,
    sessions: i64,
    progress: i64,
}

impl Counts {
    fn values(self) -> [Value; 3] {
        [Value::Int(self.minutes), Value::Int(self.sessions), Value::Int(self.progress)]
    }
}

struct TotalsRow {
    counts: Counts,
    first_started_at: DateTime<Utc>,
    last_started_at: DateTime<Utc>,
    /// Minutes on mobile, tablet, desktop, unknown.
    devices: [i64; 4],
    hours: [i64; 24],
}

impl Sums {
    fn add(&mut self, session: &ReadingSessionEnded) {
        let shares = calendar::shares(session.timezone, session.started_at, session.ended_at);
        let minutes: i64 = shares.iter().map(|share| i64::from(share.minutes)).sum();
        // Paging back is no progress.
        let progress = (i64::from(session.end_position.get()) - i64::from(session.start_position.get())).max(0);

        for share in &shares {
            self.day(session, share.date).minutes += i64::from(share.minutes);
        }
        // A clock put back over midnight comes to a date twice; the session is there once.
        for date in shares.iter().map(|share| share.date).collect::<BTreeSet<_>>() {
            self.day(session, date).sessions += 1;
        }
        if progress > 0 {
            self.day(session, calendar::local_date(session.timezone, session.ended_at)).progress += progress;
        }

        let (book, finished) = self.books.entry((session.user_id, session.book_id)).or_default();
        book.minutes += minutes;
        book.sessions += 1;
        book.progress += progress;
        *finished |= session.end_position.get() == 100;

        let totals = self.totals.entry(session.user_id).or_insert_with(|| TotalsRow {
            counts: Counts::default(),
            first_started_at: session.started_at,
            last_started_at: session.started_at,
            devices: [0; 4],
            hours: [0; 24],
        });
        totals.counts.minutes += minutes;
        totals.counts.sessions += 1;
        totals.counts.progress += progress;
        totals.first_started_at = totals.first_started_at.min(session.started_at);
        totals.last_started_at = totals.last_started_at.max(session.started_at);
        let device = match session.device_type {
            Some(DeviceType::Mobile) => 0,
            Some(DeviceType::Tablet) => 1,
            Some(DeviceType::Desktop) => 2,
            None => 3,
        };
        totals.devices[device] += minutes;
        for share in &shares {
            totals.hours[usize::from(share.hour) % 24] += i64::from(share.minutes);
        }
    }

    fn day(&mut self, session: &ReadingSessionEnded, date: NaiveDate) -> &mut Counts {
        self.days.entry((session.user_id, date)).or_default()
    }

    fn changes(self) -> Changes {
        let mut changes = Changes::default();
        let day = |((user, date), counts): ((Uuid, NaiveDate), Counts)| {
            let [minutes, sessions, progress] = counts.values();
            [Value::Id(user), Value::Text(date.to_string()), minutes, sessions, progress]
        };
        changes.upsert(&DAYS, self.days.into_iter().map(day));
        let book = |((user, book), (counts, finished)): ((Uuid, Uuid), (Counts, bool))| {
            let [minutes, sessions, progress] = counts.values();
            [Value::Id(user), Value::Id(book), minutes, sessions, progress, Value::Int(i64::from(finished))]
        };
        changes.upsert(&BOOKS, self.books.into_iter().map(book));
        let totals = |(user, row): (Uuid, TotalsRow)| {
            let [minutes, sessions, progress] = row.counts.values();
            let mut values = [const { Value::Null }; TOTALS_COLUMNS.len()];
            let first = [
                Value::Id(user),
                minutes,
                sessions,
                progress,
                micros(row.first_started_at),
                micros(row.last_started_at),
            ];
            let sums = row.devices.into_iter().chain(row.hours).map(Value::Int);
            for (slot, value) in values.iter_mut().zip(first.into_iter().chain(sums)) {
                *slot = value;
            }
            values
        };
        changes.upsert(&TOTALS, self.totals.into_iter().map(totals));
        changes
    }
}

/// What counts on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// By the calendar of the sessions' zones.
    pub date: NaiveDate,
    /// Whole minutes.
    pub minutes: i64,
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
    /// Whole minutes.
    pub minutes: i64,
    /// Sessions.
    pub sessions: i64,
    /// Percent of the book.
    pub progress: i64,
    /// A session ended at 100.
    pub finished: bool,
}

/// What counts of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Whole minutes.
    pub minutes: i64,
    /// Ended sessions.
    pub sessions: i64,
    /// Percent of books.
    pub progress: i64,
    /// Start of the earliest session.
    pub first_started_at: Option<DateTime<Utc>>,
    /// Start of the latest session.
    pub last_started_at: Option<DateTime<Utc>>,
    /// Minutes on mobile, tablet, desktop, unknown devices.
    pub devices: [i64; 4],
    /// Minutes by the local hour.
    pub hours: [i64; 24],
}

/// Every day on which something counts, oldest first.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn days(models: &ReadModels, user: Uuid) -> Result<Vec<Day>, ReadModelsError> {
    let sql = "SELECT date, minutes, sessions, progress FROM reading_days WHERE user_id = $1 ORDER BY date";
    let rows: Vec<(String, i64, i64, i64)> = models.query(sql).bind(user).fetch_all().await?;
    rows.into_iter()
        .map(|(date, minutes, sessions, progress)| {
            let date = date.parse().map_err(|_| ReadModelsError::Corrupt(format!("{date:?} is no date")))?;
            Ok(Day { date, minutes, sessions, progress })
        })
        .collect()
}

/// Every book with an ended session, the most read first.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn books(models: &ReadModels, user: Uuid) -> Result<Vec<BookSums>, ReadModelsError> {
    let sql = "SELECT r.book_id, b.title, r.minutes, r.sessions, r.progress, r.finished FROM reading_books r \
               LEFT JOIN books b ON b.book_id = r.book_id WHERE r.user_id = $1 \
               ORDER BY r.minutes DESC, r.sessions DESC, r.book_id";
    let rows: Vec<(Uuid, Option<StoredText>, i64, i64, i64, i64)> = models.query(sql).bind(user).fetch_all().await?;
    let sums = |(book_id, title, minutes, sessions, progress, finished): (_, Option<StoredText>, _, _, _, i64)| {
        BookSums { book_id, title: title.map(String::from), minutes, sessions, progress, finished: finished != 0 }
    };
    Ok(rows.into_iter().map(sums).collect())
}

/// What counts of all.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn totals(models: &ReadModels, user: Uuid) -> Result<Totals, ReadModelsError> {
    const SQL: &str = "SELECT minutes, sessions, progress, first_started_at, last_started_at, \
                       mobile, tablet, desktop, unknown, hour_00, hour_01, hour_02, hour_03, hour_04, hour_05, \
                       hour_06, hour_07, hour_08, hour_09, hour_10, hour_11, hour_12, hour_13, hour_14, hour_15, \
                       hour_16, hour_17, hour_18, hour_19, hour_20, hour_21, hour_22, hour_23 \
                       FROM reading_totals WHERE user_id = $1";
    Ok(models.query(SQL).bind(user).fetch_optional().await?.unwrap_or_default())
}

/// By place: the numbers in the order in which they are asked for.
impl<'r, R: Row> FromRow<'r, R> for Totals
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let mut totals = Self {
            minutes: row.try_get(0)?,
            sessions: row.try_get(1)?,
            progress: row.try_get(2)?,
            first_started_at: Some(from_micros(row.try_get(3)?)),
            last_started_at: Some(from_micros(row.try_get(4)?)),
            ..Self::default()
        };
        for (place, sum) in (5..).zip(totals.devices.iter_mut().chain(&mut totals.hours)) {
            *sum = row.try_get(place)?;
        }
        Ok(totals)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use daybook_domain::reading::{EndReason, Percent};

    use super::*;
    use crate::testing::{Given, rows};

    fn ended(started_at: &str, ended_at: &str, from: u8, to: u8) -> Given {
        ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
            session_id: Uuid::from_u128(7),
            user_id: Uuid::from_u128(1),
            book_id: Uuid::from_u128(2),
            started_at: started_at.parse().unwrap(),
            ended_at: ended_at.parse().unwrap(),
            start_position: Percent::new(from).unwrap(),
            end_position: Percent::new(to).unwrap(),
            device_type: None,
            timezone: Tz::Europe__Paris,
            reason: EndReason::Requested,
            client_id: None,
        })
        .into()
    }

    fn days(events: impl IntoIterator<Item = Given>) -> Vec<String> {
        rows(&ReadingStatistics, events).into_iter().filter(|row| row.starts_with("reading_days")).collect()
    }

    #[test]
    fn a_session_over_midnight_counts_on_both_days_and_its_progress_on_the_last() {
        // 23:30 to 00:15 in Paris.
        assert_eq!(
            days([ended("2026-01-10T22:30:00Z", "2026-01-10T23:15:00Z", 10, 30)]),
            ["reading_days: #1 | 2026-01-10 | 30 | 1 | 0", "reading_days: #1 | 2026-01-11 | 15 | 1 | 20"]
        );
    }

    #[test]
    fn sessions_of_one_day_are_one_row_and_paging_back_is_no_progress() {
        let first = ended("2026-01-10T08:00:00Z", "2026-01-10T08:20:00Z", 10, 30);
        let second = ended("2026-01-10T09:00:00Z", "2026-01-10T09:05:00Z", 30, 20);
        assert_eq!(days([first, second]), ["reading_days: #1 | 2026-01-10 | 25 | 2 | 20"]);
    }

    #[test]
    fn of_a_long_session_eight_hours_count() {
        let session = ended("2026-01-10T06:00:00Z", "2026-01-10T20:00:00Z", 0, 100);
        assert_eq!(days([session]), ["reading_days: #1 | 2026-01-10 | 480 | 1 | 100"]);
    }
}
