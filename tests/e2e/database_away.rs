//! A database that goes away under a node, and comes back.

use serde_json::json;

use crate::support::database::Database;
use crate::support::wire::Wire;
use crate::support::{Caller, Reply, Server, eventually};

/// 503, when to come back, and why.
#[track_caller]
fn assert_away(reply: &Reply) {
    let problem = reply.problem(503);
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(problem["detail"].as_str().unwrap().starts_with("The database is not reachable"), "{reply:?}");
}

async fn ready(server: &Server) -> Reply {
    server.stranger().get("/readyz").await
}

async fn events_of(caller: &Caller) -> u64 {
    caller.get("/api/v1/log/head").await.expect(200)["head"].as_u64().unwrap()
}

#[tokio::test]
async fn every_route_answers_503_while_the_database_is_away_and_goes_on_after() {
    let Some(database) = Database::on_its_own_server() else { return };
    let server = database.place().serve(&["--demo"]).await;
    let (reader, analyst, admin) = (server.reader(), server.with_role("analyst"), server.admin());
    let book = reader.add_book().await;
    let before = events_of(&analyst).await;
    let mut live = Wire::get(&server, &analyst, &format!("/api/v1/log/subscribe?after={before}"), &[]).await;
    live.begin().await;

    database.server().crash();
    let gets = [
        (&reader, "/api/v1/books".to_owned()),
        (&reader, format!("/api/v1/books/{book}")),
        (&reader, "/api/v1/reading-sessions/active".to_owned()),
        (&reader, "/api/v1/reading-sessions/history".to_owned()),
        (&reader, "/api/v1/users/profile".to_owned()),
        (&reader, "/api/v1/users/stats/weekly".to_owned()),
        (&analyst, "/api/v1/log/head".to_owned()),
        (&analyst, "/api/v1/log/events".to_owned()),
        (&analyst, "/api/v1/log/events/1".to_owned()),
        (&analyst, format!("/api/v1/log/streams/book-{book}")),
        (&admin, "/api/v1/admin/shops".to_owned()),
        (&admin, "/api/v1/admin/shops/2/articles".to_owned()),
        (&admin, "/api/v1/shops/2/stock/6/movements".to_owned()),
        (&admin, "/api/v1/shops/2/stock/reconcile".to_owned()),
    ];
    for (caller, path) in &gets {
        assert_away(&caller.get(path).await);
    }
    let session = json!({ "book_id": book, "start_position": 1 });
    let started = reader.post("/api/v1/reading-sessions/start", &session);
    let till = server.stranger().with("x-device-serial", "0a1badae951f8473");
    let sale = json!([{ "numero_facture": "V-1", "mode_paiement": "CASH", "paye": true,
        "lignes": [{ "article_id": 6, "quantite": 1, "prix_unitaire": 40_000 }] }]);
    let sold = till.post("/api/v2/simple/ventes/sync/", &sale);
    let keyed = reader.with("idempotency-key", "k1");
    let profile = json!({ "timezone": "Asia/Omsk" });
    let kept = keyed.put("/api/v1/users/profile", &profile);
    let nothing = json!({});
    let rebuild = admin.post("/api/v1/projections/library/rebuild", &nothing);
    let (started, sold, kept, rebuild) = tokio::join!(started, sold, kept, rebuild);
    for reply in [&started, &sold, &kept, &rebuild] {
        assert_away(reply);
    }
    server.stranger().get("/healthz").await.expect(200);
    let unready = ready(&server).await;
    assert_eq!(unready.expect(503)["log"]["reason"], "the database is not reachable", "{unready:?}");

    database.server().run();
    eventually("it is ready again", async || (ready(&server).await.status == 200).then_some(())).await;
    keyed.put("/api/v1/users/profile", &profile).await.expect(200);
    assert_eq!(reader.get("/api/v1/users/profile").await.expect(200)["timezone"], "Asia/Omsk");
    assert_eq!(till.post("/api/v2/simple/ventes/sync/", &sale).await.status, 201);
    for (caller, path) in &gets {
        assert_eq!(caller.get(path).await.status, 200, "{path}");
    }
    // The subscriber was kept, and is told what came since.
    assert_eq!(live.event().await.id, Some(before + 1));
    assert!(!server.said().contains("panicked"), "{}", server.said());
    server.stop().await;
}

#[tokio::test]
async fn a_position_that_another_node_answered_is_waited_for() {
    let Some(database) = Database::fresh() else { return };
    let place = database.place();
    let (here, there) = (place.serve(&[]).await, place.serve(&[]).await);
    let reader = here.reader();
    let analyst = there.with_role("analyst");
    for _ in 0..20 {
        let written = reader.put("/api/v1/users/profile", &json!({ "display_name": uuid::Uuid::new_v4() })).await;
        let position = written.position();
        let after = there.reader_called(reader.id).with("daybook-after", &position.to_string());
        assert_eq!(after.get("/api/v1/users/profile").await.text, { reader.get("/api/v1/users/profile").await.text });
        let head = analyst.with("daybook-after", &position.to_string()).get("/api/v1/log/head").await;
        assert!(head.expect(200)["head"].as_u64().unwrap() >= position);
    }
    let beyond = there.reader_called(reader.id).with("daybook-after", "100000");
    let refused = beyond.get("/api/v1/users/profile").await;
    refused.problem(503);
    assert!(!refused.header("retry-after").is_empty());
}
