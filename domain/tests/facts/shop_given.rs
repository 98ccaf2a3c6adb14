//! A shop to sell from, and short words for what is asked of it.

use std::collections::HashMap;

use chrono::TimeDelta;
use chrono_tz::Tz;
use daybook_domain::decider::Decider;
use daybook_domain::shop::{
    ArticleAdded, ArticleId, DraftLine, Money, OpenShop, PaymentMode, ReceiptLine, RecordSales, SaleDraft, SaleError,
    SalesPlan, Shop, ShopDecider, ShopEvent, ShopId, ShopOpened, StockReceived, TerminalRegistered, plan_sales,
};

use crate::given::minute;

pub const SHOP: ShopId = 2;
pub const TILL: &str = "0a1badae951f8473";
/// Twenty units in stock, 40000.00 each.
pub const PHONE: ArticleId = 6;
/// Seven units in stock, 0.10 each, without a code.
pub const SWEET: ArticleId = 7;
/// Not for sale any more.
pub const OLD: ArticleId = 8;

pub fn money(text: &str) -> Money {
    Money::parse_json(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn opened(allow_negative_stock: bool) -> ShopEvent {
    ShopEvent::ShopOpened(ShopOpened {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "CDF".to_owned(),
        timezone: Tz::Africa__Kinshasa,
        allow_negative_stock,
        low_stock_threshold: 5,
        require_terminal_keys: false,
        opened_at: minute(-60),
    })
}

pub fn registered() -> ShopEvent {
    ShopEvent::TerminalRegistered(TerminalRegistered {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: "Caisse 1".to_owned(),
        key: None,
        registered_at: minute(-60),
    })
}

pub fn article(article_id: ArticleId, name: &str, price: &str, active: bool) -> ShopEvent {
    ShopEvent::ArticleAdded(ArticleAdded {
        shop_id: SHOP,
        article_id,
        name: name.to_owned(),
        code: (article_id == PHONE).then(|| "S24".to_owned()),
        category: None,
        price: money(price),
        active,
        added_at: minute(-60),
    })
}

pub fn received(article_id: ArticleId, stock_before: i64, quantity: i64) -> ShopEvent {
    ShopEvent::StockReceived(StockReceived {
        shop_id: SHOP,
        document: "BL-1".to_owned(),
        lines: vec![ReceiptLine {
            article_id,
            quantity,
            unit_cost: None,
            stock_before,
            stock_after: stock_before + quantity,
            alerts: Vec::new(),
        }],
        received_at: minute(-60),
    })
}

/// A shop with a till and three articles.
pub fn stocked(allow_negative_stock: bool) -> Vec<ShopEvent> {
    vec![
        opened(allow_negative_stock),
        registered(),
        article(PHONE, "Samsung S24", "40000", true),
        article(SWEET, "Bonbon", "0.1", true),
        article(OLD, "Nokia", "1", false),
        received(PHONE, 0, 20),
        received(SWEET, 0, 7),
        received(OLD, 0, 3),
    ]
}

pub fn folded<'a>(events: impl IntoIterator<Item = &'a ShopEvent>) -> Shop {
    let mut shop = Shop::default();
    for event in events {
        ShopDecider::evolve(&mut shop, event);
    }
    shop
}

pub fn open(shop: &Shop) -> &OpenShop {
    shop.open().unwrap_or_else(|| panic!("the shop is not open"))
}

pub fn stock_of(shop: &Shop, article_id: ArticleId) -> i64 {
    open(shop).articles[&article_id].stock
}

pub fn line(article_id: ArticleId, quantite: i64) -> DraftLine {
    DraftLine { article_id, quantite, prix_unitaire: None }
}

/// A sale in cash; an empty number asks for one.
pub fn sale(number: &str, lines: &[(ArticleId, i64)]) -> SaleDraft {
    SaleDraft {
        numero_facture: (!number.is_empty()).then(|| number.to_owned()),
        mode: PaymentMode::Cash,
        paye: true,
        date_vente: None,
        date_sent: None,
        lines: lines.iter().map(|(article_id, quantite)| line(*article_id, *quantite)).collect(),
    }
}

pub fn batch(sales: impl IntoIterator<Item = SaleDraft>) -> RecordSales {
    RecordSales {
        terminal_serial: TILL.to_owned(),
        now: minute(0),
        past_max: TimeDelta::days(400),
        sales: sales.into_iter().map(Ok).collect(),
        known: HashMap::new(),
    }
}

/// What comes of `sales` in `shop`, which remembers them afterwards.
pub fn sell(shop: &mut Shop, sales: impl IntoIterator<Item = SaleDraft>) -> SalesPlan {
    let plan = plan_sales(open(shop), &batch(sales));
    for sold in &plan.events {
        ShopDecider::evolve(shop, &ShopEvent::SaleRecorded(sold.clone()));
    }
    plan
}

/// The one error of a plan that came to nothing.
pub fn only_error(plan: SalesPlan) -> SaleError {
    assert_eq!(plan.events, []);
    match <[_; 1]>::try_from(plan.outcomes) {
        Ok([Err(error)]) => error,
        other => panic!("{other:?} is not one error"),
    }
}
