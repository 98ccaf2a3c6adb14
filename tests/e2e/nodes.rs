//! Three nodes on one database: what one of them has written the others know, and what may happen once happens once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::till::{HISTORY, PHONE, SYNC, at_till, codes, sale, sync, usual_shop};
use crate::support::{Caller, PATIENCE, Place, Server, eventually};

/// Nodes that are ready, or nothing where there is no PostgreSQL.
async fn three() -> Option<(Place, [Server; 3])> {
    three_with(&[]).await
}

async fn three_with(args: &[&str]) -> Option<(Place, [Server; 3])> {
    let place = Database::fresh()?.place();
    // All at once: they make the tables together.
    let (one, two, three) = tokio::join!(place.serve(args), place.serve(args), place.serve(args));
    Some((place, [one, two, three]))
}

/// The same reader on each node.
fn everywhere(nodes: &[Server; 3]) -> [Caller; 3] {
    let reader = nodes[0].reader();
    [0, 1, 2].map(|node| nodes[node].reader_called(reader.id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_has_written_is_read_on_every_other() {
    let Some((_place, nodes)) = three().await else { return };
    for round in 0..30 {
        let reader = everywhere(&nodes);
        let (writing, reading) = (&reader[round % 3], &reader[(round + 1) % 3]);
        let book = writing.add_book().await;
        // A session can only be started on a book that the node knows.
        // Each of these decides on what another node has just written, or shows it.
        let session = reading.start(book, 3).await;
        assert_eq!(writing.active().await, session);
        let ended = writing.end(&session, 9).await;
        ended.expect(200);
        assert_eq!(reading.history().await["sessions"][0]["end_position"], 9);
        let analyst = nodes[(round + 2) % 3].with_role("analyst");
        let event = analyst.get(&format!("/api/v1/log/events/{}", ended.position())).await.expect(200);
        assert_eq!(event["type"], "ReadingSessionEnded");
        let head = analyst.with("daybook-after", &ended.position().to_string()).get("/api/v1/log/head").await;
        assert_eq!(head.expect(200)["head"], ended.position());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_on_three_nodes_at_once_has_one_active_session() {
    let Some((place, nodes)) = three().await else { return };
    let mut starts = Vec::new();
    for _ in 0..8 {
        let reader = everywhere(&nodes);
        let book = reader[0].add_book().await;
        for on_node in reader {
            starts.push(tokio::spawn(async move {
                for position in 0..10 {
                    on_node.start(book, position).await;
                }
                on_node
            }));
        }
    }
    let mut readers = BTreeMap::new();
    for start in starts {
        let on_node: Caller = start.await.unwrap();
        readers.insert(on_node.id, on_node);
    }
    for (id, on_node) in &readers {
        let mut active = None;
        for event in place.events().iter().filter(|event| event.stream == format!("reader-{id}")) {
            match event.kind.as_str() {
                "ReadingSessionStarted" => {
                    assert_eq!(active, None, "a second one was started beside it");
                    active = Some(event.data["session_id"].clone());
                }
                "ReadingSessionEnded" => assert_eq!(active.take(), Some(event.data["session_id"].clone())),
                other => panic!("{other}"),
            }
        }
        let shown = on_node.active().await;
        assert_eq!(Some(shown["id"].clone()), active);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tills_on_three_nodes_sell_exactly_what_there_is() {
    let Some((_place, nodes)) = three().await else { return };
    let (shop, _) = usual_shop(&nodes[0]).await;
    let mut selling = Vec::new();
    for (number, node) in nodes.iter().cycle().take(9).enumerate() {
        let serial = format!("till-{number}");
        shop.add_till(&nodes[0], &serial, "Caisse").await;
        let till = at_till(node, &serial);
        selling.push(tokio::spawn(async move {
            let mut sold = 0;
            for batch in 0..8 {
                let sales: Vec<Value> = (0..3).map(|n| sale(&format!("{number}-{batch}-{n}"), PHONE, 1)).collect();
                let answer = sync(&till, &sales).await;
                assert!(codes(&answer).iter().all(|(_, code)| *code == "INSUFFICIENT_STOCK"), "{answer}");
                sold += answer["ventes_creees"].as_array().unwrap().len();
            }
            sold
        }));
    }
    let mut sold = 0;
    for till in selling {
        sold += till.await.unwrap();
    }
    assert_eq!(sold, 100);
    for node in &nodes {
        let there = shop.on(node);
        assert_eq!(there.stock(PHONE).await, 0);
        there.assert_adds_up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sale_that_is_handed_in_on_three_nodes_at_once_is_recorded_once() {
    let Some((place, nodes)) = three().await else { return };
    let (shop, till) = usual_shop(&nodes[0]).await;
    let serial = crate::support::till::SERIAL;
    let tills = [till, at_till(&nodes[1], serial), at_till(&nodes[2], serial)];
    for round in 0..10 {
        let attempts = tills.clone().map(|till| {
            let sales = [sale(&format!("V-{round}"), PHONE, 1)];
            tokio::spawn(async move { sync(&till, &sales).await })
        });
        let (mut created, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for attempt in attempts {
            let answer = attempt.await.unwrap();
            for sale in answer["ventes_creees"].as_array().unwrap() {
                assert!(created.insert(sale["position"].as_u64().unwrap()), "{answer}");
            }
            for error in answer["ventes_erreurs"].as_array().map_or(&[][..], Vec::as_slice) {
                assert_eq!(error["code"], "DUPLICATE", "{answer}");
                repeated.insert(error["vente"]["position"].as_u64().unwrap());
            }
        }
        assert_eq!((created.len(), &repeated), (1, &created));
    }
    assert_eq!(shop.stock(PHONE).await, 90);

    // A request with a key is answered once, and the same to everybody who repeats it.
    let before = place.events().len();
    let attempts = tills.clone().map(|till| {
        let till = till.with("idempotency-key", "evening");
        let body = json!([{ "lignes": [{ "article_id": PHONE, "quantite": 1 }] }]);
        tokio::spawn(async move { till.post(SYNC, &body).await })
    });
    let mut answers = BTreeSet::new();
    for attempt in attempts {
        let reply = attempt.await.unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
        answers.insert(reply.text);
    }
    assert_eq!((answers.len(), place.events().len()), (1, before + 1), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_read_model_is_kept_by_one_node_and_by_another_when_that_one_goes() {
    let Some((place, nodes)) = three().await else { return };
    let mut nodes = Vec::from(nodes);
    let database = place.database().unwrap();
    let writers = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'daybook models writer'";
    while nodes.len() > 1 {
        let leader = eventually("one node leads", async || leader(&nodes).await).await;
        assert_eq!(database.sql(writers), "8", "a connection for each read model");
        let reader = nodes[(leader + 1) % nodes.len()].reader();
        let gone = nodes.swap_remove(leader);
        if nodes.len() == 2 {
            gone.kill();
        } else {
            assert!(gone.stop().await.status.success());
        }
        let began = std::time::Instant::now();
        // It is read on a node that lives, and shown as soon as another one keeps the read models.
        let book = eventually("a write is shown", async || {
            let book = uuid::Uuid::new_v4();
            let put = reader.put(&format!("/api/v1/books/{book}"), &json!({ "title": "T" })).await;
            put.expect(201);
            let books = reader.get("/api/v1/books").await;
            (books.status == 200).then(|| books.text.contains(&book.to_string()))
        })
        .await;
        assert!(book && began.elapsed() < PATIENCE / 2, "taken over within seconds: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_left_are_looked_for_by_one_node_and_by_another_when_that_one_goes() {
    let args = ["--session-idle", "1s", "--session-sweep", "100ms"];
    let Some((_place, nodes)) = three_with(&args).await else { return };
    let mut nodes = Vec::from(nodes);
    let swept = |node: &Server| node.said().contains("ended reading sessions that were left");
    while nodes.len() > 1 {
        let leader = eventually("one node leads", async || leader(&nodes).await).await;
        let reader = nodes[(leader + 1) % nodes.len()].reader();
        let book = reader.add_book().await;
        // More than once: if all of them looked, one of the others would be the first sooner or later.
        for _ in 0..4 {
            reader.start(book, 10).await;
            eventually("the session ends", async || reader.active().await.is_null().then_some(())).await;
        }
        eventually("it says so", async || swept(&nodes[leader]).then_some(())).await;
        let others = nodes.iter().enumerate().filter(|(place, node)| *place != leader && swept(node)).count();
        assert_eq!(others, 0, "another node has looked as well");
        nodes.swap_remove(leader).kill();
    }
}

/// The node that keeps the read models, when it is exactly one.
async fn leader(nodes: &[Server]) -> Option<usize> {
    let mut leading = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let metrics = node.stranger().get("/metrics").await.text;
        if metrics.lines().any(|line| line == "daybook_node_leads 1") {
            leading.push(number);
        }
    }
    assert!(leading.len() < 2, "{leading:?} lead at the same time");
    leading.first().copied()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_changed_on_one_node_is_changed_on_the_others() {
    let Some((_place, nodes)) = three().await else { return };
    let (shop, _) = usual_shop(&nodes[0]).await;
    for round in 0..10 {
        let (changing, other) = (&nodes[round % 3], &nodes[(round + 1) % 3]);
        let shop = shop.on(changing);
        let serial = format!("till-{round}");
        let register = async |key: &str| {
            let terminal = json!({ "serial": serial, "name": "Caisse", "key": key });
            shop.admin.post(&shop.path("terminals"), &terminal).await.expect(201);
        };
        let deactivate = async || {
            shop.admin.put(&shop.path(&format!("terminals/{serial}")), &json!({ "active": false })).await.expect(200)
        };
        register("la-premiere-clef").await;
        let till = at_till(other, &serial).with("x-device-key", "la-premiere-clef");
        sync(&till, &[sale(&format!("V-{round}"), PHONE, 1)]).await;
        deactivate().await;
        let late = json!([sale(&format!("L-{round}"), PHONE, 1)]);
        assert_eq!(till.post(SYNC, &late).await.expect(404)["code"], "TERMINAL_NOT_FOUND");
        eventually("the other node has heard of it", async || (till.get(HISTORY).await.status == 404).then_some(()))
            .await;
        register("la-seconde-clef").await;
        assert_eq!(till.post(SYNC, &late).await.expect(401)["code"], "INVALID_KEY");
        at_till(other, &serial).with("x-device-key", "la-seconde-clef").get(HISTORY).await.expect(200);
    }
    assert_eq!(shop.stock(PHONE).await, 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_tells_the_same_of_the_jobs_that_one_of_them_runs() {
    let Some((_place, nodes)) = three_with(&["--session-sweep", "1h"]).await else { return };
    eventually("all of them tell of its one run", async || {
        let mut told = Vec::new();
        for node in &nodes {
            told.push(node.with_role("auditor").get("/api/v1/jobs").await.expect(200)["jobs"].clone());
        }
        let has_run = told[0][0]["last_outcome"] == "succeeded";
        (has_run && told.iter().all(|jobs| *jobs == told[0])).then_some(())
    })
    .await;
}
