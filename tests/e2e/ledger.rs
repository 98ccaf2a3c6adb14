//! The ledger as auditors read it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;
use crate::support::till::{CANCEL, EARPHONES, PHONE, SERIAL, Shop, at_till, codes, line, sale, sync, usual_shop};

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// A moment as it stands in a query.
fn query_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn documents(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|movement| movement["document"].as_str().unwrap()).collect()
}

async fn adjust(shop: &Shop, document: &str, line: Value) {
    let body = json!({ "document": document, "reason": "inventaire", "lines": [line] });
    shop.admin.post(&shop.path("stock-adjustments"), &body).await.expect(201);
}

async fn transfer(from: &Shop, what: i64, to: &Shop, into: i64, quantity: i64) -> u64 {
    let line = json!({ "article_id": what, "to_article_id": into, "quantity": quantity });
    let body = json!({ "document": "TR-1", "to_shop": to.id, "lines": [line] });
    let reply = from.admin.post(&from.path("stock-transfers"), &body).await;
    reply.expect(201);
    reply.position()
}

/// A server whose shop's phones went through one movement of every type, and another shop that got some.
async fn every_type() -> (Server, Shop, Shop, i64) {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let theirs = other.add_article(&json!({ "name": "Samsung S24", "price": 1 })).await;
    sync(&till, &[sale("V-1", PHONE, 3)]).await;
    till.post(CANCEL, &json!({ "numero_facture": "V-1", "motif": "retour client" })).await.expect(200);
    adjust(&shop, "INV-1", json!({ "article_id": PHONE, "counted": 90 })).await;
    transfer(&shop, PHONE, &other, theirs, 4).await;
    transfer(&other, theirs, &shop, PHONE, 1).await;
    (server, shop, other, theirs)
}

#[tokio::test]
async fn every_change_of_stock_is_a_movement_that_says_where_it_comes_from() {
    let (server, shop, other, theirs) = every_type().await;
    let movements = shop.movements(PHONE).await;
    let logged = server.place().events();
    let admin = json!(shop.admin.id);
    let expected = [
        json!(["RECEIPT", 100, 0, 100, "BL-100", null, admin, null, null]),
        json!(["VENTE", -3, 100, 97, "V-1", SERIAL, null, null, null]),
        json!(["RETOUR", 3, 97, 100, "V-1", SERIAL, null, "retour client", movements[1]["position"]]),
        json!(["ADJUSTMENT", -10, 100, 90, "INV-1", null, admin, "inventaire", null]),
        json!(["TRANSFER_OUT", -4, 90, 86, "TR-1", null, admin, null, null]),
        json!(["TRANSFER_IN", 1, 86, 87, "TR-1", null, json!(other.admin.id), null, null]),
    ];
    assert_eq!(movements.len(), expected.len());
    for (movement, expected) in movements.iter().zip(expected) {
        let told =
            ["type", "delta", "stock_before", "stock_after", "document", "terminal", "user", "reason", "reversal_of"]
                .map(|field| movement[field].clone());
        assert_eq!(json!(told), expected);
        assert_eq!((&movement["shop_id"], &movement["article_id"]), (&json!(2), &json!(PHONE)));
        assert_eq!(movement["line"], 1);
        movement["event_id"].as_str().unwrap().parse::<Uuid>().unwrap();
        let event = &logged[movement["position"].as_u64().unwrap() as usize - 1];
        assert_eq!(event.stream, "shop-2", "{movement}");
        assert!(time(&movement["recorded_at"]) <= Utc::now());
    }
    assert_eq!((&movements[4]["to_shop"], movements[4].get("from_shop")), (&json!(other.id), None));
    assert_eq!((&movements[5]["from_shop"], movements[5].get("to_shop")), (&json!(other.id), None));
    let came = other.movements(theirs).await;
    assert_eq!(
        (&came[0]["type"], &came[0]["from_shop"], &came[0]["delta"]),
        (&json!("TRANSFER_IN"), &json!(2), &json!(4))
    );

    let stock = shop.ledger(&format!("stock/{PHONE}")).await;
    let expected = json!({
        "shop_id": 2, "article_id": PHONE, "name": "Samsung S24", "stock": 87, "position": movements[5]["position"],
    });
    assert_eq!(stock, expected);
    let stocks = shop.ledger("stock").await;
    let expected = json!({ "items": [
        {
            "article_id": PHONE, "name": "Samsung S24", "stock": 87, "low": false,
            "updated_at": movements[5]["recorded_at"],
        },
        {
            "article_id": EARPHONES, "name": "Écouteurs", "stock": 100, "low": false,
            "updated_at": shop.movements(EARPHONES).await[0]["recorded_at"],
        },
    ], "next": null });
    assert_eq!(stocks, expected);
    for shop in [shop, other] {
        shop.assert_adds_up().await;
    }
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn movements_are_filtered_by_type_and_time_on_either_basis_and_paged() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let sold = |number: &str, date: &str| json!({ "numero_facture": number, "date_vente": date, "lignes": [line(PHONE, 1), line(PHONE, 1)] });
    sync(&till, &[sold("A", "2025-10-29T10:00:00Z"), sold("B", "2025-10-28T10:00:00Z")]).await;
    adjust(&shop, "INV", json!({ "article_id": PHONE, "delta": 1 })).await;
    let all = shop.movements(PHONE).await;
    assert_eq!(
        all.iter().map(|movement| movement["document"].as_str().unwrap()).collect::<Vec<_>>(),
        ["BL-100", "A", "A", "B", "B", "INV"]
    );
    let (receipt, recorded, last) =
        (time(&all[0]["recorded_at"]), time(&all[1]["recorded_at"]), time(&all[5]["recorded_at"]));
    assert!(receipt < recorded && recorded < last);
    let path = format!("stock/{PHONE}/movements");
    for (query, expected) in [
        ("type=VENTE".to_owned(), vec!["A", "A", "B", "B"]),
        ("type=RECEIPT".to_owned(), vec!["BL-100"]),
        ("type=ADJUSTMENT".to_owned(), vec!["INV"]),
        ("type=RETOUR".to_owned(), vec![]),
        ("type=TRANSFER_IN".to_owned(), vec![]),
        ("basis=occurred&to=2025-10-29T00:00:00Z".to_owned(), vec!["B", "B"]),
        ("basis=occurred&from=2025-10-29T10:00:00Z&to=2025-10-29T10:00:00.000001Z".to_owned(), vec!["A", "A"]),
        ("basis=occurred&from=2025-10-28T10:00:00Z&to=2025-10-29T10:00:00Z".to_owned(), vec!["B", "B"]),
        ("from=2025-10-28T10:00:00Z&to=2025-10-29T12:00:00Z".to_owned(), vec![]),
        (format!("basis=recorded&from={}", query_time(recorded)), vec!["A", "A", "B", "B", "INV"]),
        (format!("from={}", query_time(last)), vec!["INV"]),
        (format!("to={}", query_time(last)), vec!["BL-100", "A", "A", "B", "B"]),
        (format!("to={}&type=VENTE&basis=occurred", query_time(last)), vec!["A", "A", "B", "B"]),
    ] {
        assert_eq!(documents(&shop.ledger(&format!("{path}?{query}")).await), expected, "{query}");
    }
    for limit in 1..=6 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = shop.ledger(&format!("{path}?limit={limit}{after}")).await;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(page["items"].as_array().unwrap().len(), limit);
            after = format!("&after={next}");
        }
        assert_eq!(found, all, "{limit}");
    }
    let filtered = shop.ledger(&format!("{path}?type=VENTE&limit=3")).await;
    let rest = shop.ledger(&format!("{path}?type=VENTE&limit=3&after={}", filtered["next"].as_str().unwrap())).await;
    assert_eq!((documents(&filtered), documents(&rest)), (vec!["A", "A", "B"], vec!["B"]));
}

#[tokio::test]
async fn a_late_sale_changes_what_had_happened_and_not_what_the_books_said() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let late = json!({
        "numero_facture": "late", "date_vente": "2025-10-28T10:00:00Z", "lignes": [line(PHONE, 3), line(PHONE, 4)],
    });
    sync(&till, &[sale("now", PHONE, 10)]).await;
    sync(&till, &[late]).await;
    let movements = shop.movements(PHONE).await;
    let recorded = |place: usize| query_time(time(&movements[place]["recorded_at"]));
    let just_before = |place: usize| query_time(time(&movements[place]["recorded_at"]) - TimeDelta::microseconds(1));
    let position = |place: usize| movements[place]["position"].clone();
    for (query, stock, position) in [
        (String::new(), 83, position(3)),
        (format!("?as_of={}", recorded(0)), 100, position(0)),
        (format!("?as_of={}", just_before(0)), 0, json!(0)),
        (format!("?as_of={}&basis=recorded", recorded(1)), 90, position(1)),
        (format!("?as_of={}&basis=recorded", just_before(2)), 90, position(1)),
        (format!("?as_of={}", recorded(2)), 83, position(3)),
        ("?as_of=2025-10-28T12:00:00Z".to_owned(), 0, json!(0)),
        ("?as_of=2025-10-28T12:00:00Z&basis=occurred".to_owned(), -7, position(3)),
        ("?as_of=2025-10-28T10:00:00Z&basis=occurred".to_owned(), -7, position(3)),
        ("?as_of=2025-10-28T09:59:59.999999Z&basis=occurred".to_owned(), 0, json!(0)),
        (format!("?as_of={}&basis=occurred", query_time(time(&movements[0]["occurred_at"]))), 93, position(3)),
        ("?as_of=2999-01-01T00:00:00Z".to_owned(), 83, position(3)),
        ("?basis=occurred".to_owned(), 83, position(3)),
    ] {
        let shown = shop.ledger(&format!("stock/{PHONE}{query}")).await;
        assert_eq!((&shown["stock"], &shown["position"]), (&json!(stock), &position), "{query}");
    }
}

#[tokio::test]
async fn reconciling_finds_what_the_read_model_got_wrong() {
    let (server, shop, other, theirs) = every_type().await;
    let clean = json!({ "checked": 2, "differences": [] });
    assert_eq!(shop.ledger("stock/reconcile").await, clean);
    assert_eq!(other.ledger("stock/reconcile").await, json!({ "checked": 1, "differences": [] }));

    let place = server.stop().await.place;
    for tampering in [
        "UPDATE stock_movements SET delta = delta - 5 WHERE shop_id = 2 AND article_id = 6 AND type = 'RECEIPT'",
        "UPDATE stock SET stock = 77 WHERE shop_id = 2 AND article_id = 7",
        "DELETE FROM stock_movements WHERE shop_id <> 2",
    ] {
        place.tamper("stock_ledger", tampering);
    }
    let server = place.serve(&[]).await;
    let (shop, other) = (shop.on(&server), other.on(&server));
    let expected = json!({ "checked": 2, "differences": [
        { "article_id": PHONE, "log": 87, "movements": 82, "stock": 87 },
        { "article_id": EARPHONES, "log": 100, "movements": 100, "stock": 77 },
    ] });
    assert_eq!(shop.ledger("stock/reconcile").await, expected);
    let expected =
        json!({ "checked": 1, "differences": [{ "article_id": theirs, "log": 3, "movements": 0, "stock": 0 }] });
    assert_eq!(other.ledger("stock/reconcile").await, expected);

    // A rebuild from the log puts it right.
    let place = server.stop().await.place;
    place.delete_read_models();
    let server = place.serve(&[]).await;
    assert_eq!(shop.on(&server).ledger("stock/reconcile").await, clean);
    assert_eq!(other.on(&server).stock(theirs).await, 3);
}

#[tokio::test]
async fn the_log_decides_also_when_the_read_model_is_wrong() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    // Whoever reads what they wrote waits for the read model: its rows are there now.
    assert_eq!(shop.stock(PHONE).await, 100);
    let place = server.stop().await.place;
    place.tamper("stock_ledger", "UPDATE stock SET stock = 1000000 WHERE article_id = 6");
    let server = place.serve(&[]).await;
    let till = at_till(&server, SERIAL);
    assert_eq!(codes(&sync(&till, &[sale("V-1", PHONE, 101)]).await), [(1, "INSUFFICIENT_STOCK")]);
    sync(&till, &[sale("V-2", PHONE, 1)]).await;
    assert_eq!(shop.on(&server).stock(PHONE).await, 99);
}

#[tokio::test]
async fn the_ledger_is_for_auditors_staff_and_admins() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let paths = ["stock", "stock/6", "stock/6/movements", "stock/reconcile", "alerts"]
        .map(|rest| format!("/api/v1/shops/{}/{rest}", shop.id));
    let role = |role: &str| {
        let id = Uuid::new_v4();
        server.caller_claiming(id, &json!({ "sub": id, "roles": [role] }))
    };
    for path in &paths {
        for allowed in ["auditor", "staff", "admin"] {
            role(allowed).get(path).await.expect(200);
        }
        for refused in [role("analyst"), server.reader()] {
            refused.get(path).await.problem(403);
        }
        for refused in [server.stranger(), till.clone()] {
            refused.get(path).await.problem(401);
        }
    }
    let auditor = role("auditor");
    for path in [
        "99/stock",
        "99/stock/6",
        "99/stock/6/movements",
        "99/stock/reconcile",
        "99/alerts",
        "2/stock/99",
        "2/stock/99/movements",
    ] {
        auditor.get(&format!("/api/v1/shops/{path}")).await.problem(404);
    }
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    auditor.get(&format!("/api/v1/shops/{}/stock/{PHONE}", other.id)).await.problem(404);
    auditor.get(&format!("/api/v1/shops/{}/stock/{PHONE}/movements", other.id)).await.problem(404);
    for (path, field) in [
        ("2/stock?limit=0", "limit"),
        ("2/stock?limit=1001", "limit"),
        ("2/stock?after=x", "after"),
        ("2/stock/6?as_of=gestern", "as_of"),
        ("2/stock/6?basis=both", "basis"),
        ("2/stock/6/movements?type=SALE", "type"),
        ("2/stock/6/movements?from=2025-10-29", "from"),
        ("2/stock/6/movements?to=x", "to"),
        ("2/stock/6/movements?after=x", "after"),
        ("2/stock/6/movements?limit=-1", "limit"),
        ("2/alerts?after=x", "after"),
        ("2/alerts?limit=1001", "limit"),
    ] {
        assert_eq!(auditor.get(&format!("/api/v1/shops/{path}")).await.wrong_fields(), [field], "{path}");
    }
    assert_eq!(auditor.get("/api/v1/shops/x/stock").await.wrong_fields(), ["shop"]);
    assert_eq!(auditor.get("/api/v1/shops/2/stock/x").await.wrong_fields(), ["article"]);
}

#[tokio::test]
async fn stock_is_paged_by_article() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    for number in 0..5 {
        shop.add_article(&json!({ "name": format!("n{number}"), "price": 1 })).await;
    }
    let whole = shop.ledger("stock").await;
    let whole = whole["items"].as_array().unwrap();
    assert_eq!((whole.len(), &whole[2]["stock"], &whole[2]["low"]), (7, &json!(0), &json!(true)));
    assert_eq!(whole[2]["updated_at"], Value::Null, "it never moved");
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = shop.ledger(&format!("stock?limit=3{after}")).await;
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, *whole);
}

#[tokio::test]
async fn an_alert_is_raised_once_for_each_crossing() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let low = |stock: i64| json!(["low", stock, 5]);
    let negative = |stock: i64| json!(["negative", stock, 0]);
    let mut expected: Vec<Value> = Vec::new();
    // A new article that was never above the threshold raises none.
    let rare = shop.add_article(&json!({ "name": "rare", "price": 1 })).await;
    shop.receive(rare, 3).await;
    sync(&till, &[sale("R-1", rare, 1)]).await;

    sync(&till, &[sale("1", PHONE, 94), sale("2", PHONE, 1), sale("3", PHONE, 1), sale("4", PHONE, 4)]).await;
    expected.push(low(5));
    assert_eq!(codes(&sync(&till, &[sale("5", PHONE, 1)]).await), [(1, "INSUFFICIENT_STOCK")]);
    shop.change(&json!({ "allow_negative_stock": true })).await;
    sync(&till, &[sale("5", PHONE, 1), sale("6", PHONE, 1)]).await;
    expected.push(negative(-1));
    shop.receive(PHONE, 2).await;
    sync(&till, &[sale("7", PHONE, 1)]).await;
    expected.push(negative(-1));
    shop.receive(PHONE, 7).await;
    sync(&till, &[sale("8", PHONE, 1)]).await;
    expected.push(low(5));
    // Through both at once, and by an adjustment.
    shop.receive(PHONE, 10).await;
    sync(&till, &[sale("9", PHONE, 20)]).await;
    expected.extend([low(-5), negative(-5)]);
    shop.receive(PHONE, 105).await;
    adjust(&shop, "INV", json!({ "article_id": PHONE, "counted": 4 })).await;
    expected.push(low(4));
    // Two lines: the one that crosses.
    shop.receive(PHONE, 4).await;
    let both = json!({ "numero_facture": "10", "lignes": [line(PHONE, 2), line(PHONE, 2)] });
    sync(&till, &[both]).await;
    expected.push(low(4));

    let shown = shop.ledger("alerts").await;
    let items = shown["items"].as_array().unwrap();
    let told: Vec<Value> =
        items.iter().map(|alert| json!([alert["kind"], alert["stock"], alert["threshold"]])).collect();
    assert_eq!(told, expected);
    let movements = shop.movements(PHONE).await;
    for alert in items {
        assert_eq!(alert["article_id"], PHONE);
        let movement = movements
            .iter()
            .find(|movement| movement["position"] == alert["position"] && movement["stock_after"] == alert["stock"]);
        assert_eq!(movement.unwrap()["recorded_at"], alert["at"], "{alert}");
    }
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = shop.ledger(&format!("alerts?limit=2{after}")).await;
        paged.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, *items);
}

#[tokio::test]
async fn a_shop_that_allows_it_sells_what_it_does_not_have() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.change(&json!({ "allow_negative_stock": true })).await;
    let answer = sync(&till, &[sale("V-1", PHONE, 130)]).await;
    let update = json!([{ "article_id": PHONE, "stock_avant": 100, "stock_apres": -30 }]);
    assert_eq!(answer["ventes_creees"][0]["stock_updates"], update);
    assert_eq!(shop.stock(PHONE).await, -30);
    shop.change(&json!({ "allow_negative_stock": false })).await;
    assert_eq!(codes(&sync(&till, &[sale("V-2", PHONE, 1)]).await), [(1, "INSUFFICIENT_STOCK")]);
    // Goods come back and in all the same.
    till.post(CANCEL, &json!({ "numero_facture": "V-1", "motif": "m" })).await.expect(200);
    assert_eq!(shop.stock(PHONE).await, 100);
    shop.assert_adds_up().await;
}

#[tokio::test]
async fn the_list_shows_the_stock_at_a_moment_like_each_article_does() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let sold = |number: &str, date: &str, article| json!({ "numero_facture": number, "date_vente": date, "lignes": [line(article, 2)] });
    sync(&till, &[sold("V-1", "2025-10-28T10:00:00Z", PHONE), sold("V-2", "2025-10-29T10:00:00Z", EARPHONES)]).await;
    let still = shop.add_article(&json!({ "name": "sans mouvement", "price": 1 })).await;
    let recorded: Vec<String> =
        shop.movements(PHONE).await.iter().map(|movement| query_time(time(&movement["recorded_at"]))).collect();
    for moment in [
        String::new(),
        "&as_of=2025-10-28T10:00:00Z&basis=occurred".to_owned(),
        "&as_of=2025-10-28T09:59:59Z&basis=occurred".to_owned(),
        "&as_of=2999-01-01T00:00:00Z&basis=occurred".to_owned(),
        "&as_of=2020-01-01T00:00:00Z".to_owned(),
        format!("&as_of={}", recorded[0]),
        format!("&as_of={}&basis=recorded", recorded[1]),
    ] {
        let mut after = String::new();
        let mut seen = Vec::new();
        loop {
            let page = shop.ledger(&format!("stock?limit=2{after}{moment}")).await;
            for item in page["items"].as_array().unwrap() {
                let article = item["article_id"].as_i64().unwrap();
                let one = shop.ledger(&format!("stock/{article}?{}", moment.trim_start_matches('&'))).await;
                assert_eq!(item["stock"], one["stock"], "{article} {moment}");
                assert_eq!(item["updated_at"].is_null(), one["position"] == 0, "{article} {moment}");
                seen.push(article);
            }
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, [PHONE, EARPHONES, still], "{moment}");
    }
    let long_ago = shop.ledger("stock?as_of=2020-01-01T00:00:00Z").await;
    assert!(long_ago["items"].as_array().unwrap().iter().all(|item| item["stock"] == 0), "{long_ago}");
    let auditor = server.with_role("auditor");
    for (query, field) in [("as_of=hier", "as_of"), ("as_of=2025-10-28T10:00:00Z&basis=x", "basis")] {
        let reply = auditor.get(&format!("/api/v1/shops/{}/stock?{query}", shop.id)).await;
        assert_eq!(reply.wrong_fields(), [field]);
    }
}
