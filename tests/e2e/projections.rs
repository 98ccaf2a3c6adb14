//! Projections in the open: how far they are, rebuilt beside the served ones, stopped and resumed, verified.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamId};
use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::support::till::{PHONE, SERIAL, Shop, at_till, sale, sync, usual_shop};
use crate::support::{Caller, Place, Server, eventually, files};

const PATH: &str = "/api/v1/projections";
const NAMES: [&str; 8] = [
    "library",
    "reader_profiles",
    "reading_sessions",
    "reading_statistics",
    "sales",
    "shops",
    "stock_documents",
    "stock_ledger",
];

fn with_role(server: &Server, role: &str) -> Caller {
    let id = Uuid::new_v4();
    server.caller_claiming(id, &json!({ "sub": id, "roles": [role] }))
}

async fn one(admin: &Caller, name: &str) -> Value {
    admin.get(&format!("{PATH}/{name}")).await.expect(200)
}

async fn rebuild(admin: &Caller, name: &str) -> u16 {
    ask(admin, &format!("{PATH}/{name}/rebuild")).await.status
}

/// A POST without a body, as `curl -X POST` sends it.
async fn ask(admin: &Caller, path: &str) -> crate::support::Reply {
    admin.send(reqwest::Method::POST, path, None, "").await
}

async fn settled(admin: &Caller) {
    eventually("every projection is live and none is rebuilt", async || {
        let all = admin.get(PATH).await.expect(200);
        let all = all["projections"].as_array().unwrap().clone();
        let is_settled = |one: &Value| one["state"] == "live" && one["lag_events"] == 0 && one["rebuild"].is_null();
        all.iter().all(is_settled).then_some(())
    })
    .await;
}

/// The generations of the copies of a read model.
fn copies(data: &Path, name: &str) -> Vec<i64> {
    let mut found: Vec<i64> = std::fs::read_dir(data.join(daybook_projections::READ_MODELS_FOLDER))
        .unwrap()
        .filter_map(|file| {
            let file = file.unwrap().file_name().into_string().unwrap();
            file.strip_prefix(&format!("{name}."))?.strip_suffix(".sqlite3")?.parse().ok()
        })
        .collect();
    found.sort_unstable();
    found
}

/// A shop that has sold `batches` times a hundred phones one by one.
async fn busy_shop(server: &Server, batches: i64) -> (Shop, Caller) {
    let (shop, till) = usual_shop(server).await;
    shop.receive(PHONE, batches * 100).await;
    for batch in 0..batches {
        let sales: Vec<Value> = (0..100).map(|n| sale(&format!("B-{batch}-{n}"), PHONE, 1)).collect();
        sync(&till, &sales).await;
    }
    (shop, till)
}

#[tokio::test]
async fn analysts_auditors_and_admins_see_how_far_each_projection_is() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    settled(&shop.admin).await;
    for role in ["analyst", "auditor", "admin"] {
        let all = with_role(&server, role).get(PATH).await.expect(200);
        let names: Vec<&str> =
            all["projections"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, NAMES);
        let head = all["head"].as_u64().unwrap();
        assert!(head > 0);
        for one in all["projections"].as_array().unwrap() {
            let expected = json!({
                "name": one["name"], "version": one["version"], "checkpoint": head, "head": head, "lag_events": 0,
                "lag_seconds": 0.0, "rate": one["rate"], "state": "live", "rebuild": null, "fault": null,
                "rebuild_failure": null,
            });
            assert_eq!(*one, expected);
            assert!(one["version"].as_u64().unwrap() > 0 && one["rate"].as_f64().unwrap() >= 0.0);
        }
    }
    let analyst = with_role(&server, "analyst");
    assert_eq!(one(&analyst, "sales").await["name"], "sales");
    analyst.get(&format!("{PATH}/nothing")).await.problem(404);
    for stranger in [with_role(&server, "staff"), server.reader()] {
        stranger.get(PATH).await.problem(403);
        stranger.get(&format!("{PATH}/sales")).await.problem(403);
    }
    server.stranger().get(PATH).await.problem(401);
}

#[tokio::test]
async fn only_admins_rebuild_cancel_and_resume() {
    let server = Server::start().await;
    let admin = server.admin();
    for what in ["rebuild", "rebuild/cancel", "resume"] {
        let path = format!("{PATH}/sales/{what}");
        for other in ["analyst", "auditor", "staff"] {
            ask(&with_role(&server, other), &path).await.problem(403);
        }
        ask(&server.stranger(), &path).await.problem(401);
        ask(&admin, &format!("{PATH}/nothing/{what}")).await.problem(404);
    }
    ask(&admin, &format!("{PATH}/sales/resume")).await.problem(409);
    ask(&admin, &format!("{PATH}/sales/rebuild/cancel")).await.problem(409);
    assert_eq!(copies(server.place().data(), "sales"), [1]);
}

#[tokio::test]
async fn a_rebuilt_read_model_takes_over_and_the_old_one_goes() {
    let server = Server::start().await;
    let (shop, till) = busy_shop(&server, 3).await;
    let movements = shop.movements(PHONE).await;
    let stock = shop.ledger("stock").await;
    for name in NAMES {
        let answer = ask(&shop.admin, &format!("{PATH}/{name}/rebuild")).await;
        let begun = answer.expect(202);
        assert_eq!((begun["name"].as_str(), begun["state"].as_str()), (Some(name), Some("rebuilding")));
        assert!(begun["rebuild"]["percent"].as_f64().unwrap() <= 100.0, "{begun}");
    }
    settled(&shop.admin).await;
    let data = server.place().data().to_owned();
    eventually("the old copies are gone", async || NAMES.iter().all(|name| copies(&data, name) == [2]).then_some(()))
        .await;
    assert_eq!(shop.movements(PHONE).await, movements);
    assert_eq!(shop.ledger("stock").await, stock);
    sync(&till, &[sale("N-1", PHONE, 1)]).await;
    assert_eq!(shop.movements(PHONE).await.len(), movements.len() + 1);
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn while_a_read_model_is_rebuilt_writes_go_on_and_every_read_sees_all_of_them() {
    let server = Server::start().await;
    let (shop, till) = busy_shop(&server, 10).await;
    let mut sold = 1_000;
    for round in 0..3 {
        for name in ["sales", "stock_ledger", "shops"] {
            assert_eq!(rebuild(&shop.admin, name).await, 202);
        }
        let mut is_rebuilding = true;
        let mut after = 0;
        while is_rebuilding || after < 5 {
            after += usize::from(!is_rebuilding);
            sync(&till, &[sale(&format!("R-{round}-{sold}"), PHONE, 1)]).await;
            sold += 1;
            let day = shop.ledger("stock?limit=10").await;
            let phones = day["items"].as_array().unwrap().iter().find(|item| item["article_id"] == PHONE).unwrap();
            assert_eq!(phones["stock"], 1_100 - sold);
            assert_eq!(phones["name"], "Samsung S24");
            let history = till.get("/api/v2/simple/ventes/historique?limit=1").await.expect(200);
            assert_eq!(history["statistiques"]["total_ventes"], sold);
            // There is stock for 1,100 sales.
            if sold % 90 == 0 {
                break;
            }
            is_rebuilding = !one(&shop.admin, "sales").await["rebuild"].is_null();
        }
        settled(&shop.admin).await;
    }
    assert_eq!(shop.movements(PHONE).await.len() as i64, sold + 2);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn readers_never_see_a_mixture_of_two_copies() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 5).await;
    let expected =
        (shop.ledger("stock").await, shop.movements(PHONE).await, shop.admin.get("/api/v1/admin/shops").await.json());
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (shop, expected) = (shop.clone(), expected.clone());
            tokio::spawn(async move {
                for _ in 0..25 {
                    let seen = (
                        shop.ledger("stock").await,
                        shop.movements(PHONE).await,
                        shop.admin.get("/api/v1/admin/shops").await.json(),
                    );
                    assert_eq!(seen, expected);
                }
            })
        })
        .collect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        for name in ["stock_ledger", "shops"] {
            rebuild(&shop.admin, name).await;
        }
        settled(&shop.admin).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_is_given_up_and_begun_again() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 10).await;
    let admin = &shop.admin;
    let mut given_up = 0;
    // Whoever is too late is told so, and tries again.
    while given_up < 3 {
        assert_eq!(rebuild(admin, "sales").await, 202);
        assert!([202, 409].contains(&rebuild(admin, "sales").await));
        match ask(admin, &format!("{PATH}/sales/rebuild/cancel")).await.status {
            200 => given_up += 1,
            status => assert_eq!(status, 409),
        }
        settled(admin).await;
        eventually("the copy is gone", async || (copies(server.place().data(), "sales").len() == 1).then_some(()))
            .await;
    }
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_repeated_request_to_rebuild_gets_its_first_answer() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let keyed = shop.admin.with("idempotency-key", "once");
    let first = ask(&keyed, &format!("{PATH}/sales/rebuild")).await;
    assert_eq!(first.status, 202);
    settled(&shop.admin).await;
    let again = ask(&keyed, &format!("{PATH}/sales/rebuild")).await;
    assert_eq!((again.status, again.text), (202, first.text));
    assert!(one(&shop.admin, "sales").await["rebuild"].is_null());
}

#[tokio::test]
async fn a_rebuild_that_is_killed_goes_on_and_ends_equal_to_the_log() {
    let mut chance = Chance::told();
    let mut server = Server::start().await;
    let (shop, _) = busy_shop(&server, 20).await;
    let mut sold = 2_000;
    for round in 0..8 {
        let (shop, till) = (shop.on(&server), at_till(&server, SERIAL));
        for name in NAMES {
            // One that was under way goes on by itself.
            assert!([202, 409].contains(&rebuild(&shop.admin, name).await));
        }
        sync(&till, &[sale(&format!("K-{round}"), PHONE, 1)]).await;
        sold += 1;
        tokio::time::sleep(Duration::from_millis(chance.below(120))).await;
        let place = server.kill();
        server = place.serve(&[]).await;
    }
    let shop = shop.on(&server);
    settled(&shop.admin).await;
    assert_eq!(shop.movements(PHONE).await.len() as i64, sold + 2);
    let data = server.place().data().to_owned();
    eventually("one copy is left of each", async || {
        NAMES.iter().all(|name| copies(&data, name).len() == 1).then_some(())
    })
    .await;
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

/// Writes an event past the server, which no build can read.
async fn write_nonsense(place: &Place) -> u64 {
    let log = Log::open(place.data()).await.unwrap();
    let event = NewEvent {
        id: Uuid::new_v4(),
        event_type: "SaleRecorded".into(),
        schema_version: 1,
        data: json!({ "nonsense": true }).to_string(),
        metadata: "{}".into(),
        occurred_at: chrono::Utc::now(),
    };
    log.append(Append::to(StreamId::from("shop-99"), ExpectedVersion::Any, vec![event])).await.unwrap();
    let position = log.head().get();
    log.close().await;
    position
}

#[tokio::test]
async fn an_event_that_cannot_be_taken_stops_its_projections_alone_and_visibly() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let place = server.stop().await.place;
    let position = write_nonsense(&place).await;
    let server = place.serve_unready();
    let shop = shop.on(&server);
    let book = server.reader().add_book().await;
    eventually("they stopped", async || (one(&shop.admin, "sales").await["state"] == "faulted").then_some(())).await;
    let stopped = one(&shop.admin, "sales").await;
    assert_eq!(stopped["fault"]["position"], position);
    assert!(stopped["fault"]["reason"].as_str().unwrap().contains("SaleRecorded"), "{stopped}");
    assert_eq!(stopped["checkpoint"], position - 1);
    assert!(stopped["lag_events"].as_u64().unwrap() > 0);
    // The others go on.
    assert_eq!(one(&shop.admin, "library").await["state"], "live");
    assert_eq!(server.reader().get(&format!("/api/v1/books/{book}")).await.status, 404);
    server.stranger().get("/readyz").await.expect(503);
    // A rebuild comes to the same event, and says so; what is served stays.
    assert_eq!(rebuild(&shop.admin, "sales").await, 202);
    let failed = eventually("the rebuild is given up", async || {
        let sales = one(&shop.admin, "sales").await;
        (!sales["rebuild_failure"].is_null()).then_some(sales)
    })
    .await;
    assert!(failed["rebuild_failure"].as_str().unwrap().contains(&position.to_string()), "{failed}");
    assert_eq!((&failed["rebuild"], &failed["state"]), (&Value::Null, &json!("faulted")));
    // Nothing was mended: it stops again.
    ask(&shop.admin, &format!("{PATH}/sales/resume")).await.expect(200);
    eventually("it stopped again", async || (one(&shop.admin, "sales").await["state"] == "faulted").then_some(()))
        .await;
}

#[tokio::test]
async fn the_command_line_resumes_what_stopped_and_gives_up_what_was_being_rebuilt() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    let catalog = place.data().join(daybook_projections::READ_MODELS_FOLDER).join("catalog.sqlite3");
    tamper(
        catalog,
        "INSERT INTO copies VALUES ('sales', 2, (SELECT version FROM copies WHERE name = 'sales'), 'building')",
    );
    let (code, text) = run(&place, &["projections", "cancel", "shops"]);
    assert!(code == Some(0) && text.contains("nothing is being rebuilt"), "{text}");
    let (code, text) = run(&place, &["projections", "cancel"]);
    assert!(code == Some(0) && text.contains("sales: its rebuild is given up"), "{text}");

    let position = write_nonsense(&place).await;
    let (code, text) = run(&place, &["projections", "resume"]);
    assert!(code == Some(1) && text.contains(&format!("sales: stops at the event at position {position}")), "{text}");
    assert!(text.contains(&format!("library: at position {position}")), "{text}");
    let (code, text) = run(&place, &["projections", "list"]);
    assert!(code == Some(0) && text.contains(&format!("stopped at the event at position {position}")), "{text}");
}

#[tokio::test]
async fn a_mended_read_model_goes_on_where_it_stopped() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    assert_eq!(shop.stock(PHONE).await, 99);
    // Somebody meddles with the table: it takes no more rows.
    let table = Connection::open(files::read_model(server.place().data(), "stock_ledger")).unwrap();
    table.busy_timeout(Duration::from_secs(10)).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON stock_movements BEGIN SELECT RAISE(ABORT, 'no'); END";
    table.execute_batch(trigger).unwrap();
    sync(&till, &[sale("V-2", PHONE, 1)]).await;
    eventually("it stopped", async || (one(&shop.admin, "stock_ledger").await["state"] == "faulted").then_some(()))
        .await;
    shop.admin.get(&format!("/api/v1/shops/2/stock/{PHONE}")).await.problem(503);
    sync(&till, &[sale("V-3", PHONE, 1)]).await;

    table.execute_batch("DROP TRIGGER no").unwrap();
    ask(&shop.admin, &format!("{PATH}/stock_ledger/resume")).await.expect(200);
    assert_eq!(shop.stock(PHONE).await, 97);
    settled(&shop.admin).await;
    ask(&shop.admin, &format!("{PATH}/stock_ledger/resume")).await.problem(409);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_rebuild_mends_a_read_model_that_stopped() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let table = Connection::open(files::read_model(server.place().data(), "stock_ledger")).unwrap();
    table.busy_timeout(Duration::from_secs(10)).unwrap();
    table.execute_batch("DROP TABLE stock_movements").unwrap();
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    assert_eq!(rebuild(&shop.admin, "stock_ledger").await, 202);
    settled(&shop.admin).await;
    assert_eq!(shop.stock(PHONE).await, 99);
    assert_eq!(shop.movements(PHONE).await.len(), 2);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

fn run(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let output = place.run(args);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

fn tamper(file: PathBuf, sql: &str) {
    let table = Connection::open(file).unwrap();
    assert!(table.execute(sql, []).unwrap() > 0, "{sql}");
}

#[tokio::test]
async fn the_command_line_lists_verifies_and_rebuilds() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 2).await;
    settled(&shop.admin).await;
    // Beside the running server.
    let place = server.place().clone();
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(NAMES.iter().all(|name| text.contains(&format!("{name}: "))), "{text}");
    let (code, text) = run(&place, &["projections", "rebuild"]);
    assert!(code == Some(1) && text.contains("POST /api/v1/projections/NAME/rebuild"), "{text}");

    let place = server.stop().await.place;
    let (code, text) = run(&place, &["projections", "list"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(NAMES.iter().all(|name| text.contains(name)) && text.contains("the log's head is "), "{text}");

    tamper(files::read_model(place.data(), "stock_ledger"), "UPDATE stock SET stock = stock + 1 WHERE article_id = 6");
    tamper(files::read_model(place.data(), "sales"), "DELETE FROM sales WHERE numero_facture = 'B-1-7'");
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stock_ledger: 2 rows differ") && text.contains("sales: 1 rows differ"), "{text}");
    assert!(text.contains("only rebuilt: sales|") && text.contains("\"B-1-7\""), "{text}");
    assert!(text.contains("only served: stock|2|6|101|"), "{text}");
    let (code, text) = run(&place, &["projections", "verify", "library", "shops"]);
    assert!(code == Some(0) && !text.contains("sales"), "{text}");

    let (code, text) = run(&place, &["projections", "rebuild", "stock_ledger", "sales"]);
    assert!(code == Some(0) && text.contains("sales: rebuilt") && text.contains("stock_ledger: rebuilt"), "{text}");
    assert_eq!((copies(place.data(), "sales"), copies(place.data(), "shops")), (vec![2], vec![1]));
    let (code, text) = run(&place, &["projections", "verify"]);
    assert_eq!(code, Some(0), "{text}");
    let left: Vec<_> = std::fs::read_dir(place.data()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".verify")), "{left:?}");
    let (code, text) = run(&place, &["projections", "cancel"]);
    assert!(code == Some(0) && text.contains("nothing is being rebuilt"), "{text}");
    let (code, text) = run(&place, &["projections", "resume"]);
    assert!(code == Some(0) && text.contains("sales: at position "), "{text}");
    let (code, text) = run(&place, &["projections", "rebuild", "nothing"]);
    assert!(code == Some(2) && text.contains("possible values"), "{text}");
    let server = place.serve(&[]).await;
    assert_eq!(shop.on(&server).movements(PHONE).await.len(), 202);
}

#[tokio::test]
async fn a_read_model_of_another_version_is_built_beside_the_old_one_which_stays_until_then() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 2).await;
    let expected = shop.ledger("stock").await;
    let place = server.stop().await.place;
    let catalog = place.data().join(daybook_projections::READ_MODELS_FOLDER).join("catalog.sqlite3");
    tamper(catalog, "UPDATE copies SET version = version + 1 WHERE name = 'stock_ledger'");
    let server = place.serve(&[]).await;
    let shop = shop.on(&server);
    assert_eq!(shop.ledger("stock").await, expected);
    let data = server.place().data().to_owned();
    eventually("the old copy is gone", async || (copies(&data, "stock_ledger") == [2]).then_some(())).await;
    assert_eq!(copies(&data, "sales"), [1]);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn read_models_of_another_log_are_not_served() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 1).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    for name in ["log.sqlite3", "log.sqlite3-wal", "log.sqlite3-shm"] {
        let _ = std::fs::remove_file(place.data().join(name));
    }
    let server = place.serve(&[]).await;
    let shops = server.admin().get("/api/v1/admin/shops").await.expect(200);
    assert_eq!(shops["total"], 0);
    let (shop, _) = usual_shop(&server).await;
    assert_eq!(shop.stock(PHONE).await, 100);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_read_model_far_behind_does_not_keep_the_others_waiting() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 90).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    std::fs::remove_file(files::read_model(place.data(), "stock_ledger")).unwrap();
    let server = place.serve_unready();
    let table = Connection::open(files::read_model(place.data(), "stock_ledger")).unwrap();
    table.busy_timeout(Duration::from_secs(10)).unwrap();
    // Whether it has caught up by now or not: it cannot be written, and the others go on.
    table.execute_batch("BEGIN IMMEDIATE").unwrap();
    let reader = server.reader();
    reader.add_book().await;
    reader.get("/api/v1/books").await.expect(200);
    table.execute_batch("ROLLBACK").unwrap();
    assert!(server.said().contains("catching up on their own projections=[\"stock_ledger\"]"), "{}", server.said());
    settled(&server.admin()).await;
    assert_eq!(shop.on(&server).stock(PHONE).await, 100);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_read_model_that_cannot_be_written_does_not_stop_the_others() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    assert_eq!(shop.stock(PHONE).await, 100);
    let table = Connection::open(files::read_model(server.place().data(), "stock_ledger")).unwrap();
    table.busy_timeout(Duration::from_secs(10)).unwrap();
    table.execute_batch("BEGIN IMMEDIATE").unwrap();
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    let reader = server.reader();
    reader.add_book().await;
    eventually("the others go on", async || (reader.get("/api/v1/books").await.status == 200).then_some(())).await;
    assert_ne!(one(&shop.admin, "stock_ledger").await["lag_events"], 0);
    table.execute_batch("ROLLBACK").unwrap();
    eventually("it follows again", async || {
        (shop.admin.get(&format!("/api/v1/shops/2/stock/{PHONE}")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(shop.stock(PHONE).await, 99);
    settled(&shop.admin).await;
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_rebuild_that_was_given_up_does_not_come_back_after_a_kill() {
    let mut server = Server::start().await;
    let (shop, _) = busy_shop(&server, 20).await;
    for _ in 0..4 {
        let admin = server.admin();
        assert_eq!(rebuild(&admin, "sales").await, 202);
        let given_up = ask(&admin, &format!("{PATH}/sales/rebuild/cancel")).await.status == 200;
        let place = server.kill();
        let generations = copies(place.data(), "sales");
        server = place.serve(&[]).await;
        if given_up {
            assert!(!server.said().contains("going on with its rebuild"), "{}", server.said());
            assert_eq!(copies(place.data(), "sales").len(), 1, "of {generations:?}");
        }
        settled(&server.admin()).await;
    }
    drop(shop);
    let stopped = server.stop().await;
    files::assert_read_models_equal_a_rebuild(stopped.place.data()).await;
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_leaves_no_rebuild_behind_that_nobody_can_end() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let catalog = server.place().data().join(daybook_projections::READ_MODELS_FOLDER).join("catalog.sqlite3");
    let catalog = Connection::open(catalog).unwrap();
    catalog.busy_timeout(Duration::from_secs(10)).unwrap();
    catalog.execute_batch("BEGIN IMMEDIATE").unwrap();
    let path = format!("{PATH}/sales/rebuild");
    let asked = tokio::time::timeout(Duration::from_millis(300), ask(&shop.admin, &path)).await;
    assert!(asked.is_err(), "the catalog was locked: {asked:?}");
    catalog.execute_batch("ROLLBACK").unwrap();
    eventually("it is rebuilt all the same", async || (copies(server.place().data(), "sales") == [2]).then_some(()))
        .await;
    settled(&shop.admin).await;
    assert_eq!(rebuild(&shop.admin, "sales").await, 202);
    settled(&shop.admin).await;
}
