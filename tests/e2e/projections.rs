//! Projections in the open: how far they are, rebuilt beside the served ones, stopped and resumed, verified.

use daybook_eventlog::{Append, ExpectedVersion, NewEvent, StreamId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::till::{PHONE, Shop, sale, sync, usual_shop};
use crate::support::{Caller, Place, Server, eventually};

pub const PATH: &str = "/api/v1/projections";
pub const NAMES: [&str; 8] = [
    "library",
    "reader_profiles",
    "reading_sessions",
    "reading_statistics",
    "sales",
    "shops",
    "stock_documents",
    "stock_ledger",
];

pub async fn one(admin: &Caller, name: &str) -> Value {
    admin.get(&format!("{PATH}/{name}")).await.expect(200)
}

pub async fn rebuild(admin: &Caller, name: &str) -> u16 {
    ask(admin, &format!("{PATH}/{name}/rebuild")).await.status
}

/// A POST without a body, as `curl -X POST` sends it.
pub async fn ask(admin: &Caller, path: &str) -> crate::support::Reply {
    admin.send(reqwest::Method::POST, path, None, "").await
}

pub async fn settled(admin: &Caller) {
    eventually("every projection is live and none is rebuilt", async || {
        let all = admin.get(PATH).await.expect(200);
        let all = all["projections"].as_array().unwrap().clone();
        let is_settled = |one: &Value| one["state"] == "live" && one["lag_events"] == 0 && one["rebuild"].is_null();
        all.iter().all(is_settled).then_some(())
    })
    .await;
}

/// A shop that has sold `batches` times a hundred phones one by one.
pub async fn busy_shop(server: &Server, batches: i64) -> (Shop, Caller) {
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
        let all = server.with_role(role).get(PATH).await.expect(200);
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
    let analyst = server.with_role("analyst");
    assert_eq!(one(&analyst, "sales").await["name"], "sales");
    analyst.get(&format!("{PATH}/nothing")).await.problem(404);
    for stranger in [server.with_role("staff"), server.reader()] {
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
            ask(&server.with_role(other), &path).await.problem(403);
        }
        ask(&server.stranger(), &path).await.problem(401);
        ask(&admin, &format!("{PATH}/nothing/{what}")).await.problem(404);
    }
    ask(&admin, &format!("{PATH}/sales/resume")).await.problem(409);
    ask(&admin, &format!("{PATH}/sales/rebuild/cancel")).await.problem(409);
    assert_eq!(server.place().copies("sales").len(), 1);
}

/// Writes an event past the server, which no build can read.
pub async fn write_nonsense(place: &Place) -> u64 {
    let log = place.log().await;
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
async fn a_mended_read_model_goes_on_where_it_stopped() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    assert_eq!(shop.stock(PHONE).await, 99);
    // Somebody meddles with the table: it takes no more rows.
    server.place().spoil("stock_ledger", "stock_movements");
    sync(&till, &[sale("V-2", PHONE, 1)]).await;
    eventually("it stopped", async || (one(&shop.admin, "stock_ledger").await["state"] == "faulted").then_some(()))
        .await;
    shop.admin.get(&format!("/api/v1/shops/2/stock/{PHONE}")).await.problem(503);
    sync(&till, &[sale("V-3", PHONE, 1)]).await;

    server.place().mend("stock_ledger");
    ask(&shop.admin, &format!("{PATH}/stock_ledger/resume")).await.expect(200);
    assert_eq!(shop.stock(PHONE).await, 97);
    settled(&shop.admin).await;
    ask(&shop.admin, &format!("{PATH}/stock_ledger/resume")).await.problem(409);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_read_model_far_behind_does_not_keep_the_others_waiting() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 90).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    place.delete_read_model("stock_ledger");
    let server = place.serve_unready();
    // Whether it has caught up by now or not: it cannot be written, and the others go on.
    eventually("there is one again", async || (!place.copies("stock_ledger").is_empty()).then_some(())).await;
    let held = place.hold("stock_ledger");
    let reader = server.reader();
    reader.add_book().await;
    reader.get("/api/v1/books").await.expect(200);
    held.let_go();
    assert!(server.said().contains("catching up on their own projections=[\"stock_ledger\"]"), "{}", server.said());
    settled(&server.admin()).await;
    assert_eq!(shop.on(&server).stock(PHONE).await, 100);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_read_model_that_cannot_be_written_does_not_stop_the_others() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    assert_eq!(shop.stock(PHONE).await, 100);
    let held = server.place().hold("stock_ledger");
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    let reader = server.reader();
    reader.add_book().await;
    eventually("the others go on", async || (reader.get("/api/v1/books").await.status == 200).then_some(())).await;
    assert_ne!(one(&shop.admin, "stock_ledger").await["lag_events"], 0);
    held.let_go();
    eventually("it follows again", async || {
        (shop.admin.get(&format!("/api/v1/shops/2/stock/{PHONE}")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(shop.stock(PHONE).await, 99);
    settled(&shop.admin).await;
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}
