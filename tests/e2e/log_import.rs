//! A log made from an export.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use daybook_eventlog::{Append, ExpectedVersion, NewEvent, StreamAppend};
use daybook_projections::READ_MODELS_FOLDER;
use uuid::Uuid;

use crate::log_export::{complaint, contents, export, exported, lines, output_of};
use crate::support::engine::is_embedded_only;
use crate::support::{Place, Server, eventually, world};

fn import(place: &Place, file: &Path) -> Output {
    place.run(&["log", "import", file.to_str().unwrap()])
}

/// `import -`, whose standard input is written by the test.
pub fn import_from_pipe(place: &Place) -> Child {
    let mut import = place.command(&["log", "import", "-"]);
    import.env("TMPDIR", place.folder()).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn an_export_that_was_imported_is_exported_byte_by_byte_the_same() {
    let (place, first) = exported().await;
    let copy = Place::fresh();
    let imported = import(&copy, &place.file("log.ndjson", &first));
    assert!(String::from_utf8_lossy(&imported.stderr).contains(&format!("imported {}", first.lines().count())));
    output_of(&imported);
    assert_eq!(export(&copy, &[]), first);
    assert_eq!(copy.events(), place.events());

    // And the imported log says the same to everyone who reads from it, once it is served.
    let server = copy.serve(&[]).await;
    world::populate_more(&server).await;
    server.stop().await;
    assert!(export(&copy, &[]).starts_with(&first));
    copy.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn an_imported_log_gives_the_same_read_models() {
    let (place, exported) = exported().await;
    place.assert_read_models_equal_a_rebuild().await;
    let copy = Place::fresh();
    output_of(&import(&copy, &place.file("log.ndjson", &exported)));
    copy.assert_read_models_equal_a_rebuild().await;
    let rows = place.read_model_rows().await;
    assert!(rows.len() > 40);
    assert!(copy.read_model_rows().await == rows);
}

#[tokio::test]
async fn stored_json_is_kept_to_the_letter() {
    let place = Place::fresh();
    let log = place.log().await;
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
        assert!(fresh.has_no_log(), "{told}");
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
    assert!(fresh.is_untouched());
}

#[tokio::test]
async fn only_a_log_without_events_that_nobody_uses_is_filled() {
    if is_embedded_only("an import into a database goes on where it was, and may be served meanwhile") {
        return;
    }
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
    for (path, model) in contents(&place.data().join(READ_MODELS_FOLDER)) {
        fs::write(empty.data().join(READ_MODELS_FOLDER).join(path.file_name().unwrap()), model).unwrap();
    }
    output_of(&import(&empty, &file));
    assert_eq!(export(&empty, &[]), whole);
    empty.assert_read_models_equal_a_rebuild().await;
    place.assert_read_models_equal_a_rebuild().await;
    assert!(empty.read_model_rows().await == place.read_model_rows().await);
}

/// Some chunks of lines that go on where `whole` ends.
pub fn more_lines(whole: &str) -> Vec<u8> {
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
    more
}

#[tokio::test]
async fn a_killed_import_leaves_no_log_and_the_next_one_cleans_up() {
    if is_embedded_only("a database is filled from a temporary folder, which the system clears") {
        return;
    }
    let (_place, whole) = exported().await;
    let copy = Place::fresh();
    let mut killed = import_from_pipe(&copy);
    // Enough for some chunks to be read; it waits for the rest.
    killed.stdin.as_mut().unwrap().write_all(&whole.as_bytes()[..whole.len() - 10]).unwrap();
    let more = more_lines(&whole);
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
