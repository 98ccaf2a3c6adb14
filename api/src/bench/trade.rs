//! A shop's trade over a long time, straight into the log: sales, and deliveries between them.

use chrono::{DateTime, TimeDelta, Utc};
use daybook_domain::shop::{
    Money, PaymentMode, ReceiptLine, SaleLine, SaleRecorded, ShopEvent, ShopId, StockReceived, stream,
};
use daybook_eventlog::{Log, StreamId};
use indicatif::ProgressBar;

use super::{Failed, dice::Dice, shops};

/// The shop that trades.
pub(super) const SHOP: ShopId = 1;
const TILLS: usize = 4;
const APPEND_EVENTS: u64 = 5_000;
/// Between two events.
const PACE: TimeDelta = TimeDelta::seconds(20);
/// After so many sales comes a delivery of so many lines: of the movements, half are sales'.
const SALES_BEFORE_A_DELIVERY: u64 = 50;
const DELIVERY_LINES: i64 = 100;
const SALE_LINES: u64 = 2;

/// Opens the shop and sells until the log has at least `events` events.
pub(super) async fn write_sales(log: &Log, events: u64, articles: i64, bar: &ProgressBar) -> Result<(), Failed> {
    let mut trade = Trade::open(log, articles).await?;
    while log.head().get() < events {
        let count = APPEND_EVENTS.min(events - log.head().get());
        let sales: Vec<ShopEvent> = (0..count).map(|_| trade.sale()).collect();
        shops::append(log, StreamId::from(stream(SHOP)), &sales).await?;
        bar.set_position(log.head().get());
    }
    Ok(())
}

/// Opens the shop, sells and takes in until about `movements` movements have happened; the time of the last one.
pub(super) async fn write_movements(
    log: &Log,
    movements: u64,
    articles: i64,
    bar: &ProgressBar,
) -> Result<DateTime<Utc>, Failed> {
    let mut trade = Trade::open(log, articles).await?;
    let mut moved = articles.unsigned_abs();
    while moved < movements {
        let mut events = Vec::new();
        while moved < movements && (events.len() as u64) < APPEND_EVENTS {
            events.extend((0..SALES_BEFORE_A_DELIVERY).map(|_| trade.sale()));
            events.push(trade.delivery());
            moved += SALES_BEFORE_A_DELIVERY * SALE_LINES + DELIVERY_LINES.unsigned_abs();
        }
        shops::append(log, StreamId::from(stream(SHOP)), &events).await?;
        bar.set_position(moved);
    }
    Ok(trade.at)
}

/// When the shop opens.
pub(super) fn opened_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default()
}

struct Trade {
    stocks: Vec<i64>,
    at: DateTime<Utc>,
    sales: u64,
    dice: Dice,
}

impl Trade {
    async fn open(log: &Log, articles: i64) -> Result<Self, Failed> {
        let tills: Vec<usize> = (0..TILLS).collect();
        shops::open(log, SHOP, articles, &tills, opened_at()).await?;
        let stocks = (0..articles).map(|_| shops::STOCK).collect();
        Ok(Self { stocks, at: opened_at(), sales: 0, dice: Dice::new(2) })
    }

    fn sale(&mut self) -> ShopEvent {
        self.at += PACE;
        self.sales += 1;
        let lines: Vec<SaleLine> = (0..SALE_LINES).map(|_| self.line()).collect();
        let total = lines.iter().try_fold(Money::ZERO, |total, line| total.plus(line.sous_total));
        let till = usize::try_from(self.sales).unwrap_or(0) % TILLS;
        ShopEvent::SaleRecorded(SaleRecorded {
            shop_id: SHOP,
            timezone: shops::ZONE,
            terminal: shops::serial(till),
            terminal_name: format!("Terminal {till}"),
            numero_facture: format!("T{till}-{:08}", self.sales),
            number_generated: false,
            mode_paiement: self.dice.pick(&[PaymentMode::MobileMoney, PaymentMode::Carte], PaymentMode::Cash),
            paye: true,
            montant_total: total.unwrap_or_default(),
            sold_at: self.at,
            date_replaced: None,
            fingerprint: format!("{:032x}", self.dice.roll()),
            lines,
        })
    }

    fn line(&mut self) -> SaleLine {
        let (place, quantite) = (self.place(), self.dice.between(1, 4));
        let (stock_before, stock_after) = self.take(place, -quantite);
        SaleLine {
            article_id: shops::article(SHOP, place),
            article_nom: format!("Article {place}"),
            article_code: Some(format!("A-{place}")),
            quantite,
            prix_unitaire: shops::price(),
            sous_total: shops::price().times(quantite).unwrap_or_default(),
            stock_before,
            stock_after,
            alerts: Vec::new(),
        }
    }

    fn delivery(&mut self) -> ShopEvent {
        self.at += PACE;
        let line = |trade: &mut Self| {
            let (place, quantity) = (trade.place(), trade.dice.between(1, 4));
            let (stock_before, stock_after) = trade.take(place, quantity);
            let article_id = shops::article(SHOP, place);
            ReceiptLine { article_id, quantity, unit_cost: None, stock_before, stock_after, alerts: Vec::new() }
        };
        let lines = (0..DELIVERY_LINES).map(|_| line(self)).collect();
        let document = format!("BL-{}", self.sales);
        ShopEvent::StockReceived(StockReceived { shop_id: SHOP, document, lines, received_at: self.at })
    }

    fn place(&mut self) -> i64 {
        let articles = i64::try_from(self.stocks.len()).unwrap_or(1);
        self.dice.between(0, articles)
    }

    fn take(&mut self, place: i64, delta: i64) -> (i64, i64) {
        let Some(stock) = usize::try_from(place).ok().and_then(|place| self.stocks.get_mut(place)) else {
            return (0, 0);
        };
        let before = *stock;
        *stock += delta;
        (before, *stock)
    }
}
