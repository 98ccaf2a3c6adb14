//! The ledger: every movement of stock, the balances, the alerts.

mod queries;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daybook_domain::{
    event::{Event, Stored},
    shop::{
        Alert, SaleCancelled, SaleRecorded, ShopEvent, StockAdjusted, StockReceived, StockTransferredIn,
        StockTransferredOut,
    },
};

pub use self::queries::{
    AlertRow, Basis, Movement, MovementFilter, StockRow, alerts, balances, movements, stock, stock_occurred_by,
    stock_up_to, stocks, stocks_occurred_by, stocks_up_to,
};
use crate::{
    Changes, Decoded, FoldError, Projection,
    table::{Column, Table, Value},
};

/// `stock_movements`, `stock`, `stock_alerts`.
pub struct StockLedger;

/// The projection's name.
pub const NAME: &str = "stock_ledger";

const MOVEMENTS: Table = Table {
    name: "stock_movements",
    key: 4,
    columns: &[
        Column::new("shop_id"),
        Column::new("article_id"),
        Column::new("position"),
        Column::new("line"),
        Column::new("event_id"),
        Column::new("type"),
        Column::new("delta"),
        Column::new("stock_before"),
        Column::new("stock_after"),
        Column::new("document"),
        Column::new("terminal"),
        Column::new("user"),
        Column::new("occurred_at"),
        Column::new("recorded_at"),
        Column::new("reason"),
        Column::new("reversal_of"),
        Column::new("other_shop"),
        Column::new("counted_at"),
    ],
};

const STOCK: Table = Table {
    name: "stock",
    key: 2,
    columns: &[
        Column::new("shop_id"),
        Column::new("article_id"),
        Column::new("stock"),
        Column::new("position"),
        Column::new("updated_at"),
    ],
};

const ALERTS: Table = Table {
    name: "stock_alerts",
    key: 4,
    columns: &[
        Column::new("shop_id"),
        Column::new("position"),
        Column::new("line"),
        Column::new("kind"),
        Column::new("article_id"),
        Column::new("stock"),
        Column::new("threshold"),
        Column::new("at"),
    ],
};

impl Projection for StockLedger {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&MOVEMENTS, &STOCK, &ALERTS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../../migrations/read_models/stock_ledger.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [
            StockReceived::TYPE,
            StockAdjusted::TYPE,
            StockTransferredOut::TYPE,
            StockTransferredIn::TYPE,
            SaleRecorded::TYPE,
            SaleCancelled::TYPE,
        ]
        .contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut rows = Rows::default();
        for decoded in events {
            if let Some(Event::Shop(event)) = &decoded.event {
                rows.take(decoded, event);
            }
        }
        let mut changes = Changes::default();
        changes.upsert(&MOVEMENTS, rows.movements_by_key());
        changes.upsert(&STOCK, rows.stock.into_values());
        changes.upsert(&ALERTS, rows.alerts);
        Ok(changes)
    }
}

/// Shop, article, position, line.
type MovementKey = (i64, i64, u64, usize);

#[derive(Default)]
struct Rows {
    movements: Vec<(MovementKey, [Value; 18])>,
    stock: BTreeMap<(i64, i64), [Value; 5]>,
    alerts: Vec<[Value; 8]>,
}

/// What all movements of an event have in common.
struct Document<'a> {
    shop: i64,
    kind: &'static str,
    name: &'a str,
    terminal: Option<&'a str>,
    reason: Option<&'a str>,
    reversal_of: Option<u64>,
    other_shop: Option<i64>,
}

/// One movement: article, change, stock before and after, alerts, when it was counted.
type Line<'a> = (i64, i64, i64, i64, &'a [Alert], Option<DateTime<Utc>>);

impl Rows {
    /// In the order of the key, so that an article's movements are written side by side. The rows are large: their
    /// places are sorted, and each row is moved once.
    fn movements_by_key(&mut self) -> impl Iterator<Item = [Value; 18]> {
        let mut order: Vec<(MovementKey, usize)> =
            self.movements.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
        order.sort_unstable();
        let mut rows: Vec<_> = std::mem::take(&mut self.movements).into_iter().map(|(_, row)| Some(row)).collect();
        order.into_iter().filter_map(move |(_, place)| rows.get_mut(place)?.take())
    }

    fn take(&mut self, decoded: &Decoded, event: &ShopEvent) {
        let plain = |shop, kind, name| Document {
            shop,
            kind,
            name,
            terminal: None,
            reason: None,
            reversal_of: None,
            other_shop: None,
        };
        match event {
            ShopEvent::StockReceived(receipt) => {
                let lines = receipt.lines.iter();
                let lines = lines.map(|l| (l.article_id, l.quantity, l.stock_before, l.stock_after, &*l.alerts, None));
                self.document(decoded, &plain(receipt.shop_id, "RECEIPT", &receipt.document), lines);
            }
            ShopEvent::StockAdjusted(adjusted) => {
                let lines = adjusted.lines.iter();
                let lines =
                    lines.map(|l| (l.article_id, l.delta, l.stock_before, l.stock_after, &*l.alerts, l.counted_at));
                let document = plain(adjusted.shop_id, "ADJUSTMENT", &adjusted.document);
                self.document(decoded, &Document { reason: Some(&adjusted.reason), ..document }, lines);
            }
            ShopEvent::StockTransferredOut(out) => {
                let lines = out.lines.iter();
                let lines = lines.map(|l| (l.article_id, -l.quantity, l.stock_before, l.stock_after, &*l.alerts, None));
                let document = plain(out.shop_id, "TRANSFER_OUT", &out.document);
                self.document(decoded, &Document { other_shop: Some(out.to_shop), ..document }, lines);
            }
            ShopEvent::StockTransferredIn(into) => {
                let lines = into.lines.iter();
                let lines = lines.map(|l| (l.article_id, l.quantity, l.stock_before, l.stock_after, &*l.alerts, None));
                let document = plain(into.shop_id, "TRANSFER_IN", &into.document);
                self.document(decoded, &Document { other_shop: Some(into.from_shop), ..document }, lines);
            }
            ShopEvent::SaleRecorded(sale) => {
                let lines = sale.lines.iter();
                let lines = lines.map(|l| (l.article_id, -l.quantite, l.stock_before, l.stock_after, &*l.alerts, None));
                let document = plain(sale.shop_id, "VENTE", &sale.numero_facture);
                self.document(decoded, &Document { terminal: Some(&sale.terminal), ..document }, lines);
            }
            ShopEvent::SaleCancelled(cancelled) => {
                let lines = cancelled.lines.iter();
                let lines = lines.map(|l| (l.article_id, l.quantite, l.stock_before, l.stock_after, &*l.alerts, None));
                let document = Document {
                    terminal: Some(&cancelled.terminal),
                    reason: Some(&cancelled.motif),
                    reversal_of: Some(cancelled.sale.position),
                    ..plain(cancelled.shop_id, "RETOUR", &cancelled.numero_facture)
                };
                self.document(decoded, &document, lines);
            }
            ShopEvent::ShopOpened(_)
            | ShopEvent::ShopChanged(_)
            | ShopEvent::TerminalRegistered(_)
            | ShopEvent::TerminalChanged(_)
            | ShopEvent::ArticleAdded(_)
            | ShopEvent::ArticleChanged(_) => {}
        }
    }

    fn document<'a>(&mut self, decoded: &Decoded, document: &Document<'_>, lines: impl Iterator<Item = Line<'a>>) {
        let position = decoded.position.get();
        let text = |text: Option<&str>| Value::from(text.map(|text| Value::Text(text.to_owned())));
        // A terminal speaks for itself; who else moved stock is a user.
        let user = decoded.actor.as_deref().filter(|_| document.terminal.is_none());
        for (line, (article, delta, before, after, alerts, counted_at)) in (1_usize..).zip(lines) {
            // A count that found the stock right moves nothing.
            if delta == 0 {
                continue;
            }
            let number = Value::Int(i64::try_from(line).unwrap_or(i64::MAX));
            let row = [
                Value::Int(document.shop),
                Value::Int(article),
                Value::Int(position.cast_signed()),
                number.clone(),
                Value::Id(decoded.id),
                Value::Word(document.kind),
                Value::Int(delta),
                Value::Int(before),
                Value::Int(after),
                Value::Text(document.name.to_owned()),
                text(document.terminal),
                text(user),
                Value::Int(decoded.occurred_at),
                Value::Int(decoded.recorded_at),
                text(document.reason),
                document.reversal_of.map(|position| Value::Int(position.cast_signed())).into(),
                document.other_shop.map(Value::Int).into(),
                counted_at.map(|at| Value::Int(at.timestamp_micros())).into(),
            ];
            self.movements.push(((document.shop, article, position, line), row));
            let stock = [
                Value::Int(document.shop),
                Value::Int(article),
                Value::Int(after),
                Value::Int(position.cast_signed()),
                Value::Int(decoded.recorded_at),
            ];
            self.stock.insert((document.shop, article), stock);
            for alert in alerts {
                self.alerts.push([
                    Value::Int(document.shop),
                    Value::Int(position.cast_signed()),
                    number.clone(),
                    Value::Word(alert.kind.as_str()),
                    Value::Int(article),
                    Value::Int(after),
                    Value::Int(alert.threshold),
                    Value::Int(decoded.recorded_at),
                ]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use daybook_domain::shop::{AlertKind, ReceiptLine};

    use super::*;
    use crate::testing::{Given, rows};

    fn receipt(quantity: i64, before: i64, alerts: Vec<Alert>) -> Given {
        let line = ReceiptLine {
            article_id: 6,
            quantity,
            unit_cost: None,
            stock_before: before,
            stock_after: before + quantity,
            alerts,
        };
        ShopEvent::StockReceived(StockReceived {
            shop_id: 2,
            document: "R-1".to_owned(),
            lines: vec![line],
            received_at: DateTime::UNIX_EPOCH,
        })
        .into()
    }

    #[test]
    fn every_line_is_a_movement_and_the_last_one_is_the_stock() {
        assert_eq!(
            rows(&StockLedger, [receipt(5, 0, vec![]), receipt(3, 5, vec![])]),
            [
                "stock_movements: 2 | 6 | 1 | 1 | #1 | RECEIPT | 5 | 0 | 5 | R-1 | - | anna | 0 | 0 | - | - | - | -",
                "stock_movements: 2 | 6 | 2 | 1 | #2 | RECEIPT | 3 | 5 | 8 | R-1 | - | anna | 0 | 0 | - | - | - | -",
                "stock: 2 | 6 | 8 | 2 | 0",
            ]
        );
    }

    #[test]
    fn an_alert_on_a_line_is_a_row_of_its_own() {
        let low = Alert { kind: AlertKind::Low, threshold: 5 };
        let rows = rows(&StockLedger, [receipt(1, 0, vec![low])]);
        assert_eq!(rows.last().unwrap(), "stock_alerts: 2 | 1 | 1 | low | 6 | 1 | 5 | 0");
    }
}
