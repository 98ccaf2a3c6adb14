//! Batches of sales as tills hand them in, answered to the letter: what is recorded, and what is refused as a whole.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::till::{EARPHONES, HISTORY, PHONE, SYNC, at_till, codes, line, sale, sync, usual_shop};

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
    server.place().events().len()
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
    let open = at_till(&server, "locked").with("x-device-key", "sesame");
    for (caller, status, expected) in [
        (stranger.clone(), 400, &missing),
        (stranger.with("x-device-key", "sesame"), 400, &missing),
        (at_till(&server, " "), 400, &missing),
        (at_till(&server, "nobody"), 404, &unknown),
        (at_till(&server, "idle"), 404, &unknown),
        (at_till(&server, "idle").with("x-device-key", "sesame"), 404, &unknown),
        (at_till(&server, "locked"), 401, &no_key),
        (at_till(&server, "locked").with("x-device-key", "sesam"), 401, &no_key),
        (at_till(&server, "locked").with("x-device-key", ""), 401, &no_key),
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
