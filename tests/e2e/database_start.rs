//! A server on a database: its settings, its tables, its start.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::log_export::{complaint, output_of};
use crate::support::database::Database;
use crate::support::{Place, eventually};

/// What the node says and does not say of where it stands.
const PASSWORD: &str = "correct-horse";

/// A URL with a password, which the server does not ask for.
fn with_password(url: &str) -> String {
    url.replace("postgres@", &format!("postgres:{PASSWORD}@"))
}

/// Where nobody listens.
const NOWHERE: &str = "postgres://me:correct-horse@127.0.0.1:9/books";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn without_key(mut command: Command) -> Output {
    command.env_remove("DAYBOOK_JWT_SECRET").output().unwrap()
}

#[tokio::test]
async fn nodes_on_one_database_serve_what_any_of_them_wrote_and_make_no_folder() {
    let Some(database) = Database::fresh() else { return };
    let place = Place::on_database(&with_password(&database.url()));
    let nodes = [place.serve(&["--demo"]).await, place.serve(&["--demo"]).await];
    let reader = nodes[0].reader();
    let there = nodes[1].reader_called(reader.id);
    for pages in 1..20 {
        let book = reader.put_book(&json!({ "title": "Дар", "total_pages": pages })).await;
        assert_eq!(there.get(&format!("/api/v1/books/{book}")).await.expect(200)["total_pages"], pages);
        there.put(&format!("/api/v1/books/{book}"), &json!({ "title": "Gift" })).await.expect(200);
        assert_eq!(reader.get(&format!("/api/v1/books/{book}")).await.expect(200)["title"], "Gift");
    }
    let [first, second] = nodes;
    for stopped in [first.stop().await, second.stop().await] {
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
        assert!(stopped.log.contains("opened the log") && !stopped.log.contains(PASSWORD), "{}", stopped.log);
    }
    assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 0, "no folder is made");
}

#[test]
fn a_node_needs_a_key_that_all_nodes_share() {
    // Nothing is connected to before the keys are there.
    let place = Place::on_database(NOWHERE);
    for command in [&["serve"][..], &["token", "--sub", "u1"]] {
        let said = complaint(&without_key(place.command(command)), 1);
        assert!(said.contains("DAYBOOK_JWT_SECRET_FILE") && said.contains("the same for all nodes"), "{said}");
    }
    assert!(place.run(&["token", "--sub", "u1"]).status.success());
    assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 0);
}

#[test]
fn the_databases_password_is_never_shown() {
    let place = Place::on_database(NOWHERE);
    let commands: [&[&str]; 7] = [
        &["config"],
        &["config", "--toml"],
        &["serve", "--check"],
        &["migrate", "--check"],
        &["log", "head"],
        &["log", "verify"],
        &["backup", "file"],
    ];
    for command in commands {
        let said = text(&place.run(command));
        assert!(!said.is_empty() && !said.contains(PASSWORD), "{command:?}: {said}");
    }
    let said = text(&place.bare(&["log", "copy", "--from", NOWHERE, "--to", "nowhere"]).output().unwrap());
    assert!(said.contains("cannot open the log in postgres://127.0.0.1:9/books") && !said.contains(PASSWORD), "{said}");
    // Another scheme; a password that would end the host's name.
    for (wrong, password) in
        [("mysql://me:correct-horse@db/books", PASSWORD), ("postgres://me:4242#correct@db/books", "4242")]
    {
        let said = complaint(&Place::on_database(wrong).run(&["serve"]), 2);
        assert!(said.contains("DAYBOOK_DATABASE_URL is ********") && said.contains("postgres://"), "{said}");
        assert!(!said.contains(password), "{said}");
    }
}

#[tokio::test]
async fn tables_are_made_once_by_whoever_is_first() {
    let Some(database) = Database::fresh() else { return };
    let place = database.place();
    let said = complaint(&place.run(&["migrate", "--check"]), 1);
    assert!(said.contains("holds no log") && said.contains("daybook migrate"), "{said}");
    assert_eq!(database.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "0");

    let migrate = |_| place.command(&["migrate"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said: Vec<String> = (0..4)
        .map(migrate)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|one| output_of(&one.wait_with_output().unwrap()))
        .collect();
    assert_eq!(said.iter().filter(|said| said.contains("made the log in postgres://")).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|said| said.contains("format 1: nothing to do")).count(), 3, "{said:?}");
    assert!(output_of(&place.run(&["migrate", "--check"])).contains("nothing to do"));
    place.serve(&[]).await.stop().await;

    database.sql("INSERT INTO daybook.log_format VALUES (99)");
    for command in [&["migrate"][..], &["migrate", "--check"], &["serve"]] {
        let said = complaint(&place.run(command), 1);
        assert!(said.contains("has format 99") && said.contains("use a newer daybook"), "{said}");
    }
    assert!(complaint(&Place::embedded().run(&["migrate"]), 2).contains("DAYBOOK_DATABASE_URL"));
}

#[tokio::test]
async fn a_start_waits_for_a_database_that_is_away() {
    let Some(database) = Database::on_its_own_server() else { return };
    database.server().crash();
    let place = database.place();
    let starting = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let back = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(1_500));
            database.server().run();
        });
        place.start(starting)
    });
    eventually("it is ready", async || (back.stranger().get("/readyz").await.status == 200).then_some(())).await;
    assert!(back.said().contains("the database is away: trying again"), "{}", back.said());
    assert_eq!(back.stop().await.status.code(), Some(0));
}

#[test]
fn a_start_gives_up_on_a_database_that_stays_away() {
    let output = Place::on_database(NOWHERE).run(&["serve", "--listen", "127.0.0.1:0"]);
    let said = complaint(&output, 1);
    assert!(said.contains("gave up after 3") && said.contains("what DAYBOOK_DATABASE_URL names"), "{said}");
    assert!(said.contains("postgres://127.0.0.1:9/books, schema daybook") && !said.contains(PASSWORD), "{said}");
}

#[tokio::test]
async fn a_check_looks_at_the_database_and_leaves_it_alone() {
    let Some(database) = Database::fresh() else { return };
    let place = database.place();
    let checked = place.run(&["serve", "--check"]);
    assert!(checked.status.success() && text(&checked).contains("the start does that"), "{checked:?}");
    assert_eq!(database.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "0");
    assert!(complaint(&Place::on_database(NOWHERE).run(&["serve", "--check"]), 1).contains("cannot open the log"));
}

#[tokio::test]
async fn what_knows_folders_only_says_what_serves_a_database() {
    let place = Place::on_database(NOWHERE);
    for command in [&["backup", "file"][..], &["restore", "file"]] {
        let said = complaint(&place.run(command), 2);
        assert!(said.contains("pg_dump") && said.contains("daybook log copy"), "{said}");
    }
    let said = complaint(&place.run(&["log", "head", "--data", "folder"]), 2);
    assert!(said.contains("--data names a folder and DAYBOOK_DATABASE_URL a database"), "{said}");
}
