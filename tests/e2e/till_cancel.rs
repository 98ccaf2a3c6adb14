//! Sales that are taken back.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::till::{
    CANCEL, EARPHONES, HISTORY, PHONE, SYNC, Shop, at_till, codes, line, sale, sync, usual_shop,
};

fn events(server: &Server) -> usize {
    server.place().events().len()
}

#[tokio::test]
async fn a_cancelled_sale_stays_and_its_articles_come_back() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let second = shop.add_till(&server, "second", "Deuxième").await;
    let lines = json!([line(PHONE, 2), line(EARPHONES, 1), line(PHONE, 3)]);
    let answer = sync(&till, &[json!({ "numero_facture": "V-1", "lignes": lines }), sale("V-2", PHONE, 1)]).await;
    let sold = &answer["ventes_creees"][0]["position"];
    shop.change_article(PHONE, &json!({ "active": false, "price": 1 })).await;

    let body = json!({ "numero_facture": "V-1", "motif": "client mécontent", "more": [1] });
    let reply = second.post(CANCEL, &body).await;
    let expected = json!({
        "success": true,
        "numero_facture": "V-1",
        "position": reply.position(),
        "stock_updates": [
            { "article_id": PHONE, "stock_avant": 94, "stock_apres": 99 },
            { "article_id": EARPHONES, "stock_avant": 99, "stock_apres": 100 },
        ],
    });
    assert_eq!(reply.expect(200), expected);
    let movements = shop.movements(PHONE).await;
    let back: Vec<Value> = movements
        .iter()
        .filter(|movement| movement["type"] == "RETOUR")
        .map(|movement| {
            json!([
                movement["position"],
                movement["line"],
                movement["delta"],
                movement["document"],
                movement["terminal"],
                movement["reason"],
                movement["reversal_of"],
                movement["user"],
            ])
        })
        .collect();
    let expected =
        |line: u8, delta: u8| json!([reply.position(), line, delta, "V-1", "second", "client mécontent", sold, null]);
    assert_eq!(back, [expected(1, 2), expected(3, 3)]);
    let shown = till.get(HISTORY).await.expect(200);
    let of = |number: &str| {
        let ventes = shown["ventes"].as_array().unwrap();
        ventes.iter().find(|vente| vente["numero_facture"] == number).unwrap().clone()
    };
    assert_eq!((&of("V-1")["annulee"], &of("V-2")["annulee"]), (&json!(true), &json!(false)));
    assert_eq!((&of("V-1")["montant_total"], &of("V-1")["position"]), (&json!("225000.00"), sold));
    assert_eq!(shown["statistiques"], json!({ "total_ventes": 1, "chiffre_affaires": "40000.00" }));
    shop.assert_adds_up().await;
}

#[tokio::test]
async fn a_sale_is_taken_back_once_and_only_where_it_was_sold() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let elsewhere = other.add_till(&server, "elsewhere", "Ailleurs").await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    let body = json!({ "numero_facture": "V-1", "motif": "retour" });
    let unknown = json!({ "error": "Vente non trouvée", "code": "VENTE_NOT_FOUND" });
    assert_eq!(elsewhere.post(CANCEL, &body).await.expect(404), unknown);
    let typo = json!({ "numero_facture": "V-2", "motif": "retour" });
    assert_eq!(till.post(CANCEL, &typo).await.expect(404), unknown);
    till.post("/api/v2/simple/ventes/annuler", &body).await.expect(200);
    let before = events(&server);
    for _ in 0..2 {
        let twice = till.post(CANCEL, &body).await;
        assert_eq!(twice.expect(409), json!({ "error": "Vente déjà annulée", "code": "ALREADY_CANCELLED" }));
    }
    assert_eq!(events(&server), before);
    assert_eq!(shop.stock(PHONE).await, 100);
    assert_eq!(codes(&sync(&till, &[sale("V-1", PHONE, 1)]).await), [(1, "DUPLICATE")], "its number stays used");
}

#[tokio::test]
async fn a_cancel_is_refused_in_the_order_of_the_checks() {
    let server = Server::start().await;
    let (shop, open) = usual_shop(&server).await;
    let locked = json!({ "serial": "locked", "name": "Caisse", "key": "sesame" });
    shop.admin.post(&shop.path("terminals"), &locked).await.expect(201);
    for (caller, status, code) in [
        (server.stranger(), 400, "MISSING_SERIAL"),
        (at_till(&server, "nobody"), 404, "TERMINAL_NOT_FOUND"),
        (at_till(&server, "locked"), 401, "INVALID_KEY"),
        (open.clone(), 400, "INVALID_FORMAT"),
    ] {
        for body in ["{", "[]", "{}"] {
            assert_eq!(caller.post_text(CANCEL, body).await.expect(status)["code"], code, "{body}");
        }
    }
    for body in [
        json!({ "numero_facture": "V-1" }),
        json!({ "motif": "m" }),
        json!({ "numero_facture": "", "motif": "m" }),
        json!({ "numero_facture": "V-1", "motif": "" }),
        json!({ "numero_facture": 1, "motif": "m" }),
        json!({ "numero_facture": "V-1", "motif": null }),
        json!({ "numero_facture": "V-1", "motif": "m".repeat(501) }),
    ] {
        assert_eq!(open.post(CANCEL, &body).await.expect(400)["code"], "INVALID_FORMAT", "{body}");
    }
}

#[tokio::test]
async fn a_cancel_sent_again_with_its_key_gets_its_first_answer() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    let keyed = till.with("idempotency-key", "k");
    let body = json!({ "numero_facture": "V-1", "motif": "retour" });
    let first = keyed.post(CANCEL, &body).await;
    let again = keyed.post(CANCEL, &body).await;
    assert_eq!((again.status, &again.text, again.position()), (200, &first.text, first.position()));
    let other = json!({ "numero_facture": "V-1", "motif": "autre" });
    assert_eq!(keyed.post(CANCEL, &other).await.status, 422);
    assert_eq!(shop.stock(PHONE).await, 100);
}

#[tokio::test]
async fn a_sale_is_taken_back_from_the_day_it_was_counted_in_also_when_the_zone_has_changed() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    // In Kinshasa that is the 29th, in Los Angeles the 28th.
    let sold = json!({ "numero_facture": "V-1", "date_vente": "2025-10-29T01:00:00Z", "lignes": [line(PHONE, 1)] });
    sync(&till, &[sold]).await;
    shop.change(&json!({ "timezone": "America/Los_Angeles" })).await;
    till.post(CANCEL, &json!({ "numero_facture": "V-1", "motif": "m" })).await.expect(200);
    for day in ["2025-10-28", "2025-10-29"] {
        let shown = till.get(&format!("{HISTORY}?date_debut={day}&date_fin={day}")).await.expect(200);
        assert_eq!(shown["statistiques"], json!({ "total_ventes": 0, "chiffre_affaires": "0.00" }), "{day}");
    }
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn an_unpaid_sale_never_counts() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let unpaid = json!({ "numero_facture": "V-1", "paye": false, "lignes": [line(PHONE, 1)] });
    let nothing = json!({ "total_ventes": 0, "chiffre_affaires": "0.00" });
    till.post(SYNC, &json!([unpaid])).await.expect(201);
    assert_eq!((shop.stock(PHONE).await, &till.get(HISTORY).await.expect(200)["statistiques"]), (99, &nothing));
    till.post(CANCEL, &json!({ "numero_facture": "V-1", "motif": "m" })).await.expect(200);
    assert_eq!((shop.stock(PHONE).await, &till.get(HISTORY).await.expect(200)["statistiques"]), (100, &nothing));
}
