//! Sales, and what they add up to.

mod queries;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use daybook_domain::{
    event::{Event, Stored},
    reading::calendar::local_date,
    shop::{Money, SaleCancelled, SaleLine, SaleRecorded, ShopEvent},
};
use serde::{Deserialize, Serialize};

pub use self::queries::{
    Period, Sale, TopArticle, Turnover, by_mode, by_numbers, decimal, fingerprints, numbers_from, page, top_articles,
    turnover, turnover_of_days,
};
use crate::{
    Changes, Decoded, FoldError, Projection,
    table::{Column, Merge, Table, Value},
};

/// `sales`, `sales_days`, `sales_modes`, `sales_articles`.
pub struct Sales;

/// The projection's name.
pub const NAME: &str = "sales";

const SALES: Table = Table {
    name: "sales",
    key: 1,
    columns: &[
        Column::new("position"),
        Column::new("shop_id"),
        Column::new("numero_facture"),
        Column::new("sold_at"),
        Column::new("timezone"),
        Column::new("montant_total"),
        Column::new("mode_paiement"),
        Column::new("paye"),
        Column::new("annulee"),
        Column::new("terminal"),
        Column::new("lignes"),
        Column::new("fingerprint"),
        Column::new("date"),
    ],
};

const DAYS: Table = Table {
    name: "sales_days",
    key: 2,
    columns: &[
        Column::new("shop_id"),
        Column::new("date"),
        Column::merged("nombre", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

const MODES: Table = Table {
    name: "sales_modes",
    key: 3,
    columns: &[
        Column::new("shop_id"),
        Column::new("month"),
        Column::new("mode_paiement"),
        Column::merged("nombre", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

const ARTICLES: Table = Table {
    name: "sales_articles",
    key: 3,
    columns: &[
        Column::new("shop_id"),
        Column::new("month"),
        Column::new("article_id"),
        Column::merged("quantite", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

impl Projection for Sales {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        3
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&SALES, &DAYS, &MODES, &ARTICLES]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../../migrations/read_models/sales.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [SaleRecorded::TYPE, SaleCancelled::TYPE].contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut rows: BTreeMap<u64, [Value; 13]> = BTreeMap::new();
        let mut cancelled: BTreeSet<u64> = BTreeSet::new();
        let mut sums = Sums::default();
        for decoded in events {
            match &decoded.event {
                Some(Event::Shop(ShopEvent::SaleRecorded(sale))) => {
                    rows.insert(decoded.position.get(), row(decoded, sale));
                    if sale.paye {
                        let day = Counted::new(sale.shop_id, sale.timezone, sale.sold_at, 1);
                        sums.add(&day, sale.montant_total, sale.mode_paiement.as_str(), &sale.lines);
                    }
                }
                Some(Event::Shop(ShopEvent::SaleCancelled(cancel))) => {
                    match rows.get_mut(&cancel.sale.position) {
                        Some(row) => row[8] = Value::Int(1),
                        None => {
                            cancelled.insert(cancel.sale.position);
                        }
                    }
                    if cancel.sale.paye {
                        let day = Counted::new(cancel.shop_id, cancel.timezone, cancel.sale.sold_at, -1);
                        sums.add(&day, cancel.sale.montant_total, cancel.sale.mode_paiement.as_str(), &cancel.lines);
                    }
                }
                _ => {}
            }
        }
        let mut changes = Changes::default();
        changes.upsert(&SALES, rows.into_values());
        let annulee = |position: u64| [Value::Int(position.cast_signed()), Value::Int(1)];
        changes.update(&SALES, &["annulee"], cancelled.into_iter().map(annulee));
        sums.into_changes(&mut changes);
        Ok(changes)
    }
}

fn row(decoded: &Decoded, sale: &SaleRecorded) -> [Value; 13] {
    let lignes: Vec<Ligne> = sale.lines.iter().map(Ligne::from).collect();
    [
        Value::Int(decoded.position.get().cast_signed()),
        Value::Int(sale.shop_id),
        Value::Text(sale.numero_facture.clone()),
        Value::Int(sale.sold_at.timestamp_micros()),
        Value::Word(sale.timezone.name()),
        Value::Int(sale.montant_total.hundredths()),
        Value::Word(sale.mode_paiement.as_str()),
        Value::Int(i64::from(sale.paye)),
        Value::Int(0),
        Value::Text(sale.terminal_name.clone()),
        // A list of plain structs always serialises.
        Value::Text(serde_json::to_string(&lignes).unwrap_or_default()),
        Value::Text(sale.fingerprint.clone()),
        Value::Text(local_date(sale.timezone, sale.sold_at).to_string()),
    ]
}

/// A line of a sale as the till's API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ligne {
    /// The article.
    pub article_id: i64,
    /// Its name at that time.
    pub article_nom: String,
    /// Its code at that time.
    pub article_code: Option<String>,
    /// Pieces.
    pub quantite: i64,
    /// `40000.00`
    pub prix_unitaire: Money,
    /// `40000.00`
    pub sous_total: Money,
}

impl From<&SaleLine> for Ligne {
    fn from(line: &SaleLine) -> Self {
        Self {
            article_id: line.article_id,
            article_nom: line.article_nom.clone(),
            article_code: line.article_code.clone(),
            quantite: line.quantite,
            prix_unitaire: line.prix_unitaire,
            sous_total: line.sous_total,
        }
    }
}

/// Where a sale counts, and with which sign.
struct Counted {
    shop: i64,
    date: NaiveDate,
    sign: i64,
}

impl Counted {
    fn new(shop: i64, zone: Tz, sold_at: DateTime<Utc>, sign: i64) -> Self {
        Self { shop, date: local_date(zone, sold_at), sign }
    }
}

type Sum = (i64, i64);

#[derive(Default)]
struct Sums {
    days: BTreeMap<(i64, NaiveDate), Sum>,
    modes: BTreeMap<(i64, String, &'static str), Sum>,
    articles: BTreeMap<(i64, String, i64), Sum>,
}

impl Sums {
    fn add(&mut self, at: &Counted, total: Money, mode: &'static str, lines: &[SaleLine]) {
        let add = |sum: &mut Sum, count: i64, amount: Money| {
            sum.0 = sum.0.saturating_add(at.sign * count);
            sum.1 = sum.1.saturating_add(at.sign * amount.hundredths());
        };
        let month = month(at.date);
        add(self.days.entry((at.shop, at.date)).or_default(), 1, total);
        add(self.modes.entry((at.shop, month.clone(), mode)).or_default(), 1, total);
        for line in lines {
            let sum = self.articles.entry((at.shop, month.clone(), line.article_id)).or_default();
            add(sum, line.quantite, line.sous_total);
        }
    }

    fn into_changes(self, changes: &mut Changes) {
        let day = |((shop, date), (count, amount)): ((i64, NaiveDate), Sum)| {
            [Value::Int(shop), Value::Text(date.to_string()), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&DAYS, self.days.into_iter().map(day));
        let mode = |((shop, month, mode), (count, amount)): ((i64, String, &'static str), Sum)| {
            [Value::Int(shop), Value::Text(month), Value::Word(mode), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&MODES, self.modes.into_iter().map(mode));
        let article = |((shop, month, article), (count, amount)): ((i64, String, i64), Sum)| {
            [Value::Int(shop), Value::Text(month), Value::Int(article), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&ARTICLES, self.articles.into_iter().map(article));
    }
}

/// `2025-10`
fn month(date: NaiveDate) -> String {
    date.format("%Y-%m").to_string()
}
