//! The log written to a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Place, Server, world};

/// Standard output of a command that has to succeed.
#[track_caller]
pub fn output_of(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
pub fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.contains("daybook: ") && !text.contains("panicked"), "{text}");
    text
}

#[track_caller]
pub fn export(place: &Place, args: &[&str]) -> String {
    output_of(&place.run(&[&["log", "export"], args].concat()))
}

pub fn lines(export: &str) -> Vec<Value> {
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file below a folder but the lock, with what it holds.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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
pub async fn exported() -> (Place, String) {
    exported_in(Place::fresh()).await
}

pub async fn exported_in(place: Place) -> (Place, String) {
    let server = place.serve(&[]).await;
    world::populate(&server).await;
    let place = server.stop().await.place;
    let export = export(&place, &[]);
    assert!(export.lines().count() > 40 && export.ends_with("}\n"), "{export}");
    (place, export)
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
    let cases: [(Vec<&str>, Wanted<'_>); 5] = [
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
    assert!(complaint(&nowhere.run(&["log", "export"]), 1).contains(nowhere.words_for_no_log()));
    assert!(nowhere.is_untouched());
}

#[tokio::test]
async fn a_reader_of_the_pipe_may_leave() {
    let place = Place::fresh();
    place.fill(5_000, 1_000).await;
    let mut child = place.command(&["log", "export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
