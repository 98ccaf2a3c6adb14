//! Sales that are handed in again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::chance::Chance;
use crate::support::till::{
    CANCEL, EARPHONES, HISTORY, PHONE, SERIAL, SYNC, Shop, at_till, codes, line, sale, sync, usual_shop,
};

fn events(server: &Server) -> usize {
    server.place().events().len()
}

/// Each error of the batch is a repetition that shows the sale which was recorded first.
fn assert_all_repeated(answer: &Value, sent: &[Value]) {
    assert_eq!(answer["ventes_creees"], json!([]));
    let errors = answer["ventes_erreurs"].as_array().unwrap();
    assert_eq!(errors.len(), sent.len());
    for (error, sent) in errors.iter().zip(sent) {
        let number = &sent["numero_facture"];
        assert_eq!((&error["code"], &error["status"]), (&json!("DUPLICATE"), &json!("already_exists")), "{error}");
        assert_eq!((&error["numero_facture"], &error["vente"]["numero_facture"]), (number, number), "{error}");
    }
}

#[tokio::test]
async fn a_batch_sent_again_is_told_what_was_recorded_and_moves_nothing() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let batch = [
        json!({ "numero_facture": "V-1", "lignes": [line(PHONE, 2), line(EARPHONES, 1)] }),
        json!({
            "numero_facture": "V-2", "mode_paiement": "CARD", "paye": false, "date_vente": "2025-10-29T10:00:00+01:00",
            "lignes": [{ "article_id": PHONE, "quantite": 1, "prix_unitaire": 0.5 }],
        }),
    ];
    let first = sync(&till, &batch).await;
    let shown = till.get(HISTORY).await.expect(200);
    let before = events(&server);
    for _ in 0..2 {
        let again = sync(&till, &batch).await;
        assert_all_repeated(&again, &batch);
        assert_eq!(again["message"], "0 vente(s) synchronisée(s) avec succès");
        for (error, created) in
            again["ventes_erreurs"].as_array().unwrap().iter().zip(first["ventes_creees"].as_array().unwrap())
        {
            assert_eq!(error["vente"]["position"], created["position"]);
            let ventes = shown["ventes"].as_array().unwrap();
            assert!(ventes.contains(&error["vente"]), "{error} is not as in {shown}");
        }
    }
    assert_eq!(events(&server), before);
    assert_eq!((shop.stock(PHONE).await, shop.stock(EARPHONES).await), (97, 99));
}

#[tokio::test]
async fn the_same_content_in_other_words_is_the_same_sale_and_other_content_a_conflict() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let first = r#"[{"numero_facture": "V-1", "mode_paiement": "CARTE", "date_vente": "2025-10-29T10:00:00Z",
        "lignes": [{"article_id": 6, "quantite": 2, "prix_unitaire": 40000}]}]"#;
    till.post_text(SYNC, first).await.expect(201);
    let before = events(&server);
    let mut answers = Vec::new();
    for (from, to) in [
        ("CARTE", "CARD"),
        ("40000", "4e4"),
        ("40000", "40000.00"),
        ("2,", "2.0,"),
        ("2025-10-29T10:00:00Z", "2025-10-29T11:00:00.000+01:00"),
        ("\"lignes\"", "\"paye\": true, \"x\": 1, \"lignes\""),
        ("CARTE", "CASH"),
        ("40000", "40000.01"),
        (", \"prix_unitaire\": 40000", ""),
        ("2,", "3,"),
        ("2025-10-29T10:00:00Z", "2025-10-29T10:00:01Z"),
        ("\"lignes\"", "\"paye\": false, \"lignes\""),
        ("\"article_id\": 6", "\"article_id\": 7"),
        ("}]}]", "}, {\"article_id\": 7}]}]"),
    ] {
        assert!(first.contains(from), "{from}");
        let answer = till.post_text(SYNC, &first.replace(from, to)).await.expect(201);
        let error = &answer["ventes_erreurs"][0];
        answers.push(error["code"].as_str().unwrap_or_default().to_owned());
        if error["code"] == "DUPLICATE_CONFLICT" {
            assert!(error.get("status").is_none() && error.get("vente").is_none(), "{error}");
        }
    }
    assert_eq!(answers[..6], ["DUPLICATE"; 6]);
    assert_eq!(answers[6..], ["DUPLICATE_CONFLICT"; 8]);
    assert_eq!(events(&server), before);
    assert_eq!(shop.stock(PHONE).await, 98);
}

#[tokio::test]
async fn twice_in_one_batch_the_second_is_the_repetition() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let batch = [sale("V-1", PHONE, 1), sale("V-1", PHONE, 1), sale("V-1", PHONE, 2), sale("V-2", PHONE, 1)];
    let answer = sync(&till, &batch).await;
    assert_eq!(codes(&answer), [(2, "DUPLICATE"), (3, "DUPLICATE_CONFLICT")]);
    let recorded = &answer["ventes_creees"][0];
    assert_eq!(answer["ventes_erreurs"][0]["vente"]["position"], recorded["position"]);
    assert_eq!(shop.stock(PHONE).await, 98);
}

#[tokio::test]
async fn a_sale_stays_a_repetition_whatever_has_happened_since() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let ahead = "2999-01-01T00:00:00Z";
    let batch = [
        sale("PRICE", PHONE, 1),
        sale("CANCELLED", PHONE, 1),
        json!({ "numero_facture": "AHEAD", "date_vente": ahead, "lignes": [line(PHONE, 1)] }),
        sale("EMPTY", EARPHONES, 100),
    ];
    assert_eq!(sync(&till, &batch).await["ventes_erreurs"], Value::Null);
    shop.change_article(PHONE, &json!({ "price": 1, "name": "autre" })).await;
    let cancel = json!({ "numero_facture": "CANCELLED", "motif": "retour" });
    till.post(CANCEL, &cancel).await.expect(200);
    shop.change_article(EARPHONES, &json!({ "active": false })).await;
    let before = events(&server);

    let again = sync(&till, &batch).await;
    assert_all_repeated(&again, &batch);
    let vente = |place: usize| &again["ventes_erreurs"][place]["vente"];
    assert_eq!(
        (&vente(0)["montant_total"], &vente(0)["lignes"][0]["article_nom"]),
        (&json!("40000.00"), &json!("Samsung S24"))
    );
    assert_eq!((&vente(1)["annulee"], &vente(0)["annulee"]), (&json!(true), &json!(false)));
    assert_ne!(vente(2)["date_vente"], ahead);
    assert_eq!(events(&server), before);

    // Another terminal of the shop is told the same, and so is who asks after a restart.
    let second = shop.add_till(&server, "second", "Deuxième").await;
    assert_eq!(sync(&second, &batch).await["ventes_erreurs"], again["ventes_erreurs"]);
    let server = server.kill().serve(&[]).await;
    let till = at_till(&server, SERIAL);
    assert_eq!(sync(&till, &batch).await["ventes_erreurs"], again["ventes_erreurs"]);
    shop.on(&server).assert_adds_up().await;
}

#[tokio::test]
async fn a_refused_sale_does_not_use_its_number_up() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let sold = sale("V-1", PHONE, 101);
    for _ in 0..2 {
        assert_eq!(codes(&sync(&till, std::slice::from_ref(&sold)).await), [(1, "INSUFFICIENT_STOCK")]);
    }
    shop.receive(PHONE, 1).await;
    assert_eq!(sync(&till, std::slice::from_ref(&sold)).await["ventes_creees"][0]["numero_facture"], "V-1");
    assert_eq!(codes(&sync(&till, &[sold]).await), [(1, "DUPLICATE")]);
    // Within one batch, too.
    let batch = [sale("V-2", EARPHONES, 101), sale("V-2", EARPHONES, 100)];
    let answer = sync(&till, &batch).await;
    assert_eq!(codes(&answer), [(1, "INSUFFICIENT_STOCK")]);
    assert_eq!(answer["ventes_creees"][0]["numero_facture"], "V-2");
}

#[tokio::test]
async fn each_shop_has_its_own_numbers() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let theirs = other.add_article(&json!({ "name": "x", "price": 3 })).await;
    other.receive(theirs, 10).await;
    let their_till = other.add_till(&server, "theirs", "Ailleurs").await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    assert_eq!(sync(&their_till, &[sale("V-1", theirs, 1)]).await["ventes_erreurs"], Value::Null);
    assert_eq!(codes(&sync(&till, &[sale("V-1", PHONE, 1)]).await), [(1, "DUPLICATE")]);
    assert_eq!((shop.stock(PHONE).await, other.stock(theirs).await), (99, 9));
}

#[tokio::test]
async fn numbers_are_told_apart_as_they_were_written() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let numbers = ["V-1", "v-1", " V-1", "V-1 ", "V–1", "V-1\u{0}", "V-1'; --", "é", "e\u{301}", "%", "_", "\"\\"];
    let batch: Vec<Value> = numbers.iter().map(|number| sale(number, PHONE, 1)).collect();
    assert_eq!(sync(&till, &batch).await["ventes_erreurs"], Value::Null);
    assert_all_repeated(&sync(&till, &batch).await, &batch);
    for number in numbers {
        let cancelled = till.post(CANCEL, &json!({ "numero_facture": number, "motif": "m" })).await.expect(200);
        assert_eq!(cancelled["numero_facture"], number);
    }
    let shown = till.get(HISTORY).await.expect(200);
    assert!(shown["ventes"].as_array().unwrap().iter().all(|vente| vente["annulee"] == true), "{shown}");
    // What is nothing but spaces is no number.
    let spaces = sync(&till, &[sale("  ", PHONE, 1)]).await;
    assert!(spaces["ventes_creees"][0]["numero_facture"].as_str().unwrap().starts_with("VENTE-2-"));
}

#[tokio::test]
async fn sales_older_than_a_shop_remembers_are_still_repetitions() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.receive(PHONE, 20_000).await;
    let batch = |batch: usize| (0..1000).map(|n| sale(&format!("V-{batch}-{n}"), PHONE, 1)).collect::<Vec<Value>>();
    // More than 8,192 sales, and more events than a copy of the shop's state is kept after.
    for number in 0..11 {
        assert_eq!(sync(&till, &batch(number)).await["ventes_erreurs"], Value::Null);
    }
    let server = server.kill().serve(&[]).await;
    let shop = shop.on(&server);
    let till = at_till(&server, SERIAL);
    let before = events(&server);
    assert_all_repeated(&sync(&till, &batch(0)).await, &batch(0));
    assert_all_repeated(&sync(&till, &batch(10)).await, &batch(10));
    assert_eq!(codes(&sync(&till, &[sale("V-0-7", PHONE, 2)]).await), [(1, "DUPLICATE_CONFLICT")]);
    assert_eq!(events(&server), before);
    assert_eq!(shop.stock(PHONE).await, 20_100 - 11_000);
    till.post(CANCEL, &json!({ "numero_facture": "V-0-0", "motif": "m" })).await.expect(200);
    assert_eq!(shop.stock(PHONE).await, 20_101 - 11_000);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_moves_the_stock_once() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.receive(PHONE, 1000).await;
    let mut chance = Chance::told();
    // How long an answer takes here: a connection is given up at some moment before, at or after that.
    let began = Instant::now();
    sync(&till, &[sale("first", PHONE, 1)]).await;
    let usual = began.elapsed().as_micros() as u64;
    let mut sold = 1;
    for round in 0..30 {
        let lines = 1 + chance.below(4) as i64;
        let batch: Vec<Value> = (0..20).map(|n| sale(&format!("V-{round}-{n}"), PHONE, lines % 2 + 1)).collect();
        let body = json!(batch).to_string();
        let request = format!(
            "POST {SYNC} HTTP/1.1\r\nhost: x\r\nx-device-serial: {SERIAL}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = TcpStream::connect(server.address()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        connection.set_read_timeout(Some(Duration::from_micros(1 + chance.below(2 * usual)))).unwrap();
        // Whatever has been answered by then, nobody reads it to its end.
        let _ = connection.read(&mut [0; 1]);
        let _ = connection.shutdown(Shutdown::Both);
        drop(connection);

        let answer = sync(&till, &batch).await;
        assert!(codes(&answer).iter().all(|(_, code)| *code == "DUPLICATE"), "{answer}");
        let created = answer["ventes_creees"].as_array().unwrap().len();
        assert!(created == 0 || created == 20, "a batch is one append: {answer}");
        sold += 20 * (lines % 2 + 1);
        assert_eq!(shop.stock(PHONE).await, 1100 - sold, "round {round}");
    }
    shop.assert_adds_up().await;
}

#[tokio::test]
async fn an_idempotency_key_makes_sales_without_numbers_repeatable() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let keyed = till.with("idempotency-key", "batch-1");
    let body = json!([{ "lignes": [line(PHONE, 1)] }, { "lignes": [line(PHONE, 1000)] }]);
    let first = keyed.post(SYNC, &body).await;
    first.expect(201);
    let before = events(&server);
    for _ in 0..2 {
        let again = keyed.post(SYNC, &body).await;
        assert_eq!((again.status, &again.text, again.position()), (201, &first.text, first.position()));
    }
    assert_eq!(keyed.post(SYNC, &json!([{ "lignes": [line(PHONE, 2)] }])).await.status, 422);
    let server = server.kill().serve(&[]).await;
    let shop = shop.on(&server);
    let till = at_till(&server, SERIAL);
    let again = till.with("idempotency-key", "batch-1").post(SYNC, &body).await;
    assert_eq!((again.status, &again.text), (201, &first.text));
    assert_eq!(events(&server), before);
    assert_eq!(shop.stock(PHONE).await, 99);
    // It is the terminal's own: another one means another batch by it.
    let second = shop.add_till(&server, "second", "Deuxième").await.with("idempotency-key", "batch-1");
    assert_ne!(second.post(SYNC, &body).await.text, first.text);
    assert_eq!(shop.stock(PHONE).await, 98);
}

#[tokio::test]
async fn a_batch_sent_many_times_at_once_is_recorded_once() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let numbered: Vec<Value> = (0..10).map(|n| sale(&format!("V-{n}"), PHONE, 1)).collect();
    let nameless = json!([{ "lignes": [line(EARPHONES, 1)] }]);
    let keyed = till.with("idempotency-key", "once");
    let sends = (0..16).map(|_| {
        let (till, keyed, numbered, nameless) = (till.clone(), keyed.clone(), numbered.clone(), nameless.clone());
        tokio::spawn(async move {
            let created = sync(&till, &numbered).await["ventes_creees"].as_array().unwrap().len();
            (created, keyed.post(SYNC, &nameless).await.expect(201))
        })
    });
    let mut answers = Vec::new();
    for send in sends.collect::<Vec<_>>() {
        answers.push(send.await.unwrap());
    }
    assert_eq!(answers.iter().map(|(created, _)| created).sum::<usize>(), 10);
    assert!(answers.iter().all(|(_, answer)| *answer == answers[0].1));
    assert_eq!((shop.stock(PHONE).await, shop.stock(EARPHONES).await), (90, 99));
}

#[tokio::test]
async fn a_batch_sent_again_after_a_kill_in_the_middle_moves_the_stock_once() {
    let mut chance = Chance::told();
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    shop.receive(PHONE, 1000).await;
    let mut place = server.place().clone();
    let mut server = Some(server);
    let mut sold = 0;
    for round in 0..5 {
        let running = server.take().unwrap();
        let till_now = at_till(&running, SERIAL);
        let batch: Vec<Value> = (0..50).map(|n| sale(&format!("V-{round}-{n}"), PHONE, 1)).collect();
        let body = json!(batch).to_string();
        let mut send = tokio::spawn(async move {
            till_now.try_send(reqwest::Method::POST, SYNC, Some("application/json"), &body).await
        });
        let moment = Duration::from_micros(chance.below(20_000));
        let answered = tokio::time::timeout(moment, &mut send).await;
        place = running.kill();
        let first = match answered {
            Ok(answered) => answered.unwrap(),
            Err(_) => send.await.unwrap(),
        };
        let started = place.serve(&[]).await;
        let answer = sync(&at_till(&started, SERIAL), &batch).await;
        if first.is_ok() {
            assert_all_repeated(&answer, &batch);
        }
        sold += 50;
        assert_eq!(shop.on(&started).stock(PHONE).await, 1100 - sold, "round {round}");
        server = Some(started);
    }
    shop.on(server.as_ref().unwrap()).assert_adds_up().await;
    assert!(server.unwrap().stop().await.status.success());
    place.assert_read_models_equal_a_rebuild().await;
}
