//! Which terminals may sell, for whom, and how often.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::till::{CANCEL, HISTORY, PHONE, SERIAL, SYNC, Shop, at_till, codes, sale, sync, usual_shop};
use crate::support::{Server, eventually};

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

#[tokio::test]
async fn strangers_do_not_use_up_what_a_till_may_ask() {
    let server = Server::start_with(&["--rate-limit", "5"]).await;
    let shop = Shop::open(&server, &json!({ "name": "Ma Boutique" })).await;
    let keyed = json!({ "serial": "locked", "name": "Caisse", "key": "ouvre-toi-sesame" });
    shop.admin.post(&shop.path("terminals"), &keyed).await.expect(201);
    shop.on(&server).add_till(&server, "open", "Caisse").await;
    let till = at_till(&server, "locked").with("x-device-key", "ouvre-toi-sesame");
    let mut statuses = BTreeSet::new();
    for _ in 0..100 {
        let guessing = at_till(&server, "locked").with("x-device-key", "ferme-toi-sesame");
        statuses.insert(guessing.get(HISTORY).await.status);
        statuses.insert(at_till(&server, "locked").post(SYNC, &json!([sale("V-1", PHONE, 1)])).await.status);
        // On other surfaces a serial number means nothing, with its key or without.
        statuses.insert(till.get("/api/v1/books").await.status);
        statuses.insert(at_till(&server, "open").get("/api/v1/books").await.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    till.get(HISTORY).await.expect(200);
    at_till(&server, "open").get(HISTORY).await.expect(200);
}

/// The value of one line of the measurements; 0 before it was first counted.
async fn measured(server: &Server, name: &str) -> u64 {
    let measurements = server.stranger().get("/metrics").await.text;
    let value = measurements.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn nothing_is_read_from_the_log_to_recognise_a_till_or_to_refuse_whoever_asks_too_often() {
    const READS: &str = "daybook_log_reads_total";
    const RECOGNISED: &str = r#"daybook_terminal_checks_total{outcome="recognised"}"#;
    let server = Server::start_with(&["--rate-limit", "5"]).await;
    let shop = Shop::open(&server, &json!({ "name": "Ma Boutique" })).await;
    let till = shop.add_till(&server, SERIAL, "Caisse").await;
    let (mut reads, mut quiet) = (0, 0);
    eventually("nobody reads the log any more", async || {
        let now = measured(&server, READS).await;
        quiet = if now == reads { quiet + 1 } else { 0 };
        reads = now;
        (quiet == 20).then_some(())
    })
    .await;
    assert!(reads > 0, "what was written has been read");

    let recognised = measured(&server, RECOGNISED).await;
    let mut statuses = BTreeSet::new();
    for number in 0..100 {
        statuses.insert(till.get(HISTORY).await.status);
        statuses.insert(at_till(&server, &format!("made-up-{number}")).get(HISTORY).await.status);
    }
    assert_eq!(statuses, BTreeSet::from([200, 404, 429]));
    assert_eq!(measured(&server, READS).await, reads);
    assert_eq!(measured(&server, RECOGNISED).await, recognised + 100, "one look-up a request");
}

#[tokio::test]
async fn a_change_of_a_terminal_holds_from_its_answer_on() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let path = shop.path("terminals/locked");
    let with_key = |key: &str| at_till(&server, "locked").with("x-device-key", key);
    for round in 0..20 {
        let (key, before) = (format!("la-clef-secrete-{round}"), format!("la-clef-secrete-{}", round + 100));
        let terminal = json!({ "serial": "locked", "name": "Caisse", "key": key });
        shop.admin.post(&shop.path("terminals"), &terminal).await.expect(201);
        let till = with_key(&key);
        till.get(HISTORY).await.expect(200);
        sync(&till, &[sale(&format!("V-{round}"), PHONE, 1)]).await;
        assert_eq!(with_key(&before).get(HISTORY).await.expect(401)["code"], "INVALID_KEY");
        shop.admin.put(&path, &json!({ "active": false })).await.expect(200);
        assert_eq!(till.get(HISTORY).await.expect(404)["code"], "TERMINAL_NOT_FOUND");
        till.post(SYNC, &json!([sale("late", PHONE, 1)])).await.expect(404);
    }
    // Terminals are known again after a restart.
    let server = server.stop().await.place.serve(&[]).await;
    at_till(&server, SERIAL).get(HISTORY).await.expect(200);
    at_till(&server, "locked").get(HISTORY).await.expect(404);
}

#[tokio::test]
async fn a_repeated_batch_is_answered_also_when_its_sales_could_not_be_recorded_any_more() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let keyed = till.with("idempotency-key", "k");
    let batch = json!([sale("V-1", PHONE, 100)]);
    let first = keyed.post(SYNC, &batch).await;
    first.expect(201);
    let cancel = json!({ "numero_facture": "V-1", "motif": "retour" });
    let cancelled = keyed.post(CANCEL, &cancel).await;
    cancelled.expect(200);
    let again = [keyed.post(SYNC, &batch).await, keyed.post(CANCEL, &cancel).await];
    assert_eq!(again.map(|reply| reply.text), [first.text, cancelled.text]);
    till.post(CANCEL, &cancel).await.expect(409);
    assert_eq!(shop.stock(PHONE).await, 100);
}
