//! Batches of sales: each one whole or not at all, none recorded twice.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use chrono_tz::Tz;
use daybook_domain::shop::{
    AMOUNT_MAX, Alert, AlertKind, DraftLine, KnownSale, LINES_MAX, MoneyError, PaymentMode, QUANTITY_MAX,
    RECENT_NUMBERS_MAX, RecordSales, SaleDraft, SaleError, SaleLine, SaleRecorded, ShopCommand, ShopDecider, ShopEvent,
    ShopRejection, TerminalChanged, generated_number, plan_sales,
};

use crate::given::{Given, minute};
use crate::shop_given::{
    OLD, PHONE, SHOP, SWEET, TILL, batch, folded, line, money, only_error, open, sale, sell, stock_of, stocked,
};

fn numbers(events: &[SaleRecorded]) -> Vec<&str> {
    events.iter().map(|sold| &*sold.numero_facture).collect()
}

fn duplicate(numero: &str) -> SaleError {
    SaleError::Duplicate { numero: numero.to_owned() }
}

fn conflict(numero: &str) -> SaleError {
    SaleError::DuplicateConflict { numero: numero.to_owned() }
}

fn insufficient(article: &str) -> SaleError {
    SaleError::InsufficientStock { article: article.to_owned() }
}

fn priced(price: &str) -> SaleDraft {
    let line = DraftLine { prix_unitaire: Some(money(price)), ..line(PHONE, 3) };
    SaleDraft { lines: vec![line], ..sale("V-1", &[]) }
}

#[test]
fn a_sale_tells_everything_about_itself() {
    let draft = sale("V-1", &[(PHONE, 2), (SWEET, 3)]);
    let sold = SaleRecorded {
        shop_id: SHOP,
        timezone: Tz::Africa__Kinshasa,
        terminal: TILL.to_owned(),
        terminal_name: "Caisse 1".to_owned(),
        numero_facture: "V-1".to_owned(),
        number_generated: false,
        mode_paiement: PaymentMode::Cash,
        paye: true,
        montant_total: money("80000.3"),
        sold_at: minute(0),
        date_replaced: None,
        date_sent: None,
        fingerprint: draft.fingerprint(),
        lines: vec![
            SaleLine {
                article_id: PHONE,
                article_nom: "Samsung S24".to_owned(),
                article_code: Some("S24".to_owned()),
                quantite: 2,
                prix_unitaire: money("40000"),
                sous_total: money("80000"),
                stock_before: 20,
                stock_after: 18,
                alerts: Vec::new(),
            },
            SaleLine {
                article_id: SWEET,
                article_nom: "Bonbon".to_owned(),
                article_code: None,
                quantite: 3,
                prix_unitaire: money("0.1"),
                sous_total: money("0.3"),
                stock_before: 7,
                stock_after: 4,
                alerts: vec![Alert { kind: AlertKind::Low, threshold: 5 }],
            },
        ],
    };
    Given::<ShopDecider>::new(stocked(false))
        .when(ShopCommand::RecordSales(batch([draft])))
        .then([ShopEvent::SaleRecorded(sold)]);
}

#[test]
fn only_an_active_terminal_of_the_shop_sells() {
    let stranger = || ShopRejection::TerminalNotActive { serial: "other".to_owned() };
    let command = || RecordSales { terminal_serial: "other".to_owned(), ..batch([sale("V-1", &[(PHONE, 1)])]) };
    Given::<ShopDecider>::new(stocked(false)).when(ShopCommand::RecordSales(command())).then_rejected(stranger());
    let inactive = ShopEvent::TerminalChanged(TerminalChanged {
        shop_id: SHOP,
        serial: TILL.to_owned(),
        name: "Caisse 1".to_owned(),
        active: false,
        changed_at: minute(0),
    });
    Given::<ShopDecider>::new(stocked(false).into_iter().chain([inactive]))
        .when(ShopCommand::RecordSales(batch([sale("V-1", &[(PHONE, 1)])])))
        .then_rejected(ShopRejection::TerminalNotActive { serial: TILL.to_owned() });
}

#[test]
fn a_bad_sale_leaves_no_trace_and_the_others_go_on() {
    let shop = folded(&stocked(false));
    let unreadable = SaleError::Invalid { field: "lignes".to_owned(), message: "un tableau est attendu".to_owned() };
    let mut command = batch([
        sale("V-1", &[(SWEET, 5)]),
        sale("V-2", &[(PHONE, 1), (SWEET, 2), (SWEET, 1), (PHONE, 1)]),
        sale("V-2", &[(SWEET, 2)]),
        sale("V-3", &[(PHONE, 1)]),
    ]);
    command.sales.insert(1, Err(unreadable.clone()));
    let plan = plan_sales(open(&shop), &command);
    assert_eq!(plan.outcomes, [Ok(0), Err(unreadable), Err(insufficient("Bonbon")), Ok(1), Ok(2)]);
    assert_eq!(numbers(&plan.events), ["V-1", "V-2", "V-3"]);
    assert_eq!(plan.events[2].lines[0].stock_before, 20);
}

#[test]
fn two_lines_of_one_article_add_up_before_the_check_and_move_twice() {
    let mut shop = folded(&stocked(false));
    assert_eq!(only_error(sell(&mut shop, [sale("V-1", &[(SWEET, 4), (SWEET, 4)])])), insufficient("Bonbon"));
    let plan = sell(&mut shop, [sale("V-1", &[(SWEET, 4), (SWEET, 3)])]);
    let stocks: Vec<_> = plan.events[0].lines.iter().map(|line| (line.stock_before, line.stock_after)).collect();
    assert_eq!(stocks, [(7, 3), (3, 0)]);
    assert_eq!(stock_of(&shop, SWEET), 0);
}

#[test]
fn where_negative_stock_is_allowed_it_is_sold_with_an_alert() {
    let mut shop = folded(&stocked(true));
    let plan = sell(&mut shop, [sale("V-1", &[(SWEET, 7)]), sale("V-2", &[(SWEET, 1)]), sale("V-3", &[(SWEET, 1)])]);
    let kinds = |sold: &SaleRecorded| sold.lines[0].alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>();
    let raised: Vec<_> = plan.events.iter().map(kinds).collect();
    assert_eq!(raised, [vec![AlertKind::Low], vec![AlertKind::Negative], vec![]]);
    assert_eq!(stock_of(&shop, SWEET), -2);
}

#[test]
fn a_stock_does_not_go_below_its_bound() {
    let mut shop = folded(&stocked(true));
    let bottom = |number: i64| sale(&format!("V-{number}"), &[(OLD + 1, QUANTITY_MAX)]);
    let added = crate::shop_given::article(OLD + 1, "Sable", "0", true);
    <ShopDecider as daybook_domain::decider::Decider>::evolve(&mut shop, &added);
    let plan = sell(&mut shop, (0..1001).map(bottom));
    assert_eq!(plan.events.len(), 1000);
    let error = plan.outcomes[1000].clone().unwrap_err();
    assert_eq!((error.code(), &*error.to_string()), (None, "Stock hors limites pour Sable"));
}

#[test]
fn only_active_articles_of_the_shop_are_sold() {
    let mut shop = folded(&stocked(true));
    for article_id in [OLD, 99, 0, -1] {
        let error = only_error(sell(&mut shop, [sale("V-1", &[(PHONE, 1), (article_id, 1)])]));
        assert_eq!(error, SaleError::ArticleNotFound { article_id });
    }
}

#[test]
fn a_sale_has_lines_but_not_too_many() {
    let mut shop = folded(&stocked(true));
    assert_eq!(only_error(sell(&mut shop, [sale("V-1", &[])])), SaleError::NoLines);
    let error = only_error(sell(&mut shop, [sale("V-1", &vec![(PHONE, 1); LINES_MAX + 1])]));
    assert_eq!(error, SaleError::TooManyLines { count: 1001 });
    assert_eq!(sell(&mut shop, [sale("V-1", &vec![(PHONE, 1); LINES_MAX])]).outcomes, [Ok(0)]);
}

#[test]
fn a_quantity_is_from_1_to_its_bound() {
    let mut shop = folded(&stocked(true));
    for quantity in [0, -1, QUANTITY_MAX + 1, i64::MIN, i64::MAX] {
        let error = only_error(sell(&mut shop, [sale("V-1", &[(SWEET, quantity)])]));
        assert_eq!(error, SaleError::QuantityOutOfRange { quantity });
    }
    assert_eq!(sell(&mut shop, [sale("V-1", &[(SWEET, QUANTITY_MAX)])]).outcomes, [Ok(0)]);
}

#[test]
fn a_given_price_counts_even_when_it_is_zero() {
    let mut shop = folded(&stocked(false));
    let free = sell(&mut shop, [priced("0")]).events.remove(0);
    assert_eq!((free.lines[0].prix_unitaire, free.montant_total), (money("0"), money("0")));
    let cheap = sell(&mut shop, [SaleDraft { numero_facture: None, ..priced("0.1") }]).events.remove(0);
    assert_eq!(cheap.montant_total.to_string(), "0.30");
}

#[test]
fn neither_a_line_nor_a_sale_costs_more_than_the_greatest_amount() {
    let mut shop = folded(&stocked(true));
    let costs = |prices: &[&str]| SaleDraft {
        lines: prices.iter().map(|price| DraftLine { prix_unitaire: Some(money(price)), ..line(PHONE, 1) }).collect(),
        ..sale("", &[])
    };
    assert_eq!(only_error(sell(&mut shop, [priced("5e12")])), SaleError::AmountTooLarge);
    assert_eq!(only_error(sell(&mut shop, [costs(&["1e13", "0.01"])])), SaleError::AmountTooLarge);
    assert_eq!(sell(&mut shop, [costs(&["1e13", "0"])]).events[0].montant_total, AMOUNT_MAX);
}

#[test]
fn a_date_more_than_half_an_hour_ahead_or_too_long_ago_is_replaced_and_kept_beside() {
    let mut shop = folded(&stocked(false));
    let dated = |date| SaleDraft { date_vente: Some(date), ..sale("", &[(PHONE, 1)]) };
    let late = minute(30) + TimeDelta::seconds(1);
    let plan = sell(&mut shop, [dated(minute(-90_000)), dated(minute(30)), dated(late)]);
    let dates: Vec<_> = plan.events.iter().map(|sold| (sold.sold_at, sold.date_replaced)).collect();
    assert_eq!(dates, [(minute(-90_000), None), (minute(30), None), (minute(0), Some(late))]);
    let oldest = minute(0) - TimeDelta::days(400);
    let older = oldest - TimeDelta::microseconds(1);
    let plan = sell(&mut shop, [dated(oldest), dated(older)]);
    let dates: Vec<_> = plan.events.iter().map(|sold| (sold.sold_at, sold.date_replaced)).collect();
    assert_eq!(dates, [(oldest, None), (minute(0), Some(older))]);
    for end in [chrono::DateTime::<chrono::Utc>::MIN_UTC, chrono::DateTime::<chrono::Utc>::MAX_UTC] {
        assert_eq!(sell(&mut shop, [dated(end)]).events[0].sold_at, minute(0));
    }
}

#[test]
fn a_sale_sent_again_is_a_duplicate_and_moves_nothing() {
    let mut shop = folded(&stocked(false));
    let sales = || [sale("V-1", &[(SWEET, 3)]), sale("V-2", &[(PHONE, 1)])];
    assert_eq!(sell(&mut shop, sales()).outcomes, [Ok(0), Ok(1)]);
    let again = sell(&mut shop, sales());
    assert_eq!(again.outcomes, [Err(duplicate("V-1")), Err(duplicate("V-2"))]);
    assert_eq!(stock_of(&shop, SWEET), 4);
}

#[test]
fn the_same_number_with_other_content_is_a_conflict() {
    let mut shop = folded(&stocked(false));
    sell(&mut shop, [sale("V-1", &[(SWEET, 1)])]);
    assert_eq!(only_error(sell(&mut shop, [sale("V-1", &[(SWEET, 2)])])), conflict("V-1"));
    assert_eq!(only_error(sell(&mut shop, [sale("V-1", &[(99, 2)])])), conflict("V-1"));
    assert_eq!(only_error(sell(&mut shop, [sale("V-1", &[])])), conflict("V-1"));
}

#[test]
fn the_second_of_two_in_one_batch_is_the_duplicate() {
    let mut shop = folded(&stocked(false));
    let plan = sell(&mut shop, [sale("V-1", &[(SWEET, 1)]), sale("V-1", &[(SWEET, 1)]), sale("V-1", &[(SWEET, 2)])]);
    assert_eq!(plan.outcomes, [Ok(0), Err(duplicate("V-1")), Err(conflict("V-1"))]);
}

#[test]
fn a_rejected_sale_does_not_use_up_its_number() {
    let mut shop = folded(&stocked(false));
    let plan = sell(&mut shop, [sale("V-1", &[(SWEET, 8)]), sale("V-1", &[(SWEET, 7)])]);
    assert_eq!(plan.outcomes, [Err(insufficient("Bonbon")), Ok(0)]);
}

#[test]
fn a_number_looked_up_elsewhere_is_a_duplicate_too() {
    let shop = folded(&stocked(false));
    let known = |draft: &SaleDraft| HashMap::from([("V-1".to_owned(), KnownSale { fingerprint: draft.fingerprint() })]);
    let draft = sale("V-1", &[(SWEET, 1)]);
    let command = RecordSales { known: known(&draft), ..batch([draft.clone()]) };
    assert_eq!(only_error(plan_sales(open(&shop), &command)), duplicate("V-1"));
    let command = RecordSales { known: known(&sale("V-1", &[(PHONE, 1)])), ..batch([draft]) };
    assert_eq!(only_error(plan_sales(open(&shop), &command)), conflict("V-1"));
}

#[test]
fn content_is_what_was_sent_whatever_has_happened_to_the_shop_since() {
    let plain = sale("V-1", &[(PHONE, 1), (SWEET, 2)]);
    let same = SaleDraft { numero_facture: Some("V-2".to_owned()), ..plain.clone() };
    assert_eq!(plain.fingerprint(), same.fingerprint());
    assert_eq!(priced("4e4").fingerprint(), priced("40000.00").fingerprint());
    let dated = |text: &str| SaleDraft { date_vente: Some(crate::given::at(text)), ..plain.clone() };
    assert_eq!(dated("2025-10-28T10:30:00Z").fingerprint(), dated("2025-10-28T11:30:00+01:00").fingerprint());

    let unlike = [
        plain.clone(),
        SaleDraft { mode: PaymentMode::Carte, ..plain.clone() },
        SaleDraft { mode: PaymentMode::MobileMoney, ..plain.clone() },
        SaleDraft { paye: false, ..plain.clone() },
        dated("2025-10-28T10:30:00Z"),
        dated("2025-10-28T10:30:00.000000001Z"),
        sale("V-1", &[(SWEET, 2), (PHONE, 1)]),
        sale("V-1", &[(PHONE, 1), (SWEET, 1), (SWEET, 1)]),
        sale("V-1", &[(PHONE, 1)]),
        sale("V-1", &[]),
        sale("V-1", &[(PHONE, 3)]),
        priced("40000"),
        priced("0"),
        priced("0.01"),
    ];
    let distinct: HashSet<_> = unlike.iter().map(SaleDraft::fingerprint).collect();
    assert_eq!(distinct.len(), unlike.len());
}

#[test]
fn a_fingerprint_is_the_same_for_ever() {
    insta::assert_snapshot!(sale("V-1", &[(PHONE, 1), (SWEET, 2)]).fingerprint(), @"68afe675b5817d37207d92668e926c11");
    let whole = SaleDraft { mode: PaymentMode::Carte, date_vente: Some(minute(0)), ..priced("40000") };
    insta::assert_snapshot!(whole.fingerprint(), @"bb02ef36f12218486e771d9183af8f8a");
}

#[test]
fn a_sale_without_a_number_is_given_one_with_its_place_in_the_batch() {
    let mut shop = folded(&stocked(false));
    let one = || sale("", &[(PHONE, 1)]);
    let empty = SaleDraft { numero_facture: Some(String::new()), ..one() };
    let plan = sell(&mut shop, [one(), sale("V-1", &[(PHONE, 1)]), sale("", &[]), empty]);
    assert_eq!(numbers(&plan.events), ["VENTE-2-20251028103000-0", "V-1", "VENTE-2-20251028103000-3"]);
    assert_eq!(generated_number(SHOP, minute(0), 3), "VENTE-2-20251028103000-3");
    assert_eq!(plan.events.iter().map(|sold| sold.number_generated).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_generated_number_never_meets_another() {
    let mut shop = folded(&stocked(false));
    let one = || sale("", &[(PHONE, 1)]);
    let number = |index| generated_number(SHOP, minute(0), index);
    let given = sell(&mut shop, [sale(&number(1), &[(PHONE, 1)]), one(), one()]);
    assert_eq!(numbers(&given.events), [&*number(1), &*number(2), &*number(3)]);
    let next = sell(&mut shop, [one(), one()]);
    assert_eq!(numbers(&next.events), [number(0), number(4)]);
    let mut command = batch([one()]);
    command.known = HashMap::from([(number(5), KnownSale { fingerprint: one().fingerprint() })]);
    assert_eq!(numbers(&plan_sales(open(&shop), &command).events), [number(6)]);
}

#[test]
fn a_sale_sent_again_under_the_number_it_was_given_is_a_duplicate() {
    let mut shop = folded(&stocked(false));
    let given = sell(&mut shop, [sale("", &[(PHONE, 1)])]).events.remove(0).numero_facture;
    assert_eq!(only_error(sell(&mut shop, [sale(&given, &[(PHONE, 1)])])), duplicate(&given));
}

#[test]
fn a_second_with_more_sales_than_are_remembered_has_no_number_twice() {
    let mut shop = folded(&stocked(true));
    let mut seen = HashSet::new();
    for _ in 0..=RECENT_NUMBERS_MAX / 1000 + 2 {
        assert!(open(&shop).recent.is_complete() == (seen.len() <= RECENT_NUMBERS_MAX));
        let plan = sell(&mut shop, (0..1000).map(|_| sale("", &[(PHONE, 1)])));
        assert_eq!(plan.events.len(), 1000);
        for sold in plan.events {
            assert!(seen.insert(sold.numero_facture.clone()), "{} is there twice", sold.numero_facture);
        }
    }
    let first = generated_number(SHOP, minute(0), 0);
    assert_eq!(open(&shop).recent.fingerprint(&first), None);
}

#[test]
fn the_oldest_number_is_forgotten_first() {
    let mut shop = folded(&stocked(true));
    let numbered = |number: usize| sale(&format!("V-{number}"), &[(PHONE, 1)]);
    sell(&mut shop, (0..RECENT_NUMBERS_MAX).map(numbered));
    assert!(open(&shop).recent.fingerprint("V-0").is_some());
    assert!(open(&shop).recent.is_complete());
    sell(&mut shop, [numbered(RECENT_NUMBERS_MAX)]);
    assert!(open(&shop).recent.fingerprint("V-0").is_none());
    assert!(open(&shop).recent.fingerprint("V-1").is_some());
    assert!(!open(&shop).recent.is_complete());
}

#[test]
fn a_terminal_is_told_what_is_wrong_in_french() {
    let invalid =
        |field: &str| SaleError::Invalid { field: field.to_owned(), message: "un entier est attendu".to_owned() };
    for (error, code, text) in [
        (insufficient("Article X"), "INSUFFICIENT_STOCK", "Stock insuffisant pour Article X"),
        (duplicate("V-1"), "DUPLICATE", "Vente V-1 existe déjà"),
        (conflict("V-1"), "DUPLICATE_CONFLICT", "Vente V-1 existe déjà avec un autre contenu"),
        (SaleError::ArticleNotFound { article_id: 9 }, "ARTICLE_NOT_FOUND", "Article 9 introuvable ou inactif"),
        (SaleError::UnknownPaymentMode { mode: "OR".to_owned() }, "INVALID_SALE", "Mode de paiement inconnu: OR"),
        (SaleError::NoLines, "INVALID_SALE", "La vente ne contient aucune ligne"),
        (SaleError::TooManyLines { count: 1001 }, "INVALID_SALE", "La vente contient 1001 lignes, 1000 au plus"),
        (SaleError::QuantityOutOfRange { quantity: 0 }, "INVALID_SALE", "Quantité invalide: 0 (de 1 à 1000000000)"),
        (SaleError::AmountTooLarge, "INVALID_SALE", "Montant trop élevé (au plus 10000000000000.00)"),
        (invalid("lignes[0].quantite"), "INVALID_SALE", "lignes[0].quantite: un entier est attendu"),
        (SaleError::amount("prix", MoneyError::Negative), "INVALID_SALE", "prix: le montant ne peut pas être négatif"),
        (SaleError::amount("prix", MoneyError::TooPrecise), "INVALID_SALE", "prix: deux décimales au plus"),
        (SaleError::amount("prix", MoneyError::NotANumber), "INVALID_SALE", "prix: un nombre est attendu"),
    ] {
        assert_eq!((error.code(), &*error.to_string()), (Some(code), text));
    }
    assert_eq!(SaleError::amount("prix", MoneyError::TooLarge), SaleError::AmountTooLarge);
}

#[test]
fn a_mode_of_payment_has_one_name_and_perhaps_an_alias() {
    for mode in [PaymentMode::Cash, PaymentMode::MobileMoney, PaymentMode::Carte] {
        assert_eq!(PaymentMode::parse(mode.as_str()), Some(mode));
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
    }
    assert_eq!(PaymentMode::parse("CARD"), Some(PaymentMode::Carte));
    assert_eq!(PaymentMode::parse("MOBILE"), Some(PaymentMode::MobileMoney));
    assert_eq!(PaymentMode::parse("cash"), None);
}
