//! The week, the streak, the patterns, the overview: shapes and rules, one by one.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Caller, Server};

const WEEKLY: &str = "/api/v1/users/stats/weekly";
const STREAK: &str = "/api/v1/users/stats/streak";
const PATTERNS: &str = "/api/v1/users/stats/patterns";
const OVERVIEW: &str = "/api/v1/users/stats/overview";

/// Records a session from `start` for so many minutes, from 0 to `end_position`; its id.
async fn read(reader: &Caller, book: Uuid, start: DateTime<Utc>, minutes: i64, end_position: u8) -> String {
    let session = json!({
        "client_id": Uuid::new_v4(), "book_id": book, "started_at": start.to_rfc3339(),
        "ended_at": (start + TimeDelta::minutes(minutes)).to_rfc3339(), "start_position": 0,
        "end_position": end_position,
    });
    let result = reader.batch(&[session]).await["results"][0].clone();
    result["id"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
}

/// A moment of a local clock.
fn at(zone: &str, date: NaiveDate, hour: u32, minute: u32) -> DateTime<Utc> {
    let zone: Tz = zone.parse().unwrap();
    date.and_hms_opt(hour, minute, 0).unwrap().and_local_timezone(zone).earliest().unwrap().to_utc()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The server's today in this zone, told by itself, so that no test depends on the hour at which it runs.
async fn today(reader: &Caller, zone: &str) -> NaiveDate {
    let before = Utc::now().with_timezone(&zone.parse::<Tz>().unwrap()).date_naive();
    let weekly = reader.with("x-timezone", zone).get(WEEKLY).await.expect(200);
    let today = date(weekly["weekly_activity"][0]["date"].as_str().unwrap());
    let after = Utc::now().with_timezone(&zone.parse::<Tz>().unwrap()).date_naive();
    assert!(before <= today && today <= after, "{today} in {zone}");
    today
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The days of `/streak` on which anything was counted: date and minutes.
async fn counted(reader: &Caller, days: u32) -> Vec<(NaiveDate, i64)> {
    let streak = reader.get(&format!("{STREAK}?days={days}")).await.expect(200);
    let days = streak["days"].as_array().unwrap().iter().filter(|day| day["counted"] == true);
    days.map(|day| (date(day["date"].as_str().unwrap()), day["minutes"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn without_a_session_everything_is_zero_and_complete() {
    let server = Server::start().await;
    let reader = server.reader();
    let today = today(&reader, "UTC").await;
    let weekly = reader.get(WEEKLY).await.expect(200);
    assert_eq!(
        keys(&weekly),
        [
            "average_speed",
            "current_streak",
            "longest_streak",
            "timezone",
            "total_minutes",
            "total_sessions",
            "weekly_activity"
        ]
    );
    let week = weekly["weekly_activity"].as_array().unwrap();
    assert_eq!(week.len(), 7);
    for (day, back) in week.iter().zip(0..) {
        let expected = json!({
            "date": today - Days::new(back), "day": day["day"], "minutes": 0, "sessions": 0, "progress": 0,
        });
        assert_eq!(*day, expected);
    }
    for zero in ["current_streak", "longest_streak", "total_minutes", "total_sessions"] {
        assert_eq!(weekly[zero], 0, "{zero}");
    }
    assert_eq!((&weekly["average_speed"], &weekly["timezone"]), (&json!(0.0), &json!("UTC")));

    let streak = reader.get(STREAK).await.expect(200);
    assert_eq!(keys(&streak), ["alive_until", "current", "days", "longest", "timezone"]);
    assert_eq!((&streak["alive_until"], streak["days"].as_array().unwrap().len()), (&Value::Null, 90));
    let open = json!({ "date": today, "counted": false, "reason": "open", "minutes": 0, "sessions": [] });
    assert_eq!(streak["days"][0], open);
    assert_eq!(streak["days"][1]["reason"], "missed");

    let patterns = reader.get(PATTERNS).await.expect(200);
    let expected = json!({
        "timezone": "UTC", "by_hour": vec![0; 24], "by_weekday": vec![0; 7],
        "by_device": { "mobile": 0, "tablet": 0, "desktop": 0, "unknown": 0 }, "by_book": [],
    });
    assert_eq!(patterns, expected);
    let overview = reader.get(OVERVIEW).await.expect(200);
    let expected = json!({
        "total_minutes": 0, "total_sessions": 0, "books_started": 0, "books_finished": 0, "average_speed": 0.0,
        "average_minutes_per_day": 0.0, "average_minutes_per_session": 0.0, "first_session_at": null,
        "last_session_at": null,
    });
    assert_eq!(overview, expected);
}

#[tokio::test]
async fn the_week_shows_the_last_seven_days_and_the_totals_are_over_all_time() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let today = today(&reader, "UTC").await;
    for (days_ago, hour, minutes, end) in
        [(1, 10, 30, 10), (1, 8, 15, 5), (6, 10, 20, 40), (7, 10, 60, 20), (400, 10, 100, 100)]
    {
        read(&reader, book, at("UTC", today - Days::new(days_ago), hour, 0), minutes, end).await;
    }
    let active = reader.start(book, 50).await;
    reader.update(&active, 90).await.expect(200);

    let weekly = reader.get(WEEKLY).await.expect(200);
    let sums = |days_ago: usize| {
        let day = &weekly["weekly_activity"][days_ago];
        [&day["minutes"], &day["sessions"], &day["progress"]].map(|sum| sum.as_i64().unwrap())
    };
    assert_eq!(sums(0), [0, 0, 0], "an active session does not count");
    assert_eq!(sums(1), [45, 2, 15]);
    assert_eq!(sums(6), [20, 1, 40]);
    assert_eq!((2..6).map(sums).collect::<Vec<_>>(), [[0; 3]; 4]);
    assert_eq!((&weekly["total_minutes"], &weekly["total_sessions"]), (&json!(225), &json!(5)));
    assert_eq!(weekly["average_speed"].as_f64().unwrap(), 175.0 / 225.0);
    assert_eq!((&weekly["current_streak"], &weekly["longest_streak"]), (&json!(1), &json!(2)));

    let overview = reader.get(OVERVIEW).await.expect(200);
    assert_eq!(overview["average_minutes_per_day"], 225.0 / 4.0);
    assert_eq!(overview["average_minutes_per_session"], 45.0);
    assert_eq!((&overview["books_started"], &overview["books_finished"]), (&json!(1), &json!(1)));
    let start = |days_ago| at("UTC", today - Days::new(days_ago), 10, 0).to_rfc3339().replace("+00:00", "Z");
    assert_eq!(overview["first_session_at"], start(400));
    assert_eq!(overview["last_session_at"], start(1));
}

#[tokio::test]
async fn an_ended_session_counts_at_once() {
    let server = Server::start().await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 20).await;
    reader.end(&session, 50).await.expect(200);
    let streak = reader.get(STREAK).await.expect(200);
    let read = streak["days"].as_array().unwrap().iter().find(|day| day["counted"] == true).unwrap();
    assert_eq!((&read["sessions"], &read["reason"]), (&json!([session["id"]]), &json!("read")));
    assert_eq!((&streak["current"], &streak["longest"]), (&json!(1), &json!(1)));
    let overview = reader.get(OVERVIEW).await.expect(200);
    assert_eq!((&overview["total_sessions"], &overview["total_minutes"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn the_zone_is_the_header_s_else_the_token_s_else_the_stored_one_else_utc() {
    let server = Server::start().await;
    let reader = server.reader();
    let in_token = server.caller_claiming(reader.id, &json!({ "sub": reader.id, "tz": "Asia/Tokyo" }));
    let zone = async |caller: &Caller, path: &str| caller.get(path).await.expect(200)["timezone"].clone();
    for path in [WEEKLY, STREAK, PATTERNS] {
        reader.put("/api/v1/users/profile", &json!({ "timezone": null })).await.expect(200);
        assert_eq!(zone(&reader, path).await, "UTC");
        reader.put("/api/v1/users/profile", &json!({ "timezone": "Europe/Paris" })).await.expect(200);
        assert_eq!(zone(&reader, path).await, "Europe/Paris");
        assert_eq!(zone(&in_token, path).await, "Asia/Tokyo");
        assert_eq!(zone(&in_token.with("x-timezone", "America/Lima"), path).await, "America/Lima");
        for unknown in ["Mars/Olympus", "", "UTC+3", "+03:00", "Europe", "../etc"] {
            assert_eq!(reader.with("x-timezone", unknown).get(path).await.wrong_fields(), ["X-Timezone"], "{unknown}");
        }
        assert_eq!(reader.with_bytes("x-timezone", b"\xff").get(path).await.wrong_fields(), ["X-Timezone"]);
        let wrong = server.caller_claiming(reader.id, &json!({ "sub": reader.id, "tz": "Mars/Olympus" }));
        assert_eq!(wrong.get(path).await.wrong_fields(), ["tz"]);
        assert_eq!(zone(&wrong.with("x-timezone", "UTC"), path).await, "UTC", "the header goes first");
    }
    reader.get(OVERVIEW).await.expect(200);
    assert_eq!(reader.with("x-timezone", "Mars/Olympus").get(OVERVIEW).await.wrong_fields(), ["X-Timezone"]);
    let book = reader.add_book().await;
    let start = json!({ "book_id": book });
    let wrong = reader.with("x-timezone", "Mars/Olympus");
    assert_eq!(wrong.post("/api/v1/reading-sessions/start", &start).await.wrong_fields(), ["X-Timezone"]);
    let batch = json!({ "sessions": [{}] });
    assert_eq!(wrong.post("/api/v1/reading-sessions/batch", &batch).await.wrong_fields(), ["X-Timezone"]);
    let session = reader.start(book, 0).await;
    assert_eq!(wrong.end(&session, 1).await.wrong_fields(), ["X-Timezone"]);
    assert_eq!(reader.active().await["id"], session["id"]);
}

#[tokio::test]
async fn past_days_do_not_move_when_the_reader_travels() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let day = today(&reader, "UTC").await - Days::new(20);
    // 23:30 in Moscow is the same date in UTC; 00:30 in Kiritimati (UTC+14) is the date before in UTC.
    let moscow = reader.with("x-timezone", "Europe/Moscow");
    read(&moscow, book, at("Europe/Moscow", day, 23, 0), 30, 1).await;
    let kiritimati = reader.with("x-timezone", "Pacific/Kiritimati");
    read(&kiritimati, book, at("Pacific/Kiritimati", day + Days::new(5), 0, 30), 40, 1).await;
    let stored = server.reader_called(reader.id);
    stored.put("/api/v1/users/profile", &json!({ "timezone": "Pacific/Honolulu" })).await.expect(200);
    read(&stored, book, at("Pacific/Honolulu", day + Days::new(9), 23, 50), 5, 1).await;
    let expected = [(day + Days::new(9), 5), (day + Days::new(5), 40), (day, 30)];
    for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Moscow"] {
        assert_eq!(counted(&reader.with("x-timezone", zone), 40).await, expected, "{zone}");
    }
    let by_hour = reader.get(PATTERNS).await.expect(200)["by_hour"].clone();
    assert_eq!((&by_hour[23], &by_hour[0]), (&json!(35), &json!(30)), "hours are local, too");
}

#[tokio::test]
async fn a_session_over_midnight_counts_for_both_days_and_its_progress_where_it_ended() {
    let server = Server::start().await;
    let reader = server.reader().with("x-timezone", "Asia/Kolkata");
    let book = reader.add_book().await;
    let today = today(&reader, "Asia/Kolkata").await;
    let evening = today - Days::new(2);
    let id = read(&reader, book, at("Asia/Kolkata", evening, 23, 40), 50, 12).await;
    let week = reader.get(WEEKLY).await.expect(200)["weekly_activity"].clone();
    let sums = |day: &Value| [&day["minutes"], &day["sessions"], &day["progress"]].map(|sum| sum.as_i64().unwrap());
    assert_eq!((sums(&week[2]), sums(&week[1])), ([20, 1, 0], [30, 1, 12]));
    let streak = reader.get(&format!("{STREAK}?days=3")).await.expect(200);
    assert_eq!((&streak["days"][2]["sessions"], &streak["days"][1]["sessions"]), (&json!([id]), &json!([id])));
    assert_eq!((&streak["current"], &streak["alive_until"]), (&json!(2), &json!(today)));
    let weekly = reader.get(WEEKLY).await.expect(200);
    assert_eq!((&weekly["total_minutes"], &weekly["total_sessions"]), (&json!(50), &json!(1)));
}

#[tokio::test]
async fn a_session_that_ends_at_midnight_leaves_the_next_day_alone() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let day = today(&reader, "UTC").await - Days::new(3);
    read(&reader, book, at("UTC", day, 23, 0), 60, 0).await;
    assert_eq!(counted(&reader, 7).await, [(day, 60)]);
}

#[tokio::test]
async fn of_a_session_eight_hours_count() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let day = today(&reader, "UTC").await - Days::new(3);
    read(&reader, book, at("UTC", day, 20, 0), 24 * 60, 100).await;
    assert_eq!(counted(&reader, 7).await, [(day + Days::new(1), 240), (day, 240)]);
    let overview = reader.get(OVERVIEW).await.expect(200);
    assert_eq!((&overview["total_minutes"], &overview["average_minutes_per_session"]), (&json!(480), &json!(480.0)));
    assert_eq!(reader.history().await["sessions"][0]["duration_minutes"], 24 * 60, "the session itself is whole");
    let hours = reader.get(PATTERNS).await.expect(200)["by_hour"].clone();
    assert_eq!((&hours[20], &hours[3], &hours[4], &hours[19]), (&json!(60), &json!(60), &json!(0), &json!(0)));
}

#[tokio::test]
async fn a_streak_lives_over_days_of_23_and_25_hours_and_over_a_day_that_was_skipped() {
    let server = Server::start().await;
    // The last days on which clocks changed, some of them hard to count on.
    for (zone, days) in [
        ("Europe/Paris", ["2025-03-29", "2025-03-30", "2025-03-31"]),
        ("Europe/Paris", ["2025-10-25", "2025-10-26", "2025-10-27"]),
        ("America/New_York", ["2025-11-01", "2025-11-02", "2025-11-03"]),
        ("Australia/Lord_Howe", ["2025-04-05", "2025-04-06", "2025-04-07"]),
        ("America/Havana", ["2025-03-08", "2025-03-09", "2025-03-10"]),
        ("Africa/Cairo", ["2025-04-24", "2025-04-25", "2025-04-26"]),
    ] {
        let reader = server.reader().with("x-timezone", zone);
        let book = reader.add_book().await;
        for day in days {
            // Just before midnight: twenty-three, twenty-four or twenty-five hours after the one before.
            read(&reader, book, at(zone, date(day), 23, 30), 10, 1).await;
        }
        assert_eq!(reader.get(STREAK).await.expect(200)["longest"], 3, "{zone}, {days:?}");
    }
    // Samoa went over the date line: there was no 30 December 2011 in Apia.
    let reader = server.reader().with("x-timezone", "Pacific/Apia");
    let book = reader.add_book().await;
    read(&reader, book, at("Pacific/Apia", date("2011-12-29"), 23, 30), 60, 1).await;
    let by_weekday = reader.get(PATTERNS).await.expect(200)["by_weekday"].clone();
    assert_eq!(by_weekday, json!([0, 0, 0, 30, 0, 30, 0]), "Thursday and Saturday");
}

#[tokio::test]
async fn a_streak_says_why_it_lives_or_broke() {
    let server = Server::start().await;
    let zone = "Pacific/Kiritimati";
    let reader = server.reader().with("x-timezone", zone);
    let book = reader.add_book().await;
    let today = today(&reader, zone).await;
    let streak = async || reader.get(&format!("{STREAK}?days=7")).await.expect(200);
    let told = |streak: &Value| [&streak["current"], &streak["longest"], &streak["alive_until"]].map(Value::clone);
    for days_ago in [6, 5, 4, 2] {
        read(&reader, book, at(zone, today - Days::new(days_ago), 12, 0), 10, 1).await;
    }
    let broken = streak().await;
    assert_eq!(told(&broken), [json!(0), json!(3), Value::Null]);
    let reasons: Vec<_> = broken["days"].as_array().unwrap().iter().map(|day| day["reason"].clone()).collect();
    assert_eq!(json!(reasons), json!(["open", "missed", "read", "missed", "read", "read", "read"]));

    let yesterday = read(&reader, book, at(zone, today - Days::new(1), 23, 0), 10, 1).await;
    let alive = streak().await;
    assert_eq!(told(&alive), [json!(2), json!(3), json!(today)]);
    let expected = json!({ "date": today - Days::new(1), "counted": true, "reason": "read", "minutes": 10, "sessions": [yesterday] });
    assert_eq!(alive["days"][1], expected);

    let session = reader.start(book, 0).await;
    assert_eq!(told(&streak().await), [json!(2), json!(3), json!(today)], "an active session does not count yet");
    reader.end(&session, 1).await.expect(200);
    let read_today = streak().await;
    assert_eq!(told(&read_today), [json!(3), json!(3), json!(today + Days::new(1))]);
    assert_eq!((&read_today["days"][0]["reason"], &read_today["days"][0]["minutes"]), (&json!("read"), &json!(0)));
}

#[tokio::test]
async fn days_are_1_to_366_and_the_activity_reading_or_all() {
    let server = Server::start().await;
    let reader = server.reader();
    for days in [1, 90, 366] {
        let streak = reader.get(&format!("{STREAK}?days={days}")).await.expect(200);
        assert_eq!(streak["days"].as_array().unwrap().len(), days);
    }
    for wrong in ["days=0", "days=367", "days=-1", "days=1.5", "days=x", "days=", "days=1&days=2"] {
        assert_eq!(reader.get(&format!("{STREAK}?{wrong}")).await.wrong_fields(), ["days"], "{wrong}");
    }
    for path in [STREAK, WEEKLY] {
        let plain = reader.get(path).await.expect(200);
        for activity in ["reading", "all"] {
            assert_eq!(reader.get(&format!("{path}?activity={activity}")).await.expect(200), plain);
        }
        for wrong in ["japa", "", "ALL", "all,reading"] {
            assert_eq!(reader.get(&format!("{path}?activity={wrong}")).await.wrong_fields(), ["activity"], "{wrong}");
        }
    }
}

#[tokio::test]
async fn days_have_russian_names_or_english_ones_on_request() {
    let server = Server::start().await;
    let reader = server.reader();
    for (language, names) in [
        (None, ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"]),
        (Some("ru"), ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"]),
        (Some("fr"), ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"]),
        (Some("ru-RU, en;q=0.9, *;q=0.5"), ["Пн", "Вт", "Ср", "Чт", "Пт", "Сб", "Вс"]),
        (Some("EN, RU"), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
        (Some("en"), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
        (Some("en-GB,en;q=0.9,ru;q=0.8"), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
    ] {
        let caller = language.map_or(reader.clone(), |language| reader.with("accept-language", language));
        let weekly = caller.get(WEEKLY).await.expect(200);
        for day in weekly["weekly_activity"].as_array().unwrap() {
            let weekday = chrono::Datelike::weekday(&date(day["date"].as_str().unwrap()));
            assert_eq!(day["day"], names[weekday.num_days_from_monday() as usize], "{language:?}");
        }
    }
}

#[tokio::test]
async fn patterns_tell_hours_weekdays_devices_and_books() {
    let server = Server::start().await;
    let reader = server.reader();
    let (first, second) =
        (reader.put_book(&json!({ "title": "Первая" })).await, reader.put_book(&json!({ "title": "Вторая" })).await);
    // 2025-10-27 was a Monday.
    let session = |book: Uuid, start: &str, end: &str, from: u8, to: u8, device: Value| {
        json!({
            "client_id": Uuid::new_v4(), "book_id": book, "started_at": format!("2025-10-{start}:00Z"),
            "ended_at": format!("2025-10-{end}:00Z"), "start_position": from, "end_position": to, "device_type": device,
        })
    };
    let results = reader
        .batch(&[
            session(first, "27T09:30", "27T10:15", 0, 10, json!("mobile")),
            session(first, "27T09:00", "27T09:20", 10, 20, json!("tablet")),
            session(second, "28T23:50", "29T00:10", 0, 100, json!("desktop")),
            session(second, "28T07:00", "28T07:05", 0, 1, Value::Null),
        ])
        .await;
    assert!(results["results"].as_array().unwrap().iter().all(|result| result["success"] == true), "{results}");
    let patterns = reader.get(PATTERNS).await.expect(200);
    let mut hours = [0; 24];
    (hours[9], hours[10], hours[23], hours[0], hours[7]) = (50, 15, 10, 10, 5);
    let expected = json!({
        "timezone": "UTC",
        "by_hour": hours,
        "by_weekday": [65, 15, 10, 0, 0, 0, 0],
        "by_device": { "mobile": 45, "tablet": 20, "desktop": 20, "unknown": 5 },
        "by_book": [
            { "book_id": first, "title": "Первая", "minutes": 65, "sessions": 2, "progress": 20 },
            { "book_id": second, "title": "Вторая", "minutes": 25, "sessions": 2, "progress": 101 },
        ],
    });
    assert_eq!(patterns, expected);
}

/// A session of 2025-10-27, a Monday, in UTC.
fn on_monday(book: Uuid, start: &str, end: &str, device: &str) -> Value {
    json!({
        "client_id": Uuid::new_v4(), "book_id": book, "started_at": format!("2025-10-27T{start}Z"),
        "ended_at": format!("2025-10-27T{end}Z"), "start_position": 0, "end_position": 1, "device_type": device,
    })
}

async fn record(reader: &Caller, items: &[Value]) {
    let results = reader.batch(items).await;
    assert!(results["results"].as_array().unwrap().iter().all(|result| result["success"] == true), "{results}");
}

#[tokio::test]
async fn seconds_are_added_up_and_rounded_down_once() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let session = |minute: u32| on_monday(book, &format!("10:{minute:02}:00"), &format!("10:{minute:02}:59"), "mobile");
    record(&reader, &(0..60).map(session).collect::<Vec<_>>()).await;
    let weekly = reader.get(WEEKLY).await.expect(200);
    assert_eq!((&weekly["total_minutes"], &weekly["total_sessions"]), (&json!(59), &json!(60)));
    assert!((weekly["average_speed"].as_f64().unwrap() - 60.0 / 59.0).abs() < 1e-9);
    let patterns = reader.get(PATTERNS).await.expect(200);
    let figures = [&patterns["by_hour"][10], &patterns["by_weekday"][0], &patterns["by_device"]["mobile"]];
    assert_eq!(figures, [&json!(59); 3]);
    assert_eq!(patterns["by_book"][0]["minutes"], 59);
    let overview = reader.get(OVERVIEW).await.expect(200);
    assert_eq!((&overview["total_minutes"], &overview["average_minutes_per_day"]), (&json!(59), &json!(59.0)));
    assert!((overview["average_minutes_per_session"].as_f64().unwrap() - 59.0 / 60.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_day_has_at_most_its_own_length_however_many_sessions_overlap() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let day = today(&reader, "UTC").await - Days::new(2);
    for start in [0, 8, 16, 0, 8, 16, 4] {
        read(&reader, book, at("UTC", day, start, 0), 8 * 60, 1).await;
    }
    assert_eq!(counted(&reader, 7).await, [(day, 24 * 60)]);
    let weekly = reader.get(WEEKLY).await.expect(200);
    let shown = &weekly["weekly_activity"][2];
    assert_eq!((&shown["minutes"], &shown["sessions"]), (&json!(1440), &json!(7)));
    assert_eq!(weekly["total_minutes"], 1440);
    assert_eq!(reader.get(OVERVIEW).await.expect(200)["average_minutes_per_day"], 1440.0);
    assert_eq!(reader.get(PATTERNS).await.expect(200)["by_hour"], json!(vec![60; 24]));
}

#[tokio::test]
async fn time_that_sessions_share_counts_once_for_the_one_that_began_first() {
    let server = Server::start().await;
    let reader = server.reader();
    let (first, second) = (reader.add_book().await, reader.add_book().await);
    // Recorded in another order than they were read; the third lies within the first.
    record(&reader, &[on_monday(second, "10:30:00", "11:15:00", "tablet")]).await;
    record(&reader, &[on_monday(first, "10:00:00", "10:45:00", "mobile")]).await;
    record(&reader, &[on_monday(second, "10:05:00", "10:10:00", "desktop")]).await;
    let patterns = reader.get(PATTERNS).await.expect(200);
    assert_eq!((&patterns["by_hour"][10], &patterns["by_hour"][11]), (&json!(60), &json!(15)));
    assert_eq!(patterns["by_weekday"][0], 75);
    assert_eq!(patterns["by_device"], json!({ "mobile": 45, "tablet": 30, "desktop": 0, "unknown": 0 }));
    let books: Vec<_> = patterns["by_book"].as_array().unwrap().iter().map(|book| &book["minutes"]).collect();
    assert_eq!(books, [&json!(45), &json!(30)]);
    assert_eq!(reader.get(WEEKLY).await.expect(200)["total_minutes"], 75);
}

#[tokio::test]
async fn the_figures_of_one_answer_are_of_one_moment() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let (writer, admin) = (reader.clone(), server.admin());
    let writing = tokio::spawn(async move {
        for day in 0..120 {
            if day == 60 {
                let path = "/api/v1/projections/reading_statistics/rebuild";
                let begun = admin.send(reqwest::Method::POST, path, None, "").await;
                assert!(begun.status < 300, "{}", begun.text);
            }
            read(&writer, book, at("UTC", date("2025-01-01") + Days::new(day), 10, 0), 30, 1).await;
        }
    });
    let sum = |figures: &Value| match figures {
        Value::Array(figures) => figures.iter().filter_map(Value::as_i64).sum::<i64>(),
        figures => figures.as_object().unwrap().values().filter_map(Value::as_i64).sum(),
    };
    let mut last = 0;
    while !writing.is_finished() {
        let patterns = reader.get(PATTERNS).await.expect(200);
        let books: i64 =
            patterns["by_book"].as_array().unwrap().iter().map(|book| book["minutes"].as_i64().unwrap()).sum();
        let sums = ["by_hour", "by_weekday", "by_device"].map(|figures| sum(&patterns[figures]));
        assert_eq!(sums, [books; 3], "{patterns}");
        assert!(books >= last, "{books} after {last}");
        last = books;
        let weekly = reader.get(OVERVIEW).await.expect(200);
        assert_eq!(weekly["total_minutes"].as_i64(), weekly["total_sessions"].as_i64().map(|sessions| sessions * 30));
    }
    writing.await.unwrap();
    assert_eq!(reader.get(OVERVIEW).await.expect(200)["total_minutes"], 120 * 30);
}

#[tokio::test]
async fn without_the_library_titles_and_pages_are_left_out_and_the_rest_is_answered() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.put_book(&json!({ "title": "Книга", "total_pages": 200 })).await;
    record(&reader, &[on_monday(book, "10:00:00", "10:30:00", "mobile")]).await;
    const HISTORY: &str = "/api/v1/reading-sessions/history";
    const ACTIVE: &str = "/api/v1/reading-sessions/active";
    let shown = reader.get(HISTORY).await;
    assert_eq!(shown.expect(200)["sessions"][0]["pages_read"], 2);
    assert!(!shown.headers.contains_key("daybook-left-out"));
    assert_eq!(reader.get(PATTERNS).await.expect(200)["by_book"][0]["title"], "Книга");

    server.place().spoil("library", "books");
    let other = reader.add_book().await;
    crate::support::eventually("the library has stopped", async || {
        let projection = server.admin().get("/api/v1/projections/library").await.expect(200);
        (projection["state"] == "faulted").then_some(())
    })
    .await;
    reader.get("/api/v1/books").await.problem(503);
    record(&reader, &[on_monday(other, "11:00:00", "11:30:00", "mobile")]).await;
    let session = reader.start(other, 1).await;
    for (path, shows) in
        [(HISTORY, true), (ACTIVE, true), (PATTERNS, true), (WEEKLY, false), (STREAK, false), (OVERVIEW, false)]
    {
        let reply = reader.get(path).await;
        reply.expect(200);
        let left_out = reply.headers.get("daybook-left-out").map(|name| name.to_str().unwrap());
        assert_eq!(left_out, shows.then_some("library"), "{path}");
    }
    assert_eq!(reader.active().await["id"], session["id"]);
    let history = reader.history().await;
    assert_eq!((&history["total"], &history["sessions"][2]["pages_read"]), (&json!(3), &json!(0)));
    let books = reader.get(PATTERNS).await.expect(200)["by_book"].clone();
    assert_eq!((books.as_array().unwrap().len(), &books[0]["title"]), (2, &Value::Null));
    assert_eq!(reader.get(WEEKLY).await.expect(200)["total_minutes"], 60);
}

#[tokio::test]
async fn paging_back_is_no_progress() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let first = reader.start(book, 80).await;
    reader.update(&first, 20).await.expect(200);
    let second = reader.start(book, 20).await;
    reader.end(&second, 25).await.expect(200);
    let patterns = reader.get(PATTERNS).await.expect(200);
    assert_eq!((&patterns["by_book"][0]["progress"], &patterns["by_book"][0]["sessions"]), (&json!(5), &json!(2)));
}
