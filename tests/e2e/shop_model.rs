//! Two shops under a random sequence of everything that moves stock, beside a plain model of them in memory.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::stored::assert_gapless;
use crate::support::till::{CANCEL, HISTORY, SYNC, Shop, at_till};
use crate::support::{Caller, Place, Server};

const STEPS: usize = 300;
/// Articles of each shop.
const ARTICLES: i64 = 4;
const ANOTHER_LOOK_EVERY: usize = 10;
const THRESHOLD: i64 = 5;

/// What a sale's number stands for, once it was recorded.
struct Sold {
    content: Value,
    lines: Vec<(i64, i64)>,
    amount: i64,
    paid: bool,
    cancelled: bool,
}

/// A shop as it has to be.
struct Model {
    id: i64,
    allows_negative: bool,
    stocks: BTreeMap<i64, i64>,
    prices: BTreeMap<i64, i64>,
    sales: HashMap<String, Sold>,
    movements: usize,
    alerts: Vec<(i64, &'static str, i64)>,
}

/// What a sale of a batch has to become.
#[derive(Debug, PartialEq)]
enum Outcome {
    Created { amount: i64 },
    Refused(&'static str),
}

impl Model {
    fn new(id: i64, articles: &[i64], allows_negative: bool) -> Self {
        Self {
            id,
            allows_negative,
            stocks: articles.iter().map(|article| (*article, 0)).collect(),
            prices: articles.iter().map(|article| (*article, 100 * article)).collect(),
            sales: HashMap::new(),
            movements: 0,
            alerts: Vec::new(),
        }
    }

    fn articles(&self) -> Vec<i64> {
        self.stocks.keys().copied().collect()
    }

    fn move_stock(&mut self, article: i64, delta: i64) {
        let stock = self.stocks.get_mut(&article).unwrap();
        let (before, after) = (*stock, *stock + delta);
        *stock = after;
        self.movements += 1;
        if before > THRESHOLD && after <= THRESHOLD {
            self.alerts.push((article, "low", after));
        }
        if before >= 0 && after < 0 {
            self.alerts.push((article, "negative", after));
        }
    }

    /// The stocks after `lines`, if each of them is possible.
    fn after(&self, lines: &[(i64, i64)], may_be_negative: bool) -> Option<BTreeMap<i64, i64>> {
        let mut stocks = self.stocks.clone();
        for (article, delta) in lines {
            let stock = stocks.get_mut(article).unwrap();
            *stock += delta;
            if *stock < 0 && *delta < 0 && !may_be_negative {
                return None;
            }
        }
        Some(stocks)
    }

    fn sell(&mut self, sale: &Value) -> Outcome {
        let Some(lines) = sale["lignes"].as_array().filter(|lines| !lines.is_empty()) else {
            return Outcome::Refused("INVALID_SALE");
        };
        let number = sale["numero_facture"].as_str();
        if let Some(before) = number.and_then(|number| self.sales.get(number)) {
            let same = told(&before.content) == told(sale);
            return Outcome::Refused(if same { "DUPLICATE" } else { "DUPLICATE_CONFLICT" });
        }
        let mut amount = 0;
        let mut moved = Vec::new();
        for line in lines {
            let (article, quantity) = (line["article_id"].as_i64().unwrap(), line["quantite"].as_i64().unwrap_or(1));
            let Some(price) = self.prices.get(&article) else { return Outcome::Refused("ARTICLE_NOT_FOUND") };
            if quantity < 1 {
                return Outcome::Refused("INVALID_SALE");
            }
            amount += quantity * line["prix_unitaire"].as_i64().map_or(*price, |price| 100 * price);
            moved.push((article, -quantity));
        }
        if self.after(&moved, self.allows_negative).is_none() {
            return Outcome::Refused("INSUFFICIENT_STOCK");
        }
        for (article, delta) in &moved {
            self.move_stock(*article, *delta);
        }
        let paid = sale["paye"] != false;
        let sold = Sold { content: sale.clone(), lines: moved, amount, paid, cancelled: false };
        // Sales without a number are remembered by one that nobody sends.
        let number = number.map_or_else(|| format!("generated {}", self.sales.len()), str::to_owned);
        self.sales.insert(number, sold);
        Outcome::Created { amount }
    }

    fn turnover(&self) -> (usize, i64) {
        let counted = self.sales.values().filter(|sold| sold.paid && !sold.cancelled);
        counted.fold((0, 0), |(number, amount), sold| (number + 1, amount + sold.amount))
    }
}

/// What a sale says, with its defaults filled in.
fn told(sale: &Value) -> Value {
    let line =
        |line: &Value| json!([line["article_id"], line["quantite"].as_i64().unwrap_or(1), line["prix_unitaire"]]);
    json!([sale["paye"] != false, sale["lignes"].as_array().unwrap().iter().map(line).collect::<Vec<_>>()])
}

/// Both shops, really and as they have to be.
struct World {
    server: Option<Server>,
    place: Place,
    shops: Vec<Shop>,
    models: Vec<Model>,
    chance: Chance,
    numbers: usize,
    happened: BTreeMap<&'static str, usize>,
}

#[tokio::test]
async fn two_shops_are_at_any_time_what_a_plain_model_of_them_says() {
    let chance = Chance::told();
    let mut world = World::begin(chance).await;
    for step in 0..STEPS {
        world.step().await;
        if step % ANOTHER_LOOK_EVERY == 0 {
            world.compare().await;
        }
    }
    world.compare().await;
    for what in ["created", "DUPLICATE", "INSUFFICIENT_STOCK", "cancelled", "receipt", "adjusted", "sent", "killed"] {
        assert!(world.happened.contains_key(what), "{what} never happened: {:?}", world.happened);
    }
    let stopped = world.server.take().unwrap().stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);
    assert_gapless(&stopped.place.events());
    stopped.place.assert_read_models_equal_a_rebuild().await;
}

impl World {
    async fn begin(chance: Chance) -> Self {
        let server = Server::start().await;
        let (mut shops, mut models) = (Vec::new(), Vec::new());
        for place in 0..2 {
            let allows_negative = place == 1;
            let settings = json!({ "name": format!("Boutique {place}"), "allow_negative_stock": allows_negative });
            let shop = Shop::open(&server, &settings).await;
            let mut articles = Vec::new();
            for number in 0..ARTICLES {
                let id = 10 * (place + 1) + number;
                articles.push(shop.add_article(&json!({ "id": id, "name": format!("n{id}"), "price": id })).await);
            }
            for serial in 0..2 {
                shop.add_till(&server, &format!("till-{place}-{serial}"), "Caisse").await;
            }
            models.push(Model::new(shop.id, &articles, allows_negative));
            shops.push(shop);
        }
        let place = server.place().clone();
        Self { server: Some(server), place, shops, models, chance, numbers: 0, happened: BTreeMap::new() }
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn till(&mut self, shop: usize) -> Caller {
        let serial = format!("till-{shop}-{}", self.chance.below(2));
        at_till(self.server.as_ref().unwrap(), &serial)
    }

    async fn step(&mut self) {
        let shop = self.chance.below(2) as usize;
        match self.chance.below(100) {
            0..45 => self.sell(shop).await,
            45..57 => self.cancel(shop).await,
            57..72 => self.receive(shop).await,
            72..84 => self.adjust(shop).await,
            84..94 => self.send(shop).await,
            94..96 => self.reprice(shop).await,
            _ => self.kill().await,
        }
    }

    /// A batch of good sales, repetitions, conflicts and impossible ones; now and then the same batch again.
    async fn sell(&mut self, shop: usize) {
        let batch: Vec<Value> = (0..=self.chance.below(8)).map(|_| self.sale(shop)).collect();
        let times = 1 + self.chance.below(4) / 3;
        for _ in 0..times {
            self.sell_batch(shop, &batch).await;
        }
    }

    fn sale(&mut self, shop: usize) -> Value {
        let known: Vec<String> =
            self.models[shop].sales.keys().filter(|number| number.starts_with('V')).cloned().collect();
        let mut known: Vec<&String> = known.iter().collect();
        known.sort();
        let mut sale = json!({ "lignes": [] });
        match self.chance.below(20) {
            0 => return sale,
            1..4 if !known.is_empty() => {
                return self.models[shop].sales[*self.chance.one_of(&known)].content.clone();
            }
            4 if !known.is_empty() => sale["numero_facture"] = json!(self.chance.one_of(&known)),
            5..8 => {}
            _ => {
                self.numbers += 1;
                sale["numero_facture"] = json!(format!("V-{}", self.numbers));
            }
        }
        let articles = self.models[shop].articles();
        for _ in 0..=self.chance.below(3) {
            let mut line = json!({ "article_id": self.chance.one_of(&articles) });
            match self.chance.below(20) {
                0 => line["article_id"] = json!(self.models[1 - shop].articles()[0]),
                1 => line["quantite"] = json!(0),
                2..6 => {}
                _ => line["quantite"] = json!(1 + self.chance.below(9)),
            }
            if self.chance.below(4) == 0 {
                line["prix_unitaire"] = json!(self.chance.below(50));
            }
            sale["lignes"].as_array_mut().unwrap().push(line);
        }
        if self.chance.below(6) == 0 {
            sale["paye"] = json!(false);
        }
        sale
    }

    async fn sell_batch(&mut self, shop: usize, batch: &[Value]) {
        let till = self.till(shop);
        let answer = till.post(SYNC, &json!(batch)).await.expect(201);
        let mut created = answer["ventes_creees"].as_array().unwrap().iter();
        let mut errors = answer["ventes_erreurs"].as_array().map_or(&[][..], Vec::as_slice).iter();
        for (place, sale) in batch.iter().enumerate() {
            let expected = self.models[shop].sell(sale);
            match &expected {
                Outcome::Created { amount } => {
                    let created = created.next().unwrap_or_else(|| panic!("{sale} was not recorded: {answer}"));
                    let total = format!("{}.{:02}", amount / 100, amount % 100);
                    assert_eq!(created["montant_total"], total, "{sale}: {answer}");
                    if sale["numero_facture"].is_string() {
                        assert_eq!(created["numero_facture"], sale["numero_facture"], "{answer}");
                    }
                    self.count("created");
                }
                Outcome::Refused(code) => {
                    let error = errors.next().unwrap_or_else(|| panic!("{sale} has to be {code}: {answer}"));
                    assert_eq!(
                        (&error["index"], &error["code"]),
                        (&json!(place + 1), &json!(code)),
                        "{sale}: {answer}"
                    );
                    assert_eq!(error["vente"].is_object(), *code == "DUPLICATE", "{answer}");
                    self.count(code);
                }
            }
        }
        assert!(created.next().is_none() && errors.next().is_none(), "{answer}");
    }

    async fn cancel(&mut self, shop: usize) {
        let mut numbers: Vec<&String> =
            self.models[shop].sales.keys().filter(|number| number.starts_with('V')).collect();
        numbers.sort();
        let unknown = "V-unknown".to_owned();
        numbers.push(&unknown);
        let number = (*self.chance.one_of(&numbers)).clone();
        let reply = self.till(shop).post(CANCEL, &json!({ "numero_facture": number, "motif": "m" })).await;
        let model = &mut self.models[shop];
        match model.sales.get_mut(&number) {
            None => assert_eq!(reply.expect(404)["code"], "VENTE_NOT_FOUND"),
            Some(sold) if sold.cancelled => assert_eq!(reply.expect(409)["code"], "ALREADY_CANCELLED"),
            Some(sold) => {
                reply.expect(200);
                sold.cancelled = true;
                for (article, delta) in sold.lines.clone() {
                    model.move_stock(article, -delta);
                }
                self.count("cancelled");
            }
        }
    }

    async fn receive(&mut self, shop: usize) {
        let articles = self.models[shop].articles();
        let lines: Vec<(i64, i64)> = (0..=self.chance.below(2))
            .map(|_| (*self.chance.one_of(&articles), 1 + self.chance.below(30) as i64))
            .collect();
        let sent: Vec<Value> =
            lines.iter().map(|(article, quantity)| json!({ "article_id": article, "quantity": quantity })).collect();
        let body = json!({ "document": "BL", "lines": sent });
        let real = &self.shops[shop];
        real.admin.post(&real.path("stock-receipts"), &body).await.expect(201);
        for (article, quantity) in lines {
            self.models[shop].move_stock(article, quantity);
        }
        self.count("receipt");
    }

    async fn adjust(&mut self, shop: usize) {
        let articles = self.models[shop].articles();
        let article = *self.chance.one_of(&articles);
        let stock = self.models[shop].stocks[&article];
        let by_count = self.chance.below(2) == 0;
        let (line, delta) = if by_count {
            let counted = self.chance.below(25) as i64;
            (json!({ "article_id": article, "counted": counted }), counted - stock)
        } else {
            let delta = self.chance.below(21) as i64 - 10;
            (json!({ "article_id": article, "delta": delta }), delta)
        };
        let body = json!({ "document": "INV", "reason": "inventaire", "lines": [line] });
        let real = &self.shops[shop];
        let reply = real.admin.post(&real.path("stock-adjustments"), &body).await;
        let model = &mut self.models[shop];
        if delta == 0 {
            // A count is recorded, and moves nothing.
            reply.expect(if by_count { 201 } else { 200 });
        } else if stock + delta < 0 && !model.allows_negative {
            reply.problem(409);
        } else {
            reply.expect(201);
            model.move_stock(article, delta);
            self.count("adjusted");
        }
    }

    async fn send(&mut self, from: usize) {
        let to = 1 - from;
        let (mine, theirs) = (self.models[from].articles(), self.models[to].articles());
        let lines: Vec<(i64, i64, i64)> = (0..=self.chance.below(2))
            .map(|_| {
                let quantity = 1 + self.chance.below(8) as i64;
                (*self.chance.one_of(&mine), *self.chance.one_of(&theirs), quantity)
            })
            .collect();
        let sent = lines.iter().map(
            |(article, into, quantity)| json!({ "article_id": article, "to_article_id": into, "quantity": quantity }),
        );
        let body = json!({ "document": "TR", "to_shop": self.models[to].id, "lines": sent.collect::<Vec<_>>() });
        let real = &self.shops[from];
        let reply = real.admin.post(&real.path("stock-transfers"), &body).await;
        let out: Vec<(i64, i64)> = lines.iter().map(|(article, _, quantity)| (*article, -quantity)).collect();
        if self.models[from].after(&out, false).is_none() {
            reply.problem(409);
            return;
        }
        reply.expect(201);
        for (article, into, quantity) in lines {
            self.models[from].move_stock(article, -quantity);
            self.models[to].move_stock(into, quantity);
        }
        self.count("sent");
    }

    async fn reprice(&mut self, shop: usize) {
        let articles = self.models[shop].articles();
        let (article, price) = (*self.chance.one_of(&articles), self.chance.below(1000) as i64);
        self.shops[shop].change_article(article, &json!({ "price": price })).await;
        self.models[shop].prices.insert(article, 100 * price);
    }

    async fn kill(&mut self) {
        self.server.take().unwrap().kill();
        let server = self.place.serve(&[]).await;
        for shop in &mut self.shops {
            *shop = shop.on(&server);
        }
        self.server = Some(server);
        self.count("killed");
    }

    async fn compare(&mut self) {
        for place in 0..2 {
            let (shop, model) = (&self.shops[place], &self.models[place]);
            let shown = shop.ledger("stock").await;
            let stocks: BTreeMap<i64, i64> = shown["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| (item["article_id"].as_i64().unwrap(), item["stock"].as_i64().unwrap()))
                .collect();
            assert_eq!(stocks, model.stocks, "shop {place}");
            shop.assert_adds_up().await;
            let mut movements = 0;
            for article in model.articles() {
                movements += shop.movements(article).await.len();
            }
            assert_eq!(movements, model.movements, "shop {place}");
            let alerts = shop.ledger("alerts?limit=1000").await;
            let alerts = alerts["items"].as_array().unwrap().iter();
            let alerts: Vec<_> = alerts
                .map(|alert| {
                    let text = alert["kind"].as_str().unwrap();
                    (alert["article_id"].as_i64().unwrap(), text.to_owned(), alert["stock"].as_i64().unwrap())
                })
                .collect();
            let expected: Vec<_> =
                model.alerts.iter().map(|(article, kind, stock)| (*article, (*kind).to_owned(), *stock)).collect();
            assert_eq!(alerts, expected, "shop {place}");
            let (number, amount) = model.turnover();
            let shown = self.till(place).get(&format!("{HISTORY}?limit=1000")).await.expect(200);
            let amount = format!("{}.{:02}", amount / 100, amount % 100);
            let expected = json!({ "total_ventes": number, "chiffre_affaires": amount });
            assert_eq!(shown["statistiques"], expected, "shop {place}");
            assert_eq!(shown["count"], self.models[place].sales.len().min(1000), "shop {place}");
        }
    }
}
