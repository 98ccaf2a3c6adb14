//! Read models built anew beside the served ones: taken over, given up, killed, begun again.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::projections::{NAMES, PATH, ask, busy_shop, one, rebuild, settled};
use crate::support::chance::Chance;
use crate::support::engine::is_embedded_only;
use crate::support::till::{PHONE, SERIAL, at_till, sale, sync, usual_shop};
use crate::support::{Caller, Place, Server, eventually};

#[tokio::test]
async fn a_rebuilt_read_model_takes_over_and_the_old_one_goes() {
    let server = Server::start().await;
    let (shop, till) = busy_shop(&server, 3).await;
    let movements = shop.movements(PHONE).await;
    let stock = shop.ledger("stock").await;
    let before = NAMES.map(|name| server.place().copies(name)[0]);
    for name in NAMES {
        let answer = ask(&shop.admin, &format!("{PATH}/{name}/rebuild")).await;
        let begun = answer.expect(202);
        assert_eq!((begun["name"].as_str(), begun["state"].as_str()), (Some(name), Some("rebuilding")));
        assert!(begun["rebuild"]["percent"].as_f64().unwrap() <= 100.0, "{begun}");
    }
    settled(&shop.admin).await;
    eventually("the old copies are gone", async || {
        let is_new = |(name, before): (&&str, &i64)| server.place().copies(name)[..].iter().all(|copy| copy > before);
        NAMES.iter().zip(&before).all(is_new).then_some(())
    })
    .await;
    assert_eq!(shop.movements(PHONE).await, movements);
    assert_eq!(shop.ledger("stock").await, stock);
    sync(&till, &[sale("N-1", PHONE, 1)]).await;
    assert_eq!(shop.movements(PHONE).await.len(), movements.len() + 1);
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn while_a_read_model_is_rebuilt_writes_go_on_and_every_read_sees_all_of_them() {
    let server = Server::start().await;
    let (shop, till) = busy_shop(&server, 10).await;
    let mut sold = 1_000;
    for round in 0..3 {
        for name in ["sales", "stock_ledger", "shops"] {
            assert_eq!(rebuild(&shop.admin, name).await, 202);
        }
        let mut is_rebuilding = true;
        let mut after = 0;
        while is_rebuilding || after < 5 {
            after += usize::from(!is_rebuilding);
            sync(&till, &[sale(&format!("R-{round}-{sold}"), PHONE, 1)]).await;
            sold += 1;
            let day = shop.ledger("stock?limit=10").await;
            let phones = day["items"].as_array().unwrap().iter().find(|item| item["article_id"] == PHONE).unwrap();
            assert_eq!(phones["stock"], 1_100 - sold);
            assert_eq!(phones["name"], "Samsung S24");
            let history = till.get("/api/v2/simple/ventes/historique?limit=1").await.expect(200);
            assert_eq!(history["statistiques"]["total_ventes"], sold);
            // There is stock for 1,100 sales.
            if sold % 90 == 0 {
                break;
            }
            is_rebuilding = !one(&shop.admin, "sales").await["rebuild"].is_null();
        }
        settled(&shop.admin).await;
    }
    assert_eq!(shop.movements(PHONE).await.len() as i64, sold + 2);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn readers_see_the_old_copy_or_the_new_one_and_never_a_mixture() {
    const SHOPS: usize = 20;
    let server = Server::start().await;
    let admin = server.admin();
    for n in 0..SHOPS {
        admin.post("/api/v1/admin/shops", &json!({ "name": format!("{n}") })).await.expect(201);
    }
    settled(&admin).await;
    let mut seen_old = 0;
    for _ in 0..6 {
        // The served copy loses shops behind the server's back, so that it can be told from the one that takes over.
        let before = server.place().copies("shops");
        server.place().tamper("shops", "DELETE FROM shops WHERE shop_id > 5");
        let readers: Vec<_> = (0..4).map(|_| tokio::spawn(whole_lists(admin.clone(), SHOPS))).collect();
        assert_eq!(rebuild(&admin, "shops").await, 202);
        for reader in readers {
            seen_old += reader.await.unwrap();
        }
        settled(&admin).await;
        eventually("the old copy is gone", async || {
            let copies = server.place().copies("shops");
            (copies.len() == 1 && copies != before).then_some(())
        })
        .await;
    }
    assert!(seen_old > 0, "no reader was there before a take-over");
}

/// Asks until the list is whole, which it never is in part; how often it was the short one.
async fn whole_lists(admin: Caller, whole: usize) -> usize {
    let mut short = 0;
    loop {
        let page = admin.get("/api/v1/admin/shops?page_size=100").await.expect(200);
        // Rows and their number are two questions to the read model.
        let (items, total) = (page["items"].as_array().unwrap().len(), page["total"].as_u64().unwrap() as usize);
        assert_eq!(items, total, "{page}");
        if items == whole {
            return short;
        }
        assert_eq!(items, 5);
        short += 1;
    }
}

#[tokio::test]
async fn a_rebuild_is_given_up_and_begun_again() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 10).await;
    let admin = &shop.admin;
    let mut given_up = 0;
    // Whoever is too late is told so, and tries again.
    while given_up < 3 {
        assert_eq!(rebuild(admin, "sales").await, 202);
        assert!([202, 409].contains(&rebuild(admin, "sales").await));
        match ask(admin, &format!("{PATH}/sales/rebuild/cancel")).await.status {
            200 => given_up += 1,
            status => assert_eq!(status, 409),
        }
        settled(admin).await;
        eventually("the copy is gone", async || (server.place().copies("sales").len() == 1).then_some(())).await;
    }
    let stopped = server.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_repeated_request_to_rebuild_gets_its_first_answer() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let keyed = shop.admin.with("idempotency-key", "once");
    let first = ask(&keyed, &format!("{PATH}/sales/rebuild")).await;
    assert_eq!(first.status, 202);
    settled(&shop.admin).await;
    let again = ask(&keyed, &format!("{PATH}/sales/rebuild")).await;
    assert_eq!((again.status, again.text), (202, first.text));
    assert!(one(&shop.admin, "sales").await["rebuild"].is_null());
}

#[tokio::test]
async fn a_rebuild_that_is_killed_goes_on_and_ends_equal_to_the_log() {
    let mut chance = Chance::told();
    let mut server = Server::start().await;
    let (shop, _) = busy_shop(&server, 20).await;
    let mut sold = 2_000;
    for round in 0..8 {
        let (shop, till) = (shop.on(&server), at_till(&server, SERIAL));
        for name in NAMES {
            // One that was under way goes on by itself.
            assert!([202, 409].contains(&rebuild(&shop.admin, name).await));
        }
        sync(&till, &[sale(&format!("K-{round}"), PHONE, 1)]).await;
        sold += 1;
        tokio::time::sleep(Duration::from_millis(chance.below(120))).await;
        let place = server.kill();
        server = place.serve(&[]).await;
    }
    let shop = shop.on(&server);
    settled(&shop.admin).await;
    assert_eq!(shop.movements(PHONE).await.len() as i64, sold + 2);
    eventually("one copy is left of each", async || {
        NAMES.iter().all(|name| server.place().copies(name).len() == 1).then_some(())
    })
    .await;
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_rebuild_begins_anew_after_the_system_went_down() {
    if is_embedded_only("a copy that is built in a file does without syncs; a database keeps what it has committed") {
        return;
    }
    let mut server = Server::start().await;
    let (shop, _) = busy_shop(&server, 20).await;
    // Killed before it has taken over.
    let place = loop {
        assert!([202, 409].contains(&rebuild(&server.admin(), "stock_ledger").await));
        let place = server.kill();
        let catalog = place.data().join(daybook_projections::READ_MODELS_FOLDER).join("catalog.sqlite3");
        let catalog = Connection::open(catalog).unwrap();
        if catalog.execute("UPDATE builds SET boot = 'an earlier one' WHERE name = 'stock_ledger'", []).unwrap() == 1 {
            break place;
        }
        server = place.serve(&[]).await;
    };
    let server = place.serve(&[]).await;
    assert!(server.said().contains("the system was restarted: its rebuild begins anew"), "{}", server.said());
    let shop = shop.on(&server);
    settled(&shop.admin).await;
    assert_eq!(shop.movements(PHONE).await.len(), 2_002);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_rebuild_mends_a_read_model_that_stopped() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    server.place().drop_table("stock_ledger", "stock_movements");
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    assert_eq!(rebuild(&shop.admin, "stock_ledger").await, 202);
    settled(&shop.admin).await;
    assert_eq!(shop.stock(PHONE).await, 99);
    assert_eq!(shop.movements(PHONE).await.len(), 2);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_read_model_that_is_damaged_is_built_anew_at_the_start() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let movements = shop.movements(PHONE).await;
    let place = server.stop().await.place;
    place.drop_table("stock_ledger", "stock_movements");
    let server = place.serve(&[]).await;
    assert!(server.said().contains("building"), "{}", server.said());
    assert_eq!(shop.on(&server).movements(PHONE).await, movements);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_read_model_of_another_version_is_built_beside_the_old_one_which_stays_until_then() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 2).await;
    let expected = shop.ledger("stock").await;
    let place = server.stop().await.place;
    // A folder has one node. On a database a newer copy is another node's, and is left to it.
    let others = if place.database().is_some() { &["- 1"][..] } else { &["- 1", "+ 1"] };
    for other in others {
        let before = ["stock_ledger", "sales"].map(|name| place.copies(name));
        place.tamper_catalog(&format!("UPDATE copies SET version = version {other} WHERE name = 'stock_ledger'"));
        let server = place.serve(&[]).await;
        let shop = shop.on(&server);
        assert_eq!(shop.ledger("stock").await, expected);
        eventually("the old copy is gone", async || {
            let copies = place.copies("stock_ledger");
            (copies.len() == 1 && copies != before[0]).then_some(())
        })
        .await;
        assert_eq!(place.copies("sales"), before[1]);
        let stopped = server.stop().await;
        stopped.place.assert_read_models_equal_a_rebuild().await;
    }
}

#[tokio::test]
async fn read_models_of_another_log_are_not_served() {
    let server = Server::start().await;
    let (shop, _) = busy_shop(&server, 1).await;
    shop.movements(PHONE).await;
    let place = server.stop().await.place;
    match place.database() {
        Some(_) => place.delete_log(),
        // Somebody has put another log into the folder.
        None => {
            let other = Place::embedded().serve(&[]).await.stop().await.place;
            std::fs::copy(other.data().join("log.sqlite3"), place.data().join("log.sqlite3")).unwrap();
        }
    }
    let server = place.serve(&[]).await;
    let shops = server.admin().get("/api/v1/admin/shops").await.expect(200);
    assert_eq!(shops["total"], 0);
    let (shop, _) = usual_shop(&server).await;
    assert_eq!(shop.stock(PHONE).await, 100);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_rebuild_that_was_given_up_does_not_come_back_after_a_kill() {
    let mut server = Server::start().await;
    let (shop, _) = busy_shop(&server, 20).await;
    for _ in 0..4 {
        let admin = server.admin();
        assert_eq!(rebuild(&admin, "sales").await, 202);
        let given_up = ask(&admin, &format!("{PATH}/sales/rebuild/cancel")).await.status == 200;
        let place = server.kill();
        let generations = place.copies("sales");
        server = place.serve(&[]).await;
        if given_up {
            assert!(!server.said().contains("going on with its rebuild"), "{}", server.said());
            assert_eq!(place.copies("sales").len(), 1, "of {generations:?}");
        }
        settled(&server.admin()).await;
    }
    drop(shop);
    let stopped = server.stop().await;
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_leaves_no_rebuild_behind_that_nobody_can_end() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let before = server.place().copies("sales");
    let held = server.place().hold_catalog();
    let path = format!("{PATH}/sales/rebuild");
    let asked = tokio::time::timeout(Duration::from_millis(300), ask(&shop.admin, &path)).await;
    assert!(asked.is_err(), "the catalog was locked: {asked:?}");
    held.let_go();
    eventually("it is rebuilt all the same", async || {
        let copies = server.place().copies("sales");
        (copies.len() == 1 && copies != before).then_some(())
    })
    .await;
    settled(&shop.admin).await;
    assert_eq!(rebuild(&shop.admin, "sales").await, 202);
    settled(&shop.admin).await;
}
