//! Texts that engines differ about: the character that ends texts in C, the last one of all, letters whose order depends
//! on the place. Whatever may be said is kept as it was said, and what may not is refused by the server, not by its store.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::till::{CANCEL, HISTORY, PHONE, line, sync, usual_shop};
use crate::support::{Place, Server};

/// In the order of their bytes.
const ODD: [&str; 9] =
    ["\0", "\0\0x", "a\0b", "Zebra", "apple", "e\u{301}", "é", "\u{ffff}\u{10ffff}0", "\u{10ffff}1\0\u{10ffff}"];

#[tokio::test]
async fn any_character_is_kept_and_given_back() {
    let server = Server::start().await;
    let reader = server.reader();
    for title in ODD {
        let book = reader.put_book(&json!({ "title": title })).await;
        assert_eq!(reader.get(&format!("/api/v1/books/{book}")).await.expect(200)["title"], title, "{title:?}");
        let profile = reader.put("/api/v1/users/profile", &json!({ "display_name": title })).await;
        assert_eq!(profile.expect(200)["display_name"], title);
    }
    let listed = reader.get("/api/v1/books?page_size=100").await.expect(200);
    let titles: Vec<&str> =
        listed["books"].as_array().unwrap().iter().map(|book| book["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ODD);
    let events = server.place().events();
    let stored = events.iter().filter(|event| event.kind == "BookAdded").map(|event| event.data["title"].clone());
    assert_eq!(stored.collect::<Vec<_>>(), ODD);
    keeps_nothing_back(server).await;
}

#[tokio::test]
async fn tills_may_call_things_as_they_like() {
    let server = Server::start().await;
    let (shop, till) = usual_shop(&server).await;
    for name in ODD {
        shop.add_article(&json!({ "name": name, "price": 1 })).await;
        let lines = json!([{ "article_id": PHONE, "quantity": 2 }]);
        let receipt = json!({ "document": format!("BL {name}"), "lines": lines });
        shop.admin.post(&shop.path("stock-receipts"), &receipt).await.expect(201);
        let number = format!("V {name}");
        let sale = json!({ "numero_facture": number, "lignes": [line(PHONE, 1)] });
        assert_eq!(
            sync(&till, std::slice::from_ref(&sale)).await["ventes_creees"][0]["numero_facture"],
            number.as_str()
        );
        let again = sync(&till, &[sale]).await;
        assert_eq!(again["ventes_erreurs"][0]["code"], "DUPLICATE", "{number:?}");
        till.post(CANCEL, &json!({ "numero_facture": number, "motif": name })).await.expect(200);
    }
    let articles = shop.admin.get(&shop.path("articles?page_size=100")).await.expect(200);
    let names = articles["items"].as_array().unwrap().iter().skip(2).map(|article| article["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ODD);
    let history = till.get(HISTORY).await.expect(200);
    assert_eq!(history["count"], ODD.len());
    shop.assert_adds_up().await;
    keeps_nothing_back(server).await;
}

#[tokio::test]
async fn texts_are_in_the_order_of_their_bytes_whatever_language_the_store_speaks() {
    let server = Server::start().await;
    let (shop, _) = usual_shop(&server).await;
    let mut serials = ["apple", "ab", "aB", "a-b", "Zebra", "_"].map(str::to_owned);
    for serial in &serials {
        shop.add_till(&server, serial, "Caisse").await;
    }
    let listed = shop.admin.get(&shop.path("terminals?page_size=100")).await.expect(200);
    let listed = listed["items"].as_array().unwrap().iter().skip(1).map(|till| till["serial"].as_str().unwrap());
    serials.sort();
    assert_eq!(listed.collect::<Vec<_>>(), serials);
}

/// What the read models show is what the log says, after all of it was read and written once more.
async fn keeps_nothing_back(server: Server) {
    let place = server.stop().await.place;
    let export = |place: &Place| {
        let output = place.run(&["log", "export"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let exported = export(&place);
    place.assert_read_models_equal_a_rebuild().await;
    let copy = Place::fresh();
    assert!(copy.run(&["log", "import", place.file("log.ndjson", &exported).to_str().unwrap()]).status.success());
    assert_eq!(export(&copy), exported);
    assert_eq!(copy.events(), place.events());
}

#[tokio::test]
async fn a_caller_and_a_key_may_be_anything_that_fits() {
    let server = Server::start().await;
    for subject in ODD {
        let claims = json!({ "sub": subject, "roles": ["admin"] });
        let admin = server.caller_claiming(Uuid::nil(), &claims).with("idempotency-key", "k");
        let body = json!({ "name": "Ma Boutique" });
        let first = admin.post("/api/v1/admin/shops", &body).await;
        assert!(first.status < 500, "{subject:?}: {first:?}");
        let again = admin.post("/api/v1/admin/shops", &body).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text), "{subject:?}");
    }
}

/// Every parameter of every question, odd: an answer or a refusal, and never a failure.
#[tokio::test]
async fn no_odd_parameter_is_a_failure_of_the_server() {
    let server = Server::start_with(&["--rate-limit", "0"]).await;
    let (shop, _) = usual_shop(&server).await;
    let roles = json!(["admin", "auditor", "analyst", "staff"]);
    let caller = server.caller_claiming(shop.admin.id, &json!({ "sub": shop.admin.id, "roles": roles }));
    let odd = ["%00", "a%00b", "%F4%8F%BF%BF", "%F4%8F%BF%BF1", "%ED%A0%80", "%FF", "'", "9223372036854775807", "-1"];
    let document = server.stranger().get("/api/openapi.json").await.expect(200);
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(parameters) = operations["get"]["parameters"].as_array() else { continue };
        // They do not end.
        if path.ends_with("/subscribe") {
            continue;
        }
        for (parameter, odd) in parameters.iter().flat_map(|one| odd.map(|odd| (one, odd))) {
            let filled = fill(path, parameters, parameter, odd);
            let reply = caller.with("x-device-serial", "0a1badae951f8473").get(&filled).await;
            assert!(reply.status < 500, "{filled}: {reply:?}");
            asked += 1;
        }
    }
    assert!(asked > 200, "{asked} questions are not all of them");
    let end = server.with_role("auditor").get("/api/v1/log/subscribe?stream=%00&after=x").await;
    assert!(end.status < 500, "{end:?}");
}

/// The path with one parameter odd, and the others that it needs as they should be.
fn fill(path: &str, parameters: &[Value], parameter: &Value, odd: &str) -> String {
    let mut filled = path.to_owned();
    for one in parameters.iter().filter(|one| one["in"] == "path") {
        let name = one["name"].as_str().unwrap();
        let usual = if name.contains("shop") { "2" } else { "1" };
        filled = filled.replace(&format!("{{{name}}}"), if one["name"] == parameter["name"] { odd } else { usual });
    }
    if parameter["in"] == "query" {
        filled = format!("{filled}?{}={odd}", parameter["name"].as_str().unwrap());
    }
    filled
}
