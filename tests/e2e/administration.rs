//! Shops, terminals, articles and the documents that move stock, as an admin sees them.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::stored::assert_gapless;
use crate::support::till::{CANCEL, PHONE, Shop, sale, sync, usual_shop};
use crate::support::{Caller, Reply, Server};

const SHOPS: &str = "/api/v1/admin/shops";

fn of(shop: &Value, what: &str) -> String {
    format!("{SHOPS}/{}/{what}", shop["id"])
}

async fn open(admin: &Caller, body: &Value) -> Value {
    admin.post(SHOPS, body).await.expect(201)
}

async fn add_article(admin: &Caller, shop: &Value, body: &Value) -> Value {
    admin.post(&of(shop, "articles"), body).await.expect(201)
}

async fn receive(admin: &Caller, shop: &Value, article: &Value, quantity: i64) -> Value {
    let lines = json!([{ "article_id": article["id"], "quantity": quantity }]);
    admin.post(&of(shop, "stock-receipts"), &json!({ "document": "BL", "lines": lines })).await.expect(201)
}

async fn stock(admin: &Caller, shop: &Value, article: &Value) -> Value {
    admin.get(&of(shop, &format!("articles/{}", article["id"]))).await.expect(200)["stock"].clone()
}

/// A server, its admin, a shop, and an article of it at 40000.
async fn shop_with_an_article() -> (Server, Caller, Value, Value) {
    let server = Server::start().await;
    let admin = server.admin();
    let shop = open(&admin, &json!({ "name": "Ma Boutique" })).await;
    let article = add_article(&admin, &shop, &json!({ "name": "Samsung S24", "price": 40000 })).await;
    (server, admin, shop, article)
}

#[tokio::test]
async fn a_shop_is_opened_with_defaults_changed_in_part_and_found_again() {
    let server = Server::start().await;
    let admin = server.admin();
    let opened = open(&admin, &json!({ "name": "Ma Boutique" })).await;
    let mut expected = json!({
        "id": 1, "name": "Ma Boutique", "currency": "CDF", "timezone": "Africa/Kinshasa",
        "allow_negative_stock": false, "low_stock_threshold": 5, "require_terminal_keys": false,
    });
    assert_eq!(opened, expected);
    let changed = admin.put(&format!("{SHOPS}/1"), &json!({ "currency": "USD", "allow_negative_stock": true })).await;
    expected["currency"] = "USD".into();
    expected["allow_negative_stock"] = true.into();
    assert_eq!(changed.expect(200), expected);
    assert_eq!(admin.get(&format!("{SHOPS}/1")).await.expect(200), expected);

    let events = server.place().events().len();
    assert_eq!(admin.put(&format!("{SHOPS}/1"), &json!({ "currency": "USD" })).await.expect(200), expected);
    assert_eq!(server.place().events().len(), events, "nothing changed, nothing was written");
}

#[tokio::test]
async fn ids_are_the_next_free_ones_or_given_and_never_given_twice() {
    let server = Server::start().await;
    let admin = server.admin();
    let one = open(&admin, &json!({ "name": "a", "id": 10 })).await;
    admin.post(SHOPS, &json!({ "name": "b", "id": 10 })).await.problem(409);
    let two = open(&admin, &json!({ "name": "b" })).await;
    assert_eq!((&one["id"], &two["id"]), (&json!(10), &json!(11)));

    assert_eq!(add_article(&admin, &one, &json!({ "name": "x", "price": 1, "id": 7 })).await["id"], 7);
    for shop in [&one, &two] {
        admin.post(&of(shop, "articles"), &json!({ "name": "y", "price": 1, "id": 7 })).await.problem(409);
    }
    assert_eq!(add_article(&admin, &two, &json!({ "name": "y", "price": 1 })).await["id"], 8);

    let last = 9_007_199_254_740_991_i64;
    open(&admin, &json!({ "name": "c", "id": last })).await;
    admin.post(SHOPS, &json!({ "name": "d" })).await.problem(409);
    assert_eq!(admin.post(SHOPS, &json!({ "name": "d", "id": last + 1 })).await.wrong_fields(), ["id"]);
    assert_eq!(admin.get(SHOPS).await.expect(200)["total"], 3);
}

#[tokio::test]
async fn many_at_once_get_an_id_each() {
    let (server, admin, shop, _) = shop_with_an_article().await;
    let posts = (0..20).map(|n| {
        let (admin, path) = (admin.clone(), of(&shop, "articles"));
        tokio::spawn(
            async move { admin.post(&path, &json!({ "name": format!("n{n}"), "price": n })).await.expect(201) },
        )
    });
    let mut ids = BTreeSet::new();
    for post in posts.collect::<Vec<_>>() {
        ids.insert(post.await.unwrap()["id"].as_i64().unwrap());
    }
    assert_eq!(ids, (2..=21).collect());
    assert_gapless(&server.place().events());
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_and_takes_no_second_id() {
    let (server, admin, shop, article) = shop_with_an_article().await;
    let other = open(&admin, &json!({ "name": "Autre" })).await;
    let target = add_article(&admin, &other, &json!({ "name": "S24", "price": 41000 })).await;
    receive(&admin, &shop, &article, 5).await;
    let line = json!({ "article_id": article["id"], "to_article_id": target["id"], "quantity": 5 });
    let again = admin.with("idempotency-key", "k");
    for (path, body) in [
        (SHOPS.to_owned(), json!({ "name": "Encore" })),
        (of(&shop, "articles"), json!({ "name": "Câble", "price": "0.5" })),
        (of(&shop, "terminals"), json!({ "serial": "s1", "name": "Caisse", "key": "s3cret" })),
        (of(&shop, "stock-transfers"), json!({ "document": "TR", "to_shop": other["id"], "lines": [line] })),
    ] {
        let first = again.post(&path, &body).await;
        let events = server.place().events().len();
        let second = again.post(&path, &body).await;
        assert_eq!((second.status, &second.text, second.position()), (201, &first.text, first.position()), "{path}");
        assert_eq!(server.place().events().len(), events, "{path}");
    }
}

#[tokio::test]
async fn a_serial_is_active_in_one_shop_at_a_time() {
    let server = Server::start().await;
    let admin = server.admin();
    let (here, there) = (open(&admin, &json!({ "name": "a" })).await, open(&admin, &json!({ "name": "b" })).await);
    let terminal = json!({ "serial": "0a1badae951f8473", "name": "Caisse" });
    let registered = admin.post(&of(&here, "terminals"), &terminal).await.expect(201);
    let expected = json!({
        "serial": "0a1badae951f8473", "shop_id": here["id"], "name": "Caisse", "active": true, "has_key": false,
    });
    assert_eq!(registered, expected);
    for shop in [&here, &there] {
        admin.post(&of(shop, "terminals"), &terminal).await.problem(409);
    }
    let (old, new) = (of(&here, "terminals/0a1badae951f8473"), of(&there, "terminals/0a1badae951f8473"));
    admin.put(&new, &json!({ "active": true })).await.problem(404);

    assert_eq!(admin.put(&old, &json!({ "active": false })).await.expect(200)["active"], false);
    admin.post(&of(&there, "terminals"), &terminal).await.expect(201);
    admin.put(&old, &json!({ "active": true })).await.problem(409);
    admin.put(&old, &json!({ "active": false })).await.expect(200);
    admin.post(&of(&here, "terminals"), &terminal).await.problem(409);

    admin.put(&new, &json!({ "active": false, "name": "Ancienne" })).await.expect(200);
    assert_eq!(admin.put(&old, &json!({ "active": true })).await.expect(200), expected);
    assert_eq!(admin.get(&old).await.expect(200), expected);
    let listed = admin.get(&of(&there, "terminals")).await.expect(200);
    assert_eq!((&listed["total"], &listed["items"][0]["name"]), (&json!(1), &json!("Ancienne")));
    assert_eq!(listed["items"][0]["active"], false);
}

#[tokio::test]
async fn a_terminal_s_key_is_never_answered_logged_or_stored() {
    let server = Server::start_with(&["--log", "debug"]).await;
    let admin = server.admin();
    let shop = open(&admin, &json!({ "name": "a" })).await;
    let body = json!({ "serial": "s1", "name": "Caisse", "key": "ouvre-toi-sesame" });
    let reply = admin.post(&of(&shop, "terminals"), &body).await;
    assert_eq!(reply.expect(201)["has_key"], true);
    let shown = [reply, admin.get(&of(&shop, "terminals/s1")).await, admin.get(&of(&shop, "terminals")).await];
    assert!(shown.iter().all(|reply| !reply.text.contains("sesame")));
    let stored: Vec<_> = server.place().events().into_iter().map(|event| event.data.to_string()).collect();
    assert!(stored.iter().any(|data| data.contains("digest")) && stored.iter().all(|data| !data.contains("sesame")));

    let stopped = server.stop().await;
    assert!(!stopped.log.contains("sesame"));
    assert!(!stopped.place.holds_anywhere("sesame"));
}

#[tokio::test]
async fn an_article_keeps_what_is_left_out_and_clears_what_is_null() {
    let (_server, admin, shop, article) = shop_with_an_article().await;
    let mut expected = json!({
        "id": 1, "shop_id": 1, "name": "Samsung S24", "code": null, "category": null, "price": "40000.00",
        "active": true, "stock": 0,
    });
    assert_eq!(article, expected);
    let path = of(&shop, "articles/1");
    for (body, field, value) in [
        (json!({ "code": "S24" }), "code", json!("S24")),
        (json!({ "category": "Téléphones" }), "category", json!("Téléphones")),
        (json!({ "price": "39999.5" }), "price", json!("39999.50")),
        (json!({ "code": null }), "code", Value::Null),
        (json!({ "active": false }), "active", json!(false)),
        (json!({}), "active", json!(false)),
    ] {
        expected[field] = value;
        assert_eq!(admin.put(&path, &body).await.expect(200), expected, "{body}");
        assert_eq!(admin.get(&path).await.expect(200), expected, "{body}");
    }
    assert_eq!(admin.get(&of(&shop, "articles")).await.expect(200)["items"], json!([expected]));
}

#[tokio::test]
async fn documents_move_stock_line_by_line_and_are_found_as_they_were_answered() {
    let (server, admin, shop, article) = shop_with_an_article().await;
    let other = open(&admin, &json!({ "name": "Autre" })).await;
    let target = add_article(&admin, &other, &json!({ "name": "S24", "price": 41000 })).await;
    let id = &article["id"];
    let documents = [
        (
            "stock-receipts",
            json!({ "document": "BL-1", "lines": [
            { "article_id": id, "quantity": 10, "unit_cost": 31500.5 }, { "article_id": id, "quantity": 2 },
        ] }),
        ),
        (
            "stock-adjustments",
            json!({ "document": "INV-1", "reason": "casse", "lines": [
            { "article_id": id, "counted": 9 }, { "article_id": id, "delta": 0 }, { "article_id": id, "delta": -1 },
        ] }),
        ),
        (
            "stock-transfers",
            json!({ "document": "TR-1", "to_shop": other["id"], "lines": [
            { "article_id": id, "to_article_id": target["id"], "quantity": 3 },
        ] }),
        ),
    ];
    let mut lines = Vec::new();
    for (kind, body) in documents {
        let reply = admin.post(&of(&shop, kind), &body).await;
        let document = reply.expect(201);
        assert_eq!((&document["id"], &document["document"]), (&document["position"], &body["document"]));
        assert_eq!((&document["user"], &document["shop_id"]), (&json!(admin.id), &shop["id"]));
        let found = admin.get(&of(&shop, &format!("{kind}/{}", document["id"]))).await;
        assert_eq!(found.text, reply.text, "{kind}");
        let listed = admin.get(&of(&shop, kind)).await.expect(200);
        let expected = json!({
            "items": [document], "total": 1, "page": 1, "page_size": 20, "has_next": false,
        });
        assert_eq!(listed, expected);
        admin.get(&of(&other, &format!("{kind}/{}", document["id"]))).await.problem(404);
        lines.push(document["lines"].clone());
    }
    let expected = json!([
        [
            { "line": 1, "article_id": id, "quantity": 10, "unit_cost": "31500.50", "stock_before": 0, "stock_after": 10 },
            { "line": 2, "article_id": id, "quantity": 2, "unit_cost": null, "stock_before": 10, "stock_after": 12 },
        ],
        [
            { "line": 1, "article_id": id, "delta": -3, "counted": 9, "counted_at": null, "stock_before": 12, "stock_after": 9 },
            { "line": 2, "article_id": id, "delta": -1, "counted": null, "counted_at": null, "stock_before": 9, "stock_after": 8 },
        ],
        [{
            "line": 1, "article_id": id, "to_article_id": target["id"], "quantity": 3, "stock_before": 8,
            "stock_after": 5,
        }],
    ]);
    assert_eq!(json!(lines), expected);
    assert_eq!(stock(&admin, &shop, &article).await, 5);
    assert_eq!(stock(&admin, &other, &target).await, 3);

    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_count_of_what_is_right_is_recorded_and_moves_nothing() {
    let (server, admin, shop, article) = shop_with_an_article().await;
    receive(&admin, &shop, &article, 4).await;
    let events = server.place().events().len();
    let lines = json!([{ "article_id": article["id"], "counted": 4 }]);
    let body = json!({ "document": "INV", "reason": "inventaire", "lines": lines });
    let reply = admin.post(&of(&shop, "stock-adjustments"), &body).await;
    let counted = reply.expect(201);
    let line = json!({
        "line": 1, "article_id": article["id"], "delta": 0, "counted": 4, "counted_at": null, "stock_before": 4,
        "stock_after": 4,
    });
    assert_eq!((&counted["lines"], &counted["id"]), (&json!([line]), &json!(events + 1)));
    assert_eq!(admin.get(&of(&shop, &format!("stock-adjustments/{}", counted["id"]))).await.text, reply.text);
    assert_eq!(server.place().events().len(), events + 1);
    let ledger = format!("/api/v1/shops/{}/stock/{}", shop["id"], article["id"]);
    let movements = admin.get(&format!("{ledger}/movements")).await.expect(200);
    assert_eq!(movements["items"].as_array().unwrap().len(), 1, "{movements}");
    let reconciled = admin.get(&format!("/api/v1/shops/{}/stock/reconcile", shop["id"])).await.expect(200);
    assert_eq!(reconciled["differences"], json!([]));

    // A difference of nothing counts nothing either.
    let lines = json!([{ "article_id": article["id"], "delta": 0 }]);
    let body = json!({ "document": "INV", "reason": "inventaire", "lines": lines });
    let nothing = admin.post(&of(&shop, "stock-adjustments"), &body).await.expect(200);
    assert_eq!((&nothing["id"], &nothing["position"], &nothing["lines"]), (&Value::Null, &Value::Null, &json!([])));
    assert_eq!(server.place().events().len(), events + 1);
}

/// A moment as it stands in a body.
fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[tokio::test]
async fn what_was_sold_after_a_count_stays_sold() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let added = Utc::now();
    sync(&till, &[sale("V-1", PHONE, 3)]).await;
    // 97 are on the books; 95 are found, and 5 are sold before the count is handed in.
    let counted_at = Utc::now();
    sync(&till, &[sale("V-2", PHONE, 5)]).await;
    let count = |document: &str, at: DateTime<Utc>| {
        let lines = json!([{ "article_id": PHONE, "counted": 95, "counted_at": text(at) }]);
        json!({ "document": document, "reason": "inventaire", "lines": lines })
    };
    let keyed = shop.admin.with("idempotency-key", "count-1");
    let first = keyed.post(&shop.path("stock-adjustments"), &count("INV-1", counted_at)).await;
    let line = &first.expect(201)["lines"][0];
    assert_eq!((&line["delta"], &line["stock_before"], &line["stock_after"]), (&json!(-2), &json!(92), &json!(90)));
    assert_eq!(line["counted_at"].as_str().unwrap().parse::<DateTime<Utc>>(), text(counted_at).parse());
    assert_eq!(keyed.post(&shop.path("stock-adjustments"), &count("INV-1", counted_at)).await.text, first.text);
    let movement = shop.movements(PHONE).await.pop().unwrap();
    assert_eq!((&movement["type"], &movement["counted_at"]), (&json!("ADJUSTMENT"), &line["counted_at"]));
    // The same count by somebody else's watch: the correction of the first one was recorded after it.
    let again = shop.admin.post(&shop.path("stock-adjustments"), &count("INV-2", counted_at)).await.expect(201);
    assert_eq!(again["lines"][0]["delta"], -2, "{again}");
    // Up to 30 s ahead counts as now.
    let ahead = count("INV-3", Utc::now() + TimeDelta::seconds(20));
    let now = shop.admin.post(&shop.path("stock-adjustments"), &ahead).await.expect(201);
    assert_eq!((&now["lines"][0]["delta"], &now["lines"][0]["stock_after"]), (&json!(7), &json!(95)));
    let taken: DateTime<Utc> = now["lines"][0]["counted_at"].as_str().unwrap().parse().unwrap();
    assert!(taken <= Utc::now());

    let events = server.place().events().len();
    for at in [Utc::now() + TimeDelta::minutes(1), added - TimeDelta::minutes(1)] {
        let reply = shop.admin.post(&shop.path("stock-adjustments"), &count("INV-4", at)).await;
        assert_eq!(reply.wrong_fields(), ["lines[0].counted_at"], "{at}");
    }
    let lines = json!([{ "article_id": PHONE, "delta": 1, "counted_at": text(added) }]);
    let body = json!({ "document": "INV-5", "reason": "x", "lines": lines });
    let reply = shop.admin.post(&shop.path("stock-adjustments"), &body).await;
    assert_eq!(reply.wrong_fields(), ["lines[0].counted_at"]);
    assert_eq!(server.place().events().len(), events);
    shop.assert_adds_up().await;
    server.stop().await.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_count_of_the_past_holds_however_much_is_sold_meanwhile() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let counted_at = Utc::now();
    let selling = tokio::spawn(async move {
        for number in 0..40 {
            sync(&till, &[sale(&format!("V-{number}"), PHONE, 1)]).await;
        }
    });
    let lines = json!([{ "article_id": PHONE, "counted": 99, "counted_at": text(counted_at) }]);
    let body = json!({ "document": "INV", "reason": "inventaire", "lines": lines });
    let counted = shop.admin.post(&shop.path("stock-adjustments"), &body).await.expect(201);
    assert_eq!(counted["lines"][0]["delta"], -1, "{counted}");
    selling.await.unwrap();
    assert_eq!(shop.stock(PHONE).await, 100 - 1 - 40);
}

#[tokio::test]
async fn a_shops_currency_is_fixed_by_its_first_sale() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let path = format!("/api/v1/admin/shops/{}", shop.id);
    shop.change(&json!({ "currency": "USD" })).await;
    shop.change(&json!({ "currency": "CDF" })).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    let refused = shop.admin.put(&path, &json!({ "currency": "USD", "name": "x" })).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("CDF"), "{refused}");
    shop.change(&json!({ "currency": "CDF", "name": "Autre" })).await;
    // Taken back or not, it was sold.
    till.post(CANCEL, &json!({ "numero_facture": "V-1", "motif": "retour" })).await.expect(200);
    shop.admin.put(&path, &json!({ "currency": "USD" })).await.problem(409);
    let place = server.stop().await.place;
    let server = place.serve(&[]).await;
    let shop = shop.on(&server);
    shop.admin.put(&path, &json!({ "currency": "USD" })).await.problem(409);
    assert_eq!(shop.admin.get(&path).await.expect(200)["currency"], "CDF");
}

#[tokio::test]
async fn a_shop_may_require_keys_of_its_terminals() {
    let server = Server::start().await;
    let shop = Shop::open(&server, &json!({ "name": "x" })).await;
    let path = format!("/api/v1/admin/shops/{}", shop.id);
    shop.add_till(&server, "T-1", "sans clé").await;
    let refused = shop.admin.put(&path, &json!({ "require_terminal_keys": true })).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("T-1"), "{refused}");
    shop.admin.put(&shop.path("terminals/T-1"), &json!({ "active": false })).await.expect(200);
    let changed = shop.admin.put(&path, &json!({ "require_terminal_keys": true })).await.expect(200);
    assert_eq!(changed["require_terminal_keys"], true);
    assert_eq!(shop.admin.get(&path).await.expect(200), changed);

    shop.admin.put(&shop.path("terminals/T-1"), &json!({ "active": true })).await.problem(409);
    for serial in ["T-1", "T-2"] {
        let body = json!({ "serial": serial, "name": "x" });
        assert_eq!(shop.admin.post(&shop.path("terminals"), &body).await.wrong_fields(), ["key"]);
        let body = json!({ "serial": serial, "name": "x", "key": "secret" });
        shop.admin.post(&shop.path("terminals"), &body).await.expect(201);
    }
    let strict = Shop::open(&server, &json!({ "name": "y", "require_terminal_keys": true })).await;
    let body = json!({ "serial": "T-3", "name": "x" });
    assert_eq!(strict.admin.post(&strict.path("terminals"), &body).await.wrong_fields(), ["key"]);
    shop.change(&json!({ "require_terminal_keys": false })).await;
    shop.add_till(&server, "T-4", "sans clé").await;
}

#[tokio::test]
async fn stock_goes_below_zero_only_where_the_shop_allows_it_and_never_by_a_transfer() {
    let (server, admin, shop, article) = shop_with_an_article().await;
    let other = open(&admin, &json!({ "name": "Autre" })).await;
    let target = add_article(&admin, &other, &json!({ "name": "S24", "price": 1 })).await;
    receive(&admin, &shop, &article, 2).await;
    let id = &article["id"];
    let lines = json!([{ "article_id": id, "delta": -1 }, { "article_id": id, "delta": -2 }]);
    let adjust = json!({ "document": "INV", "reason": "casse", "lines": lines });
    let lines = json!([{ "article_id": id, "to_article_id": target["id"], "quantity": 3 }]);
    let send = json!({ "document": "TR", "to_shop": other["id"], "lines": lines });
    let events = server.place().events().len();
    let refused = admin.post(&of(&shop, "stock-adjustments"), &adjust).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().starts_with("lines[1]"), "{refused}");
    admin.post(&of(&shop, "stock-transfers"), &send).await.problem(409);
    assert_eq!(server.place().events().len(), events);

    admin.put(&format!("{SHOPS}/{}", shop["id"]), &json!({ "allow_negative_stock": true })).await.expect(200);
    admin.post(&of(&shop, "stock-transfers"), &send).await.problem(409);
    admin.post(&of(&shop, "stock-adjustments"), &adjust).await.expect(201);
    assert_eq!(stock(&admin, &shop, &article).await, -1);
    assert_eq!(stock(&admin, &other, &target).await, 0);
}

#[tokio::test]
async fn transfers_both_ways_at_once_lose_and_make_nothing() {
    let (_server, admin, here, mine) = shop_with_an_article().await;
    let there = open(&admin, &json!({ "name": "Autre" })).await;
    let theirs = add_article(&admin, &there, &json!({ "name": "S24", "price": 1 })).await;
    receive(&admin, &here, &mine, 20).await;
    receive(&admin, &there, &theirs, 20).await;
    let sends = (0..40).map(|n| {
        let ((from, what), (to, into)) =
            if n % 2 == 0 { ((&here, &mine), (&there, &theirs)) } else { ((&there, &theirs), (&here, &mine)) };
        let line = json!({ "article_id": what["id"], "to_article_id": into["id"], "quantity": 1 + n % 3 });
        let body = json!({ "document": format!("TR-{n}"), "to_shop": to["id"], "lines": [line] });
        let (admin, path) = (admin.clone(), of(from, "stock-transfers"));
        tokio::spawn(async move { admin.post(&path, &body).await.status })
    });
    for send in sends.collect::<Vec<_>>() {
        assert!([201, 409].contains(&send.await.unwrap()));
    }
    let stocks = (stock(&admin, &here, &mine).await, stock(&admin, &there, &theirs).await);
    assert_eq!(stocks.0.as_i64().unwrap() + stocks.1.as_i64().unwrap(), 40);
}

#[tokio::test]
async fn what_is_unknown_is_404_and_what_cannot_be_is_400() {
    let (server, admin, shop, article) = shop_with_an_article().await;
    let other = open(&admin, &json!({ "name": "Autre" })).await;
    let sold_no_more = add_article(&admin, &other, &json!({ "name": "x", "price": 1, "active": false })).await;
    let id = &article["id"];
    receive(&admin, &shop, &article, 5).await;
    let events = server.place().events().len();
    let nowhere = json!({ "id": 99 });
    let receipt = json!({ "document": "d", "lines": [{ "article_id": id, "quantity": 1 }] });
    let send = |to: &Value, from: &Value, into: &Value| {
        let line = json!({ "article_id": from, "to_article_id": into, "quantity": 1 });
        json!({ "document": "d", "to_shop": to, "lines": [line] })
    };
    for (path, body) in [
        (of(&nowhere, "terminals"), json!({ "serial": "s", "name": "n" })),
        (of(&nowhere, "articles"), json!({ "name": "n", "price": 1, "id": id })),
        (of(&nowhere, "stock-receipts"), receipt),
        (of(&nowhere, "stock-transfers"), send(&other["id"], id, id)),
        (of(&shop, "stock-transfers"), send(&json!(99), id, id)),
    ] {
        admin.post(&path, &body).await.problem(404);
    }
    for path in ["terminals/s", "articles/99", "stock-receipts/1", "stock-adjustments/1", "stock-transfers/1"] {
        admin.get(&of(&shop, path)).await.problem(404);
        admin.get(&of(&nowhere, path)).await.problem(404);
    }
    for list in ["terminals", "articles", "stock-receipts", "stock-adjustments", "stock-transfers"] {
        admin.get(&of(&nowhere, list)).await.problem(404);
        assert_eq!(admin.get(&of(&shop, &format!("{list}?page=0"))).await.wrong_fields(), ["page"]);
    }
    for path in ["articles/99", "terminals/s"] {
        admin.put(&of(&shop, path), &json!({ "active": true })).await.problem(404);
    }
    let wrong_lines = json!({ "document": "", "lines": [
        5, { "article_id": id }, { "article_id": 0, "quantity": 1.5, "unit_cost": -1, "more": 1 },
    ] });
    let transfers = of(&shop, "stock-transfers");
    for (reply, fields) in [
        (admin.get(&format!("{SHOPS}/x")).await, vec!["id"]),
        (admin.get(&of(&shop, "articles/0")).await, vec!["article_id"]),
        (admin.post(&transfers, &send(&shop["id"], id, id)).await, vec!["to_shop"]),
        (admin.post(&transfers, &send(&other["id"], id, id)).await, vec!["lines[0].to_article_id"]),
        (admin.post(&transfers, &send(&other["id"], id, &sold_no_more["id"])).await, vec!["lines[0].to_article_id"]),
        (admin.post(&transfers, &send(&other["id"], &sold_no_more["id"], id)).await, vec!["lines[0].article_id"]),
        (
            admin.post(&of(&shop, "stock-receipts"), &wrong_lines).await,
            vec![
                "document",
                "lines[0]",
                "lines[1].quantity",
                "lines[2].article_id",
                "lines[2].quantity",
                "lines[2].unit_cost",
                "lines[2].more",
            ],
        ),
    ] {
        let reply: Reply = reply;
        let expected: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        assert_eq!(reply.wrong_fields(), expected);
    }
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn an_adjustment_s_line_says_delta_or_counted() {
    let (_server, admin, shop, article) = shop_with_an_article().await;
    let id = &article["id"];
    let lines = json!([
        { "article_id": id }, { "article_id": id, "delta": 1, "counted": 1 }, { "article_id": id, "counted": -1 },
        { "article_id": id, "delta": null },
    ]);
    let body = json!({ "document": "INV", "reason": "r", "lines": lines });
    assert_eq!(
        admin.post(&of(&shop, "stock-adjustments"), &body).await.wrong_fields(),
        ["lines[0].delta", "lines[1].counted", "lines[2].counted", "lines[3].delta"]
    );
}

#[tokio::test]
async fn only_an_admin_administers() {
    let (server, admin, shop, _) = shop_with_an_article().await;
    let staff = server.caller_claiming(admin.id, &json!({ "sub": "s", "roles": ["staff", "auditor", "analyst"] }));
    let events = server.place().events().len();
    for path in [SHOPS.to_owned(), of(&shop, "terminals"), of(&shop, "stock-receipts"), format!("{SHOPS}/x/articles")] {
        for body in [json!({}), json!({ "name": "n" })] {
            staff.post(&path, &body).await.problem(403);
            server.stranger().post(&path, &body).await.problem(401);
        }
        staff.get(&path).await.problem(403);
        server.stranger().get(&path).await.problem(401);
    }
    assert_eq!(server.place().events().len(), events);
}

#[tokio::test]
async fn answers_have_the_fields_that_the_openapi_document_says() {
    let (_server, admin, shop, article) = shop_with_an_article().await;
    let other = open(&admin, &json!({ "name": "Autre" })).await;
    let target = add_article(&admin, &other, &json!({ "name": "S24", "price": 1 })).await;
    let terminal = admin.post(&of(&shop, "terminals"), &json!({ "serial": "s", "name": "n" })).await.expect(201);
    let receipt = receive(&admin, &shop, &article, 5).await;
    let lines = json!([{ "article_id": article["id"], "delta": -1 }]);
    let adjust = json!({ "document": "INV", "reason": "r", "lines": lines });
    let adjustment = admin.post(&of(&shop, "stock-adjustments"), &adjust).await.expect(201);
    let lines = json!([{ "article_id": article["id"], "to_article_id": target["id"], "quantity": 1 }]);
    let send = json!({ "document": "TR", "to_shop": other["id"], "lines": lines });
    let transfer = admin.post(&of(&shop, "stock-transfers"), &send).await.expect(201);

    let schemas = admin.get("/api/openapi.json").await.expect(200)["components"]["schemas"].clone();
    for (name, answered) in [
        ("Shop", &shop),
        ("Terminal", &terminal),
        ("Article", &article),
        ("StockReceipt", &receipt),
        ("StockReceiptLine", &receipt["lines"][0]),
        ("StockAdjustment", &adjustment),
        ("StockAdjustmentLine", &adjustment["lines"][0]),
        ("StockTransfer", &transfer),
        ("StockTransferLine", &transfer["lines"][0]),
    ] {
        let said: BTreeSet<&String> = schemas[name]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(answered.as_object().unwrap().keys().collect::<BTreeSet<_>>(), said, "{name}");
        assert_eq!(schemas[name]["required"].as_array().unwrap().len(), said.len(), "{name}");
    }
}
