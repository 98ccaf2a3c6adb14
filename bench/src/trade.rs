//! A shop's trade over a long time, straight into the log: sales, and deliveries between them.

use chrono::{DateTime, TimeDelta, Utc};
use daybook_domain::shop::{
    CancelledSale, Money, PaymentMode, ReceiptLine, SaleCancelled, SaleLine, SaleRecorded, ShopEvent, ShopId,
    StockReceived, stream,
};
use daybook_eventlog::{Log, StreamId};
use indicatif::ProgressBar;

use super::{Failed, dice::Dice, shops};

/// The shop that trades, where there is one.
pub(super) const SHOP: ShopId = 1;
/// Of each shop.
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
    let mut trade = Trade::open(log, SHOP, articles).await?;
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
    let mut trade = Trade::open(log, SHOP, articles).await?;
    let mut moved = articles.unsigned_abs();
    while moved < movements {
        let mut events = Vec::new();
        while moved < movements && (events.len() as u64) < APPEND_EVENTS {
            events.extend((0..SALES_BEFORE_A_DELIVERY).map(|_| trade.sale()));
            events.push(trade.delivery(DELIVERY_LINES));
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

/// The first till of a shop.
pub(super) fn till_of(shop_id: ShopId) -> usize {
    usize::try_from(shop_id - SHOP).unwrap_or(0) * TILLS
}

/// A shop in the middle of its trade.
pub(super) struct Trade {
    shop_id: ShopId,
    first_till: usize,
    stocks: Vec<i64>,
    at: DateTime<Utc>,
    sales: u64,
    dice: Dice,
}

impl Trade {
    /// Opens the shop with `articles` articles in stock.
    pub(super) async fn open(log: &Log, shop_id: ShopId, articles: i64) -> Result<Self, Failed> {
        let first_till = till_of(shop_id);
        let tills: Vec<usize> = (first_till..first_till + TILLS).collect();
        shops::open(log, shop_id, articles, &tills, opened_at()).await?;
        let stocks = (0..articles).map(|_| shops::STOCK).collect();
        let dice = Dice::new(1 + shop_id.unsigned_abs());
        Ok(Self { shop_id, first_till, stocks, at: opened_at(), sales: 0, dice })
    }

    pub(super) fn stream(&self) -> StreamId {
        StreamId::from(stream(self.shop_id))
    }

    pub(super) fn sale(&mut self) -> ShopEvent {
        ShopEvent::SaleRecorded(self.next_sale())
    }

    pub(super) fn next_sale(&mut self) -> SaleRecorded {
        self.at += PACE;
        self.sales += 1;
        let lines: Vec<SaleLine> = (0..SALE_LINES).map(|_| self.line()).collect();
        let total = lines.iter().try_fold(Money::ZERO, |total, line| total.plus(line.sous_total));
        let till = self.first_till + usize::try_from(self.sales).unwrap_or(0) % TILLS;
        SaleRecorded {
            shop_id: self.shop_id,
            timezone: shops::ZONE,
            terminal: shops::serial(till),
            terminal_name: format!("Terminal {till}"),
            numero_facture: format!("F{till}-{:08}", self.sales),
            number_generated: false,
            mode_paiement: self.dice.pick(&[PaymentMode::MobileMoney, PaymentMode::Carte], PaymentMode::Cash),
            paye: true,
            montant_total: total.unwrap_or_default(),
            sold_at: self.at,
            date_replaced: None,
            date_sent: None,
            fingerprint: format!("{:032x}", self.dice.roll()),
            lines,
        }
    }

    /// Takes back the sale that was recorded at `position`.
    pub(super) fn cancellation(&mut self, position: u64, sale: SaleRecorded) -> ShopEvent {
        self.at += PACE;
        let mut lines = sale.lines;
        for line in &mut lines {
            let place = line.article_id - shops::article(self.shop_id, 0);
            (line.stock_before, line.stock_after) = self.take(place, line.quantite);
        }
        ShopEvent::SaleCancelled(SaleCancelled {
            shop_id: self.shop_id,
            timezone: sale.timezone,
            numero_facture: sale.numero_facture,
            motif: "Erreur de saisie".to_owned(),
            terminal: sale.terminal,
            terminal_name: sale.terminal_name,
            sale: CancelledSale {
                position,
                sold_at: sale.sold_at,
                mode_paiement: sale.mode_paiement,
                paye: sale.paye,
                montant_total: sale.montant_total,
            },
            lines,
            cancelled_at: self.at,
        })
    }

    fn line(&mut self) -> SaleLine {
        let (place, quantite) = (self.place(), self.dice.between(1, 4));
        let (stock_before, stock_after) = self.take(place, -quantite);
        SaleLine {
            article_id: shops::article(self.shop_id, place),
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

    pub(super) fn delivery(&mut self, lines: i64) -> ShopEvent {
        self.at += PACE;
        let line = |trade: &mut Self| {
            let (place, quantity) = (trade.place(), trade.dice.between(1, 4));
            let (stock_before, stock_after) = trade.take(place, quantity);
            let article_id = shops::article(trade.shop_id, place);
            ReceiptLine { article_id, quantity, unit_cost: None, stock_before, stock_after, alerts: Vec::new() }
        };
        let lines = (0..lines).map(|_| line(self)).collect();
        let document = format!("BL-{}", self.sales);
        ShopEvent::StockReceived(StockReceived { shop_id: self.shop_id, document, lines, received_at: self.at })
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
