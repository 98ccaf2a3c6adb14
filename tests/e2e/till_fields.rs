//! The fields of a sale: their defaults, their bounds, and what is wrong with them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::till::{EARPHONES, HISTORY, PHONE, SYNC, Shop, codes, line, sale, sync, usual_shop};
use crate::support::{Caller, Place, Server};

fn events(server: &Server) -> usize {
    server.place().events().len()
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
async fn odd_json_in_one_sale_is_its_own_error() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let lignes = r#""lignes": [{"article_id": 6}]"#;
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let odd = [
        (format!(r#"{{"numero_facture": "\ud800", {lignes}}}"#), false),
        (format!(r#"{{"numero_facture": "V-1", "numero_facture": "V-2", {lignes}}}"#), false),
        (r#"{"lignes": [{"article_id": 6, "article_id": 7}]}"#.to_owned(), false),
        (r#"{"lignes": [{"article_id": 1e999}]}"#.to_owned(), false),
        (r#"{"lignes": [{"article_id": 99999999999999999999}]}"#.to_owned(), false),
        (format!(r#"{{"lignes": {deep}}}"#), false),
        (format!(r#"{{"numero_facture": {deep}, {lignes}}}"#), false),
        (format!(r#"{{"client": {deep}, {lignes}}}"#), true),
        (format!(r#"{{"num\u0065ro_facture": "V-3", {lignes}}}"#), true),
        (r#"{"lignes": [{"article_id": 6.0}]}"#.to_owned(), true),
    ];
    let body: Vec<&str> = odd.iter().map(|(sale, _)| sale.as_str()).collect();
    let answer = till.post_text(SYNC, &format!("[{}]", body.join(","))).await.expect(201);
    let refused: Vec<usize> = (1..).zip(&odd).filter(|(_, (_, good))| !good).map(|(index, _)| index).collect();
    let told: Vec<usize> = codes(&answer).iter().map(|(index, _)| *index as usize).collect();
    assert_eq!(told, refused, "{answer}");
    assert_eq!(shop.stock(PHONE).await, 97);
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
    let logged = server.place().events();
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
        let flag = if replaced { sent.clone() } else { Value::Null };
        assert_eq!(event.metadata["date_replaced"], flag, "{number}");
        if replaced {
            assert_eq!(event.data["date_replaced"], sent, "{number}");
        }
    }
}

#[tokio::test]
async fn a_date_that_no_till_can_mean_is_replaced_and_kept_as_it_was_sent() {
    let place = Place::fresh();
    let mut command = place.command(&["serve"]);
    command.env_remove("DAYBOOK_TILL_PAST_MAX");
    let server = place.serve_command(command).await;
    let (_, till) = usual_shop(&server).await;
    let ago = |days| (Utc::now() - TimeDelta::days(days)).to_rfc3339_opts(SecondsFormat::Micros, true);
    let cases = [
        (ago(399), false),
        (ago(401), true),
        ("1970-01-01T00:00:00Z".to_owned(), true),
        ("0000-01-01T00:00:00Z".to_owned(), true),
        ("0001-01-01T00:00:00+14:00".to_owned(), true),
        ("9998-12-31T23:59:59.5+01:00".to_owned(), true),
        ("9999-12-31T23:59:59Z".to_owned(), true),
        ("9999-12-31T23:59:59.123456789-12:00".to_owned(), true),
    ];
    let sale = |(number, (date, _)): (usize, &(String, bool))| json!({ "numero_facture": format!("V-{number}"), "date_vente": date, "lignes": [line(PHONE, 1)] });
    let sales: Vec<Value> = cases.iter().enumerate().map(sale).collect();
    assert_eq!(sync(&till, &sales).await["ventes_erreurs"], Value::Null);
    let logged = server.place().events();
    for (number, (date, replaced)) in cases.iter().enumerate() {
        let number = format!("V-{number}");
        let event = logged.iter().find(|event| event.data["numero_facture"] == *number).unwrap();
        let flag = if *replaced { json!(date) } else { Value::Null };
        assert_eq!(event.metadata["date_replaced"], flag, "{number}");
        let sold_at: DateTime<Utc> = event.data["sold_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(Utc::now() - sold_at < TimeDelta::minutes(5), *replaced, "{number}");
    }
    // The same batch again is the same batch, and all of it is in today's figures but what is more than a year old.
    assert_eq!(codes(&sync(&till, &sales).await).iter().filter(|(_, code)| *code == "DUPLICATE").count(), cases.len());
    let figures = till.get("/api/v2/simple/statistiques").await.expect(200);
    assert_eq!(figures["statistiques"]["ventes_jour"]["nombre"], cases.len() - 1);
    server.stop().await.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn how_old_a_sale_may_be_is_a_setting() {
    let place = Place::fresh();
    let server = place.serve(&["--till-past-max", "2d"]).await;
    let (_, till) = usual_shop(&server).await;
    let ago = |hours| (Utc::now() - TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Micros, true);
    for (number, hours, replaced) in [("V-1", 47, false), ("V-2", 49, true)] {
        let date = ago(hours);
        let sold = json!({ "numero_facture": number, "date_vente": date, "lignes": [line(PHONE, 1)] });
        sync(&till, &[sold]).await;
        let event = server.place().events().pop().unwrap();
        assert_eq!(event.metadata["date_replaced"] == json!(date), replaced, "{number}");
    }
}
