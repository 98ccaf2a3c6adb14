//! The log written to a file, and a log made from one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamAppend};
use daybook_projections::{ReadModels, all};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Place, Server, eventually, files, world};

/// Standard output of a command that has to succeed.
#[track_caller]
fn output_of(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.contains("daybook: ") && !text.contains("panicked"), "{text}");
    text
}

#[track_caller]
fn export(place: &Place, args: &[&str]) -> String {
    output_of(&place.run(&[&["log", "export"], args].concat()))
}

fn import(place: &Place, file: &Path) -> Output {
    place.run(&["log", "import", file.to_str().unwrap()])
}

/// `import -`, whose standard input is written by the test.
fn import_from_pipe(place: &Place) -> Child {
    place.command(&["log", "import", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn lines(export: &str) -> Vec<Value> {
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a folder but the lock, with what it holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "daybook.lock" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// A stopped place with a little of everything in its log, and its export.
async fn exported() -> (Place, String) {
    let server = Server::start().await;
    world::populate(&server).await;
    let place = server.stop().await.place;
    let export = export(&place, &[]);
    assert!(export.lines().count() > 40 && export.ends_with("}\n"), "{export}");
    (place, export)
}

async fn dump(data: &Path) -> Vec<String> {
    let models = ReadModels::open(data).await.unwrap();
    let mut rows = Vec::new();
    for projection in all() {
        rows.extend(models.dump(&*projection).await.unwrap());
    }
    models.close().await;
    rows
}

#[tokio::test]
async fn an_export_that_was_imported_is_exported_byte_by_byte_the_same() {
    let (place, first) = exported().await;
    let copy = Place::fresh();
    let imported = import(&copy, &place.file("log.ndjson", &first));
    assert!(String::from_utf8_lossy(&imported.stderr).contains(&format!("imported {}", first.lines().count())));
    output_of(&imported);
    assert_eq!(export(&copy, &[]), first);
    assert_eq!(files::events(copy.data()), files::events(place.data()));

    // And the imported log says the same to everyone who reads from it, once it is served.
    let server = copy.serve(&[]).await;
    world::populate_more(&server).await;
    server.stop().await;
    assert!(export(&copy, &[]).starts_with(&first));
    files::assert_read_models_equal_a_rebuild(copy.data()).await;
}

#[tokio::test]
async fn an_imported_log_gives_the_same_read_models() {
    let (place, exported) = exported().await;
    files::assert_read_models_equal_a_rebuild(place.data()).await;
    let copy = Place::fresh();
    output_of(&import(&copy, &place.file("log.ndjson", &exported)));
    files::assert_read_models_equal_a_rebuild(copy.data()).await;
    let rows = dump(place.data()).await;
    assert!(rows.len() > 40);
    assert!(dump(copy.data()).await == rows);
}

#[tokio::test]
async fn stored_json_is_kept_to_the_letter() {
    let place = Place::fresh();
    let log = Log::open(place.data()).await.unwrap();
    let data = [
        r#"{"price":1.50,"large":12345678901234567890.10,"tiny":-0.0e-7}"#,
        "{\"text\":\"\u{2028} \u{2029} \\u2028 \\/ \\n 🦀\"}",
        r#"{ "twice": 1,  "twice": 2, "nested": [[], {}, null] }"#,
        r#""a text alone""#,
    ];
    let now = chrono::Utc::now();
    for (number, text) in data.iter().enumerate() {
        let event = NewEvent {
            id: Uuid::new_v4(),
            event_type: "Noted".into(),
            schema_version: 65_535,
            data: (*text).to_owned(),
            metadata: r#"{"actor":"µ \"x\"","n":1.0}"#.into(),
            occurred_at: daybook_eventlog::from_micros(now.timestamp_micros() - number as i64),
        };
        let stream = format!("note-\u{1f980} \"{}\"", number % 2).into();
        let part = StreamAppend { stream, expected: ExpectedVersion::Any, events: vec![event] };
        log.append(Append { parts: vec![part], remember: None }).await.unwrap();
    }
    log.close().await;
    let first = export(&place, &[]);
    for (line, data) in first.lines().zip(data) {
        assert!(line.contains(&format!(",\"data\":{data},\"metadata\":")), "{line}");
    }
    let copy = Place::fresh();
    output_of(&import(&copy, &place.file("log.ndjson", &first)));
    assert_eq!(export(&copy, &[]), first);
}

#[tokio::test]
async fn an_export_under_writes_is_a_gapless_beginning_of_the_log() {
    let server = Server::start().await;
    let place = server.place().clone();
    let reader = server.reader();
    reader.add_book().await;
    let writer = tokio::spawn({
        let reader = reader.clone();
        async move {
            for _ in 0..200 {
                reader.add_book().await;
            }
        }
    });
    let mut exports = Vec::new();
    while !writer.is_finished() {
        let place = place.clone();
        exports.push(tokio::task::spawn_blocking(move || export(&place, &[])).await.unwrap());
    }
    writer.await.unwrap();
    let whole = export(&place, &[]);
    assert_eq!(lines(&whole).len(), 201);
    assert!(!exports.is_empty());
    for (positions, export) in exports.iter().map(|export| (lines(export).len() as u64, export)) {
        assert!(positions > 0 && whole.starts_with(export.as_str()));
        assert_eq!(lines(export).last().unwrap()["position"], positions);
    }
}

#[tokio::test]
async fn an_export_holds_what_was_asked_for_and_nothing_else() {
    let (place, whole) = exported().await;
    let all = lines(&whole);
    let position = |event: &Value| event["position"].as_u64().unwrap();
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    let stream = |event: &Value| event["stream"].as_str().unwrap().to_owned();
    let reader = all.iter().map(stream).find(|stream| stream.starts_with("reader-")).unwrap();
    type Wanted<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let by_reader: Wanted<'_> = Box::new(|event| stream(event) == reader && kind(event) == "ReadingSessionEnded");
    let cases: [(Vec<&str>, Wanted<'_>); 6] = [
        (vec!["--after", "7"], Box::new(|event| position(event) > 7)),
        (vec!["--types", "BookAdded"], Box::new(|event| kind(event) == "BookAdded")),
        (
            vec!["--types", "BookAdded,ReadingSessionStarted", "--after", "3"],
            Box::new(|event| {
                position(event) > 3 && ["BookAdded", "ReadingSessionStarted"].contains(&kind(event).as_str())
            }),
        ),
        (vec!["--category", "shop"], Box::new(|event| stream(event).starts_with("shop-"))),
        (vec!["--stream", &reader, "--types", "ReadingSessionEnded"], by_reader),
        (vec!["--after", "9223372036854775807"], Box::new(|_| false)),
    ];
    for (args, wanted) in cases {
        let expected: Vec<&Value> = all.iter().filter(|event| wanted(event)).collect();
        assert_eq!(lines(&export(&place, &args)).iter().collect::<Vec<_>>(), expected, "{args:?}");
        assert!(!expected.is_empty() || args[1].len() > 10, "{args:?}");
    }
}

#[tokio::test]
async fn a_file_is_only_replaced_when_that_was_asked_for() {
    let (place, whole) = exported().await;
    let out = place.file("log.ndjson", "precious");
    let folder = out.parent().unwrap();
    let to_file = ["log", "export", "--out", "log.ndjson"];
    let before = contents(folder);
    assert!(complaint(&place.run(&to_file), 2).contains("--force"));
    assert_eq!(contents(folder), before);
    let told = place.run(&[&to_file[..], &["--force"]].concat());
    assert!(output_of(&told).is_empty(), "all of it is in the file");
    assert!(String::from_utf8_lossy(&told.stderr).contains("events/s"), "{told:?}");
    assert_eq!(fs::read_to_string(&out).unwrap(), whole);
    assert_eq!(contents(folder).len(), before.len(), "nothing else is left");
    assert!(complaint(&place.run(&["log", "export", "--out", ".", "--force"]), 2).contains("no file"));
    complaint(&place.run(&["log", "export", "--out", "no/such/folder"]), 1);
    let nowhere = Place::fresh();
    assert!(complaint(&nowhere.run(&["log", "export"]), 1).contains("--data"));
    assert!(!nowhere.data().exists());
}

#[tokio::test]
async fn a_reader_of_the_pipe_may_leave() {
    let place = Place::fresh();
    let log = Log::open(place.data()).await.unwrap();
    let event = || NewEvent {
        id: Uuid::new_v4(),
        event_type: "Noted".into(),
        schema_version: 1,
        data: format!("{:?}", "x".repeat(1_000)),
        metadata: "{}".into(),
        occurred_at: chrono::Utc::now(),
    };
    let events = (0..5_000).map(|_| event()).collect();
    let part = StreamAppend { stream: "note-1".into(), expected: ExpectedVersion::Any, events };
    log.append(Append { parts: vec![part], remember: None }).await.unwrap();
    log.close().await;
    let mut child = place.command(&["log", "export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn what_is_no_whole_export_is_refused_and_writes_nothing() {
    let (place, whole) = exported().await;
    let nth = |number: usize| whole.lines().nth(number - 1).unwrap();
    let without = |number: usize| whole.replace(&format!("{}\n", nth(number)), "");
    let version_of_3 = format!("\"version\":{}", lines(&whole)[2]["version"]);
    let id = |number: usize| lines(&whole)[number - 1]["id"].as_str().unwrap().to_owned();
    let later = nth(40).replace("\"recorded_at\":\"2", "\"recorded_at\":\"1");
    let cases = [
        (String::new(), "no events"),
        ("PAR1\u{15}".to_owned(), "--format ndjson"),
        ("SQLite format 3\0".to_owned(), "daybook restore"),
        (format!("[{}]", nth(1)), "one event a line"),
        ("{}\n".to_owned(), "line 1: "),
        (without(1), "line 1: it holds position 2"),
        (without(30), "line 30: it holds position 31 where 30 should be: events were left out"),
        (whole.replace(nth(20), nth(19)), "line 20: it holds position 19"),
        (whole.replace(nth(5), ""), "line 5: it is empty"),
        (whole.replace(nth(12), &nth(12)[..50]), "line 12: "),
        (whole.replace(nth(3), &nth(3).replace(&version_of_3, "\"version\":77")), "line 3: it has version 77"),
        (whole.replace(&id(33), &id(7)), "line 33: its id"),
        (whole.replace(nth(40), &later), "line 40: it was recorded before"),
        (whole.replace(nth(9), &nth(9).replace("\"id\":", "\"extra\":1,\"id\":")), "line 9: "),
    ];
    for (text, told) in cases {
        let fresh = Place::fresh();
        let said = complaint(&import(&fresh, &place.file("wrong.ndjson", &text)), 1);
        assert!(said.contains(told), "{told} is not in {said}");
        assert!(contents(fresh.data()).is_empty(), "{told}");
    }
    let fresh = Place::fresh();
    let packed = place.file("log.gz", "");
    fs::write(&packed, [0x1f, 0x8b, 8, 0]).unwrap();
    let cases = [
        (packed.clone(), "gunzip"),
        (packed.with_file_name("no-such-file"), "no-such-file"),
        (packed.parent().unwrap().to_owned(), "folder"),
    ];
    for (file, told) in cases {
        let said = complaint(&import(&fresh, &file), 1);
        assert!(said.contains(told), "{told} is not in {said}");
    }
    assert!(!fresh.data().exists());
}

#[tokio::test]
async fn only_a_log_without_events_that_nobody_uses_is_filled() {
    let (place, whole) = exported().await;
    let file = place.file("log.ndjson", &whole);
    let before = contents(place.data());
    let said = complaint(&import(&place, &file), 1);
    assert!(said.contains("has ") && said.contains("--data"), "{said}");
    assert_eq!(contents(place.data()).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(export(&place, &[]), whole);

    // Without events, but somebody may write some at any time.
    let server = Server::start().await;
    assert!(complaint(&import(server.place(), &file), 1).contains("in use"));
    let empty = server.stop().await.place;
    // Read models of another log lie beside it.
    fs::copy(place.data().join("read-models.sqlite3"), empty.data().join("read-models.sqlite3")).unwrap();
    output_of(&import(&empty, &file));
    assert_eq!(export(&empty, &[]), whole);
    files::assert_read_models_equal_a_rebuild(empty.data()).await;
    files::assert_read_models_equal_a_rebuild(place.data()).await;
    assert!(dump(empty.data()).await == dump(place.data()).await);
}

#[tokio::test]
async fn a_killed_import_leaves_no_log_and_the_next_one_cleans_up() {
    let (_place, whole) = exported().await;
    let copy = Place::fresh();
    let mut killed = import_from_pipe(&copy);
    // Enough for some chunks to be read; it waits for the rest.
    killed.stdin.as_mut().unwrap().write_all(&whole.as_bytes()[..whole.len() - 10]).unwrap();
    let mut more = Vec::new();
    for (position, version) in (whole.lines().count() as u64 + 1..).zip(0..4_000_u64) {
        let id = Uuid::new_v4();
        let times = "\"occurred_at\":\"2100-01-01T00:00:00.000000Z\",\"recorded_at\":\"2100-01-01T00:00:00.000000Z\"";
        writeln!(
            more,
            "{{\"position\":{position},\"stream\":\"note-1\",\"version\":{version},\"id\":\"{id}\",\"type\":\"Noted\",\
             \"schema_version\":1,\"data\":{{\"text\":\"{}\"}},\"metadata\":{{}},{times}}}",
            "x".repeat(600),
        )
        .unwrap();
    }
    let rest = [&whole.as_bytes()[whole.len() - 10..], &more].concat();
    killed.stdin.as_mut().unwrap().write_all(&rest).unwrap();
    let stage = copy.data().join("import.partial");
    eventually("the import has begun", async || stage.exists().then_some(())).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(stage.exists() && !copy.data().join("log.sqlite3").exists());

    let mut again = import_from_pipe(&copy);
    let mut pipe = again.stdin.take().unwrap();
    pipe.write_all(whole.as_bytes()).unwrap();
    pipe.write_all(&more).unwrap();
    drop(pipe);
    let output = again.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!stage.exists());
    assert_eq!(export(&copy, &[]), whole + std::str::from_utf8(&more).unwrap());
}
