//! Tills that sell at the same time.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::till::{CANCEL, EARPHONES, HISTORY, PHONE, SYNC, Shop, codes, line, sale, sync, usual_shop};

const ROUNDS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tills_and_the_last_unit_are_one_sale_and_one_error() {
    let server = Server::start().await;
    let (shop, first) = usual_shop(&server).await;
    let second = shop.add_till(&server, "second", "Deuxième").await;
    sync(&first, &[sale("all", PHONE, 100)]).await;
    for round in 0..ROUNDS {
        shop.receive(PHONE, 1).await;
        let attempts = [(&first, "a"), (&second, "b")].map(|(till, name)| {
            let (till, sale) = (till.clone(), sale(&format!("{name}-{round}"), PHONE, 1));
            tokio::spawn(async move { sync(&till, &[sale]).await })
        });
        let mut outcomes = Vec::new();
        for attempt in attempts {
            let answer = attempt.await.unwrap();
            outcomes.push(codes(&answer).first().map(|(_, code)| (*code).to_owned()));
        }
        outcomes.sort();
        assert_eq!(outcomes, [None, Some("INSUFFICIENT_STOCK".to_owned())], "round {round}");
    }
    assert_eq!(shop.stock(PHONE).await, 0);
    assert!(shop.movements(PHONE).await.iter().all(|movement| movement["stock_after"].as_i64().unwrap() >= 0));
    shop.assert_adds_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_at_once_sell_exactly_what_there_is() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let mut attempts = Vec::new();
    for number in 0..8 {
        let till = shop.add_till(&server, &format!("till-{number}"), "Caisse").await;
        attempts.push(tokio::spawn(async move {
            let mut sold = 0;
            for batch in 0..10 {
                let number = |n: usize| format!("{number}-{batch}-{n}");
                let sales: Vec<Value> = (0..5).map(|n| sale(&number(n), PHONE, 1)).collect();
                sold += sync(&till, &sales).await["ventes_creees"].as_array().unwrap().len();
            }
            sold
        }));
    }
    let mut sold = 0;
    for attempt in attempts {
        sold += attempt.await.unwrap();
    }
    assert_eq!((sold, shop.stock(PHONE).await), (100, 0));
    shop.assert_adds_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_both_ways_while_tills_sell_lose_and_make_nothing() {
    let server = Server::start().await;
    let (here, till_here) = usual_shop(&server).await;
    let there = Shop::open(&server, &json!({ "name": "Autre" })).await;
    let theirs = there.add_article(&json!({ "name": "Samsung S24", "price": 1 })).await;
    there.receive(theirs, 100).await;
    let till_there = there.add_till(&server, "there", "Ailleurs").await;

    let mut work = Vec::new();
    for (from, what, to, into) in [(&here, PHONE, &there, theirs), (&there, theirs, &here, PHONE)] {
        for sender in 0..2 {
            let (from, to) = (from.clone(), to.id);
            work.push(tokio::spawn(async move {
                for number in 0..20 {
                    let line = json!({ "article_id": what, "to_article_id": into, "quantity": 1 + number % 3 });
                    let document = format!("TR-{sender}-{number}");
                    let body = json!({ "document": document, "to_shop": to, "lines": [line] });
                    let reply = from.admin.post(&from.path("stock-transfers"), &body).await;
                    assert!([201, 409].contains(&reply.status), "{reply:?}");
                }
                0
            }));
        }
    }
    for (till, article) in [(till_here.clone(), PHONE), (till_there.clone(), theirs)] {
        work.push(tokio::spawn(async move {
            let mut sold = 0;
            for number in 0..30 {
                let sales = [sale(&format!("V-{number}"), article, 2), sale(&format!("W-{number}"), article, 1)];
                for created in sync(&till, &sales).await["ventes_creees"].as_array().unwrap() {
                    sold += created["lignes"][0]["quantite"].as_i64().unwrap();
                }
            }
            sold
        }));
    }
    let mut sold = 0;
    for done in work {
        sold += done.await.unwrap();
    }
    assert!(sold > 0);
    assert_eq!(here.stock(PHONE).await + there.stock(theirs).await, 200 - sold);
    here.assert_adds_up().await;
    there.assert_adds_up().await;
    let out = |movements: &[Value], kind: &str| {
        let moved = movements.iter().filter(|movement| movement["type"] == kind);
        moved.map(|movement| movement["delta"].as_i64().unwrap()).sum::<i64>()
    };
    let (mine, other) = (here.movements(PHONE).await, there.movements(theirs).await);
    assert_eq!(out(&mine, "TRANSFER_OUT"), -out(&other, "TRANSFER_IN"));
    assert_eq!(out(&mine, "TRANSFER_IN"), -out(&other, "TRANSFER_OUT"));
    assert!(out(&mine, "TRANSFER_IN") > 0 && out(&other, "TRANSFER_IN") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_many_tills_cancel_at_once_comes_back_once() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    for round in 0..20 {
        let number = format!("V-{round}");
        let sold = json!({ "numero_facture": number, "lignes": [line(PHONE, 2), line(EARPHONES, 3)] });
        sync(&till, &[sold]).await;
        let cancels = (0..4).map(|_| {
            let (till, body) = (till.clone(), json!({ "numero_facture": number, "motif": "retour" }));
            tokio::spawn(async move { till.post(CANCEL, &body).await.status })
        });
        let mut statuses = Vec::new();
        for cancel in cancels.collect::<Vec<_>>() {
            statuses.push(cancel.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409]);
    }
    assert_eq!((shop.stock(PHONE).await, shop.stock(EARPHONES).await), (100, 100));
    assert_eq!(till.get(HISTORY).await.expect(200)["statistiques"]["total_ventes"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_deactivated_while_it_sells_records_nothing_afterwards() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    for round in 0..10 {
        let serial = format!("till-{round}");
        let till = shop.add_till(&server, &serial, "Caisse").await;
        let selling = tokio::spawn(async move {
            let mut sold = 0;
            loop {
                let body = json!([{ "lignes": [line(PHONE, 1)] }]);
                let reply = till.post(SYNC, &body).await;
                if reply.status != 201 {
                    assert_eq!(reply.expect(404)["code"], "TERMINAL_NOT_FOUND");
                    return (sold, till);
                }
                sold += reply.json()["ventes_creees"].as_array().unwrap().len() as i64;
            }
        });
        let path = shop.path(&format!("terminals/{serial}"));
        shop.receive(PHONE, 100).await;
        let off = shop.admin.put(&path, &json!({ "active": false })).await;
        off.expect(200);
        let (sold, till) = selling.await.unwrap();
        let last = shop.movements(PHONE).await;
        let by_it = last.iter().filter(|movement| movement["terminal"] == serial.as_str());
        let positions: Vec<u64> = by_it.map(|movement| movement["position"].as_u64().unwrap()).collect();
        assert_eq!(positions.len() as i64, sold);
        assert!(positions.iter().all(|position| *position < off.position()), "round {round}");
        till.post(SYNC, &json!([sale("late", PHONE, 1)])).await.expect(404);
    }
    shop.assert_adds_up().await;
}
