//! Starting, stopping, starting again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::engine::is_embedded_only;
use crate::support::{PATIENCE, Place, Server, eventually};

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server on `place` that should not come up.
fn refused(place: &Place, args: &[&str]) -> String {
    complaint(&place.run(&[&["serve", "--listen", "127.0.0.1:0"], args].concat()))
}

#[tokio::test]
async fn what_was_written_is_there_after_a_stop_and_a_start() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.put_book(&json!({ "title": "Дар", "total_pages": 300 })).await;
    let first = reader.start(book, 10).await;
    reader.end(&first, 30).await.expect(200);
    let second = reader.start(book, 30).await;
    reader.update(&second, 44).await.expect(200);
    reader.put("/api/v1/users/profile", &json!({ "timezone": "Asia/Omsk" })).await.expect(200);
    let all = async |server: &Server| {
        let reader = server.reader_called(reader.id);
        let mut seen = vec![reader.history().await, reader.active().await];
        for path in ["books", "users/profile", "users/stats/patterns", "users/stats/overview"] {
            seen.push(reader.get(&format!("/api/v1/{path}")).await.expect(200));
        }
        seen
    };
    let before = all(&server).await;
    let events = server.place().events();

    let stopped = server.stop().await;
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
    let server = stopped.place.serve(&[]).await;
    assert_eq!(all(&server).await, before);
    assert_eq!(server.place().events(), events);
    let reader = server.reader_called(reader.id);
    assert_eq!(reader.end(&second, 50).await.expect(200)["pages_read"], 60);
}

#[tokio::test]
async fn both_signals_stop_it_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start().await;
        server.reader().add_book().await;
        server.signal(signal);
        let stopped = server.stopped().await;
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
        assert!(stopped.log.contains("stopped") && !stopped.log.contains("ERROR"), "{}", stopped.log);
    }
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_nobody_new_is_let_in() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let body = json!({ "book_id": book, "start_position": 42 }).to_string();
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /api/v1/reading-sessions/start HTTP/1.1\r\nhost: daybook\r\nconnection: close\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nauthorization: {}\r\n\r\n",
        body.len(),
        reader.authorization(),
    );
    connection.write_all(head.as_bytes()).unwrap();
    // The server asks for the body: from here on the request is in flight.
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut asked = vec![0; go_on.len()];
    connection.read_exact(&mut asked).unwrap();
    assert_eq!(asked, go_on);

    server.signal(Signal::TERM);
    eventually("the door closes", async || TcpStream::connect(server.address()).is_err().then_some(())).await;
    connection.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let stopped = server.stopped().await;
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.log);
    let last = stopped.place.events().pop().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["start_position"]), ("ReadingSessionStarted", &json!(42)));
}

#[tokio::test]
async fn connections_that_only_wait_do_not_hold_up_the_stop() {
    let server = Server::start().await;
    let silent = TcpStream::connect(server.address()).unwrap();
    server.reader().add_book().await;
    let began = std::time::Instant::now();
    assert_eq!(server.stop().await.status.code(), Some(0));
    assert!(began.elapsed().as_secs() < 10);
    drop(silent);
}

#[tokio::test]
async fn a_folder_serves_one_process_at_a_time() {
    if is_embedded_only("any number of nodes serve a database") {
        return;
    }
    let server = Server::start().await;
    let complaint = refused(server.place(), &[]);
    let folder = server.place().data().display().to_string();
    assert!(complaint.contains("in use") && complaint.contains(&folder), "{complaint}");
    assert!(complaint.contains("--data"), "{complaint}");
    server.reader().add_book().await;
    let place = server.kill();
    place.serve(&[]).await.reader().add_book().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let server = Server::start().await;
    let address = server.address().to_string();
    let complaint = complaint(&Place::fresh().run(&["serve", "--listen", &address]));
    assert!(complaint.contains(&address) && complaint.contains("--listen"), "{complaint}");
}

#[tokio::test]
async fn check_looks_at_everything_and_leaves() {
    let place = Place::fresh();
    let good = place.run(&["serve", "--check"]);
    assert!(good.status.success(), "{good:?}");
    assert!(place.serve(&[]).await.stop().await.status.success(), "and the folder serves afterwards");

    let nonsense = place.file("nonsense.pem", "nonsense");
    let damaged = Place::embedded();
    std::fs::create_dir_all(damaged.data()).unwrap();
    std::fs::write(damaged.data().join("log.sqlite3"), "this is no database, but it is long enough").unwrap();
    for (place, args, named) in [
        (&place, vec!["--rate-limit", "lots"], "DAYBOOK_RATE_LIMIT"),
        (&place, vec!["--jwt-public-key-file", nonsense.to_str().unwrap()], "nonsense.pem"),
        (&place, vec!["--jwt-secret-file", "/nowhere/secret"], "/nowhere/secret"),
        (&place, vec!["--config", "/nowhere/daybook.toml"], "/nowhere/daybook.toml"),
        (&damaged, vec![], "log.sqlite3"),
    ] {
        let mut check = place.command(&[&["serve", "--check"], args.as_slice()].concat());
        // Two keys are refused before either is looked for.
        let complaint = complaint(&check.env_remove("DAYBOOK_JWT_SECRET").output().unwrap());
        assert!(complaint.contains(named), "{named}: {complaint}");
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    let server = place.serve(&[]).await;
    let check = place.run(&["serve", "--check"]);
    match place.database() {
        // There may be more than one node.
        Some(_) => assert!(check.status.success(), "{check:?}"),
        None => assert!(complaint(&check).contains("in use")),
    }
    drop(server);
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start_with_its_name_its_value_and_what_is_allowed() {
    let place = Place::fresh();
    for (flag, wrong, allowed) in [
        ("listen", "nowhere", "127.0.0.1:8080"),
        ("log", "loud[", "info"),
        ("log-format", "xml", "text or json"),
        ("body-limit", "huge", "2MiB"),
        ("rate-limit", "-1", "whole number"),
        ("session-idle", "12", "12h"),
        ("session-sweep", "0s", "30s"),
        ("lag-max", "soon", "30s"),
        ("cors-origins", "app.example.com", "https://"),
        ("jwks-url", "not a url", "https://"),
    ] {
        let variable = format!("DAYBOOK_{}", flag.replace('-', "_").to_ascii_uppercase());
        let by_flag = place.run(&["serve", &format!("--{flag}={wrong}")]);
        assert_eq!(by_flag.status.code(), Some(2), "{flag}");
        let mut command = place.command(&["serve"]);
        let by_variable = command.env(&variable, wrong).output().unwrap();
        let file = place.file("daybook.toml", &format!("{} = {wrong:?}\n", flag.replace('-', "_")));
        let by_file = place.run(&["serve"]);
        std::fs::remove_file(file).unwrap();
        for (output, source) in
            [(by_flag, format!("--{flag}")), (by_variable, variable.clone()), (by_file, "daybook.toml".to_owned())]
        {
            let complaint = complaint(&output);
            for part in [&variable, &format!("{wrong:?}"), &source, &allowed.to_owned()] {
                assert!(complaint.contains(part), "{part} is not in {complaint}");
            }
        }
    }
    let file = place.file("daybook.toml", "listn = \"127.0.0.1:1\"\n");
    assert!(complaint(&place.run(&["serve"])).contains("listn"));
    std::fs::remove_file(file).unwrap();
    assert!(place.has_no_log(), "nothing was made");
}

#[tokio::test]
async fn settings_come_from_flag_variable_and_file_in_that_order_and_secrets_are_masked() {
    let place = Place::fresh();
    place.file("daybook.toml", "rate_limit = 1\nbody_limit = \"1KiB\"\nlag_max = \"1s\"\n");
    let mut command = place.command(&["config", "--rate-limit", "3"]);
    command
        .env("DAYBOOK_RATE_LIMIT", "2")
        .env("DAYBOOK_BODY_LIMIT", "2KiB")
        .env("DAYBOOK_JWT_SECRET", "hush-hush-hush");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
    for (name, value, source) in [
        ("DAYBOOK_RATE_LIMIT", " 3 ", "--rate-limit"),
        ("DAYBOOK_BODY_LIMIT", "2", "DAYBOOK_BODY_LIMIT"),
        ("DAYBOOK_LAG_MAX", "1s", "daybook.toml"),
        ("DAYBOOK_SESSION_IDLE", "12h", "default"),
    ] {
        let line = line(name);
        assert!(line.contains(value) && line.ends_with(source), "{line}");
    }
    assert!(!text.contains("hush"), "{text}");
}

#[tokio::test]
async fn the_demo_world_is_made_once_and_its_requests_work_as_printed() {
    let place = Place::fresh();
    let server = place.serve(&["--demo"]).await;
    let events = place.events();
    assert!(!events.is_empty());
    let reader = server.reader();
    assert!(reader.get("/api/v1/books").await.expect(200)["total"].as_u64().unwrap() >= 2);
    reader.start("123e4567-e89b-12d3-a456-426614174000".parse().unwrap(), 0).await;
    let events = place.events().len();
    assert!(server.stop().await.status.success());

    let server = place.serve(&["--demo"]).await;
    assert_eq!(place.events().len(), events, "a second start adds nothing");
    let printed = eventually("it prints its requests", async || {
        let said = server.said();
        said.contains("/docs\n").then_some(said)
    })
    .await;
    let lines: Vec<&str> =
        printed.lines().filter(|line| line.starts_with("export ") || line.starts_with("curl ")).collect();
    assert!(lines.len() >= 3, "{printed}");
    // --fail: an answer of 400 and above is a failure; -w: an end of line after each answer.
    let script = lines.join("\n").replace("curl -s", "curl --noproxy '*' --fail -s -w '\\n'");
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("DAYBOOK_TEST_REQUIRE_ALL").is_none(), "curl is missing");
        return eprintln!("SKIPPED: the printed requests need curl, and there is none");
    }
    let output = std::process::Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for answer in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()) {
        assert!(serde_json::from_str::<Value>(answer).is_ok(), "{answer}");
    }
}

#[tokio::test]
async fn log_lines_are_json_on_request_and_hold_no_token() {
    let server = Server::start_with(&["--log-format", "json", "--log", "debug"]).await;
    let reader = server.reader();
    let book = reader.add_book().await;
    reader.start(book, 0).await;
    let token = reader.authorization().split_once(' ').unwrap().1.to_owned();
    let stopped = server.stop().await;
    let lines: Vec<&str> = stopped.log.lines().collect();
    assert!(lines.len() > 5);
    for line in lines {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert!(!stopped.log.contains(&token));
    assert!(!stopped.log.contains(token.rsplit_once('.').unwrap().1));
}

#[tokio::test]
async fn read_models_that_were_deleted_are_built_again() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for position in 0..5 {
        let session = reader.start(book, position).await;
        reader.end(&session, position + 1).await.expect(200);
    }
    let before = reader.history().await;
    let place = server.stop().await.place;
    place.delete_read_models();
    let server = place.serve(&[]).await;
    let reader = server.reader_called(reader.id);
    assert_eq!(reader.history().await, before);
    assert_eq!(reader.get("/api/v1/users/stats/overview").await.expect(200)["total_sessions"], 5);
    assert_eq!(reader.get(&format!("/api/v1/books/{book}")).await.expect(200)["id"], json!(book));
}

#[tokio::test]
async fn diagnostic_output_that_cannot_be_written_stops_nothing() {
    if !std::path::Path::new("/dev/full").exists() {
        return eprintln!("SKIPPED: there is no /dev/full here");
    }
    let place = Place::fresh();
    // A free port: nothing that the server says can be read.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = place.command(&["serve", "--log", "debug", "--listen", &address.to_string()]);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = command.stdout(full()).stderr(full()).spawn().unwrap();
    let get = async |path: &str| {
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{address}{path}"));
        answer.send().await.ok().map(|answer| answer.status().as_u16())
    };
    eventually("the server is ready", async || (get("/readyz").await == Some(200)).then_some(())).await;
    for _ in 0..20 {
        assert_eq!(get("/api/v1/books").await, Some(401));
    }
    assert_eq!(get("/readyz").await, Some(200));
    server.kill().unwrap();
    server.wait().unwrap();
}
