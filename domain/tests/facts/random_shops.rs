//! What holds whatever a shop sells, receives, corrects, sends away and takes back, in whatever order.

use std::collections::{BTreeMap, HashMap, HashSet};

use daybook_domain::decider::Decider;
use daybook_domain::event::DomainEvent;
use daybook_domain::shop::{
    AdjustmentOrder, ArticleId, CancelSale, Correction, ReceiptOrder, SaleDraft, SaleRecorded, SaleToCancel, Shop,
    ShopCommand, ShopDecider, ShopEvent, SoldLine, TransferOrder, plan_sales,
};
use proptest::prelude::*;

use crate::given::minute;
use crate::shop_given::{OLD, PHONE, SWEET, TILL, batch, folded, open, sale, stocked};

#[derive(Debug, Clone)]
enum Step {
    Sell(Vec<(u8, Vec<(ArticleId, i64)>)>),
    Receive(ArticleId, i64),
    Adjust(Vec<(ArticleId, Correction)>),
    Send(ArticleId, i64),
    Cancel(prop::sample::Index),
}

fn article_id() -> impl Strategy<Value = ArticleId> {
    prop_oneof![4 => Just(PHONE), 4 => Just(SWEET), 1 => Just(OLD), 1 => Just(99)]
}

fn correction() -> impl Strategy<Value = Correction> {
    prop_oneof![(-9_i64..9).prop_map(Correction::Delta), (-2_i64..20).prop_map(Correction::counted)]
}

/// A sale of a few lines; its number is one of few, or none.
fn numbered() -> impl Strategy<Value = (u8, Vec<(ArticleId, i64)>)> {
    (0_u8..12, prop::collection::vec((article_id(), 0_i64..6), 0..4))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(numbered(), 0..8).prop_map(Step::Sell),
        2 => (article_id(), 0_i64..20).prop_map(|(article_id, quantity)| Step::Receive(article_id, quantity)),
        2 => prop::collection::vec((article_id(), correction()), 0..4).prop_map(Step::Adjust),
        1 => (article_id(), 0_i64..9).prop_map(|(article_id, quantity)| Step::Send(article_id, quantity)),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
    ]
}

fn drafts(sales: &[(u8, Vec<(ArticleId, i64)>)]) -> Vec<SaleDraft> {
    let number = |number: u8| if number < 6 { String::new() } else { format!("V-{number}") };
    sales.iter().map(|(given, lines)| sale(&number(*given), lines)).collect()
}

/// One of the sales so far, and whether it was cancelled.
fn cancel(past: &[ShopEvent], which: prop::sample::Index) -> Option<ShopCommand> {
    let sales: Vec<_> = recorded(past).collect();
    let sold = sales.get(which.index(sales.len().max(1)))?;
    let is_cancel =
        |event: &ShopEvent| matches!(event, ShopEvent::SaleCancelled(of) if of.numero_facture == sold.numero_facture);
    Some(ShopCommand::CancelSale(CancelSale {
        numero_facture: sold.numero_facture.clone(),
        motif: String::new(),
        terminal: TILL.to_owned(),
        sale: SaleToCancel {
            position: 1,
            sold_at: sold.sold_at,
            timezone: sold.timezone,
            mode: sold.mode_paiement,
            paye: sold.paye,
            montant_total: sold.montant_total,
            lines: sold.lines.iter().map(SoldLine::from).collect(),
        },
        already_cancelled: past.iter().any(is_cancel),
        now: minute(0),
    }))
}

fn command(step: &Step, past: &[ShopEvent]) -> Option<ShopCommand> {
    let (document, now) = ("D".to_owned(), minute(0));
    Some(match step {
        Step::Sell(sales) => ShopCommand::RecordSales(batch(drafts(sales))),
        Step::Receive(article_id, quantity) => {
            let lines = vec![ReceiptOrder { article_id: *article_id, quantity: *quantity, unit_cost: None }];
            ShopCommand::ReceiveStock { document, lines, now }
        }
        Step::Adjust(lines) => {
            let order = |(article_id, correction): &(ArticleId, Correction)| AdjustmentOrder {
                article_id: *article_id,
                correction: *correction,
            };
            let lines = lines.iter().map(order).collect();
            ShopCommand::AdjustStock { document, reason: String::new(), lines, now }
        }
        Step::Send(article_id, quantity) => {
            let lines =
                vec![TransferOrder { article_id: *article_id, other_article_id: *article_id, quantity: *quantity }];
            ShopCommand::TransferOut { to_shop: 3, document, lines, now }
        }
        Step::Cancel(which) => return cancel(past, *which),
    })
}

/// A shop that does all of `steps`, and everything that happened to it.
fn live(allow_negative_stock: bool, steps: &[Step]) -> (Shop, Vec<ShopEvent>) {
    let mut events = stocked(allow_negative_stock);
    let mut shop = folded(&events);
    for step in steps {
        let Some(command) = command(step, &events) else { continue };
        for event in ShopDecider::decide(&shop, &command).unwrap_or_default() {
            ShopDecider::evolve(&mut shop, &event);
            events.push(event);
        }
    }
    (shop, events)
}

fn recorded(events: &[ShopEvent]) -> impl Iterator<Item = &SaleRecorded> {
    events.iter().filter_map(|event| match event {
        ShopEvent::SaleRecorded(sold) => Some(sold),
        _ => None,
    })
}

/// What an event moves, as the ledger shows it: article, delta, stock before, stock after.
fn movements(event: &ShopEvent) -> Vec<(ArticleId, i64, i64, i64)> {
    let sold = |line: &daybook_domain::shop::SaleLine, sign| {
        (line.article_id, sign * line.quantite, line.stock_before, line.stock_after)
    };
    let sent = |line: &daybook_domain::shop::TransferLine, sign| {
        (line.article_id, sign * line.quantity, line.stock_before, line.stock_after)
    };
    match event {
        ShopEvent::StockReceived(of) => {
            of.lines.iter().map(|line| (line.article_id, line.quantity, line.stock_before, line.stock_after)).collect()
        }
        ShopEvent::StockAdjusted(of) => {
            of.lines.iter().map(|line| (line.article_id, line.delta, line.stock_before, line.stock_after)).collect()
        }
        ShopEvent::StockTransferredOut(of) => of.lines.iter().map(|line| sent(line, -1)).collect(),
        ShopEvent::StockTransferredIn(of) => of.lines.iter().map(|line| sent(line, 1)).collect(),
        ShopEvent::SaleRecorded(of) => of.lines.iter().map(|line| sold(line, -1)).collect(),
        ShopEvent::SaleCancelled(of) => of.lines.iter().map(|line| sold(line, 1)).collect(),
        ShopEvent::ShopOpened(_)
        | ShopEvent::ShopChanged(_)
        | ShopEvent::TerminalRegistered(_)
        | ShopEvent::TerminalChanged(_)
        | ShopEvent::ArticleAdded(_)
        | ShopEvent::ArticleChanged(_) => Vec::new(),
    }
}

/// Which sales of a batch go through, decided in the simplest way there is: on a copy of the stock a sale.
fn model(stock: &mut BTreeMap<ArticleId, i64>, used: &mut HashMap<String, SaleDraft>, draft: &SaleDraft) -> bool {
    if draft.numero_facture.as_ref().is_some_and(|number| used.contains_key(number)) || draft.lines.is_empty() {
        return false;
    }
    let mut after = stock.clone();
    for line in &draft.lines {
        if line.quantite < 1 || ![PHONE, SWEET].contains(&line.article_id) {
            return false;
        }
        *after.entry(line.article_id).or_default() -= line.quantite;
    }
    if after.values().any(|units| *units < 0) {
        return false;
    }
    *stock = after;
    used.extend(draft.numero_facture.clone().map(|number| (number, draft.clone())));
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_sum_of_the_movements_is_the_stock(
        negative in any::<bool>(),
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let (shop, events) = live(negative, &steps);
        let mut stock = BTreeMap::<ArticleId, i64>::new();
        for (article_id, delta, before, after) in events.iter().flat_map(movements) {
            let balance = stock.entry(article_id).or_default();
            prop_assert_eq!((*balance, *balance + delta), (before, after));
            prop_assert!(negative || after >= 0, "{} left of {}", after, article_id);
            *balance = after;
        }
        for (article_id, article) in &open(&shop).articles {
            prop_assert_eq!(stock.get(article_id).copied().unwrap_or_default(), article.stock);
        }
    }

    #[test]
    fn a_batch_comes_to_what_the_simplest_way_comes_to(
        batches in prop::collection::vec(prop::collection::vec(numbered(), 0..12), 1..6),
    ) {
        let mut shop = folded(&stocked(false));
        let mut stock: BTreeMap<_, _> = open(&shop).articles.iter().map(|(id, article)| (*id, article.stock)).collect();
        let mut used = HashMap::new();
        for sales in &batches {
            let drafts = drafts(sales);
            let plan = plan_sales(open(&shop), &batch(drafts.clone()));
            for (draft, outcome) in drafts.iter().zip(&plan.outcomes) {
                prop_assert_eq!(model(&mut stock, &mut used, draft), outcome.is_ok(), "{:?}: {:?}", draft, outcome);
            }
            for sold in plan.events {
                ShopDecider::evolve(&mut shop, &ShopEvent::SaleRecorded(sold));
            }
            for (article_id, article) in &open(&shop).articles {
                prop_assert_eq!(stock[article_id], article.stock);
            }
        }
    }

    #[test]
    fn no_invoice_number_is_there_twice_and_a_total_is_the_sum_of_its_lines(
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let mut numbers = HashSet::new();
        for sold in recorded(&live(true, &steps).1) {
            prop_assert!(numbers.insert(sold.numero_facture.clone()), "{} twice", sold.numero_facture);
            let sum: i64 = sold.lines.iter().map(|line| line.prix_unitaire.hundredths() * line.quantite).sum();
            prop_assert_eq!(sold.montant_total.hundredths(), sum);
        }
    }

    #[test]
    fn what_was_written_folds_to_the_same_shop(
        negative in any::<bool>(),
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let (shop, events) = live(negative, &steps);
        let mut reread = Vec::new();
        for event in &events {
            let read = ShopEvent::decode(event.event_type(), event.schema_version(), &event.encode());
            prop_assert_eq!(read.as_ref().ok(), Some(event));
            reread.extend(read.ok());
        }
        prop_assert_eq!(&folded(&reread), &shop);
        let snapshot = serde_json::to_vec(&shop).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Shop>(&snapshot).unwrap(), shop);
    }
}
