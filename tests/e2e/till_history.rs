//! What tills read: the sales of their shop, its figures, what may be sold.

use chrono::{Datelike, Days, TimeDelta, Utc};
use chrono_tz::Africa::Kinshasa;
use serde_json::{Value, json};

use crate::support::till::{CANCEL, EARPHONES, HISTORY, PHONE, Shop, at_till, line, sale, sync, usual_shop};
use crate::support::{Caller, Server};

const STATISTICS: &str = "/api/v2/simple/statistiques/";
const ARTICLES: &str = "/api/v2/simple/articles/";

fn sold_at(number: &str, date: &str) -> Value {
    json!({ "numero_facture": number, "date_vente": date, "lignes": [line(PHONE, 1)] })
}

async fn history(till: &Caller, query: &str) -> Value {
    let shown = till.get(&format!("{HISTORY}?{}", query.replace('+', "%2B"))).await.expect(200);
    assert_eq!(shown["count"], shown["ventes"].as_array().unwrap().len());
    shown
}

fn numbers(shown: &Value) -> Vec<&str> {
    shown["ventes"].as_array().unwrap().iter().map(|vente| vente["numero_facture"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_sale_is_shown_with_all_its_fields() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    let empty = json!({
        "success": true, "boutique_id": 2, "boutique_nom": "Ma Boutique",
        "statistiques": { "total_ventes": 0, "chiffre_affaires": "0.00" }, "ventes": [], "count": 0, "next": null,
    });
    assert_eq!(till.get(HISTORY).await.expect(200), empty);

    shop.change_article(PHONE, &json!({ "code": "S24" })).await;
    let sold = json!({
        "numero_facture": "V-1", "mode_paiement": "CARTE", "date_vente": "2025-10-29T10:30:00+01:00",
        "lignes": [{ "article_id": PHONE, "quantite": 3, "prix_unitaire": 0.1 }, { "article_id": EARPHONES }],
    });
    let position = sync(&till, &[sold]).await["ventes_creees"][0]["position"].clone();
    let vente = json!({
        "id": position, "position": position, "numero_facture": "V-1", "date_vente": "2025-10-29T09:30:00Z",
        "montant_total": "25000.30", "mode_paiement": "CARTE", "paye": true, "annulee": false,
        "terminal": "Terminal messie vanza",
        "lignes": [
            {
                "article_id": PHONE, "article_nom": "Samsung S24", "article_code": "S24", "quantite": 3,
                "prix_unitaire": "0.10", "sous_total": "0.30",
            },
            {
                "article_id": EARPHONES, "article_nom": "Écouteurs", "article_code": null, "quantite": 1,
                "prix_unitaire": "25000.00", "sous_total": "25000.00",
            },
        ],
    });
    let expected = json!({
        "success": true, "boutique_id": 2, "boutique_nom": "Ma Boutique",
        "statistiques": { "total_ventes": 1, "chiffre_affaires": "25000.30" }, "ventes": [vente], "count": 1,
        "next": null,
    });
    // Names and codes stay those of the sale.
    shop.change_article(PHONE, &json!({ "name": "autre", "code": null })).await;
    for path in [HISTORY, "/api/v2/simple/ventes/historique"] {
        assert_eq!(till.get(path).await.expect(200), expected);
    }
}

#[tokio::test]
async fn pages_are_newest_first_without_gap_or_repetition() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    // Handed in out of order, some at the same moment.
    let sales: Vec<Value> = (0..60)
        .map(|n| sold_at(&format!("V-{n}"), &format!("2025-10-{:02}T10:00:00.{:03}Z", 1 + n * 7 % 20, n % 2)))
        .collect();
    sync(&till, &sales).await;
    let whole = history(&till, "limit=1000").await;
    assert_eq!((whole["count"].as_u64(), &whole["next"]), (Some(60), &Value::Null));
    let keys: Vec<(&str, u64)> = whole["ventes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vente| (vente["date_vente"].as_str().unwrap(), vente["position"].as_u64().unwrap()))
        .collect();
    let time = |text: &str| text.parse::<chrono::DateTime<Utc>>().unwrap();
    assert!(keys.windows(2).all(|two| (time(two[0].0), two[0].1) > (time(two[1].0), two[1].1)), "{keys:?}");

    assert_eq!(history(&till, "").await["count"], 50, "the default");
    for limit in [1, 7, 20, 59, 60] {
        let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = history(&till, &format!("limit={limit}{after}")).await;
            assert_eq!(page["statistiques"]["total_ventes"], 60, "over the whole filter");
            found.extend(numbers(&page).into_iter().map(str::to_owned));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(page["count"], limit);
            after = format!("&after={next}");
        }
        assert_eq!(found, numbers(&whole), "{limit}");
        assert_eq!(pages, 60_usize.div_ceil(limit));
    }
    // What comes in meanwhile and is newer does not move the pages that follow.
    let first = history(&till, "limit=10").await;
    sync(&till, &[sale("new", PHONE, 1)]).await;
    let second = history(&till, &format!("limit=10&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(numbers(&second), numbers(&whole)[10..20]);
}

#[tokio::test]
async fn days_are_whole_in_the_shop_s_zone_and_both_ends_are_included() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let sales = [
        ("before", "2025-10-27T22:59:59.999999Z"),
        ("first", "2025-10-27T23:00:00Z"),
        ("noon", "2025-10-28T12:00:00Z"),
        ("last", "2025-10-29T22:59:59.999999Z"),
        ("after", "2025-10-29T23:00:00Z"),
    ];
    sync(&till, &sales.map(|(number, date)| sold_at(number, date))).await;
    for (query, expected) in [
        ("date_debut=2025-10-28&date_fin=2025-10-29", vec!["last", "noon", "first"]),
        ("date_debut=2025-10-28&date_fin=2025-10-28", vec!["noon", "first"]),
        ("date_fin=2025-10-27", vec!["before"]),
        ("date_debut=2025-10-30", vec!["after"]),
        ("date_debut=2025-10-29", vec!["after", "last"]),
        ("date_debut=2025-10-29&date_fin=2025-10-28", vec![]),
        ("date_debut=2025-10-27T23:00:00Z&date_fin=2025-10-28T12:00:00Z", vec!["noon", "first"]),
        ("date_debut=2025-10-28T13:00:00+01:00&date_fin=2025-10-28T13:00:00+01:00", vec!["noon"]),
        ("date_debut=2025-10-28T12:00:00.000001Z&date_fin=2025-10-29", vec!["last"]),
        ("date_debut=2025-10-28&date_fin=2025-10-29T22:59:59.999998Z", vec!["noon", "first"]),
        ("date_debut=0001-01-01&date_fin=9999-12-31", vec!["after", "last", "noon", "first", "before"]),
    ] {
        let shown = history(&till, query).await;
        assert_eq!(numbers(&shown), expected, "{query}");
        let sum =
            json!({ "total_ventes": expected.len(), "chiffre_affaires": format!("{}.00", 40_000 * expected.len()) });
        assert_eq!(shown["statistiques"], sum, "{query}");
        assert_eq!(history(&till, &format!("{query}&limit=1")).await["statistiques"], sum, "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_400_and_another_shop_403() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    let other = Shop::open(&server, &json!({ "name": "Autre" })).await;
    sync(&till, &[sale("V-1", PHONE, 1)]).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "date_debut=29/10/2025",
        "date_fin=2025-02-29",
        "date_fin=2025-10-29T10:00:00",
        "date_debut=hier",
        "after=x",
        "after=1",
        "boutique_id=x",
    ] {
        let reply = till.get(&format!("{HISTORY}?{query}")).await;
        let text = reply.expect(400);
        assert_eq!(text["code"], "INVALID_PARAMETER", "{query}");
        assert!(!text["error"].as_str().unwrap().is_empty());
    }
    for query in ["limit=1", "limit=1000", "boutique_id=2"] {
        assert_eq!(history(&till, query).await["count"], 1, "{query}");
    }
    for shop in [other.id, 1, 99, -2] {
        let refused = till.get(&format!("{HISTORY}?boutique_id={shop}")).await.expect(403);
        assert_eq!(refused["code"], "FORBIDDEN_SHOP");
    }
}

#[tokio::test]
async fn every_read_asks_for_a_terminal() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    for path in [HISTORY, STATISTICS, ARTICLES] {
        let missing = server.stranger().get(path).await.expect(400);
        assert_eq!(
            (&missing["code"], &missing["header_required"]),
            (&json!("MISSING_SERIAL"), &json!("X-Device-Serial"))
        );
        assert_eq!(shop.admin.get(path).await.expect(400)["code"], "MISSING_SERIAL", "a token is no terminal");
        assert_eq!(at_till(&server, "nobody").get(path).await.expect(404)["code"], "TERMINAL_NOT_FOUND");
    }
}

#[tokio::test]
async fn the_figures_are_those_of_today_and_this_month_paid_and_not_cancelled() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.change_article(PHONE, &json!({ "category": "Téléphones" })).await;
    shop.change_article(EARPHONES, &json!({ "category": "Accessoires" })).await;
    shop.add_article(&json!({ "name": "Câble", "price": 1, "category": "Accessoires" })).await;
    shop.add_article(&json!({ "name": "x", "price": 1, "category": "Rien", "active": false })).await;
    let paying = |number: &str, mode: &str, article: i64, quantity: i64| {
        let mut sale = sale(number, article, quantity);
        sale["mode_paiement"] = json!(mode);
        sale
    };
    let mut unpaid = paying("unpaid", "CASH", PHONE, 1);
    unpaid["paye"] = json!(false);
    // A month is left behind whatever today is; yesterday may be in another month.
    let today = Utc::now().with_timezone(&Kinshasa).date_naive();
    let noon = |day: chrono::NaiveDate| format!("{day}T12:00:00+01:00");
    let yesterday = today - Days::new(1);
    let mut earlier = paying("yesterday", "CASH", EARPHONES, 2);
    earlier["date_vente"] = json!(noon(yesterday));
    let mut long_ago = paying("long-ago", "CASH", PHONE, 1);
    long_ago["date_vente"] = json!(noon(today - Days::new(40)));
    let batch = [
        paying("a", "CASH", PHONE, 2),
        paying("b", "MOBILE_MONEY", EARPHONES, 4),
        paying("c", "CARTE", PHONE, 1),
        paying("d", "CASH", PHONE, 90),
        unpaid,
        earlier,
        long_ago,
    ];
    assert_eq!(sync(&till, &batch).await["ventes_erreurs"], Value::Null);
    till.post(CANCEL, &json!({ "numero_facture": "d", "motif": "m" })).await.expect(200);
    let same_month = yesterday.month() == today.month();
    let cash = |amount: u32, number: u32| json!({ "mode_paiement": "CASH", "nombre": number, "chiffre_affaires": format!("{amount}.00") });
    let mobile = json!({ "mode_paiement": "MOBILE_MONEY", "nombre": 1, "chiffre_affaires": "100000.00" });
    let card = json!({ "mode_paiement": "CARTE", "nombre": 1, "chiffre_affaires": "40000.00" });
    let modes =
        if same_month { json!([cash(130_000, 2), mobile, card]) } else { json!([mobile, cash(80_000, 1), card]) };
    let earphones = if same_month { (6, "150000.00") } else { (4, "100000.00") };
    let month = if same_month { (4, "270000.00") } else { (3, "220000.00") };
    let expected = json!({
        "success": true,
        "boutique": { "id": 2, "nom": "Ma Boutique" },
        "statistiques": {
            "articles": { "total": 3, "stock_bas": 1 },
            "categories": { "total": 2 },
            "ventes_jour": { "nombre": 3, "chiffre_affaires": "220000.00" },
            "ventes_mois": { "nombre": month.0, "chiffre_affaires": month.1 },
            "par_mode_paiement": modes,
            "top_articles": [
                {
                    "article_id": EARPHONES, "nom": "Écouteurs", "quantite": earphones.0,
                    "chiffre_affaires": earphones.1,
                },
                { "article_id": PHONE, "nom": "Samsung S24", "quantite": 3, "chiffre_affaires": "120000.00" },
            ],
        },
    });
    let shown = till.get(STATISTICS).await.expect(200);
    // Midnight in Kinshasa may have passed meanwhile.
    if Utc::now().with_timezone(&Kinshasa).date_naive() == today {
        assert_eq!(shown, expected);
    }
}

#[tokio::test]
async fn a_day_is_the_shop_s_own() {
    let server = Server::start().await;
    // Where it is another day by now than in the other zone.
    let zones = ["Pacific/Kiritimati", "Etc/GMT+12"];
    for (place, zone) in zones.into_iter().enumerate() {
        let shop = Shop::open(&server, &json!({ "name": "x", "timezone": zone })).await;
        let article = shop.add_article(&json!({ "name": "x", "price": 1 })).await;
        shop.receive(article, 10).await;
        let till = shop.add_till(&server, &format!("till-{place}"), "Caisse").await;
        let zone: chrono_tz::Tz = zone.parse().unwrap();
        let midnight = |days: i64| {
            let day = (Utc::now() + TimeDelta::days(days)).with_timezone(&zone).date_naive();
            day.and_hms_opt(0, 0, 0).unwrap().and_local_timezone(zone).unwrap().to_utc()
        };
        let began = midnight(0);
        let sold = |number: &str, date: chrono::DateTime<Utc>| json!({ "numero_facture": number, "date_vente": date, "lignes": [line(article, 1)] });
        sync(&till, &[sold("in", began), sold("out", began - TimeDelta::microseconds(1))]).await;
        let shown = till.get(STATISTICS).await.expect(200);
        if midnight(0) == began {
            assert_eq!(shown["statistiques"]["ventes_jour"]["nombre"], 1, "{zone}");
        }
    }
}

#[tokio::test]
async fn a_terminal_is_shown_what_it_may_sell_and_whether_it_has_changed() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    shop.change_article(PHONE, &json!({ "code": "S24", "category": "Téléphones" })).await;
    let inactive = shop.add_article(&json!({ "name": "y", "price": 1, "active": false })).await;
    let first = till.get(ARTICLES).await;
    let expected = json!({
        "success": true,
        "boutique_id": 2,
        "articles": [
            {
                "id": 6, "nom": "Samsung S24", "code": "S24", "categorie": "Téléphones", "prix_vente": "40000.00",
                "quantite_stock": 100,
            },
            {
                "id": 7, "nom": "Écouteurs", "code": null, "categorie": null, "prix_vente": "25000.00",
                "quantite_stock": 100,
            },
        ],
    });
    assert_eq!(first.expect(200), expected);
    assert_eq!(first.header("content-type"), "application/json");
    let etag = first.header("etag").to_owned();
    let knowing = till.with("if-none-match", &etag);
    for path in [ARTICLES, "/api/v2/simple/articles"] {
        let unchanged = knowing.get(path).await;
        assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.text.as_str()), (304, etag.as_str(), ""));
    }
    assert_eq!(till.with("if-none-match", "\"other\"").get(ARTICLES).await.status, 200);

    let mut seen = vec![etag];
    let changes: [(&str, i64, Value); 4] = [
        ("stock", PHONE, Value::Null),
        ("price", EARPHONES, json!({ "price": 1 })),
        ("one more", inactive, json!({ "active": true })),
        ("one less", PHONE, json!({ "active": false })),
    ];
    for (what, article, change) in changes {
        if change.is_null() {
            sync(&till, &[sale("V-1", article, 1)]).await;
        } else {
            shop.change_article(article, &change).await;
        }
        let reply = till.with("if-none-match", seen.last().unwrap()).get(ARTICLES).await;
        assert_eq!(reply.status, 200, "{what}");
        let etag = reply.header("etag").to_owned();
        assert!(!seen.contains(&etag), "{what}");
        seen.push(etag);
    }
    let last = till.get(ARTICLES).await.expect(200);
    let ids: Vec<&Value> = last["articles"].as_array().unwrap().iter().map(|article| &article["id"]).collect();
    assert_eq!(ids, [EARPHONES, inactive]);
}

#[tokio::test]
async fn what_has_been_answered_is_read_at_once() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    for number in 0..30 {
        let name = format!("V-{number}");
        sync(&till, &[sale(&name, PHONE, 1)]).await;
        let shown = history(&till, "limit=1").await;
        assert_eq!(numbers(&shown), [name]);
        let stock = &till.get(ARTICLES).await.expect(200)["articles"][0]["quantite_stock"];
        assert_eq!(*stock, 99 - number);
    }
}

#[tokio::test]
async fn a_sale_stays_a_sale_of_its_day_when_the_shops_zone_changes() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    // 23:30 on the 28th in Kinshasa (UTC+1), 00:30 on the 29th there.
    sync(&till, &[sold_at("V-28", "2025-10-28T22:30:00Z"), sold_at("V-29", "2025-10-28T23:30:00Z")]).await;
    shop.change(&json!({ "timezone": "Pacific/Kiritimati" })).await;
    // 00:30 on the 30th in Kiritimati (UTC+14).
    sync(&till, &[sold_at("V-30", "2025-10-29T10:30:00Z")]).await;
    for zone in ["Pacific/Kiritimati", "America/Los_Angeles", "Africa/Kinshasa"] {
        shop.change(&json!({ "timezone": zone })).await;
        for day in ["28", "29", "30"] {
            let shown = history(&till, &format!("date_debut=2025-10-{day}&date_fin=2025-10-{day}")).await;
            assert_eq!(numbers(&shown), [format!("V-{day}")], "{zone}");
            assert_eq!(shown["statistiques"]["total_ventes"], 1, "{zone}");
        }
        for (query, expected) in [
            ("date_debut=2025-10-29", vec!["V-30", "V-29"]),
            ("date_fin=2025-10-29", vec!["V-29", "V-28"]),
            ("date_debut=2025-10-29&date_fin=2025-10-29T09:00:00Z", vec!["V-29"]),
            ("date_debut=2025-10-28T23:00:00Z&date_fin=2025-10-30", vec!["V-30", "V-29"]),
        ] {
            let shown = history(&till, query).await;
            assert_eq!(numbers(&shown), expected, "{zone} {query}");
            assert_eq!(shown["statistiques"]["total_ventes"], expected.len(), "{zone} {query}");
        }
    }
}

#[tokio::test]
async fn a_date_that_no_calendar_has_is_refused() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    for date in ["%2B12345-01-01", "-0001-01-01", "0000-01-01", "2025-1-1", "2025-02-30", "9999-12-31T23:59:59-01:00"] {
        for field in ["date_debut", "date_fin"] {
            let refused = till.get(&format!("{HISTORY}?{field}={date}")).await.expect(400);
            assert_eq!(refused["code"], "INVALID_PARAMETER", "{field}={date}: {refused}");
        }
    }
}
