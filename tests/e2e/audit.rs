//! An auditor's way: from a number to the events behind it, to the request and whoever sent it, and back to all that
//! they did. Nothing is followed but what answers contain.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::support::till::{CANCEL, EARPHONES, HISTORY, PHONE, SYNC, line, sale};
use crate::support::{Caller, Reply, Server};

const LEFT: &str = "caisse-gauche";
const RIGHT: &str = "caisse-droite";

/// Events as (type, stream).
type Events = Vec<(String, String)>;

/// A request that was answered with success, and what has to be in the log of it.
struct Deed {
    actor: String,
    events: Events,
}

/// What the test did, by the `X-Request-Id` of the answer.
#[derive(Default)]
struct Deeds(BTreeMap<String, Deed>);

impl Deeds {
    fn note(&mut self, actor: &str, reply: &Reply, events: &[(&str, &str)]) {
        let events = events.iter().map(|(kind, stream)| ((*kind).to_owned(), (*stream).to_owned())).collect();
        let deed = Deed { actor: actor.to_owned(), events };
        let before = self.0.insert(reply.header("x-request-id").to_owned(), deed);
        assert!(before.is_none(), "{reply:?}");
    }

    /// Everything that `actor` did, sorted.
    fn of(&self, actor: &str) -> Events {
        let mut events: Events =
            self.0.values().filter(|deed| deed.actor == actor).flat_map(|deed| deed.events.clone()).collect();
        events.sort();
        events
    }
}

/// A world of two shops with three tills between them, a reader, and what was answered to whoever did something.
struct World {
    server: Server,
    auditor: Caller,
    admin: Caller,
    left: Caller,
    deeds: Deeds,
    /// Of the tills: what was created.
    created: Vec<Value>,
    cancelled: Value,
    duplicate: Value,
    /// Of the administrator, with the type of the event of each.
    documents: Vec<(&'static str, Value)>,
}

impl World {
    async fn begin() -> Self {
        let server = Server::start().await;
        let (admin, reader) = (server.admin(), server.reader());
        let tills = [LEFT, RIGHT].map(|serial| server.stranger().with("x-device-serial", serial));
        let [left, right] = tills.clone();
        let boss = admin.id.to_string();
        let mut deeds = Deeds::default();

        for (shop, stream) in [(2, "shop-2"), (3, "shop-3")] {
            let opened = json!({ "id": shop, "name": format!("Boutique {shop}"), "timezone": "Africa/Kinshasa" });
            let reply = admin.post("/api/v1/admin/shops", &opened).await;
            deeds.note(&boss, &reply, &[("ShopIdTaken", "register-shops"), ("ShopOpened", stream)]);
        }
        for (shop, stream, article) in
            [(2, "shop-2", PHONE), (2, "shop-2", EARPHONES), (3, "shop-3", 9), (3, "shop-3", 10)]
        {
            let added = json!({ "id": article, "name": format!("a{article}"), "price": 40_000 });
            let reply = admin.post(&format!("/api/v1/admin/shops/{shop}/articles"), &added).await;
            deeds.note(&boss, &reply, &[("ArticleIdTaken", "register-shops"), ("ArticleAdded", stream)]);
        }
        for (shop, stream, serial) in [(2, "shop-2", LEFT), (2, "shop-2", RIGHT)] {
            let terminal = json!({ "serial": serial, "name": serial });
            let reply = admin.post(&format!("/api/v1/admin/shops/{shop}/terminals"), &terminal).await;
            deeds.note(&boss, &reply, &[("TerminalAssigned", "register-shops"), ("TerminalRegistered", stream)]);
        }
        let mut documents = Vec::new();
        for (what, body, events) in [
            (
                "stock-receipts",
                json!({ "document": "BL-1", "lines": [{ "article_id": PHONE, "quantity": 10 }, { "article_id": EARPHONES, "quantity": 10 }] }),
                &[("StockReceived", "shop-2")][..],
            ),
            (
                "stock-adjustments",
                json!({ "document": "INV-1", "reason": "casse", "lines": [{ "article_id": PHONE, "counted": 9 }] }),
                &[("StockAdjusted", "shop-2")],
            ),
            (
                "stock-transfers",
                json!({ "document": "TR-1", "to_shop": 3, "lines": [{ "article_id": PHONE, "to_article_id": 9, "quantity": 2 }] }),
                &[("StockTransferredOut", "shop-2"), ("StockTransferredIn", "shop-3")],
            ),
        ] {
            let reply = admin.post(&format!("/api/v1/admin/shops/2/{what}"), &body).await;
            deeds.note(&boss, &reply, events);
            documents.push((events[0].0, reply.expect(201)));
        }

        // Two sales and one that is refused, under an id of the till's own; the other till's id is the server's.
        let sold = |count| vec![("SaleRecorded", "shop-2"); count];
        let batch = json!([sale("V-1", PHONE, 1), sale("V-2", EARPHONES, 2), sale("V-3", PHONE, 99)]);
        let own = left.with("x-request-id", "evening-batch-17").with("idempotency-key", "17");
        let first = own.post(SYNC, &batch).await;
        assert_eq!(first.header("x-request-id"), "evening-batch-17");
        deeds.note(&format!("terminal:{LEFT}"), &first, &sold(2));
        let mixed =
            json!([{ "numero_facture": "V-4", "lignes": [line(PHONE, 1), line(EARPHONES, 1), line(PHONE, 1)] }]);
        let other = right.post(SYNC, &mixed).await;
        deeds.note(&format!("terminal:{RIGHT}"), &other, &sold(1));
        let mut created = Vec::new();
        for reply in [&first, &other] {
            created.extend(reply.expect(201)["ventes_creees"].as_array().unwrap().iter().cloned());
        }
        // Repeats have no part in it: one that is recognised by its key, and one by its invoice number.
        let again = left.with("x-request-id", "evening-batch-17-again").with("idempotency-key", "17");
        assert_eq!(again.post(SYNC, &batch).await.text, first.text);
        let duplicate = right.post(SYNC, &json!([sale("V-1", PHONE, 1)])).await.expect(201);
        let cancelled = right.post(CANCEL, &json!({ "numero_facture": "V-2", "motif": "retour" })).await;
        deeds.note(&format!("terminal:{RIGHT}"), &cancelled, &[("SaleCancelled", "shop-2")]);

        // The left till goes over to the other shop, and sells there.
        let terminal = format!("/api/v1/admin/shops/2/terminals/{LEFT}");
        let released = admin.put(&terminal, &json!({ "active": false })).await;
        deeds.note(&boss, &released, &[("TerminalReleased", "register-shops"), ("TerminalChanged", "shop-2")]);
        let registered = admin.post("/api/v1/admin/shops/3/terminals", &json!({ "serial": LEFT, "name": "G" })).await;
        deeds.note(&boss, &registered, &[("TerminalAssigned", "register-shops"), ("TerminalRegistered", "shop-3")]);
        let there = left.post(SYNC, &json!([sale("W-1", 9, 1)])).await;
        deeds.note(&format!("terminal:{LEFT}"), &there, &[("SaleRecorded", "shop-3")]);
        created.extend(there.expect(201)["ventes_creees"].as_array().unwrap().iter().cloned());

        let book = "123e4567-e89b-42d3-a456-426614174000";
        let added = reader.put(&format!("/api/v1/books/{book}"), &json!({ "title": "Дюна" })).await;
        deeds.note(&reader.id.to_string(), &added, &[("BookAdded", &format!("book-{book}"))]);
        let started = json!({ "book_id": book, "start_position": 1 });
        let started = reader.post("/api/v1/reading-sessions/start", &started).await;
        let stream = format!("reader-{}", reader.id);
        deeds.note(&reader.id.to_string(), &started, &[("ReadingSessionStarted", &stream)]);

        let auditor = server.with_role("auditor");
        let (cancelled, duplicate) = (cancelled.expect(200), duplicate["ventes_erreurs"][0]["vente"].clone());
        Self { server, auditor, admin, left, deeds, created, cancelled, duplicate, documents }
    }

    async fn ask(&self, path: &str) -> Value {
        self.auditor.get(path).await.expect(200)
    }

    /// The event that an answer's `position` leads to.
    async fn event(&self, position: &Value) -> Value {
        let event = self.ask(&format!("/api/v1/log/events/{position}")).await;
        assert_eq!(event["position"], *position);
        event
    }

    async fn lines(&self, query: &str) -> Vec<Value> {
        let lines = self.auditor.with("accept", "application/x-ndjson");
        let reply = lines.get(&format!("/api/v1/log/events?{query}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn movements(&self, shop: i64, article: i64) -> Vec<Value> {
        let page = self.ask(&format!("/api/v1/shops/{shop}/stock/{article}/movements")).await;
        assert_eq!(page["next"], Value::Null);
        page["items"].as_array().unwrap().clone()
    }

    /// The event was caused by a request that the test knows of, and by the one who sent it.
    #[track_caller]
    fn assert_cause_is_known(&self, event: &Value) {
        let metadata = &event["metadata"];
        let deed = &self.deeds.0[metadata["correlation_id"].as_str().unwrap()];
        assert_eq!(metadata["actor"], deed.actor, "{event}");
        assert_eq!(metadata["causation_id"], metadata["correlation_id"], "{event}");
        assert!(deed.events.contains(&kind_and_stream(event)), "{event}");
    }
}

fn kind_and_stream(event: &Value) -> (String, String) {
    (event["type"].as_str().unwrap().to_owned(), event["stream"].as_str().unwrap().to_owned())
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

/// The log writes every time with microseconds, the ledger with as many digits as it needs.
fn time(text: &Value) -> DateTime<Utc> {
    text.as_str().unwrap().parse().unwrap()
}

fn day(event: &Value) -> NaiveDate {
    time(&event["recorded_at"]).date_naive()
}

#[tokio::test]
async fn a_stock_leads_by_its_movements_to_the_requests_that_made_it() {
    let world = World::begin().await;
    let mut seen = BTreeSet::new();
    for (shop, article, expected) in [(2, PHONE, 4), (2, EARPHONES, 9), (3, 9, 1), (3, 10, 0)] {
        let stock = world.ask(&format!("/api/v1/shops/{shop}/stock/{article}")).await;
        assert_eq!(stock["stock"], expected);
        let movements = world.movements(shop, article).await;
        let sum: i64 = movements.iter().map(|movement| movement["delta"].as_i64().unwrap()).sum();
        assert_eq!(sum, expected);
        let last = movements.last().map_or(json!(0), |movement| movement["position"].clone());
        assert_eq!(stock["position"], last);
        for movement in movements {
            let event = world.event(&movement["position"]).await;
            assert_eq!((&event["id"], &event["stream"]), (&movement["event_id"], &json!(format!("shop-{shop}"))));
            for at in ["occurred_at", "recorded_at"] {
                assert_eq!(time(&event[at]), time(&movement[at]), "{movement}");
            }
            let kind = movement["type"].as_str().unwrap();
            let (event_type, number) = match kind {
                "RECEIPT" => ("StockReceived", "document"),
                "ADJUSTMENT" => ("StockAdjusted", "document"),
                "TRANSFER_OUT" => ("StockTransferredOut", "document"),
                "TRANSFER_IN" => ("StockTransferredIn", "document"),
                "VENTE" => ("SaleRecorded", "numero_facture"),
                "RETOUR" => ("SaleCancelled", "numero_facture"),
                other => panic!("{other}"),
            };
            assert_eq!((&event["type"], &event["data"][number]), (&json!(event_type), &movement["document"]));
            let line = &event["data"]["lines"][movement["line"].as_u64().unwrap() as usize - 1];
            assert_eq!(line["article_id"], article);
            assert_eq!(line["stock_after"], movement["stock_after"], "{movement} {event}");
            let who = match (movement["terminal"].as_str(), movement["user"].as_str()) {
                (Some(terminal), None) => format!("terminal:{terminal}"),
                (None, Some(user)) => user.to_owned(),
                _ => panic!("{movement}"),
            };
            assert_eq!(event["metadata"]["actor"], who);
            world.assert_cause_is_known(&event);
            if kind == "RETOUR" {
                let sale = world.event(&movement["reversal_of"]).await;
                assert_eq!(
                    (&sale["type"], &sale["data"]["numero_facture"]),
                    (&json!("SaleRecorded"), &movement["document"])
                );
            }
            seen.insert(kind.to_owned());
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[tokio::test]
async fn a_turnover_leads_by_the_sales_to_the_requests_that_made_it() {
    let world = World::begin().await;
    // The till that is left in shop 2.
    let till = world.server.stranger().with("x-device-serial", RIGHT);
    let statistics = till.get("/api/v2/simple/statistiques/").await.expect(200)["statistiques"].clone();
    let history = till.get(HISTORY).await.expect(200);
    let (mut count, mut amount) = (0, 0.0);
    for sale in history["ventes"].as_array().unwrap() {
        assert_eq!(sale["id"], sale["position"]);
        let event = world.event(&sale["id"]).await;
        assert_eq!(event["type"], "SaleRecorded");
        for field in ["numero_facture", "montant_total", "mode_paiement"] {
            assert_eq!(event["data"][field], sale[field]);
        }
        assert_eq!(event["data"]["terminal_name"], sale["terminal"]);
        world.assert_cause_is_known(&event);
        if sale["annulee"] == false {
            count += 1;
            amount += sale["montant_total"].as_str().unwrap().parse::<f64>().unwrap();
        }
    }
    assert_eq!(history["count"], 3);
    assert_eq!(statistics["ventes_mois"], json!({ "nombre": count, "chiffre_affaires": format!("{amount:.2}") }));
    // The log by itself comes to the same.
    let mut from_log = 0.0;
    for event in world.lines("stream=shop-2&types=SaleRecorded,SaleCancelled").await {
        let (sign, sale) =
            if event["type"] == "SaleRecorded" { (1.0, &event["data"]) } else { (-1.0, &event["data"]["sale"]) };
        from_log += sign * sale["montant_total"].as_str().unwrap().parse::<f64>().unwrap();
    }
    assert_eq!(format!("{from_log:.2}"), statistics["ventes_mois"]["chiffre_affaires"].as_str().unwrap());
}

#[tokio::test]
async fn every_answer_about_stock_or_a_sale_leads_to_its_event() {
    let world = World::begin().await;
    for created in &world.created {
        assert_eq!(created["id"], created["position"]);
        let event = world.event(&created["position"]).await;
        assert_eq!(event["data"]["numero_facture"], created["numero_facture"]);
        world.assert_cause_is_known(&event);
    }
    // A duplicate leads to the sale that was recorded first, and so to the request of then.
    let first = world.event(&world.duplicate["id"]).await;
    assert_eq!(
        (&first["type"], &first["metadata"]["correlation_id"]),
        (&json!("SaleRecorded"), &json!("evening-batch-17"))
    );
    let cancel = world.event(&world.cancelled["position"]).await;
    assert_eq!(
        (&cancel["type"], &cancel["data"]["sale"]["position"]),
        (&json!("SaleCancelled"), &world.created[1]["id"])
    );
    world.assert_cause_is_known(&cancel);
    for (kind, document) in &world.documents {
        assert_eq!(document["id"], document["position"]);
        let event = world.event(&document["position"]).await;
        assert_eq!((&event["type"], &event["data"]["document"]), (&json!(kind), &document["document"]));
        assert_eq!(event["metadata"]["actor"], document["user"]);
        world.assert_cause_is_known(&event);
    }
    for list in ["stock-receipts", "stock-adjustments", "stock-transfers"] {
        let list = world.admin.get(&format!("/api/v1/admin/shops/2/{list}")).await.expect(200);
        for document in list["items"].as_array().unwrap() {
            assert!(world.documents.iter().any(|(_, answered)| answered == document), "{document}");
        }
    }
    let alerts = world.ask("/api/v1/shops/2/alerts").await;
    let alerts = alerts["items"].as_array().unwrap();
    assert!(!alerts.is_empty());
    for alert in alerts {
        let event = world.event(&alert["position"]).await;
        assert_eq!(time(&event["recorded_at"]), time(&alert["at"]));
        let lines = event["data"]["lines"].as_array().unwrap();
        assert!(
            lines.iter().any(|line| line["article_id"] == alert["article_id"] && line["stock_after"] == alert["stock"])
        );
    }
}

#[tokio::test]
async fn a_request_id_leads_to_all_that_the_request_did_and_to_nothing_else() {
    let world = World::begin().await;
    let all = world.lines("").await;
    let mut by_request: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in &all {
        world.assert_cause_is_known(event);
        by_request.entry(event["metadata"]["correlation_id"].as_str().unwrap()).or_default().push(event);
    }
    assert_eq!(by_request.len(), world.deeds.0.len());
    for (request, deed) in &world.deeds.0 {
        let events = &by_request[&**request];
        let (mut found, mut expected) =
            (events.iter().map(|event| kind_and_stream(event)).collect::<Events>(), deed.events.clone());
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{request}");
        // They were recorded together.
        let (first, last) = (events[0], events[events.len() - 1]);
        assert_eq!(first["recorded_at"], last["recorded_at"]);
        let run = last["position"].as_u64().unwrap() - first["position"].as_u64().unwrap() + 1;
        assert_eq!(run, events.len() as u64, "{request}");
    }
    // From one side of a transfer to the other.
    let out = world.event(&world.documents[2].1["position"]).await;
    let both = &by_request[out["metadata"]["correlation_id"].as_str().unwrap()];
    let into = both.iter().find(|event| event["type"] == "StockTransferredIn").unwrap();
    assert_eq!(world.movements(3, 9).await[0]["position"], into["position"]);
}

#[tokio::test]
async fn a_terminals_day_is_all_that_it_did_in_whichever_shop() {
    let world = World::begin().await;
    let all = world.lines("").await;
    let (first, last) = (day(&all[0]), day(&all[all.len() - 1]));
    let after = last + Days::new(1);
    let whole = format!("category=shop&from={first}T00:00:00Z&to={after}T00:00:00Z");
    let of = |events: &[Value], serial: &str| -> Vec<Value> {
        let actor = format!("terminal:{serial}");
        events.iter().filter(|event| event["metadata"]["actor"] == actor).cloned().collect()
    };
    let events = world.lines(&whole).await;
    for serial in [LEFT, RIGHT] {
        let its = of(&events, serial);
        let mut found: Events = its.iter().map(kind_and_stream).collect();
        found.sort();
        assert_eq!(found, world.deeds.of(&format!("terminal:{serial}")), "{serial}");
        // Pages say the same as lines do, and newest first is the same the other way round.
        for order in ["asc", "desc"] {
            let page = world.ask(&format!("/api/v1/log/events?limit=5000&order={order}&{whole}")).await;
            let mut paged = of(page["events"].as_array().unwrap(), serial);
            if order == "desc" {
                paged.reverse();
            }
            assert_eq!(positions(&paged), positions(&its));
        }
    }
    let in_both: BTreeSet<String> = of(&events, LEFT).iter().map(|event| kind_and_stream(event).1).collect();
    assert_eq!(in_both.into_iter().collect::<Vec<_>>(), ["shop-2", "shop-3"]);
    // The day before and the day after have nothing.
    let before = format!("category=shop&to={first}T00:00:00Z");
    let later = format!("category=shop&from={after}T00:00:00Z");
    for empty in [before, later] {
        assert_eq!(world.lines(&empty).await, Vec::<Value>::new(), "{empty}");
    }
    // What a till shows of its shop is what the terminals of that shop did there.
    let shown = world.left.get(HISTORY).await.expect(200);
    assert_eq!((shown["boutique_id"].as_i64(), shown["count"].as_i64()), (Some(3), Some(1)));
}

#[tokio::test]
async fn an_administrators_and_a_readers_deeds_are_found_by_who_they_are() {
    let world = World::begin().await;
    let all = world.lines("").await;
    let actors: BTreeSet<String> = world.deeds.0.values().map(|deed| deed.actor.clone()).collect();
    assert_eq!(actors.len(), 4, "two tills, an administrator, a reader");
    for actor in actors {
        let its = all.iter().filter(|event| event["metadata"]["actor"] == *actor);
        let mut found: Events = its.map(kind_and_stream).collect();
        found.sort();
        assert_eq!(found, world.deeds.of(&actor), "{actor}");
    }
}
