//! Random readers' statistics against a slow reference that walks every session minute by minute, and looks for each
//! stretch of each day which session it counts for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, SecondsFormat, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;
use crate::support::chance::Chance;

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Moscow",
    "Europe/Paris",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "America/Havana",
];
/// Around changes of the clock in some of the zones.
const CHANGES: [&str; 6] = [
    "2025-03-30T01:00:00Z",
    "2025-10-26T01:00:00Z",
    "2025-11-02T06:00:00Z",
    "2025-04-05T15:00:00Z",
    "2025-03-09T05:00:00Z",
    "2024-02-29T12:00:00Z",
];
const DEVICES: [&str; 4] = ["mobile", "tablet", "desktop", "unknown"];

struct Read {
    zone: Tz,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    from: u8,
    to: u8,
    device: &'static str,
    book: usize,
    id: String,
}

const MINUTE: i64 = 60_000_000;

/// A session's stretch within one local hour, in microseconds. The order is that in which stretches take time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    from: i64,
    started: i64,
    id: String,
    to: i64,
    hour: usize,
    device: &'static str,
    book: usize,
}

/// Time is in microseconds here.
#[derive(Default)]
struct Reference {
    /// Sessions and progress.
    days: BTreeMap<NaiveDate, [i64; 2]>,
    ids: BTreeMap<NaiveDate, BTreeSet<String>>,
    stretches: BTreeMap<NaiveDate, Vec<Stretch>>,
    books: BTreeMap<usize, [i64; 2]>,
    totals: [i64; 2],
    time: Times,
}

#[derive(Default)]
struct Times {
    days: BTreeMap<NaiveDate, i64>,
    hours: [i64; 24],
    weekdays: [i64; 7],
    devices: BTreeMap<&'static str, i64>,
    books: BTreeMap<usize, i64>,
    total: i64,
}

impl Reference {
    /// Local hours begin on whole minutes of UTC, so each minute that the session was there in is of one hour.
    fn add(&mut self, read: &Read) {
        let end = read.end.min(read.start + TimeDelta::hours(8)).timestamp_micros();
        let started = read.start.timestamp_micros();
        let local = |at: i64| DateTime::from_timestamp_micros(at).unwrap().with_timezone(&read.zone);
        let mut dates = BTreeSet::from([local(started).date_naive()]);
        let mut at = started;
        let mut last: Option<(NaiveDate, Stretch)> = None;
        while at < end {
            let (date, hour) = (local(at).date_naive(), local(at).hour() as usize);
            let to = end.min(at - at.rem_euclid(MINUTE) + MINUTE);
            match &mut last {
                Some((last_date, stretch)) if (*last_date, stretch.hour) == (date, hour) => stretch.to = to,
                _ => {
                    let (id, device, book) = (read.id.clone(), read.device, read.book);
                    let next = Stretch { from: at, started, id, to, hour, device, book };
                    if let Some((date, stretch)) = last.replace((date, next)) {
                        self.stretches.entry(date).or_default().push(stretch);
                    }
                }
            }
            dates.insert(date);
            at = to;
        }
        if let Some((date, stretch)) = last {
            self.stretches.entry(date).or_default().push(stretch);
        }
        let progress = i64::from(read.to.saturating_sub(read.from));
        for date in dates {
            self.days.entry(date).or_default()[0] += 1;
            self.ids.entry(date).or_default().insert(read.id.clone());
        }
        if progress > 0 {
            self.days.entry(local(read.end.timestamp_micros()).date_naive()).or_default()[1] += progress;
        }
        for sums in [self.books.entry(read.book).or_default(), &mut self.totals] {
            sums[0] += 1;
            sums[1] += progress;
        }
    }

    /// Between two neighbouring ends of stretches of a day nothing changes: the time there counts once, for the first
    /// stretch that was there, or for none.
    fn add_up(&mut self) {
        for (date, stretches) in &mut self.stretches {
            stretches.sort_unstable();
            let ends: BTreeSet<i64> = stretches.iter().flat_map(|stretch| [stretch.from, stretch.to]).collect();
            let ends: Vec<i64> = ends.into_iter().collect();
            for pair in ends.windows(2) {
                let there = |stretch: &&Stretch| stretch.from <= pair[0] && pair[1] <= stretch.to;
                let Some(first) = stretches.iter().find(there) else { continue };
                let time = pair[1] - pair[0];
                *self.time.days.entry(*date).or_default() += time;
                self.time.hours[first.hour] += time;
                self.time.weekdays[date.weekday().num_days_from_monday() as usize] += time;
                *self.time.devices.entry(first.device).or_default() += time;
                *self.time.books.entry(first.book).or_default() += time;
                self.time.total += time;
            }
        }
    }

    fn minutes(&self, date: NaiveDate) -> i64 {
        self.time.days.get(&date).map_or(0, |time| time / MINUTE)
    }

    fn counted(&self, date: NaiveDate) -> bool {
        self.days.get(&date).is_some_and(|day| day[0] > 0)
    }

    /// Days in a row up to and with `date`.
    fn run_up_to(&self, mut date: NaiveDate) -> u32 {
        let mut days = 0;
        while self.counted(date) {
            days += 1;
            date = date.pred_opt().unwrap();
        }
        days
    }
}

#[tokio::test]
async fn statistics_are_what_walking_every_minute_finds() {
    let server = Server::start().await;
    let mut chance = Chance::told();
    for _ in 0..12 {
        one_reader(&server, &mut chance).await;
    }
}

async fn one_reader(server: &Server, chance: &mut Chance) {
    let reader = server.reader();
    let mut books = Vec::new();
    for _ in 0..3 {
        books.push(reader.add_book().await);
    }
    let mut reference = Reference::default();
    for _ in 0..4 {
        let zone: &str = chance.one_of::<&str>(&ZONES);
        let mut reads: Vec<Read> = (0..12).map(|_| random_read(chance, zone)).collect();
        let items: Vec<Value> = reads.iter().map(|read| item(read, &books)).collect();
        let results = reader.with("x-timezone", zone).batch(&items).await;
        for (read, result) in reads.iter_mut().zip(results["results"].as_array().unwrap()) {
            read.id = result["id"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned();
            reference.add(read);
        }
    }

    reference.add_up();
    let zone: &str = chance.one_of::<&str>(&ZONES);
    let asked = reader.with("x-timezone", zone);
    let streak = asked.get("/api/v1/users/stats/streak?days=366").await.expect(200);
    let days = streak["days"].as_array().unwrap();
    let today: NaiveDate = days[0]["date"].as_str().unwrap().parse().unwrap();
    for (day, back) in days.iter().zip(0..) {
        let date = today - Days::new(back);
        let [sessions, _] = reference.days.get(&date).copied().unwrap_or_default();
        let minutes = reference.minutes(date);
        let ids: BTreeSet<String> =
            day["sessions"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        assert_eq!(day["date"], json!(date));
        assert_eq!((&day["counted"], &day["minutes"]), (&json!(sessions > 0), &json!(minutes)), "{date} in {zone}");
        assert_eq!(ids, reference.ids.get(&date).cloned().unwrap_or_default(), "{date} in {zone}");
        assert_eq!(ids.len() as i64, sessions, "{date} in {zone}");
    }
    // Elsewhere it may be the day after tomorrow: that counts in no streak.
    let tomorrow = today.succ_opt().unwrap();
    let counted = || reference.days.keys().copied().filter(|date| *date <= tomorrow && reference.counted(*date));
    let last = counted().max().unwrap();
    let alive = last >= today.pred_opt().unwrap();
    assert_eq!(streak["current"], if alive { reference.run_up_to(last) } else { 0 });
    assert_eq!(streak["alive_until"], if alive { json!(last.succ_opt().unwrap()) } else { Value::Null });
    let longest = counted().map(|date| reference.run_up_to(date)).max().unwrap();
    assert_eq!(streak["longest"], longest);

    let weekly = asked.get("/api/v1/users/stats/weekly").await.expect(200);
    for (day, back) in weekly["weekly_activity"].as_array().unwrap().iter().zip(0..) {
        let date = today - Days::new(back);
        let [sessions, progress] = reference.days.get(&date).copied().unwrap_or_default();
        let minutes = reference.minutes(date);
        let sums = json!([day["minutes"], day["sessions"], day["progress"]]);
        assert_eq!(sums, json!([minutes, sessions, progress]), "{back} days ago in {zone}");
    }
    let ([sessions, progress], time) = (reference.totals, &reference.time);
    let minutes = time.total as f64 / MINUTE as f64;
    assert_eq!(json!([weekly["total_minutes"], weekly["total_sessions"]]), json!([time.total / MINUTE, sessions]));
    assert_eq!(weekly["longest_streak"], longest);
    let is = |shown: &Value, expected: f64| {
        let shown = shown.as_f64().unwrap();
        assert!((shown - expected).abs() <= expected * 1e-9, "{shown}, not {expected}");
    };
    is(&weekly["average_speed"], progress as f64 / minutes);

    let patterns = asked.get("/api/v1/users/stats/patterns").await.expect(200);
    assert_eq!(patterns["by_hour"], json!(time.hours.map(|time| time / MINUTE)));
    assert_eq!(patterns["by_weekday"], json!(time.weekdays.map(|time| time / MINUTE)));
    for device in DEVICES {
        assert_eq!(patterns["by_device"][device], time.devices.get(device).map_or(0, |time| time / MINUTE), "{device}");
    }
    let by_book = patterns["by_book"].as_array().unwrap();
    assert_eq!(by_book.len(), reference.books.len());
    for sums in by_book {
        let book = books.iter().position(|book| sums["book_id"] == json!(book)).unwrap();
        let minutes = time.books.get(&book).map_or(0, |time| time / MINUTE);
        let [sessions, progress] = reference.books[&book];
        assert_eq!(json!([sums["minutes"], sums["sessions"], sums["progress"]]), json!([minutes, sessions, progress]));
    }
    let overview = asked.get("/api/v1/users/stats/overview").await.expect(200);
    let read_days = reference.days.values().filter(|day| day[0] > 0).count();
    is(&overview["average_minutes_per_day"], minutes / read_days as f64);
    is(&overview["average_minutes_per_session"], minutes / sessions as f64);
    assert_eq!(overview["total_minutes"], time.total / MINUTE);
    assert_eq!(overview["books_started"], reference.books.len());
}

/// Near today, or near a change of the clock; of seconds, minutes, hours or nearly a day.
fn random_read(chance: &mut Chance, zone: &str) -> Read {
    let (around, spread_s) = match chance.below(3) {
        0 => (chance.one_of(&CHANGES).parse().unwrap(), 12 * 3_600),
        _ => (Utc::now() - TimeDelta::days(5), 4 * 86_400),
    };
    let lasts_s = *chance.one_of(&[0, 1, 59, 60, 61, 600, 3_600, 5 * 3_600, 9 * 3_600, 24 * 3_600]);
    let offset_s = chance.below(2 * spread_s) as i64 - spread_s as i64;
    let mut start: DateTime<Utc> = around + TimeDelta::seconds(offset_s);
    if chance.below(2) == 0 {
        // On the hour: ends and midnights fall together then.
        start = start.with_minute(0).and_then(|at| at.with_second(0)).unwrap();
        start = start.with_nanosecond(0).unwrap();
    } else {
        start = start.with_nanosecond(chance.below(1_000_000) as u32 * 1_000).unwrap();
    }
    let end = (start + TimeDelta::seconds(lasts_s)).min(DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap());
    let from = chance.percent();
    Read {
        zone: zone.parse().unwrap(),
        start,
        end: end.max(start),
        from,
        to: from + chance.below(u64::from(101 - from)) as u8,
        device: chance.one_of::<&str>(&DEVICES),
        book: chance.below(3) as usize,
        id: String::new(),
    }
}

fn item(read: &Read, books: &[Uuid]) -> Value {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let device = if read.device == "unknown" { Value::Null } else { json!(read.device) };
    json!({
        "client_id": Uuid::new_v4(), "book_id": books[read.book], "started_at": text(read.start),
        "ended_at": text(read.end), "start_position": read.from, "end_position": read.to, "device_type": device,
    })
}
