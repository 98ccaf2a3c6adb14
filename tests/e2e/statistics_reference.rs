//! Random readers' statistics against a slow reference that walks every session minute by minute.

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

#[derive(Default)]
struct Reference {
    days: BTreeMap<NaiveDate, [i64; 3]>,
    ids: BTreeMap<NaiveDate, BTreeSet<String>>,
    hours: [i64; 24],
    weekdays: [i64; 7],
    devices: BTreeMap<&'static str, i64>,
    books: BTreeMap<usize, [i64; 3]>,
    totals: [i64; 3],
}

impl Reference {
    /// A minute belongs to the local hour in which it was completed; a day is in when the session was there at all.
    fn add(&mut self, read: &Read) {
        let end = read.end.min(read.start + TimeDelta::hours(8));
        let local = |at: DateTime<Utc>| at.with_timezone(&read.zone);
        let mut dates = BTreeSet::from([local(read.start).date_naive()]);
        let mut completed = read.start + TimeDelta::minutes(1);
        while completed <= end {
            let last = local(completed - TimeDelta::microseconds(1));
            self.days.entry(last.date_naive()).or_default()[0] += 1;
            self.hours[last.hour() as usize] += 1;
            self.weekdays[last.weekday().num_days_from_monday() as usize] += 1;
            *self.devices.entry(read.device).or_default() += 1;
            self.books.entry(read.book).or_default()[0] += 1;
            self.totals[0] += 1;
            dates.insert(last.date_naive());
            completed += TimeDelta::minutes(1);
        }
        if end > read.start {
            dates.insert(local(end - TimeDelta::microseconds(1)).date_naive());
        }
        let progress = i64::from(read.to.saturating_sub(read.from));
        for date in dates {
            self.days.entry(date).or_default()[1] += 1;
            self.ids.entry(date).or_default().insert(read.id.clone());
        }
        if progress > 0 {
            self.days.entry(local(read.end).date_naive()).or_default()[2] += progress;
        }
        for sums in [self.books.entry(read.book).or_default(), &mut self.totals] {
            sums[1] += 1;
            sums[2] += progress;
        }
    }

    fn counted(&self, date: NaiveDate) -> bool {
        self.days.get(&date).is_some_and(|day| day[1] > 0)
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

    let zone: &str = chance.one_of::<&str>(&ZONES);
    let asked = reader.with("x-timezone", zone);
    let streak = asked.get("/api/v1/users/stats/streak?days=366").await.expect(200);
    let days = streak["days"].as_array().unwrap();
    let today: NaiveDate = days[0]["date"].as_str().unwrap().parse().unwrap();
    for (day, back) in days.iter().zip(0..) {
        let date = today - Days::new(back);
        let [minutes, sessions, _] = reference.days.get(&date).copied().unwrap_or_default();
        let ids: BTreeSet<String> =
            day["sessions"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        assert_eq!(day["date"], json!(date));
        assert_eq!((&day["counted"], &day["minutes"]), (&json!(sessions > 0), &json!(minutes)), "{date} in {zone}");
        assert_eq!(ids, reference.ids.get(&date).cloned().unwrap_or_default(), "{date} in {zone}");
        assert_eq!(ids.len() as i64, sessions, "{date} in {zone}");
    }
    let last = reference.days.keys().rev().copied().find(|date| reference.counted(*date)).unwrap();
    let alive = last >= today.pred_opt().unwrap();
    assert_eq!(streak["current"], if alive { reference.run_up_to(last) } else { 0 });
    assert_eq!(streak["alive_until"], if alive { json!(last.succ_opt().unwrap()) } else { Value::Null });
    let longest = reference.days.keys().map(|date| reference.run_up_to(*date)).max().unwrap();
    assert_eq!(streak["longest"], longest);

    let weekly = asked.get("/api/v1/users/stats/weekly").await.expect(200);
    for (day, back) in weekly["weekly_activity"].as_array().unwrap().iter().zip(0..) {
        let [minutes, sessions, progress] = reference.days.get(&(today - Days::new(back))).copied().unwrap_or_default();
        let sums = json!([day["minutes"], day["sessions"], day["progress"]]);
        assert_eq!(sums, json!([minutes, sessions, progress]), "{back} days ago in {zone}");
    }
    let [minutes, sessions, progress] = reference.totals;
    assert_eq!(json!([weekly["total_minutes"], weekly["total_sessions"]]), json!([minutes, sessions]));
    assert_eq!(weekly["longest_streak"], longest);
    assert!((weekly["average_speed"].as_f64().unwrap() - progress as f64 / minutes as f64).abs() < 1e-12);

    let patterns = asked.get("/api/v1/users/stats/patterns").await.expect(200);
    assert_eq!(patterns["by_hour"], json!(reference.hours));
    assert_eq!(patterns["by_weekday"], json!(reference.weekdays));
    for device in DEVICES {
        assert_eq!(patterns["by_device"][device], reference.devices.get(device).copied().unwrap_or(0), "{device}");
    }
    let by_book = patterns["by_book"].as_array().unwrap();
    assert_eq!(by_book.len(), reference.books.len());
    for sums in by_book {
        let book = books.iter().position(|book| sums["book_id"] == json!(book)).unwrap();
        assert_eq!(json!([sums["minutes"], sums["sessions"], sums["progress"]]), json!(reference.books[&book]));
    }
    let overview = asked.get("/api/v1/users/stats/overview").await.expect(200);
    let read_days = reference.days.values().filter(|day| day[1] > 0).count();
    assert!((overview["average_minutes_per_day"].as_f64().unwrap() - minutes as f64 / read_days as f64).abs() < 1e-9);
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
