//! Batches of sales as tills hand them in, answered to the letter.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::till::{EARPHONES, HISTORY, PHONE, SERIAL, SYNC, Shop, codes, line, sale, sync, till, usual_shop};
use crate::support::{Caller, Server, files};

const DOCUMENTED: &str = r#"[
  {
    "numero_facture": "VENTE-001",
    "mode_paiement": "CASH",
    "paye": true,
    "lignes": [{"article_id": 6, "quantite": 1, "prix_unitaire": 40000}]
  },
  {
    "numero_facture": "VENTE-002",
    "mode_paiement": "MOBILE_MONEY",
    "paye": true,
    "lignes": [{"article_id": 7, "quantite": 2, "prix_unitaire": 25000}]
  }
]"#;

fn events(server: &Server) -> usize {
    files::events(server.place().data()).len()
}

fn in_minutes(minutes: i64) -> String {
    (Utc::now() + TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The created or refused sale of a batch of one, whose body is not written by `serde_json`.
async fn sync_line(till: &Caller, line: &str) -> Value {
    let answer = till.post_text(SYNC, &format!(r#"[{{"lignes": [{line}]}}]"#)).await.expect(201);
    match &answer["ventes_erreurs"] {
        Value::Null => answer["ventes_creees"][0].clone(),
        errors => errors[0].clone(),
    }
}

#[tokio::test]
async fn the_documented_request_gets_the_documented_answer() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let before = events(&server) as u64;
    let reply = till.post_text(SYNC, DOCUMENTED).await;
    let expected = json!({
        "success": true,
        "message": "2 vente(s) synchronisée(s) avec succès",
        "boutique_id": 2,
        "boutique_nom": "Ma Boutique",
        "terminal": "Terminal messie vanza",
        "statistiques": { "total_envoyees": 2, "reussies": 2, "erreurs": 0 },
        "ventes_creees": [
            {
                "numero_facture": "VENTE-001",
                "montant_total": "40000.00",
                "lignes": [{
                    "article_nom": "Samsung S24", "quantite": 1, "prix_unitaire": "40000.00", "sous_total": "40000.00",
                }],
                "id": before + 1,
                "position": before + 1,
                "stock_updates": [{ "article_id": 6, "stock_avant": 100, "stock_apres": 99 }],
            },
            {
                "numero_facture": "VENTE-002",
                "montant_total": "50000.00",
                "lignes": [{
                    "article_nom": "Écouteurs", "quantite": 2, "prix_unitaire": "25000.00", "sous_total": "50000.00",
                }],
                "id": before + 2,
                "position": before + 2,
                "stock_updates": [{ "article_id": 7, "stock_avant": 100, "stock_apres": 98 }],
            },
        ],
        "ventes_erreurs": null,
    });
    assert_eq!(reply.expect(201), expected);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.position(), before + 2);
}

#[tokio::test]
async fn a_sale_without_enough_stock_is_an_error_beside_the_others() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let answer = sync(&till, &[sale("V-1", PHONE, 1), sale("V-2", PHONE, 100), sale("V-3", PHONE, 99)]).await;
    assert_eq!(answer["message"], "2 vente(s) synchronisée(s) avec succès");
    let expected = json!([{
        "index": 2, "numero_facture": "V-2", "erreur": "Stock insuffisant pour Samsung S24",
        "code": "INSUFFICIENT_STOCK",
    }]);
    assert_eq!(answer["ventes_erreurs"], expected);
    assert_eq!(answer["ventes_creees"][1]["stock_updates"][0]["stock_apres"], 0);

    let nothing = sync(&till, &[sale("V-4", PHONE, 1)]).await;
    assert_eq!((&nothing["success"], &nothing["ventes_creees"]), (&json!(true), &json!([])));
    assert_eq!(nothing["message"], "0 vente(s) synchronisée(s) avec succès");
}

#[tokio::test]
async fn requests_are_refused_in_the_order_of_the_checks() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let locked = json!({ "serial": "locked", "name": "Caisse", "key": "sesame" });
    shop.admin.post(&shop.path("terminals"), &locked).await.expect(201);
    let idle = json!({ "serial": "idle", "name": "Caisse", "key": "sesame" });
    shop.admin.post(&shop.path("terminals"), &idle).await.expect(201);
    shop.admin.put(&shop.path("terminals/idle"), &json!({ "active": false })).await.expect(200);
    let before = events(&server);

    let missing = json!({
        "error": "Numéro de série du terminal requis dans les headers", "code": "MISSING_SERIAL",
        "header_required": "X-Device-Serial",
    });
    let unknown = json!({ "error": "Terminal non trouvé ou inactif", "code": "TERMINAL_NOT_FOUND" });
    let no_key = json!({ "error": "Clé du terminal manquante ou incorrecte", "code": "INVALID_KEY" });
    let format = json!({ "error": "Format invalide: un tableau de ventes est attendu", "code": "INVALID_FORMAT" });
    let stranger = server.stranger();
    let open = till(&server, "locked").with("x-device-key", "sesame");
    for (caller, status, expected) in [
        (stranger.clone(), 400, &missing),
        (stranger.with("x-device-key", "sesame"), 400, &missing),
        (till(&server, " "), 400, &missing),
        (till(&server, "nobody"), 404, &unknown),
        (till(&server, "idle"), 404, &unknown),
        (till(&server, "idle").with("x-device-key", "sesame"), 404, &unknown),
        (till(&server, "locked"), 401, &no_key),
        (till(&server, "locked").with("x-device-key", "sesam"), 401, &no_key),
        (till(&server, "locked").with("x-device-key", ""), 401, &no_key),
        (open.clone(), 400, &format),
    ] {
        for body in ["[", "", "[{]"] {
            let reply = caller.post_text(SYNC, body).await;
            assert_eq!(reply.expect(status), *expected, "{body:?}");
            assert_eq!(reply.header("content-type"), "application/json");
        }
    }
    for body in ["{}", "5", "null", "\"[]\"", "{\"ventes\": 5}", "{\"ventes\": null}", "{\"vente\": []}", "[] []"] {
        assert_eq!(open.post_text(SYNC, body).await.expect(400), format, "{body}");
    }
    for body in ["[]", " [ ] ", "{\"ventes\": []}"] {
        assert_eq!(open.post_text(SYNC, body).await.expect(400)["code"], "EMPTY_DATA", "{body}");
    }
    let many = json!(vec![json!({}); 1001]);
    for body in [many.clone(), json!({ "ventes": many })] {
        assert_eq!(open.post(SYNC, &body).await.expect(413)["code"], "TOO_MANY");
    }
    assert_eq!(sync(&open, &vec![json!({}); 1000]).await["ventes_creees"], json!([]));
    assert_eq!(events(&server), before);
    assert_eq!(sync(&open, &[sale("V-1", PHONE, 1)]).await["ventes_erreurs"], Value::Null);
}

#[tokio::test]
async fn a_wrapped_batch_and_fields_of_its_own_and_a_missing_slash_are_taken() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let wrapped = r#"{"version": 3, "ventes": [{"numero_facture": "V-1", "client": {"nom": "A"}, "montant_total": "x",
        "lignes": [{"article_id": 6, "article_nom": "autre", "sous_total": [1]}]}]}"#;
    for (number, path) in ["/api/v2/simple/ventes/sync", "/api/v2/simple/ventes/sync/"].into_iter().enumerate() {
        let answer = till.post_text(path, &wrapped.replace("V-1", &format!("V-{number}"))).await.expect(201);
        assert_eq!(answer["ventes_erreurs"], Value::Null);
        assert_eq!(answer["ventes_creees"][0]["lignes"][0]["article_nom"], "Samsung S24");
        assert_eq!(answer["ventes_creees"][0]["montant_total"], "40000.00");
    }
    assert_eq!(shop.stock(PHONE).await, 98);
}

#[tokio::test]
async fn what_a_sale_leaves_out_or_nulls_has_its_default() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let lignes = json!([{ "article_id": PHONE }]);
    let nulls = json!([{ "article_id": PHONE, "quantite": null, "prix_unitaire": null }]);
    let sales = [
        (json!({ "numero_facture": "V-1", "lignes": lignes }), "CASH", true),
        (
            json!({ "numero_facture": "V-2", "mode_paiement": null, "paye": null, "date_vente": null, "lignes": nulls }),
            "CASH",
            true,
        ),
        (json!({ "numero_facture": "V-3", "paye": false, "lignes": lignes }), "CASH", false),
        (json!({ "numero_facture": "V-4", "mode_paiement": "CARD", "lignes": lignes }), "CARTE", true),
        (json!({ "numero_facture": "V-5", "mode_paiement": "MOBILE", "lignes": lignes }), "MOBILE_MONEY", true),
        (json!({ "numero_facture": "V-6", "mode_paiement": "CARTE", "lignes": lignes }), "CARTE", true),
    ];
    let sent: Vec<Value> = sales.iter().map(|(sale, _, _)| sale.clone()).collect();
    sync(&till, &sent).await;
    let shown = till.get(HISTORY).await.expect(200);
    assert_eq!(shown["count"], 6);
    for (sale, mode, paye) in sales {
        let ventes = shown["ventes"].as_array().unwrap();
        let vente = ventes.iter().find(|vente| vente["numero_facture"] == sale["numero_facture"]).unwrap();
        assert_eq!((&vente["mode_paiement"], &vente["paye"]), (&json!(mode), &json!(paye)), "{vente}");
        assert_eq!(
            (&vente["lignes"][0]["quantite"], &vente["montant_total"]),
            (&json!(1), &json!("40000.00")),
            "{vente}"
        );
    }
}

#[tokio::test]
async fn money_is_exact_to_the_hundredth_up_to_its_bound() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    for (price, quantity, unit, total) in [
        ("0", 1, "0.00", "0.00"),
        ("0.0", 2, "0.00", "0.00"),
        ("0.1", 3, "0.10", "0.30"),
        ("0.07", 1, "0.07", "0.07"),
        ("19.99", 3, "19.99", "59.97"),
        ("1.10", 1, "1.10", "1.10"),
        ("1.5e3", 1, "1500.00", "1500.00"),
        ("40000.000", 1, "40000.00", "40000.00"),
        ("9999999999999.99", 1, "9999999999999.99", "9999999999999.99"),
        ("3333333333333.33", 3, "3333333333333.33", "9999999999999.99"),
        ("10000000000000", 1, "10000000000000.00", "10000000000000.00"),
    ] {
        let line = format!(r#"{{"article_id": 6, "quantite": {quantity}, "prix_unitaire": {price}}}"#);
        let created = sync_line(&till, &line).await;
        assert_eq!(created["montant_total"], total, "{price} x {quantity}: {created}");
        assert_eq!(created["lignes"][0]["prix_unitaire"], unit, "{created}");
        assert_eq!(created["lignes"][0]["sous_total"], total, "{created}");
    }
    for (price, quantity, said) in [
        ("-1", 1, "négatif"),
        ("-0.01", 1, "négatif"),
        ("0.001", 1, "deux décimales"),
        ("40000.005", 1, "deux décimales"),
        ("1e-400", 1, "deux décimales"),
        ("10000000000000.01", 1, "Montant trop élevé"),
        ("9999999999999.99", 2, "Montant trop élevé"),
        ("1e400", 1, "Montant trop élevé"),
        ("123456789012345678901234567890", 1, "Montant trop élevé"),
        ("\"40000\"", 1, "prix_unitaire"),
        ("true", 1, "prix_unitaire"),
        ("[1]", 1, "prix_unitaire"),
    ] {
        let line = format!(r#"{{"article_id": 6, "quantite": {quantity}, "prix_unitaire": {price}}}"#);
        let refused = sync_line(&till, &line).await;
        assert!(refused["erreur"].as_str().unwrap().contains(said), "{price} x {quantity}: {refused}");
    }
    let half = json!({ "article_id": PHONE, "prix_unitaire": 5_000_000_000_000_i64 });
    let cent = json!({ "article_id": EARPHONES, "prix_unitaire": 0.01 });
    let answer = sync(&till, &[json!({ "lignes": [half, half] }), json!({ "lignes": [half, half, cent] })]).await;
    assert_eq!(answer["ventes_creees"][0]["montant_total"], "10000000000000.00");
    assert_eq!(codes(&answer), [(2, "INVALID_SALE")]);
}

#[tokio::test]
async fn a_quantity_is_a_whole_number_from_1_to_its_bound() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let before = events(&server);
    for quantity in
        ["\"2\"", "0", "-1", "2.5", "0.999", "1e30", "9223372036854775808", "1000000001", "true", "[]", "{}", "\"\""]
    {
        let refused = sync_line(&till, &format!(r#"{{"article_id": 6, "quantite": {quantity}}}"#)).await;
        assert!(refused["erreur"].as_str().unwrap().to_lowercase().contains("quantit"), "{quantity}: {refused}");
        assert_eq!((&refused["index"], &refused["numero_facture"]), (&json!(1), &Value::Null), "{quantity}");
    }
    assert_eq!(events(&server), before);
    for quantity in ["2", "2.0", "2e0", "20e-1"] {
        let created = sync_line(&till, &format!(r#"{{"article_id": 6, "quantite": {quantity}}}"#)).await;
        assert_eq!(created["lignes"][0]["quantite"], 2, "{quantity}: {created}");
    }
    shop.receive(PHONE, 1_000_000_000).await;
    let most = sync_line(&till, r#"{"article_id": 6, "quantite": 1000000000, "prix_unitaire": 0.01}"#).await;
    assert_eq!(most["montant_total"], "10000000.00");
}

#[tokio::test]
async fn whatever_is_wrong_with_one_sale_is_its_own_error() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let foreign = other.add_article(&json!({ "name": "x", "price": 1 })).await;
    other.receive(foreign, 5).await;
    let inactive = shop.add_article(&json!({ "name": "y", "price": 1, "active": false })).await;
    shop.receive(inactive, 5).await;
    let of = |field: &str, value: Value| {
        let mut sale = sale("V", PHONE, 1);
        sale[field] = value;
        sale
    };
    let with_line = |line: Value| of("lignes", json!([line]));
    let many: Vec<Value> = vec![line(PHONE, 1); 1001];
    let wrong = [
        (json!(5), Value::Null),
        (Value::Null, Value::Null),
        (json!("V"), Value::Null),
        (json!(true), Value::Null),
        (json!([]), Value::Null),
        (json!(["V", "CASH", true, null, [line(PHONE, 1)]]), Value::Null),
        (json!({}), Value::Null),
        (of("numero_facture", json!(7)), Value::Null),
        (of("numero_facture", json!(["V"])), Value::Null),
        (of("numero_facture", json!("9".repeat(101))), Value::Null),
        (of("mode_paiement", json!("TROC")), json!("V")),
        (of("mode_paiement", json!("cash")), json!("V")),
        (of("mode_paiement", json!("")), json!("V")),
        (of("mode_paiement", json!(1)), json!("V")),
        (of("paye", json!("true")), json!("V")),
        (of("paye", json!(1)), json!("V")),
        (of("date_vente", json!("hier")), json!("V")),
        (of("date_vente", json!("2025-10-29")), json!("V")),
        (of("date_vente", json!("2025-13-29T10:00:00Z")), json!("V")),
        (of("date_vente", json!("2025-10-29T10:00:00")), json!("V")),
        (of("date_vente", json!(1_761_700_000)), json!("V")),
        (of("lignes", Value::Null), json!("V")),
        (of("lignes", json!([])), json!("V")),
        (of("lignes", json!({})), json!("V")),
        (of("lignes", json!("6")), json!("V")),
        (of("lignes", json!(many)), json!("V")),
        (with_line(json!(6)), json!("V")),
        (with_line(Value::Null), json!("V")),
        (with_line(json!([PHONE, 1, 100])), json!("V")),
        (with_line(json!({})), json!("V")),
        (with_line(json!({ "article_id": null })), json!("V")),
        (with_line(json!({ "article_id": "6" })), json!("V")),
        (with_line(json!({ "article_id": 6.5 })), json!("V")),
        (with_line(line(99, 1)), json!("V")),
        (with_line(line(0, 1)), json!("V")),
        (with_line(line(-6, 1)), json!("V")),
        (with_line(line(foreign, 1)), json!("V")),
        (with_line(line(inactive, 1)), json!("V")),
        (of("lignes", json!([line(PHONE, 1), line(99, 1)])), json!("V")),
    ];
    let mut sales = Vec::new();
    for (place, (wrong, _)) in wrong.iter().enumerate() {
        sales.push(sale(&format!("G-{place}"), EARPHONES, 1));
        sales.push(wrong.clone());
    }
    let answer = sync(&till, &sales).await;
    let numbers = answer["ventes_creees"].as_array().unwrap().iter().map(|created| &created["numero_facture"]);
    assert!(numbers.eq((0..wrong.len()).map(|place| format!("G-{place}")).collect::<Vec<_>>().iter()));
    let errors = answer["ventes_erreurs"].as_array().unwrap();
    assert_eq!(errors.len(), wrong.len());
    for (place, (error, (sent, number))) in errors.iter().zip(&wrong).enumerate() {
        assert_eq!(error["index"], 2 * place + 2, "{error}");
        assert_eq!(error["numero_facture"], *number, "{sent}");
        assert!(!error["erreur"].as_str().unwrap().is_empty() && error.get("status").is_none(), "{error}");
    }
    let longest = json!({ "numero_facture": "9".repeat(100), "lignes": vec![line(PHONE, 1); 100] });
    assert_eq!(sync(&till, &[longest, sale("V", PHONE, 0)]).await["ventes_creees"][0]["montant_total"], "4000000.00");
    assert_eq!((shop.stock(PHONE).await, shop.stock(EARPHONES).await), (0, 100 - wrong.len() as i64));
    assert_eq!((shop.stock(inactive).await, other.stock(foreign).await), (5, 5));
}

#[tokio::test]
async fn a_thousand_lines_are_one_sale() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.receive(PHONE, 900).await;
    let most = json!({ "numero_facture": "V-1", "lignes": vec![line(PHONE, 1); 1000] });
    let answer = sync(&till, &[most]).await;
    assert_eq!(answer["ventes_creees"][0]["montant_total"], "40000000.00");
    let update = json!([{ "article_id": PHONE, "stock_avant": 1000, "stock_apres": 0 }]);
    assert_eq!(answer["ventes_creees"][0]["stock_updates"], update);
    assert_eq!(shop.movements(PHONE).await.len(), 1002);
    shop.assert_adds_up().await;
}

#[tokio::test]
async fn a_date_is_kept_unless_it_is_more_than_half_an_hour_ahead() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let began = Utc::now();
    let (soon, too_late) = (in_minutes(29), in_minutes(32));
    let cases = [
        ("V-1", json!("2025-10-28T23:30:00.123456+01:00"), Some("2025-10-28T22:30:00.123456Z"), false),
        ("V-2", json!("1999-12-31T23:59:59Z"), Some("1999-12-31T23:59:59Z"), false),
        ("V-3", json!(soon), Some(soon.as_str()), false),
        ("V-4", json!(too_late), None, true),
        ("V-5", json!("2999-01-01T00:00:00Z"), None, true),
        ("V-6", Value::Null, None, false),
    ];
    let sales: Vec<Value> = cases
        .iter()
        .map(|(number, date, _, _)| json!({ "numero_facture": number, "date_vente": date, "lignes": [line(PHONE, 1)] }))
        .collect();
    assert_eq!(sync(&till, &sales).await["ventes_erreurs"], Value::Null);
    let ended = Utc::now();
    let now = |time: &Value| {
        let time: DateTime<Utc> = time.as_str().unwrap().parse().unwrap();
        time >= began - TimeDelta::milliseconds(1) && time <= ended
    };
    let logged = files::events(server.place().data());
    let movements = shop.movements(PHONE).await;
    let shown = till.get(HISTORY).await.expect(200);
    for (number, sent, expected, replaced) in cases {
        let event = logged.iter().find(|event| event.data["numero_facture"] == number).unwrap();
        let movement = movements.iter().find(|movement| movement["document"] == number).unwrap();
        let ventes = shown["ventes"].as_array().unwrap();
        let vente = ventes.iter().find(|vente| vente["numero_facture"] == number).unwrap();
        let occurred = &movement["occurred_at"];
        match expected {
            Some(date) => assert_eq!(occurred.as_str().unwrap().parse::<DateTime<Utc>>(), date.parse(), "{number}"),
            None => assert!(now(occurred), "{number}: {movement}"),
        }
        assert!(now(&movement["recorded_at"]), "{number}: {movement}");
        assert_eq!((&vente["date_vente"], &event.data["sold_at"]), (occurred, occurred), "{number}");
        let flag = if replaced { json!(true) } else { Value::Null };
        assert_eq!(event.metadata["date_replaced"], flag, "{number}");
        if replaced {
            assert_eq!(event.data["date_replaced"], sent, "{number}");
        }
    }
}

#[tokio::test]
async fn generated_numbers_count_from_0_by_the_place_in_the_batch() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let none = json!({ "lignes": [line(PHONE, 1)] });
    let empty = json!({ "numero_facture": "", "lignes": [line(PHONE, 1)] });
    let answer = sync(&till, &[none.clone(), sale("V-1", PHONE, 1), empty, json!({}), none]).await;
    assert_eq!(codes(&answer), [(4, "INVALID_SALE")]);
    assert_eq!(answer["ventes_erreurs"][0]["numero_facture"], Value::Null);
    let numbers: Vec<&str> = answer["ventes_creees"]
        .as_array()
        .unwrap()
        .iter()
        .map(|created| created["numero_facture"].as_str().unwrap())
        .collect();
    let (prefix, first) = numbers[0].rsplit_once('-').unwrap();
    assert_eq!((first, numbers[1]), ("0", "V-1"));
    assert_eq!((numbers[2], numbers[3]), (&*format!("{prefix}-2"), &*format!("{prefix}-4")));
    let stamp = prefix.strip_prefix("VENTE-2-").unwrap();
    assert!(stamp.len() == 14 && stamp.bytes().all(|byte| byte.is_ascii_digit()), "{stamp}");
}

#[tokio::test]
async fn generated_numbers_of_requests_at_once_never_meet() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let none = json!({ "lignes": [line(PHONE, 1)] });
    let requests = (0..50).map(|_| {
        let (till, none) = (till.clone(), none.clone());
        tokio::spawn(async move { sync(&till, &[none.clone(), none]).await })
    });
    let mut numbers = BTreeSet::new();
    for request in requests.collect::<Vec<_>>() {
        for created in request.await.unwrap()["ventes_creees"].as_array().unwrap() {
            numbers.insert(created["numero_facture"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(numbers.len(), 100);
    assert_eq!(shop.stock(PHONE).await, 0);

    // One that a till made up itself is passed over.
    shop.receive(PHONE, 1000).await;
    let taken: Vec<Value> = (0..3)
        .map(|ahead| (Utc::now() + TimeDelta::seconds(ahead)).format("VENTE-2-%Y%m%d%H%M%S-0").to_string())
        .map(|number| sale(&number, PHONE, 1))
        .collect();
    sync(&till, &taken).await;
    let fresh = sync(&till, &[json!({ "lignes": [line(PHONE, 1)] })]).await;
    let fresh = &fresh["ventes_creees"][0]["numero_facture"];
    assert!(taken.iter().all(|taken| taken["numero_facture"] != *fresh), "{fresh}");
}

#[tokio::test]
async fn lines_of_one_article_add_up_before_the_stock_is_checked() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let twice = |number: &str, first: i64, second: i64| json!({ "numero_facture": number, "lignes": [line(PHONE, first), line(EARPHONES, 1), line(PHONE, second)] });
    let answer = sync(&till, &[twice("V-1", 60, 41), twice("V-2", 60, 40)]).await;
    assert_eq!(codes(&answer), [(1, "INSUFFICIENT_STOCK")]);
    let updates = json!([
        { "article_id": PHONE, "stock_avant": 100, "stock_apres": 0 },
        { "article_id": EARPHONES, "stock_avant": 100, "stock_apres": 99 },
    ]);
    assert_eq!(answer["ventes_creees"][0]["stock_updates"], updates);
    let movements = shop.movements(PHONE).await;
    let moved: Vec<_> = movements[1..]
        .iter()
        .map(|movement| json!([movement["type"], movement["line"], movement["delta"], movement["stock_after"]]))
        .collect();
    assert_eq!(moved, [json!(["VENTE", 1, -60, 40]), json!(["VENTE", 3, -40, 0])]);
}

#[tokio::test]
async fn a_sale_whose_second_line_fails_leaves_no_trace() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let before = events(&server);
    let failing = json!({ "numero_facture": "V-1", "lignes": [line(PHONE, 100), line(EARPHONES, 101)] });
    let answer = sync(&till, std::slice::from_ref(&failing)).await;
    assert_eq!(answer["ventes_erreurs"][0]["erreur"], "Stock insuffisant pour Écouteurs");
    assert_eq!(events(&server), before);
    assert_eq!((shop.stock(PHONE).await, shop.movements(PHONE).await.len()), (100, 1));

    // What it would have taken is there for the next sale of the same batch.
    let answer = sync(&till, &[failing, sale("V-2", PHONE, 100)]).await;
    assert_eq!(answer["ventes_creees"][0]["numero_facture"], "V-2");
    assert_eq!(till.get(HISTORY).await.expect(200)["count"], 1);
    shop.assert_adds_up().await;
}

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
    let locked = till(&server, "locked");
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
            (caller.post(crate::support::till::CANCEL, &cancel).await, 200),
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
    for file in std::fs::read_dir(stopped.place.data()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|six| six == b"sesame"));
    }
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
        statuses.insert(till(&server, &format!("made-up-{number}")).get(HISTORY).await.status);
    }
    assert_eq!(statuses, BTreeSet::from([404, 429]));
    tills[2].get(HISTORY).await.expect(200);
}
