//! Who may open a shop, change it, and register its terminals and articles.

use daybook_domain::shop::{
    ArticleChanged, KeyDigest, Shop, ShopChanged, ShopCommand, ShopDecider, ShopEvent, ShopRejection, TerminalChanged,
    TerminalRegistered, stream,
};

use crate::given::{Given, minute};
use crate::shop_given::{
    OLD, PHONE, SHOP, SWEET, TILL, article, folded, money, open, opened, registered, sale, sell, stock_of, stocked,
};

fn given(events: impl IntoIterator<Item = ShopEvent>) -> Given<ShopDecider> {
    Given::new(events)
}

fn open_shop() -> ShopCommand {
    ShopCommand::OpenShop {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "CDF".to_owned(),
        timezone: chrono_tz::Tz::Africa__Kinshasa,
        allow_negative_stock: false,
        low_stock_threshold: 5,
        require_terminal_keys: false,
        now: minute(-60),
    }
}

fn change_shop(name: Option<&str>, threshold: Option<i64>) -> ShopCommand {
    ShopCommand::ChangeShop {
        name: name.map(str::to_owned),
        currency: None,
        timezone: None,
        allow_negative_stock: None,
        low_stock_threshold: threshold,
        require_terminal_keys: None,
        now: minute(0),
    }
}

fn register(key: Option<KeyDigest>) -> ShopCommand {
    ShopCommand::RegisterTerminal { serial: TILL.to_owned(), name: "Caisse 2".to_owned(), key, now: minute(0) }
}

fn change_till(serial: &str, name: Option<&str>, active: Option<bool>) -> ShopCommand {
    ShopCommand::ChangeTerminal { serial: serial.to_owned(), name: name.map(str::to_owned), active, now: minute(0) }
}

fn till_changed(name: &str, active: bool) -> ShopEvent {
    ShopEvent::TerminalChanged(TerminalChanged {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: name.to_owned(),
        active,
        changed_at: minute(0),
    })
}

fn key() -> KeyDigest {
    KeyDigest { salt: "5a17".to_owned(), digest: "d16e57".to_owned() }
}

#[test]
fn a_shop_is_opened_once_and_before_anything_else() {
    given([]).when(open_shop()).then([opened(false)]);
    given([opened(false)]).when(open_shop()).then_rejected(ShopRejection::AlreadyOpen { shop_id: SHOP });
    given([]).when(change_shop(None, None)).then_rejected(ShopRejection::NotOpen);
    given([]).when(register(None)).then_rejected(ShopRejection::NotOpen);
    assert_eq!(folded(&[registered()]), Shop::Unopened);
    assert_eq!(stream(SHOP), "shop-2");
}

#[test]
fn a_shop_is_changed_and_what_is_left_out_stays() {
    let changed = ShopEvent::ShopChanged(ShopChanged {
        shop_id: SHOP,
        name: "Chez Messie".to_owned(),
        currency: "CDF".to_owned(),
        timezone: chrono_tz::Tz::Africa__Kinshasa,
        allow_negative_stock: true,
        low_stock_threshold: 0,
        require_terminal_keys: false,
        changed_at: minute(0),
    });
    given([opened(true)]).when(change_shop(Some("Chez Messie"), Some(0))).then([changed.clone()]);
    given([opened(true), changed]).when(change_shop(Some("Chez Messie"), None)).then([]);
}

#[test]
fn a_terminal_is_registered_once_and_again_after_it_was_deactivated() {
    let again = ShopEvent::TerminalRegistered(TerminalRegistered {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: "Caisse 2".to_owned(),
        key: Some(key()),
        registered_at: minute(0),
    });
    given([opened(false)]).when(register(Some(key()))).then([again.clone()]);
    let twice = ShopRejection::AlreadyRegistered { serial: TILL.to_owned() };
    given([opened(false), registered()]).when(register(None)).then_rejected(twice);
    let inactive = till_changed("Caisse 1", false);
    given([opened(false), registered(), inactive.clone()]).when(register(Some(key()))).then([again.clone()]);

    let shop = folded(&[opened(false), registered(), inactive, again]);
    let till = open(&shop).active_terminal(TILL).unwrap();
    assert_eq!((&*till.name, &till.key), ("Caisse 2", &Some(key())));
}

#[test]
fn a_terminal_is_renamed_and_deactivated_and_keeps_its_key() {
    let keyed = ShopEvent::TerminalRegistered(TerminalRegistered {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: "Caisse 1".to_owned(),
        key: Some(key()),
        registered_at: minute(0),
    });
    let shop = given([opened(false), keyed.clone()]);
    shop.when(change_till(TILL, Some("Mobile"), None)).then([till_changed("Mobile", true)]);
    shop.when(change_till(TILL, None, Some(false))).then([till_changed("Caisse 1", false)]);
    shop.when(change_till(TILL, Some("Caisse 1"), Some(true))).then([]);
    let unknown = ShopRejection::UnknownTerminal { serial: "other".to_owned() };
    shop.when(change_till("other", None, Some(false))).then_rejected(unknown);

    let shop = folded(&[opened(false), keyed, till_changed("Mobile", false)]);
    assert_eq!(open(&shop).active_terminal(TILL), None);
    assert_eq!(open(&shop).terminals[TILL].key, Some(key()));
}

#[test]
fn an_article_is_added_once() {
    let add = ShopCommand::AddArticle {
        article_id: SWEET,
        name: "Bonbon".to_owned(),
        code: None,
        category: None,
        price: money("0.10"),
        active: true,
        now: minute(-60),
    };
    let added = article(SWEET, "Bonbon", "0.1", true);
    given([opened(false)]).when(add.clone()).then([added.clone()]);
    given([opened(false), added]).when(add).then_rejected(ShopRejection::ArticleExists { article_id: SWEET });
}

#[test]
fn an_article_is_changed_and_its_stock_stays() {
    let change = |article_id, code, active| ShopCommand::ChangeArticle {
        article_id,
        name: None,
        code,
        category: Some(Some("Téléphones".to_owned())),
        price: Some(money("41000")),
        active,
        now: minute(0),
    };
    let changed = ShopEvent::ArticleChanged(ArticleChanged {
        shop_id: SHOP,
        article_id: PHONE,
        name: "Samsung S24".to_owned(),
        code: None,
        category: Some("Téléphones".to_owned()),
        price: money("41000"),
        active: false,
        changed_at: minute(0),
    });
    given(stocked(false)).when(change(PHONE, Some(None), Some(false))).then([changed.clone()]);
    let afterwards: Vec<_> = stocked(false).into_iter().chain([changed]).collect();
    given(afterwards.clone()).when(change(PHONE, None, None)).then([]);
    given(afterwards.clone())
        .when(change(99, None, None))
        .then_rejected(ShopRejection::UnknownArticle { article_id: 99 });
    assert_eq!(stock_of(&folded(&afterwards), PHONE), 20);
    assert_eq!(open(&folded(&afterwards)).active_article(PHONE), None);
    assert_eq!(open(&folded(&afterwards)).active_article(OLD), None);
}

#[test]
fn a_snapshot_is_the_shop() {
    let mut shop = folded(&stocked(false));
    sell(&mut shop, [sale("V-1", &[(PHONE, 1)]), sale("", &[(SWEET, 2)])]);
    let json = serde_json::to_string(&shop).unwrap();
    insta::assert_snapshot!(json, @r#"{"Open":{"shop_id":2,"settings":{"name":"Ma Boutique","currency":"CDF","timezone":"Africa/Kinshasa","allow_negative_stock":false,"low_stock_threshold":5,"require_terminal_keys":false},"terminals":{"0a1badae951f8473":{"name":"Caisse 1","key":null,"active":true}},"articles":{"6":{"name":"Samsung S24","code":"S24","category":null,"price":"40000.00","active":true,"stock":19,"added_at":"2025-10-28T09:30:00Z"},"7":{"name":"Bonbon","code":null,"category":null,"price":"0.10","active":true,"stock":5,"added_at":"2025-10-28T09:30:00Z"},"8":{"name":"Nokia","code":null,"category":null,"price":"1.00","active":false,"stock":3,"added_at":"2025-10-28T09:30:00Z"}},"recent":{"numbers":[["V-1","e6e031e29342018663a3fd7df44c4db5"],["VENTE-2-20251028103000-1","b5149c5fc27a3a9cc382c9c9d75ab25b"]],"recorded":2,"generated":{"prefix":"VENTE-2-20251028103000-","next":2,"recorded_before":1}}}}"#);
    let mut reread = serde_json::from_str::<Shop>(&json).unwrap();
    assert_eq!(reread, shop);
    assert_eq!(sell(&mut reread, [sale("", &[(SWEET, 1)])]), sell(&mut shop, [sale("", &[(SWEET, 1)])]));
    assert_eq!(serde_json::from_str::<Shop>(r#""Unopened""#).unwrap(), Shop::default());
}
