//! What ended sessions add up to: by day, by book, by hour, by device, and in total.
//!
//! Counts add up in the rows. Time does not, because sessions may overlap: each session's time is kept in spans, and
//! the queries count what several spans cover once. So rows do not depend on the order of events.

mod queries;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use daybook_domain::{
    event::{Event, Stored},
    reading::{DeviceType, ReaderEvent, ReadingSessionEnded, calendar},
};
use uuid::Uuid;

pub use self::queries::{BookSums, Day, DeviceTime, Totals, books, days, devices, hours, sessions_by_date, totals};
use super::micros;
use crate::{
    Changes, Decoded, FoldError, Projection,
    table::{Column, Merge, Table, Value},
};

/// `reading_days`, `reading_spans`, `reading_books`, `reading_totals`.
pub struct ReadingStatistics;

/// The projection's name.
pub const NAME: &str = "reading_statistics";

const DAYS: Table = Table {
    name: "reading_days",
    key: 2,
    columns: &[
        Column::new("user_id"),
        Column::new("date"),
        Column::merged("sessions", Merge::Add),
        Column::merged("progress", Merge::Add),
    ],
};

const SPANS: Table = Table {
    name: "reading_spans",
    key: 5,
    columns: &[
        Column::new("user_id"),
        Column::new("date"),
        Column::new("from_at"),
        Column::new("started_at"),
        Column::new("session_id"),
        Column::new("to_at"),
        Column::new("hour"),
        Column::new("device"),
        Column::new("book_id"),
    ],
};

const BOOKS: Table = Table {
    name: "reading_books",
    key: 2,
    columns: &[
        Column::new("user_id"),
        Column::new("book_id"),
        Column::merged("sessions", Merge::Add),
        Column::merged("progress", Merge::Add),
        Column::merged("finished", Merge::Max),
    ],
};

const TOTALS: Table = Table {
    name: "reading_totals",
    key: 1,
    columns: &[
        Column::new("user_id"),
        Column::merged("sessions", Merge::Add),
        Column::merged("progress", Merge::Add),
        Column::merged("first_started_at", Merge::Min),
        Column::merged("last_started_at", Merge::Max),
    ],
};

/// The stored name of a device that is not known.
const UNKNOWN_DEVICE: &str = "unknown";

impl Projection for ReadingStatistics {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&DAYS, &SPANS, &BOOKS, &TOTALS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../../migrations/read_models/reading_statistics.sql")
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
    spans: BTreeMap<SpanKey, Span>,
    books: BTreeMap<(Uuid, Uuid), (Counts, bool)>,
    totals: BTreeMap<Uuid, TotalsRow>,
}

/// Reader, date, start of the span, start of the session, session.
type SpanKey = (Uuid, NaiveDate, i64, DateTime<Utc>, Uuid);

struct Span {
    to: i64,
    hour: u8,
    device: Option<DeviceType>,
    book: Uuid,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    sessions: i64,
    progress: i64,
}

impl Counts {
    fn add(&mut self, progress: i64) {
        self.sessions += 1;
        self.progress += progress;
    }

    fn values(self) -> [Value; 2] {
        [Value::Int(self.sessions), Value::Int(self.progress)]
    }
}

struct TotalsRow {
    counts: Counts,
    first_started_at: DateTime<Utc>,
    last_started_at: DateTime<Utc>,
}

impl Sums {
    fn add(&mut self, session: &ReadingSessionEnded) {
        // Paging back is no progress.
        let progress = (i64::from(session.end_position.get()) - i64::from(session.start_position.get())).max(0);
        let mut dates = BTreeSet::new();
        for share in calendar::shares(session.timezone, session.started_at, session.ended_at) {
            let key = (session.user_id, share.date, share.from, session.started_at, session.session_id);
            let (device, book) = (session.device_type, session.book_id);
            self.spans.insert(key, Span { to: share.to, hour: share.hour, device, book });
            dates.insert(share.date);
        }
        // A clock put back over midnight returns to a date; the session still counts once on it.
        for date in dates {
            self.day(session, date).sessions += 1;
        }
        if progress > 0 {
            self.day(session, calendar::local_date(session.timezone, session.ended_at)).progress += progress;
        }

        let (book, finished) = self.books.entry((session.user_id, session.book_id)).or_default();
        book.add(progress);
        *finished |= session.end_position.get() == 100;

        let totals = self.totals.entry(session.user_id).or_insert_with(|| TotalsRow {
            counts: Counts::default(),
            first_started_at: session.started_at,
            last_started_at: session.started_at,
        });
        totals.counts.add(progress);
        totals.first_started_at = totals.first_started_at.min(session.started_at);
        totals.last_started_at = totals.last_started_at.max(session.started_at);
    }

    fn day(&mut self, session: &ReadingSessionEnded, date: NaiveDate) -> &mut Counts {
        self.days.entry((session.user_id, date)).or_default()
    }

    fn changes(self) -> Changes {
        let mut changes = Changes::default();
        let day = |((user, date), counts): ((Uuid, NaiveDate), Counts)| {
            let [sessions, progress] = counts.values();
            [Value::Id(user), Value::Text(date.to_string()), sessions, progress]
        };
        changes.upsert(&DAYS, self.days.into_iter().map(day));
        let span = |((user, date, from, started_at, session), span): (SpanKey, Span)| {
            [
                Value::Id(user),
                Value::Text(date.to_string()),
                Value::Int(from),
                micros(started_at),
                Value::Id(session),
                Value::Int(span.to),
                Value::Int(i64::from(span.hour)),
                Value::Word(span.device.map_or(UNKNOWN_DEVICE, DeviceType::as_str)),
                Value::Id(span.book),
            ]
        };
        changes.upsert(&SPANS, self.spans.into_iter().map(span));
        let book = |((user, book), (counts, finished)): ((Uuid, Uuid), (Counts, bool))| {
            let [sessions, progress] = counts.values();
            [Value::Id(user), Value::Id(book), sessions, progress, Value::Int(i64::from(finished))]
        };
        changes.upsert(&BOOKS, self.books.into_iter().map(book));
        let totals = |(user, row): (Uuid, TotalsRow)| {
            let [sessions, progress] = row.counts.values();
            [Value::Id(user), sessions, progress, micros(row.first_started_at), micros(row.last_started_at)]
        };
        changes.upsert(&TOTALS, self.totals.into_iter().map(totals));
        changes
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use daybook_domain::reading::{EndReason, Percent};

    use super::*;
    use crate::testing::{Given, rows};

    fn ended(id: u128, started_at: &str, ended_at: &str, from: u8, to: u8) -> Given {
        ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
            session_id: Uuid::from_u128(id),
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

    fn rows_of(table: &str, events: impl IntoIterator<Item = Given>) -> Vec<String> {
        let rows = rows(&ReadingStatistics, events).into_iter();
        rows.filter_map(|row| row.strip_prefix(table)?.strip_prefix(": #1 | ").map(str::to_owned)).collect()
    }

    #[test]
    fn a_session_over_midnight_counts_on_both_days_and_its_progress_on_the_last() {
        // 23:30 to 00:15 in Paris.
        let session = || [ended(7, "2026-01-10T22:30:00Z", "2026-01-10T23:15:00Z", 10, 30)];
        assert_eq!(rows_of("reading_days", session()), ["2026-01-10 | 1 | 0", "2026-01-11 | 1 | 20"]);
        assert_eq!(
            rows_of("reading_spans", session()),
            [
                "2026-01-10 | 1768084200000000 | 1768084200000000 | #7 | 1768086000000000 | 23 | unknown | #2",
                "2026-01-11 | 1768086000000000 | 1768084200000000 | #7 | 1768086900000000 | 0 | unknown | #2",
            ]
        );
    }

    #[test]
    fn sessions_of_one_day_are_one_row_and_paging_back_is_no_progress() {
        let first = ended(7, "2026-01-10T08:00:00Z", "2026-01-10T08:20:00Z", 10, 30);
        let second = ended(8, "2026-01-10T09:00:00Z", "2026-01-10T09:05:00Z", 30, 20);
        assert_eq!(rows_of("reading_days", [first, second]), ["2026-01-10 | 2 | 20"]);
    }

    #[test]
    fn sessions_that_overlap_keep_their_own_spans_in_whichever_order_they_are_recorded() {
        let first = || ended(7, "2026-01-10T08:00:00Z", "2026-01-10T08:20:00Z", 10, 30);
        let second = || ended(8, "2026-01-10T08:10:00Z", "2026-01-10T08:30:00Z", 30, 40);
        let spans = rows_of("reading_spans", [first(), second()]);
        assert_eq!(spans.len(), 2);
        assert_eq!(rows_of("reading_spans", [second(), first()]), spans);
    }

    #[test]
    fn of_a_long_session_eight_hours_count() {
        let session = ended(7, "2026-01-10T06:00:00Z", "2026-01-10T20:00:00Z", 0, 100);
        let spans = rows_of("reading_spans", [session]);
        assert_eq!(spans.len(), 8);
        assert!(spans[7].contains(" | 1768053600000000 | 14 | "), "15:00 in Paris: {}", spans[7]);
    }
}
