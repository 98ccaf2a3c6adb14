//! Receipts, corrections, transfers and cancelled sales: every line moves the stock that the lines before it have left.

use daybook_domain::decider::Decider as _;
use daybook_domain::shop::{
    AdjustmentLine, AdjustmentOrder, Alert, AlertKind, ArticleId, CancelSale, CancelledSale, Correction, Count,
    CountedAt, LINES_MAX, QUANTITY_MAX, ReceiptLine, ReceiptOrder, STOCK_MAX, SaleCancelled, SaleToCancel, Shop,
    ShopCommand, ShopDecider, ShopEvent, ShopRejection, SoldLine, StockAdjusted, StockReceived, StockTransferredIn,
    StockTransferredOut, TransferLine, TransferOrder,
};

use crate::given::{Given, minute};
use crate::shop_given::{OLD, PHONE, SHOP, SWEET, TILL, folded, money, open, received, sale, sell, stock_of, stocked};

fn given(events: impl IntoIterator<Item = ShopEvent>) -> Given<ShopDecider> {
    Given::new(events)
}

fn receive(lines: &[(ArticleId, i64)]) -> ShopCommand {
    let order = |(article_id, quantity): &(ArticleId, i64)| ReceiptOrder {
        article_id: *article_id,
        quantity: *quantity,
        unit_cost: Some(money("2.5")),
    };
    ShopCommand::ReceiveStock { document: "BL-2".to_owned(), lines: lines.iter().map(order).collect(), now: minute(0) }
}

fn adjust(lines: &[(ArticleId, Correction)]) -> ShopCommand {
    let order = |(article_id, correction): &(ArticleId, Correction)| AdjustmentOrder {
        article_id: *article_id,
        correction: *correction,
    };
    ShopCommand::AdjustStock {
        document: "INV-1".to_owned(),
        reason: "casse".to_owned(),
        lines: lines.iter().map(order).collect(),
        now: minute(0),
    }
}

/// A corrected line: article, delta, count, stock before, alerts.
type Corrected<'a> = (ArticleId, i64, Option<i64>, i64, &'a [Alert]);

fn adjusted(lines: &[Corrected<'_>]) -> ShopEvent {
    let line = |(article_id, delta, counted, before, alerts): &Corrected<'_>| AdjustmentLine {
        article_id: *article_id,
        delta: *delta,
        counted: *counted,
        counted_at: None,
        stock_before: *before,
        stock_after: before + delta,
        alerts: alerts.to_vec(),
    };
    ShopEvent::StockAdjusted(StockAdjusted {
        shop_id: SHOP,
        document: "INV-1".to_owned(),
        reason: "casse".to_owned(),
        lines: lines.iter().map(line).collect(),
        adjusted_at: minute(0),
    })
}

const LOW: Alert = Alert { kind: AlertKind::Low, threshold: 5 };
const NEGATIVE: Alert = Alert { kind: AlertKind::Negative, threshold: 0 };

fn order(article_id: ArticleId, quantity: i64) -> TransferOrder {
    TransferOrder { article_id, other_article_id: 60 + article_id, quantity }
}

fn transfer_out(lines: Vec<TransferOrder>) -> ShopCommand {
    ShopCommand::TransferOut { to_shop: 3, document: "TR-1".to_owned(), lines, now: minute(0) }
}

fn transfer_in(lines: Vec<TransferOrder>) -> ShopCommand {
    ShopCommand::TransferIn { from_shop: 3, document: "TR-1".to_owned(), lines, now: minute(0) }
}

fn moved(article_id: ArticleId, quantity: i64, before: i64, after: i64, alerts: &[Alert]) -> TransferLine {
    TransferLine {
        article_id,
        other_article_id: 60 + article_id,
        quantity,
        stock_before: before,
        stock_after: after,
        alerts: alerts.to_vec(),
    }
}

#[test]
fn goods_that_come_in_are_added_line_by_line() {
    let line = |article_id, quantity, stock_before| ReceiptLine {
        article_id,
        quantity,
        unit_cost: Some(money("2.50")),
        stock_before,
        stock_after: stock_before + quantity,
        alerts: Vec::new(),
    };
    given(stocked(false)).when(receive(&[(PHONE, 10), (OLD, 1), (PHONE, 5)])).then([ShopEvent::StockReceived(
        StockReceived {
            shop_id: SHOP,
            document: "BL-2".to_owned(),
            lines: vec![line(PHONE, 10, 20), line(OLD, 1, 3), line(PHONE, 5, 30)],
            received_at: minute(0),
        },
    )]);
}

#[test]
fn a_document_has_lines_but_not_too_many() {
    let too_many = vec![(PHONE, 1); LINES_MAX + 1];
    given(stocked(false)).when(receive(&[])).then_rejected(ShopRejection::NoLines);
    given(stocked(false)).when(receive(&too_many)).then_rejected(ShopRejection::TooManyLines { count: 1001 });
    given(stocked(false)).when(adjust(&[])).then_rejected(ShopRejection::NoLines);
    given(stocked(false)).when(transfer_out(vec![])).then_rejected(ShopRejection::NoLines);
    given(stocked(false)).when(transfer_in(vec![])).then_rejected(ShopRejection::NoLines);
}

#[test]
fn a_line_that_cannot_be_names_itself() {
    let unknown = ShopRejection::LineArticle { line: 2, article_id: 99 };
    given(stocked(false)).when(receive(&[(PHONE, 1), (99, 1)])).then_rejected(unknown.clone());
    let counted = [(PHONE, Correction::Delta(1)), (99, Correction::counted(1))];
    given(stocked(false)).when(adjust(&counted)).then_rejected(unknown.clone());
    given(stocked(false)).when(transfer_out(vec![order(PHONE, 1), order(99, 1)])).then_rejected(unknown.clone());
    given(stocked(false)).when(transfer_in(vec![order(PHONE, 1), order(99, 1)])).then_rejected(unknown);
    for quantity in [0, -1, QUANTITY_MAX + 1, i64::MIN] {
        let rejection = ShopRejection::LineQuantity { line: 1, quantity };
        given(stocked(false)).when(receive(&[(PHONE, quantity)])).then_rejected(rejection.clone());
        given(stocked(false)).when(transfer_out(vec![order(PHONE, quantity)])).then_rejected(rejection.clone());
        given(stocked(false)).when(transfer_in(vec![order(PHONE, quantity)])).then_rejected(rejection);
    }
}

#[test]
fn a_stock_is_counted_up_to_a_bound_in_either_direction() {
    let full = || stocked(true).into_iter().chain([received(PHONE, 20, STOCK_MAX - 20)]);
    let out = ShopRejection::StockOutOfRange { line: 1, article_id: PHONE };
    given(full()).when(receive(&[(PHONE, 1)])).then_rejected(out.clone());
    given(full()).when(transfer_in(vec![order(PHONE, 1)])).then_rejected(out.clone());
    for correction in [Correction::Delta(1), Correction::counted(STOCK_MAX + 1), Correction::Delta(i64::MAX)] {
        given(full()).when(adjust(&[(PHONE, correction)])).then_rejected(out.clone());
    }
    for correction in [Correction::counted(-STOCK_MAX - 1), Correction::counted(i64::MIN), Correction::Delta(i64::MIN)]
    {
        given(stocked(true)).when(adjust(&[(PHONE, correction)])).then_rejected(out.clone());
    }
}

#[test]
fn a_correction_is_a_difference_or_a_count_in_order() {
    let lines = [(PHONE, Correction::Delta(-3)), (PHONE, Correction::counted(19)), (SWEET, Correction::counted(8))];
    given(stocked(false)).when(adjust(&lines)).then([adjusted(&[
        (PHONE, -3, None, 20, &[]),
        (PHONE, 2, Some(19), 17, &[]),
        (SWEET, 1, Some(8), 7, &[]),
    ])]);
}

#[test]
fn a_difference_of_nothing_is_none_and_a_count_is_recorded_also_when_the_stock_is_right() {
    given(stocked(false)).when(adjust(&[(PHONE, Correction::Delta(0))])).then([]);
    let lines = [(PHONE, Correction::Delta(0)), (SWEET, Correction::counted(7)), (SWEET, Correction::counted(6))];
    let both = adjusted(&[(SWEET, 0, Some(7), 7, &[]), (SWEET, -1, Some(6), 7, &[])]);
    given(stocked(false)).when(adjust(&lines)).then([both]);
}

#[test]
fn a_count_of_the_past_corrects_the_stock_of_that_moment() {
    let counted = |units, minutes, stock| {
        Correction::Counted(Count { units, at: Some(CountedAt { at: minute(minutes), stock }) })
    };
    // 20 phones now, of which there were 23 when 22 were counted; a second count knows of the first.
    let lines = [(PHONE, counted(22, -5, 23)), (PHONE, counted(21, -4, 22)), (PHONE, Correction::counted(18))];
    let (events, rejection) = decided(stocked(false), adjust(&lines));
    assert_eq!(rejection, None);
    let [ShopEvent::StockAdjusted(adjusted)] = &events[..] else { panic!("{events:?}") };
    let told: Vec<_> = adjusted.lines.iter().map(|l| (l.delta, l.counted, l.counted_at, l.stock_after)).collect();
    assert_eq!(
        told,
        [(-1, Some(22), Some(minute(-5)), 19), (0, Some(21), Some(minute(-4)), 19), (-1, Some(18), None, 18),]
    );
    let below = ShopRejection::BelowZero { line: 1, article_id: SWEET, stock: 7 };
    given(stocked(false)).when(adjust(&[(SWEET, counted(0, -5, 8))])).then_rejected(below);
    let unknown = ShopRejection::LineArticle { line: 1, article_id: 99 };
    given(stocked(false)).when(adjust(&[(99, counted(0, -5, 0))])).then_rejected(unknown);
}

#[test]
fn nothing_was_counted_before_the_shop_had_it() {
    let Shop::Open(shop) = folded(&stocked(false)) else { panic!() };
    let added_at = shop.articles[&PHONE].added_at;
    let counted = |at| (PHONE, Correction::Counted(Count { units: 20, at: Some(CountedAt { at, stock: 0 }) }));
    let before = added_at - chrono::TimeDelta::microseconds(1);
    let rejection = ShopRejection::CountedBeforeAdded { line: 1, article_id: PHONE, added_at };
    given(stocked(false)).when(adjust(&[counted(before)])).then_rejected(rejection);
    assert_eq!(decided(stocked(false), adjust(&[counted(added_at)])).1, None);
}

#[test]
fn a_correction_goes_below_zero_only_where_negative_stock_is_allowed() {
    let below = ShopRejection::BelowZero { line: 2, article_id: SWEET, stock: 1 };
    let lines = [(SWEET, Correction::Delta(-6)), (SWEET, Correction::Delta(-2))];
    given(stocked(false)).when(adjust(&lines)).then_rejected(below);
    given(stocked(true))
        .when(adjust(&lines))
        .then([adjusted(&[(SWEET, -6, None, 7, &[LOW]), (SWEET, -2, None, 1, &[NEGATIVE])])]);
}

#[test]
fn an_alert_is_raised_once_per_crossing() {
    let stock = |deltas: &[i64]| deltas.iter().map(|delta| (SWEET, Correction::Delta(*delta))).collect::<Vec<_>>();
    given(stocked(true)).when(adjust(&stock(&[-1, -1, -1, 2, -1, -12, -1, 9, -1]))).then([adjusted(&[
        (SWEET, -1, None, 7, &[]),
        (SWEET, -1, None, 6, &[LOW]),
        (SWEET, -1, None, 5, &[]),
        (SWEET, 2, None, 4, &[]),
        (SWEET, -1, None, 6, &[LOW]),
        (SWEET, -12, None, 5, &[NEGATIVE]),
        (SWEET, -1, None, -7, &[]),
        (SWEET, 9, None, -8, &[]),
        (SWEET, -1, None, 1, &[]),
    ])]);
    given(stocked(true)).when(adjust(&stock(&[-8]))).then([adjusted(&[(SWEET, -8, None, 7, &[LOW, NEGATIVE])])]);
}

#[test]
fn a_transfer_leaves_one_shop_and_comes_to_the_other() {
    given(stocked(false)).when(transfer_out(vec![order(PHONE, 4), order(SWEET, 3), order(PHONE, 16)])).then([
        ShopEvent::StockTransferredOut(StockTransferredOut {
            shop_id: SHOP,
            to_shop: 3,
            document: "TR-1".to_owned(),
            lines: vec![moved(PHONE, 4, 20, 16, &[]), moved(SWEET, 3, 7, 4, &[LOW]), moved(PHONE, 16, 16, 0, &[LOW])],
            transferred_at: minute(0),
        }),
    ]);
    given(stocked(false)).when(transfer_in(vec![order(PHONE, 4)])).then([ShopEvent::StockTransferredIn(
        StockTransferredIn {
            shop_id: SHOP,
            from_shop: 3,
            document: "TR-1".to_owned(),
            lines: vec![moved(PHONE, 4, 20, 24, &[])],
            transferred_at: minute(0),
        },
    )]);
}

#[test]
fn a_transfer_never_leaves_less_than_nothing() {
    for allow_negative_stock in [false, true] {
        let below = ShopRejection::BelowZero { line: 2, article_id: SWEET, stock: 2 };
        let lines = vec![order(SWEET, 5), order(SWEET, 3)];
        given(stocked(allow_negative_stock)).when(transfer_out(lines)).then_rejected(below);
    }
}

#[test]
fn a_transfer_needs_active_articles_and_two_shops() {
    let inactive = ShopRejection::LineArticle { line: 1, article_id: OLD };
    given(stocked(false)).when(transfer_out(vec![order(OLD, 1)])).then_rejected(inactive.clone());
    given(stocked(false)).when(transfer_in(vec![order(OLD, 1)])).then_rejected(inactive);
    let document = "TR-1".to_owned();
    let own = ShopCommand::TransferOut {
        to_shop: SHOP,
        document: document.clone(),
        lines: vec![order(PHONE, 1)],
        now: minute(0),
    };
    given(stocked(false)).when(own).then_rejected(ShopRejection::SameShop);
    let own = ShopCommand::TransferIn { from_shop: SHOP, document, lines: vec![order(PHONE, 1)], now: minute(0) };
    given(stocked(false)).when(own).then_rejected(ShopRejection::SameShop);
}

#[test]
fn a_cancelled_sale_brings_its_goods_back_and_keeps_its_number() {
    let mut shop = folded(&stocked(false));
    let sold = sell(&mut shop, [sale("V-1", &[(SWEET, 4), (PHONE, 1), (SWEET, 2)])]).events.remove(0);
    let cancel = |terminal: &str, already_cancelled| {
        ShopCommand::CancelSale(CancelSale {
            numero_facture: "V-1".to_owned(),
            motif: "retour client".to_owned(),
            terminal: terminal.to_owned(),
            sale: SaleToCancel {
                position: 41,
                sold_at: sold.sold_at,
                timezone: sold.timezone,
                mode: sold.mode_paiement,
                paye: sold.paye,
                montant_total: sold.montant_total,
                lines: sold.lines.iter().map(SoldLine::from).collect(),
            },
            already_cancelled,
            now: minute(9),
        })
    };
    let mut lines = sold.lines.clone();
    for (line, (before, after)) in lines.iter_mut().zip([(1, 5), (19, 20), (5, 7)]) {
        (line.stock_before, line.stock_after) = (before, after);
        line.alerts.clear();
    }
    let cancelled = ShopEvent::SaleCancelled(SaleCancelled {
        shop_id: SHOP,
        timezone: sold.timezone,
        numero_facture: "V-1".to_owned(),
        motif: "retour client".to_owned(),
        terminal: TILL.to_owned(),
        terminal_name: "Caisse 1".to_owned(),
        sale: CancelledSale {
            position: 41,
            sold_at: minute(0),
            mode_paiement: sold.mode_paiement,
            paye: true,
            montant_total: money("40000.6"),
        },
        lines,
        cancelled_at: minute(9),
    });
    let past = || stocked(false).into_iter().chain([ShopEvent::SaleRecorded(sold.clone())]);
    given(past()).when(cancel(TILL, false)).then([cancelled.clone()]);
    let twice = ShopRejection::AlreadyCancelled { numero_facture: "V-1".to_owned() };
    given(past()).when(cancel(TILL, true)).then_rejected(twice);
    let stranger = ShopRejection::TerminalNotActive { serial: "other".to_owned() };
    given(past()).when(cancel("other", true)).then_rejected(stranger);

    let shop = folded(&past().chain([cancelled]).collect::<Vec<_>>());
    assert_eq!((stock_of(&shop, SWEET), stock_of(&shop, PHONE)), (7, 20));
    assert_eq!(open(&shop).recent.fingerprint("V-1"), Some(&*sold.fingerprint));
}

/// What comes of a command.
fn decided(
    events: impl IntoIterator<Item = ShopEvent>,
    command: ShopCommand,
) -> (Vec<ShopEvent>, Option<ShopRejection>) {
    let events: Vec<ShopEvent> = events.into_iter().collect();
    match ShopDecider::decide(&folded(&events), &command) {
        Ok(events) => (events, None),
        Err(rejection) => (Vec::new(), Some(rejection)),
    }
}
