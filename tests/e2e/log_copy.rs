//! A log copied from one place to another.

use std::fs;
use std::process::{Child, Output, Stdio};

use daybook_eventlog::{Append, ExpectedVersion, NewEvent, StreamId};
use uuid::Uuid;

use crate::log_export::{complaint, export, exported_in};
use crate::support::database::Database;
use crate::support::{Place, eventually, world};

/// In a place of its own, so that no setting says where anything is.
fn copy(from: &str, to: &str) -> Output {
    Place::embedded().bare(&["log", "copy", "--from", from, "--to", to]).output().unwrap()
}

#[track_caller]
fn copied(from: &str, to: &str) -> String {
    let output = copy(from, to);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn start(place: &Place, from: &str, to: &str) -> Child {
    let mut command = place.bare(&["log", "copy", "--from", from, "--to", to]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn folder(place: &Place) -> &str {
    place.data().to_str().unwrap()
}

#[track_caller]
fn head(place: &Place) -> String {
    let output = place.run(&["log", "head"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_copy_to_a_database_and_back_and_on_is_the_same_log() {
    let Some((one, two)) = Database::fresh().zip(Database::fresh()) else { return };
    let (place, original) = exported_in(Place::embedded()).await;
    let told = copied(folder(&place), &one.url());
    let anchor = head(&place).split(' ').nth(1).unwrap().to_owned();
    let count = original.lines().count();
    assert!(told.contains(&format!("copied {count} events")), "{told}");
    assert!(told.contains(&format!("compared: both have {anchor}")), "{told}");
    assert_eq!(head(&one.place()), head(&place));
    assert_eq!(export(&one.place(), &[]), original);
    let verified = one.place().run(&["log", "verify", "--expect", &anchor]);
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(told.contains(&format!("verified {count} events, {anchor} among them: nothing is wrong")), "{verified:?}");

    copied(&one.url(), &two.url());
    let (back, further) = (Place::embedded(), Place::embedded());
    copied(&two.url(), folder(&back));
    copied(folder(&back), folder(&further));
    for copy in [&back, &further] {
        assert_eq!(export(copy, &[]), original);
        assert!(copy.run(&["log", "verify", "--expect", &anchor]).status.success());
    }

    // Whatever was copied can be served, and read from another database goes on where it is.
    let server = one.place().serve(&[]).await;
    world::populate_more(&server).await;
    let told = copied(&one.url(), &two.url());
    assert!(!told.contains("nothing to copy"), "{told}");
    server.stop().await;
    assert!(copied(&one.url(), &two.url()).contains("nothing to copy"));
    let grown = export(&one.place(), &[]);
    assert!(grown.starts_with(&original) && grown.len() > original.len());
    assert_eq!(export(&two.place(), &[]), grown);
}

/// Kills copies until one comes to its end; how often it was killed.
async fn copy_with_kills(from: &str, to: &str, written: impl Fn() -> u64) -> u32 {
    let (place, mut kills) = (Place::embedded(), 0);
    loop {
        let before = written();
        let mut child = start(&place, from, to);
        let ended = eventually("some of it is written", async || {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || written() > before { Some(ended) } else { None }
        });
        if let Some(status) = ended.await {
            assert!(status.success(), "{status}");
            return kills;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
}

#[tokio::test]
async fn a_killed_copy_goes_on_where_it_was() {
    let Some(database) = Database::fresh() else { return };
    let (source, target) = (Place::embedded(), Place::embedded());
    source.fill(150_000, 100).await;
    let in_database =
        || database.try_sql("SELECT position FROM daybook.head").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let kills = copy_with_kills(folder(&source), &database.url(), in_database).await;
    assert!(kills >= 2, "{kills}");
    let in_folder = || {
        let file = target.data().join("log.sqlite3");
        let open = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        let head = open.and_then(|log| log.query_row("SELECT position FROM head", [], |row| row.get::<_, i64>(0)));
        head.unwrap_or(0).cast_unsigned()
    };
    let kills = copy_with_kills(&database.url(), folder(&target), in_folder).await;
    assert!(kills >= 2, "{kills}");
    assert_eq!(head(&target), head(&source));
    assert_eq!(head(&database.place()), head(&source));
    assert!(target.run(&["log", "verify"]).status.success());
    assert!(copied(folder(&source), folder(&target)).contains("nothing to copy"));
}

#[tokio::test]
async fn what_is_no_beginning_of_the_source_is_refused_and_left_as_it_is() {
    let Some(database) = Database::fresh() else { return };
    let (ours, others) = (Place::embedded(), Place::embedded());
    ours.fill(20, 10).await;
    others.fill(10, 10).await;
    copied(folder(&ours), &database.url());
    let before = head(&database.place());

    // Another log, shorter and longer; and one that has gone on.
    for (from, to) in [(folder(&others), &*database.url()), (&*database.url(), folder(&others))] {
        let said = complaint(&copy(from, to), 1);
        assert!(said.contains("holds another log") && said.contains("nothing was written"), "{said}");
    }
    let shorter = Place::embedded();
    copied(folder(&ours), folder(&shorter));
    let more = Place::embedded();
    copied(folder(&ours), folder(&more));
    let server = more.serve(&[]).await;
    server.reader().add_book().await;
    server.stop().await;
    let said = complaint(&copy(folder(&ours), folder(&more)), 1);
    assert!(said.contains("goes on where") && said.contains("beyond the log's head, which is 20"), "{said}");
    assert_eq!(head(&database.place()), before);
    assert_eq!(others.events().len(), 10);
}

#[tokio::test]
async fn a_folder_that_is_served_is_copied_from_and_not_to() {
    let Some(database) = Database::fresh() else { return };
    let server = Place::embedded().serve(&[]).await;
    world::populate(&server).await;
    copied(folder(server.place()), &database.url());
    let said = complaint(&copy(&database.url(), folder(server.place())), 1);
    assert!(said.contains("is in use by another daybook"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn a_place_may_stand_in_a_variable() {
    let (source, target) = (Place::embedded(), Place::embedded());
    source.fill(5, 10).await;
    let mut command = target.bare(&["log", "copy", "--from", "env:TEST_FROM", "--to", folder(&target)]);
    assert!(complaint(&command.output().unwrap(), 2).contains("TEST_FROM"));
    let output = command.env("TEST_FROM", source.data()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(head(&target), head(&source));
    assert!(!fs::exists(target.folder().join("daybook-data")).unwrap());
    for wrong in ["mysql://me:hush@db/books", ""] {
        let said = complaint(&copy(wrong, folder(&target)), 2);
        assert!(!said.contains("hush"), "{said}");
    }
    assert!(complaint(&copy("not-there", folder(&target)), 1).contains("there is no log in not-there"));
}

#[tokio::test]
async fn lines_are_imported_into_a_database_whole_or_not_at_all() {
    let Some(database) = Database::fresh() else { return };
    let (place, original) = exported_in(Place::embedded()).await;
    let torn = original.replacen("\"version\":1", "\"version\":7", 1);
    let import = |name: &str, text: &str| {
        let file = place.file(name, text);
        database.place().command(&["log", "import", file.to_str().unwrap()]).output().unwrap()
    };
    let said = complaint(&import("torn.ndjson", &torn), 1);
    assert!(said.contains("line ") && said.contains("nothing was imported"), "{said}");
    assert!(complaint(&database.place().run(&["log", "head"]), 1).contains("holds no log"));

    let output = import("log.ndjson", &original);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(export(&database.place(), &[]), original);
    let events = original.lines().count();
    let (_other, text) = exported_in(Place::embedded()).await;
    for (name, text) in [("log.ndjson", &original), ("other.ndjson", &text)] {
        let said = complaint(&import(name, text), 1);
        assert!(said.contains(&format!("has {events} events")) && !said.contains("imported "), "{said}");
    }
    assert_eq!(export(&database.place(), &[]), original);
}

#[tokio::test]
async fn a_database_that_was_changed_past_daybook_is_found_out() {
    let Some(database) = Database::fresh() else { return };
    let source = Place::embedded();
    source.fill(30, 10).await;
    copied(folder(&source), &database.url());
    database.sql(
        "ALTER TABLE daybook.events DISABLE TRIGGER ALL; UPDATE daybook.events SET data = '{}' WHERE position = 7",
    );
    let verified = database.place().run(&["log", "verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(told.starts_with("position 7 (stream test-0, version 6): the event does not fit its checksum"), "{told}");

    // What it holds is copied as it stands, and the ends tell that it is not what was written.
    let target = Place::embedded();
    let said = complaint(&copy(&database.url(), folder(&target)), 1);
    assert!(said.contains("the copy ends with 30:") && said.contains("daybook log verify"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_others_write_to_is_left_whole() {
    let Some(database) = Database::fresh() else { return };
    let source = Place::embedded();
    source.fill(150_000, 100).await;
    let node = database.place().log().await;
    let other = || NewEvent {
        id: Uuid::now_v7(),
        event_type: "Other".into(),
        schema_version: 1,
        data: "{}".to_owned(),
        metadata: "{}".into(),
        occurred_at: chrono::Utc::now(),
    };
    let (from, to) = (folder(&source).to_owned(), database.url());
    let copying = tokio::task::spawn_blocking(move || copy(&from, &to));
    eventually("some of it is written", async || (node.head().get() > 0).then_some(())).await;
    let append = Append::to(StreamId::new("other-1"), ExpectedVersion::Any, vec![other()]);
    node.append(append).await.unwrap();
    let said = complaint(&copying.await.unwrap(), 1);
    assert!(said.contains("somebody else writes to postgres://"), "{said}");

    assert!(database.place().run(&["log", "verify"]).status.success());
    assert!(node.head().get() < 150_000);
    let said = complaint(&copy(folder(&source), &database.url()), 1);
    assert!(said.contains("holds another log") && said.contains("nothing was written"), "{said}");
    node.close().await;
}
