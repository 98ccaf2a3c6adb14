//! Which terminals may sell, for whom, and how often.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Server;
use crate::support::till::{CANCEL, HISTORY, PHONE, SERIAL, SYNC, Shop, at_till, codes, sale, sync, usual_shop};

#[tokio::test]
async fn a_terminal_sells_for_the_shop_it_is_active_in_at_that_time() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let theirs = other.add_article(&json!({ "name": "x", "price": 3 })).await;
    other.receive(theirs, 10).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;

    let terminal = shop.path(&format!("terminals/{SERIAL}"));
    shop.admin.put(&terminal, &json!({ "active": false })).await.expect(200);
    let batch = json!([sale("V-2", PHONE, 1), sale("V-3", theirs, 1)]);
    assert_eq!(till.post(SYNC, &batch).await.expect(404)["code"], "TERMINAL_NOT_FOUND");
    assert_eq!(till.get(HISTORY).await.expect(404)["code"], "TERMINAL_NOT_FOUND");

    other.add_till(&server, SERIAL, "Ailleurs").await;
    let answer = till.post(SYNC, &batch).await.expect(201);
    assert_eq!((&answer["boutique_id"], &answer["terminal"]), (&json!(other.id), &json!("Ailleurs")));
    assert_eq!(codes(&answer), [(1, "ARTICLE_NOT_FOUND")]);
    assert_eq!(till.get(HISTORY).await.expect(200)["count"], 1, "the other shop's sale only");

    other.admin.put(&other.path(&format!("terminals/{SERIAL}")), &json!({ "active": false })).await.expect(200);
    shop.admin.put(&terminal, &json!({ "active": true })).await.expect(200);
    let answer = till.post(SYNC, &batch).await.expect(201);
    assert_eq!((&answer["boutique_id"], codes(&answer)), (&json!(2), vec![(2, "ARTICLE_NOT_FOUND")]));
    assert_eq!((shop.stock(PHONE).await, other.stock(theirs).await), (98, 9));
}

#[tokio::test]
async fn a_key_is_asked_for_on_every_route_and_told_nowhere() {
    let server = Server::start_with(&["--log", "debug"]).await;
    let (shop, _) = usual_shop(&server).await;
    let terminal = json!({ "serial": "locked", "name": "Caisse", "key": "ouvre-toi-sesame" });
    shop.admin.post(&shop.path("terminals"), &terminal).await.expect(201);
    let locked = at_till(&server, "locked");
    let mut answered = String::new();
    for (caller, fits) in [
        (locked.clone(), false),
        (locked.with("x-device-key", "ferme-toi-sesame"), false),
        (locked.with("x-device-key", "ouvre-toi-sesame"), true),
    ] {
        let sale = json!([sale("V-1", PHONE, 1)]);
        let cancel = json!({ "numero_facture": "V-1", "motif": "retour" });
        for (reply, status) in [
            (caller.post(SYNC, &sale).await, 201),
            (caller.get(HISTORY).await, 200),
            (caller.get("/api/v2/simple/statistiques/").await, 200),
            (caller.get("/api/v2/simple/articles/").await, 200),
            (caller.post(CANCEL, &cancel).await, 200),
        ] {
            if fits {
                reply.expect(status);
            } else {
                assert_eq!(reply.expect(401)["code"], "INVALID_KEY");
            }
            answered.push_str(&format!("{reply:?}"));
        }
    }
    assert!(answered.contains("V-1") && !answered.contains("sesame"));
    let stopped = server.stop().await;
    assert!(stopped.log.contains("ventes/sync") && !stopped.log.contains("sesame"), "{}", stopped.log);
    assert!(!stopped.place.holds_anywhere("sesame"));
}

#[tokio::test]
async fn requests_of_terminals_are_counted_by_their_serial_number() {
    let server = Server::start_with(&["--rate-limit", "5"]).await;
    let shop = Shop::open(&server, &json!({ "name": "Ma Boutique" })).await;
    let mut tills = Vec::new();
    for serial in ["a", "b", "c"] {
        // Each from an admin of its own: admins are counted as well.
        tills.push(shop.on(&server).add_till(&server, serial, serial).await);
    }
    let mut refused = None;
    for _ in 0..1000 {
        let reply = tills[0].get(HISTORY).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.unwrap();
    refused.problem(429);
    assert!((1..=2).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    for till in &tills[1..] {
        till.get(HISTORY).await.expect(200);
    }
    // Serial numbers that nobody has make no caller: those requests are the address's.
    let mut statuses = BTreeSet::new();
    for number in 0..300 {
        statuses.insert(at_till(&server, &format!("made-up-{number}")).get(HISTORY).await.status);
    }
    assert_eq!(statuses, BTreeSet::from([404, 429]));
    tills[2].get(HISTORY).await.expect(200);
}
