//! The data folder: who may read it, and what happens when a part of it goes away.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::engine::is_embedded_only;
use crate::support::{Place, Server, eventually, world};

/// An account without rights: `nobody`.
const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file and folder below `folder`.
fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn files_and_folders_are_for_the_account_alone_and_a_read_only_backup_gives_a_log_that_serves() {
    if is_embedded_only("it is about the modes of files") {
        return;
    }
    let server = Server::start().await;
    world::populate(&server).await;
    let place = server.place().clone();
    assert_eq!(mode(place.data()), 0o700);
    for path in below(place.data()) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let backup = place.folder().join("backup.sqlite3");
    assert!(place.run(&["backup", backup.to_str().unwrap()]).status.success());
    assert_eq!(mode(&backup), 0o600);

    fs::set_permissions(&backup, fs::Permissions::from_mode(0o444)).unwrap();
    let elsewhere = Place::embedded();
    assert!(elsewhere.run(&["restore", backup.to_str().unwrap()]).status.success());
    assert_eq!(mode(&elsewhere.data().join("log.sqlite3")), 0o600);
    let restored = elsewhere.serve(&[]).await;
    restored.reader().add_book().await;
}

#[tokio::test]
async fn a_log_that_is_removed_while_it_is_served_takes_no_more_writes() {
    if is_embedded_only("it removes a file") {
        return;
    }
    let server = Server::start().await;
    let reader = server.reader();
    reader.add_book().await;
    fs::rename(server.place().data().join("log.sqlite3"), server.place().folder().join("taken-away")).unwrap();
    let refused = reader.put(&format!("/api/v1/books/{}", uuid::Uuid::new_v4()), &json!({"title": "Lost"})).await;
    let problem = refused.problem(503);
    assert!(problem["detail"].as_str().unwrap().starts_with("The server's log is not in its place"), "{refused:?}");
    let anybody = server.stranger();
    eventually("the server is not ready", async || (anybody.get("/readyz").await.status == 503).then_some(())).await;
}

#[tokio::test]
async fn a_folder_that_has_lost_its_log_is_not_served_and_a_check_makes_nothing() {
    if is_embedded_only("it removes a file") {
        return;
    }
    let place = Place::fresh();
    assert!(place.run(&["serve", "--check"]).status.success());
    assert!(!place.data().exists(), "a check makes nothing");

    let place = place.serve(&[]).await.stop().await.place;
    assert!(place.run(&["serve", "--check"]).status.success());
    let log = place.data().join("log.sqlite3");
    fs::rename(&log, place.folder().join("taken-away")).unwrap();
    for args in [&["serve", "--check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        assert!(error(&place.run(args)).contains("its log was moved or removed"), "{args:?}");
    }
    assert!(!log.exists());
    fs::rename(place.folder().join("taken-away"), &log).unwrap();
    place.serve(&[]).await;
}

#[tokio::test]
async fn a_lock_file_that_is_removed_lets_no_second_server_in() {
    if is_embedded_only("it removes a file") {
        return;
    }
    let server = Server::start().await;
    fs::remove_file(server.place().data().join("daybook.lock")).unwrap();
    for args in [&["serve", "--check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        assert!(error(&server.place().run(args)).contains("is in use by another daybook"), "{args:?}");
    }
    server.reader().add_book().await;
}

#[tokio::test]
async fn an_account_that_may_only_read_reads_a_log_that_was_closed() {
    if is_embedded_only("it is about the modes of files") {
        return;
    }
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED: only root can run a command as another account");
        return;
    }
    let server = Server::start().await;
    world::populate(&server).await;
    let place = server.stop().await.place;
    let readable = tempfile::tempdir().unwrap();
    fs::set_permissions(readable.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["log.sqlite3", "daybook"] {
        let from = if name == "daybook" { Path::new(env!("CARGO_BIN_EXE_daybook")) } else { &place.data().join(name) };
        fs::copy(from, readable.path().join(name)).unwrap();
    }
    fs::set_permissions(readable.path().join("log.sqlite3"), fs::Permissions::from_mode(0o444)).unwrap();
    let out = tempfile::tempdir().unwrap();
    chown(out.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let backup = out.path().join("backup.sqlite3");
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(readable.path().join("daybook"));
        command.args(args).arg("--data").arg(readable.path()).current_dir(out.path());
        command.uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    for args in [
        &["log", "head"][..],
        &["log", "verify"],
        &["log", "export", "--out", "log.ndjson"],
        &["backup", backup.to_str().unwrap()],
    ] {
        let output = as_nobody(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    let copied = Command::new(readable.path().join("daybook"))
        .args(["log", "copy", "--from", readable.path().to_str().unwrap(), "--to", "copy"])
        .current_dir(out.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");

    // A write-ahead log may hold the newest events, so it must not be passed over.
    fs::write(readable.path().join("log.sqlite3-wal"), [0; 4_096]).unwrap();
    assert!(error(&as_nobody(&["log", "head"])).contains("has a write-ahead log that this account may not use"));
}

#[tokio::test]
async fn a_token_is_made_where_a_server_has_been_only() {
    if is_embedded_only("with a database the key is a setting") {
        return;
    }
    let place = Place::fresh();
    assert!(error(&place.run(&["token", "--sub", "u1"])).contains("start the server there first"));
    assert!(!place.data().exists());
    let place = place.serve(&[]).await.stop().await.place;
    assert!(place.run(&["token", "--sub", "u1"]).status.success());
}

#[tokio::test]
async fn a_folder_whose_name_looks_like_a_uri_is_a_folder() {
    if is_embedded_only("it is about a folder's name") {
        return;
    }
    let place = Place::fresh();
    let command = place.bare(&["serve", "--listen", "127.0.0.1:0", "--data", "file:db?mode=memory"]);
    let server = place.start(command);
    let anybody = server.stranger();
    eventually("the server is ready", async || (anybody.get("/readyz").await.status == 200).then_some(())).await;
    let data = place.folder().join("file:db?mode=memory");
    assert!(data.join("log.sqlite3").is_file() && data.join("read-models/catalog.sqlite3").is_file());
}

#[tokio::test]
async fn an_export_to_a_closed_standard_output_fails() {
    let place = Server::start().await.stop().await.place;
    let command = place.command(&["log", "export"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    assert!(error(&shell.output().unwrap()).contains("standard output is closed"));
}
