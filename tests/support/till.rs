//! A shop with tills and an auditor.

use serde_json::{Value, json};

use super::{Caller, Server};

pub const SYNC: &str = "/api/v2/simple/ventes/sync/";
pub const CANCEL: &str = "/api/v2/simple/ventes/annuler/";
pub const HISTORY: &str = "/api/v2/simple/ventes/historique/";
pub const SERIAL: &str = "0a1badae951f8473";
/// Articles of the usual shop: 40000.00 and 25000.00, 100 of each.
pub const PHONE: i64 = 6;
pub const EARPHONES: i64 = 7;

/// A shop, with somebody who may administer and audit it.
#[derive(Clone)]
pub struct Shop {
    pub id: i64,
    pub admin: Caller,
}

/// The usual shop, number 2, and its till.
pub async fn usual_shop(server: &Server) -> (Shop, Caller) {
    let shop = Shop::open(server, &json!({ "id": 2, "name": "Ma Boutique" })).await;
    for (id, name, price) in [(PHONE, "Samsung S24", 40_000), (EARPHONES, "Écouteurs", 25_000)] {
        shop.add_article(&json!({ "id": id, "name": name, "price": price })).await;
        shop.receive(id, 100).await;
    }
    let till = shop.add_till(server, SERIAL, "Terminal messie vanza").await;
    (shop, till)
}

/// Whoever shows this serial number.
pub fn at_till(server: &Server, serial: &str) -> Caller {
    server.stranger().with("x-device-serial", serial)
}

pub fn line(article: i64, quantity: i64) -> Value {
    json!({ "article_id": article, "quantite": quantity })
}

/// A sale of one line.
pub fn sale(number: &str, article: i64, quantity: i64) -> Value {
    json!({ "numero_facture": number, "lignes": [line(article, quantity)] })
}

/// Hands sales in; the answer to a batch that was worked through.
pub async fn sync(till: &Caller, sales: &[Value]) -> Value {
    let answer = till.post(SYNC, &json!(sales)).await.expect(201);
    let counts = &answer["statistiques"];
    let errors = answer["ventes_erreurs"].as_array().map_or(0, Vec::len);
    let created = answer["ventes_creees"].as_array().unwrap().len();
    assert_eq!(*counts, json!({ "total_envoyees": sales.len(), "reussies": created, "erreurs": errors }), "{answer}");
    assert_eq!(created + errors, sales.len(), "{answer}");
    answer
}

/// The codes of the sales that were not recorded.
pub fn codes(answer: &Value) -> Vec<(u64, &str)> {
    let errors = answer["ventes_erreurs"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| (error["index"].as_u64().unwrap(), error["code"].as_str().unwrap_or_default())).collect()
}

impl Shop {
    pub async fn open(server: &Server, settings: &Value) -> Self {
        let admin = server.admin();
        let shop = admin.post("/api/v1/admin/shops", settings).await.expect(201);
        Self { id: shop["id"].as_i64().unwrap(), admin }
    }

    /// The same shop on a server that was started anew.
    pub fn on(&self, server: &Server) -> Self {
        Self { id: self.id, admin: server.admin() }
    }

    /// A path of its administration.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/admin/shops/{}/{rest}", self.id)
    }

    pub async fn change(&self, settings: &Value) {
        self.admin.put(&format!("/api/v1/admin/shops/{}", self.id), settings).await.expect(200);
    }

    pub async fn add_till(&self, server: &Server, serial: &str, name: &str) -> Caller {
        self.admin.post(&self.path("terminals"), &json!({ "serial": serial, "name": name })).await.expect(201);
        at_till(server, serial)
    }

    pub async fn add_article(&self, article: &Value) -> i64 {
        self.admin.post(&self.path("articles"), article).await.expect(201)["id"].as_i64().unwrap()
    }

    pub async fn change_article(&self, article: i64, change: &Value) {
        self.admin.put(&self.path(&format!("articles/{article}")), change).await.expect(200);
    }

    pub async fn receive(&self, article: i64, quantity: i64) -> Value {
        let lines = json!([{ "article_id": article, "quantity": quantity }]);
        let receipt = json!({ "document": format!("BL-{quantity}"), "lines": lines });
        self.admin.post(&self.path("stock-receipts"), &receipt).await.expect(201)
    }

    /// What the ledger answers on a path below the shop.
    pub async fn ledger(&self, rest: &str) -> Value {
        self.admin.get(&format!("/api/v1/shops/{}/{rest}", self.id)).await.expect(200)
    }

    pub async fn stock(&self, article: i64) -> i64 {
        self.ledger(&format!("stock/{article}")).await["stock"].as_i64().unwrap()
    }

    /// All movements of an article.
    pub async fn movements(&self, article: i64) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.ledger(&format!("stock/{article}/movements?limit=1000{after}")).await;
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return all };
            after = format!("&after={next}");
        }
    }

    /// For every article the movements follow from one another and lead to the stock; the log says the same.
    pub async fn assert_adds_up(&self) {
        let stocks = self.ledger("stock?limit=1000").await;
        let stocks = stocks["items"].as_array().unwrap();
        assert!(!stocks.is_empty());
        for shown in stocks {
            let mut stock = 0;
            for movement in self.movements(shown["article_id"].as_i64().unwrap()).await {
                assert_eq!(movement["stock_before"], stock, "{movement}");
                stock += movement["delta"].as_i64().unwrap();
                assert_eq!(movement["stock_after"], stock, "{movement}");
            }
            assert_eq!(shown["stock"], stock, "{shown}");
        }
        assert_eq!(self.ledger("stock/reconcile").await["differences"], json!([]));
    }
}
