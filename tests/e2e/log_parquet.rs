//! The Parquet file, read by what people read such files with.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use daybook_eventlog::{Append, ExpectedVersion, NewEvent, StreamAppend};
use uuid::Uuid;

use crate::support::{Place, Server, world};

/// A Python with `pyarrow`, `duckdb` and `polars`: the one of `DAYBOOK_TEST_PYTHON`, else the system's.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("DAYBOOK_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    let found = Command::new(&python).args(["-c", "import duckdb, polars, pyarrow.parquet"]).output();
    if found.as_ref().is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    let reason =
        format!("{} cannot import duckdb, polars and pyarrow (DAYBOOK_TEST_PYTHON): {found:?}", python.display());
    assert!(std::env::var_os("DAYBOOK_TEST_REQUIRE_ALL").is_none(), "{reason}");
    eprintln!("SKIPPED: {reason}");
    None
}

/// Exports to both formats and lets Python compare them.
fn compare(python: &PathBuf, place: &Place, args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (lines, columns) = (folder.path().join("log.ndjson"), folder.path().join("log.parquet"));
    for (format, file) in [("ndjson", &lines), ("parquet", &columns)] {
        let out = ["log", "export", "--format", format, "--out", file.to_str().unwrap()];
        let output = place.run(&[&out[..], args].concat());
        assert!(output.status.success(), "{output:?}");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/log_parquet.py");
    let output = Command::new(python).arg(script).args([&lines, &columns]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn pyarrow_duckdb_and_polars_read_what_the_lines_say() {
    let Some(python) = python() else { return };
    let server = Server::start().await;
    world::populate(&server).await;
    let events = compare(&python, server.place(), &[]);
    assert!(events.trim().parse::<u64>().unwrap() > 40, "{events}");
    for (args, at_least) in [(vec!["--category", "shop"], 2), (vec!["--types", "NoSuchType"], 0)] {
        let events: u64 = compare(&python, server.place(), &args).trim().parse().unwrap();
        assert!(events >= at_least && (at_least > 0 || events == 0), "{args:?}: {events}");
    }
}

#[tokio::test]
async fn row_groups_and_pages_join_without_a_seam() {
    let Some(python) = python() else { return };
    let place = Place::fresh();
    let log = place.log().await;
    // More than one row group of events, times before 1970, texts longer than a page, many and few streams.
    for batch in 0..15_u32 {
        let event = |number: u32| {
            let text = if number % 4_999 == 7 { "é".repeat(700_000) } else { "x".repeat(number as usize % 50) };
            NewEvent {
                id: Uuid::new_v4(),
                event_type: ["Noted", "Seen", "Forgotten"][number as usize / 3 % 3].into(),
                schema_version: [1, 2, 65_535][number as usize % 3],
                data: format!("{{\"n\":{number},\"text\":\"{text}\"}}"),
                metadata: format!("{{\"actor\":\"a{}\"}}", number / 7).into(),
                occurred_at: daybook_eventlog::from_micros(i64::from(number % 1_000) * -123_456_789_012),
            }
        };
        let streams = (0..100).map(|stream| StreamAppend {
            stream: format!("note-{}", stream * (batch % 3)).into(),
            expected: ExpectedVersion::Any,
            events: (0..100).map(|at| event(batch * 10_000 + stream * 100 + at)).collect(),
        });
        // A stream comes once in an append.
        let mut parts: Vec<StreamAppend> = Vec::new();
        for part in streams {
            match parts.iter_mut().find(|other| other.stream == part.stream) {
                Some(other) => other.events.extend(part.events),
                None => parts.push(part),
            }
        }
        log.append(Append { parts, remember: None }).await.unwrap();
    }
    log.close().await;
    assert_eq!(compare(&python, &place, &[]).trim(), "150000");
}

#[tokio::test]
async fn a_parquet_file_goes_to_a_pipe_as_well() {
    let server = Server::start().await;
    world::populate(&server).await;
    let output = server.place().run(&["log", "export", "--format", "parquet"]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"PAR1") && output.stdout.ends_with(b"PAR1"));
    let out = server.place().file("x", "").with_file_name("log.parquet");
    assert!(
        server.place().run(&["log", "export", "--format", "parquet", "--out", out.to_str().unwrap()]).status.success()
    );
    assert_eq!(fs::read(&out).unwrap(), output.stdout);
}
