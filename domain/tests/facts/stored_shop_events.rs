//! The JSON of shops that stands in logs for ever: a changed shape needs a new version and an upcaster, not a new
//! snapshot.

use chrono_tz::Tz;
use daybook_domain::event::{DecodeError, Event};
use daybook_domain::registry::{ArticleIdTaken, RegistryEvent, ShopIdTaken, TerminalAssigned, TerminalReleased};
use daybook_domain::shop::{
    AdjustmentLine, Alert, AlertKind, ArticleAdded, ArticleChanged, CancelledSale, KeyDigest, PaymentMode, ReceiptLine,
    SaleCancelled, SaleLine, SaleRecorded, ShopChanged, ShopEvent, ShopOpened, StockAdjusted, StockReceived,
    StockTransferredIn, StockTransferredOut, TerminalChanged, TerminalRegistered, TransferLine,
};
use insta::assert_snapshot;

use crate::given::minute;
use crate::shop_given::{PHONE, SHOP, SWEET, TILL, money};
use crate::stored_events::{reread, stored};

/// How `event` is stored, after a look at whether it is read back as it was.
fn shop(event: ShopEvent) -> String {
    let stored = stored(&event);
    assert_eq!(reread(&stored).ok().flatten(), Some(Event::Shop(event)));
    stored
}

fn register(event: RegistryEvent) -> String {
    let stored = stored(&event);
    assert_eq!(reread(&stored).ok().flatten(), Some(Event::Registry(event)));
    stored
}

const LOW: Alert = Alert { kind: AlertKind::Low, threshold: 5 };
const NEGATIVE: Alert = Alert { kind: AlertKind::Negative, threshold: 0 };

fn sale_line() -> SaleLine {
    SaleLine {
        article_id: PHONE,
        article_nom: "Samsung S24".to_owned(),
        article_code: Some("S24".to_owned()),
        quantite: 1,
        prix_unitaire: money("40000"),
        sous_total: money("40000"),
        stock_before: 20,
        stock_after: 19,
        alerts: Vec::new(),
    }
}

fn sold() -> SaleRecorded {
    SaleRecorded {
        shop_id: SHOP,
        timezone: Tz::Africa__Kinshasa,
        terminal: TILL.to_owned(),
        terminal_name: "Caisse 1".to_owned(),
        numero_facture: "VENTE-001".to_owned(),
        number_generated: false,
        mode_paiement: PaymentMode::MobileMoney,
        paye: true,
        montant_total: money("40000"),
        sold_at: minute(0),
        date_replaced: None,
        date_sent: None,
        fingerprint: "000102030405060708090a0b0c0d0e0f".to_owned(),
        lines: vec![sale_line()],
    }
}

#[test]
fn an_opened_shop_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::ShopOpened(ShopOpened {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "CDF".to_owned(),
        timezone: Tz::Africa__Kinshasa,
        allow_negative_stock: false,
        low_stock_threshold: 5,
        require_terminal_keys: false,
        opened_at: minute(0),
    })), @r#"ShopOpened 1 {"shop_id":2,"name":"Ma Boutique","currency":"CDF","timezone":"Africa/Kinshasa","allow_negative_stock":false,"low_stock_threshold":5,"opened_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_changed_shop_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::ShopChanged(ShopChanged {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "USD".to_owned(),
        timezone: Tz::UTC,
        allow_negative_stock: true,
        low_stock_threshold: 0,
        require_terminal_keys: false,
        changed_at: minute(0),
    })), @r#"ShopChanged 1 {"shop_id":2,"name":"Ma Boutique","currency":"USD","timezone":"UTC","allow_negative_stock":true,"low_stock_threshold":0,"changed_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_registered_terminal_is_stored_like_this() {
    let registered = |key| {
        ShopEvent::TerminalRegistered(TerminalRegistered {
            shop_id: SHOP,
            serial: TILL.to_owned(),
            name: "Caisse 1".to_owned(),
            key,
            registered_at: minute(0),
        })
    };
    assert_snapshot!(shop(registered(None)), @r#"TerminalRegistered 1 {"shop_id":2,"serial":"0a1badae951f8473","name":"Caisse 1","registered_at":"2025-10-28T10:30:00Z"}"#);
    let key = KeyDigest { salt: "5a17".to_owned(), digest: "d16e57".to_owned() };
    assert_snapshot!(shop(registered(Some(key))), @r#"TerminalRegistered 1 {"shop_id":2,"serial":"0a1badae951f8473","name":"Caisse 1","key":{"salt":"5a17","digest":"d16e57"},"registered_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_changed_terminal_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::TerminalChanged(TerminalChanged {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: "Caisse 1".to_owned(),
        active: false,
        changed_at: minute(0),
    })), @r#"TerminalChanged 1 {"shop_id":2,"serial":"0a1badae951f8473","name":"Caisse 1","active":false,"changed_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn an_added_article_is_stored_like_this() {
    let added = |code: Option<&str>, category: Option<&str>| {
        ShopEvent::ArticleAdded(ArticleAdded {
            shop_id: SHOP,
            article_id: PHONE,
            name: "Samsung S24".to_owned(),
            code: code.map(str::to_owned),
            category: category.map(str::to_owned),
            price: money("40000"),
            active: true,
            added_at: minute(0),
        })
    };
    assert_snapshot!(shop(added(Some("S24"), Some("Téléphones"))), @r#"ArticleAdded 1 {"shop_id":2,"article_id":6,"name":"Samsung S24","code":"S24","category":"Téléphones","price":"40000.00","active":true,"added_at":"2025-10-28T10:30:00Z"}"#);
    assert_snapshot!(shop(added(None, None)), @r#"ArticleAdded 1 {"shop_id":2,"article_id":6,"name":"Samsung S24","price":"40000.00","active":true,"added_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_changed_article_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::ArticleChanged(ArticleChanged {
        shop_id: SHOP,
        article_id: PHONE,
        name: "Samsung S24".to_owned(),
        code: Some("S24".to_owned()),
        category: None,
        price: money("0"),
        active: false,
        changed_at: minute(0),
    })), @r#"ArticleChanged 1 {"shop_id":2,"article_id":6,"name":"Samsung S24","code":"S24","price":"0.00","active":false,"changed_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn received_goods_are_stored_like_this() {
    let line = |unit_cost, stock_before| ReceiptLine {
        article_id: PHONE,
        quantity: 10,
        unit_cost,
        stock_before,
        stock_after: stock_before + 10,
        alerts: Vec::new(),
    };
    assert_snapshot!(shop(ShopEvent::StockReceived(StockReceived {
        shop_id: SHOP,
        document: "BL-1".to_owned(),
        lines: vec![line(Some(money("35000")), -5), line(None, 5)],
        received_at: minute(0),
    })), @r#"StockReceived 1 {"shop_id":2,"document":"BL-1","lines":[{"article_id":6,"quantity":10,"unit_cost":"35000.00","stock_before":-5,"stock_after":5},{"article_id":6,"quantity":10,"stock_before":5,"stock_after":15}],"received_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn adjusted_stock_is_stored_like_this() {
    let line = |delta, counted, stock_before, alerts| AdjustmentLine {
        article_id: SWEET,
        delta,
        counted,
        counted_at: None,
        stock_before,
        stock_after: stock_before + delta,
        alerts,
    };
    assert_snapshot!(shop(ShopEvent::StockAdjusted(StockAdjusted {
        shop_id: SHOP,
        document: "INV-1".to_owned(),
        reason: "casse".to_owned(),
        lines: vec![line(-9, None, 7, vec![LOW, NEGATIVE]), line(5, Some(3), -2, Vec::new())],
        adjusted_at: minute(0),
    })), @r#"StockAdjusted 1 {"shop_id":2,"document":"INV-1","reason":"casse","lines":[{"article_id":7,"delta":-9,"stock_before":7,"stock_after":-2,"alerts":[{"kind":"low","threshold":5},{"kind":"negative","threshold":0}]},{"article_id":7,"delta":5,"counted":3,"stock_before":-2,"stock_after":3}],"adjusted_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_count_of_the_past_and_required_keys_are_stored_like_this() {
    let line = AdjustmentLine {
        article_id: SWEET,
        delta: 0,
        counted: Some(3),
        counted_at: Some(minute(-5)),
        stock_before: 2,
        stock_after: 2,
        alerts: Vec::new(),
    };
    assert_snapshot!(shop(ShopEvent::StockAdjusted(StockAdjusted {
        shop_id: SHOP,
        document: "INV-1".to_owned(),
        reason: "inventaire".to_owned(),
        lines: vec![line],
        adjusted_at: minute(0),
    })), @r#"StockAdjusted 1 {"shop_id":2,"document":"INV-1","reason":"inventaire","lines":[{"article_id":7,"delta":0,"counted":3,"counted_at":"2025-10-28T10:25:00Z","stock_before":2,"stock_after":2}],"adjusted_at":"2025-10-28T10:30:00Z"}"#);
    assert_snapshot!(shop(ShopEvent::ShopOpened(ShopOpened {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "CDF".to_owned(),
        timezone: Tz::Africa__Kinshasa,
        allow_negative_stock: false,
        low_stock_threshold: 3,
        require_terminal_keys: true,
        opened_at: minute(0),
    })), @r#"ShopOpened 1 {"shop_id":2,"name":"Ma Boutique","currency":"CDF","timezone":"Africa/Kinshasa","allow_negative_stock":false,"low_stock_threshold":3,"require_terminal_keys":true,"opened_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn transferred_stock_is_stored_like_this() {
    let line = |stock_before, stock_after, alerts| TransferLine {
        article_id: PHONE,
        other_article_id: 61,
        quantity: 4,
        stock_before,
        stock_after,
        alerts,
    };
    assert_snapshot!(shop(ShopEvent::StockTransferredOut(StockTransferredOut {
        shop_id: SHOP,
        to_shop: 3,
        document: "TR-1".to_owned(),
        lines: vec![line(9, 5, vec![LOW])],
        transferred_at: minute(0),
    })), @r#"StockTransferredOut 1 {"shop_id":2,"to_shop":3,"document":"TR-1","lines":[{"article_id":6,"other_article_id":61,"quantity":4,"stock_before":9,"stock_after":5,"alerts":[{"kind":"low","threshold":5}]}],"transferred_at":"2025-10-28T10:30:00Z"}"#);
    assert_snapshot!(shop(ShopEvent::StockTransferredIn(StockTransferredIn {
        shop_id: SHOP,
        from_shop: 3,
        document: "TR-1".to_owned(),
        lines: vec![line(5, 9, Vec::new())],
        transferred_at: minute(0),
    })), @r#"StockTransferredIn 1 {"shop_id":2,"from_shop":3,"document":"TR-1","lines":[{"article_id":6,"other_article_id":61,"quantity":4,"stock_before":5,"stock_after":9}],"transferred_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_sale_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::SaleRecorded(sold())), @r#"SaleRecorded 1 {"shop_id":2,"timezone":"Africa/Kinshasa","terminal":"0a1badae951f8473","terminal_name":"Caisse 1","numero_facture":"VENTE-001","mode_paiement":"MOBILE_MONEY","paye":true,"montant_total":"40000.00","sold_at":"2025-10-28T10:30:00Z","fingerprint":"000102030405060708090a0b0c0d0e0f","lines":[{"article_id":6,"article_nom":"Samsung S24","article_code":"S24","quantite":1,"prix_unitaire":"40000.00","sous_total":"40000.00","stock_before":20,"stock_after":19}]}"#);
    let replaced = SaleRecorded {
        numero_facture: "VENTE-2-20251028103000-0".to_owned(),
        number_generated: true,
        mode_paiement: PaymentMode::Carte,
        paye: false,
        date_replaced: Some(minute(90)),
        date_sent: Some("2025-10-28T13:00:00+01:00".to_owned()),
        lines: vec![SaleLine { article_code: None, alerts: vec![LOW], ..sale_line() }],
        ..sold()
    };
    assert_snapshot!(shop(ShopEvent::SaleRecorded(replaced)), @r#"SaleRecorded 1 {"shop_id":2,"timezone":"Africa/Kinshasa","terminal":"0a1badae951f8473","terminal_name":"Caisse 1","numero_facture":"VENTE-2-20251028103000-0","number_generated":true,"mode_paiement":"CARTE","paye":false,"montant_total":"40000.00","sold_at":"2025-10-28T10:30:00Z","date_replaced":"2025-10-28T12:00:00Z","date_sent":"2025-10-28T13:00:00+01:00","fingerprint":"000102030405060708090a0b0c0d0e0f","lines":[{"article_id":6,"article_nom":"Samsung S24","quantite":1,"prix_unitaire":"40000.00","sous_total":"40000.00","stock_before":20,"stock_after":19,"alerts":[{"kind":"low","threshold":5}]}]}"#);
}

#[test]
fn a_cancelled_sale_is_stored_like_this() {
    assert_snapshot!(shop(ShopEvent::SaleCancelled(SaleCancelled {
        shop_id: SHOP,
        timezone: Tz::Africa__Kinshasa,
        numero_facture: "VENTE-001".to_owned(),
        motif: "retour client".to_owned(),
        terminal: TILL.to_owned(),
        terminal_name: "Caisse 1".to_owned(),
        sale: CancelledSale {
            position: 41,
            sold_at: minute(0),
            mode_paiement: PaymentMode::Cash,
            paye: true,
            montant_total: money("40000"),
        },
        lines: vec![SaleLine { stock_before: 19, stock_after: 20, ..sale_line() }],
        cancelled_at: minute(9),
    })), @r#"SaleCancelled 1 {"shop_id":2,"timezone":"Africa/Kinshasa","numero_facture":"VENTE-001","motif":"retour client","terminal":"0a1badae951f8473","terminal_name":"Caisse 1","sale":{"position":41,"sold_at":"2025-10-28T10:30:00Z","mode_paiement":"CASH","paye":true,"montant_total":"40000.00"},"lines":[{"article_id":6,"article_nom":"Samsung S24","article_code":"S24","quantite":1,"prix_unitaire":"40000.00","sous_total":"40000.00","stock_before":19,"stock_after":20}],"cancelled_at":"2025-10-28T10:39:00Z"}"#);
}

#[test]
fn the_register_is_stored_like_this() {
    let (serial, shop_id, at) = (TILL.to_owned(), SHOP, minute(0));
    assert_snapshot!(register(RegistryEvent::ShopIdTaken(ShopIdTaken { shop_id, at })), @r#"ShopIdTaken 1 {"shop_id":2,"at":"2025-10-28T10:30:00Z"}"#);
    let taken = ArticleIdTaken { article_id: PHONE, shop_id, at };
    assert_snapshot!(register(RegistryEvent::ArticleIdTaken(taken)), @r#"ArticleIdTaken 1 {"article_id":6,"shop_id":2,"at":"2025-10-28T10:30:00Z"}"#);
    let assigned = TerminalAssigned { serial: serial.clone(), shop_id, at };
    assert_snapshot!(register(RegistryEvent::TerminalAssigned(assigned)), @r#"TerminalAssigned 1 {"serial":"0a1badae951f8473","shop_id":2,"at":"2025-10-28T10:30:00Z"}"#);
    let released = TerminalReleased { serial, shop_id, at };
    assert_snapshot!(register(RegistryEvent::TerminalReleased(released)), @r#"TerminalReleased 1 {"serial":"0a1badae951f8473","shop_id":2,"at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn an_amount_that_cannot_be_is_refused() {
    let stored = stored(&ShopEvent::SaleRecorded(sold())).replace("\"40000.00\"", "\"-1.00\"");
    assert!(matches!(reread(&stored), Err(DecodeError::Malformed { .. })));
}
