//! Which sales of a batch are recorded, and what is wrong with the others.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::error::SaleError;
use super::events::{SaleLine, SaleRecorded};
use super::money::Money;
use super::numbers::generated_prefix;
use super::sales::{DraftLine, RecordSales, SaleDraft};
use super::state::OpenShop;
use super::values::{Alert, ArticleId, FUTURE_SALE_MINUTES_MAX, LINES_MAX, QUANTITY_MAX, STOCK_MAX};
use crate::instant::to_micros;

/// What comes of a batch of sales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalesPlan {
    /// One a sale, in the order they were sent: the place of its event in [`events`](Self::events), or its error.
    pub outcomes: Vec<Result<usize, SaleError>>,
    /// The sales to record, in the order they were sent.
    pub events: Vec<SaleRecorded>,
}

/// Goes through the sales in order, each on the stock that those before it have left; each one is recorded whole or
/// not at all, and none keeps another from being recorded.
#[must_use]
pub fn plan_sales(shop: &OpenShop, command: &RecordSales) -> SalesPlan {
    let mut batch = Batch {
        shop,
        command,
        now: to_micros(command.now),
        terminal_name: shop.terminals.get(&command.terminal_serial).map_or("", |terminal| &terminal.name),
        stocks: HashMap::with_capacity(command.sales.len()),
        numbers: HashMap::with_capacity(command.sales.len()),
        prefix: None,
        next_index: 0,
        events: Vec::with_capacity(command.sales.len()),
    };
    let outcomes = (0..).zip(&command.sales).map(|(place, sale)| batch.take(place, sale)).collect();
    SalesPlan { outcomes, events: batch.events }
}

/// A batch on its way; the shop itself stays as it is.
struct Batch<'a> {
    shop: &'a OpenShop,
    command: &'a RecordSales,
    now: DateTime<Utc>,
    terminal_name: &'a str,
    /// The stocks that this batch has touched.
    stocks: HashMap<ArticleId, i64>,
    /// The numbers that this batch has used, each with the place of its event.
    numbers: HashMap<Cow<'a, str>, usize>,
    /// What the numbers generated for this batch begin with, once there is one.
    prefix: Option<String>,
    /// The index after the last one generated for this batch.
    next_index: u64,
    events: Vec<SaleRecorded>,
}

impl<'a> Batch<'a> {
    fn take(&mut self, place: u64, sale: &'a Result<SaleDraft, SaleError>) -> Result<usize, SaleError> {
        let draft = sale.as_ref().map_err(SaleError::clone)?;
        let fingerprint = draft.fingerprint();
        let given = draft.numero_facture.as_deref().filter(|number| !number.is_empty());
        if let Some(number) = given {
            self.refuse_duplicate(number, &fingerprint)?;
        }
        let (mut lines, montant_total) = self.price(&draft.lines)?;
        self.move_stock(&mut lines)?;

        let event = self.events.len();
        let numero_facture = match given {
            Some(number) => {
                self.numbers.insert(Cow::Borrowed(number), event);
                number.to_owned()
            }
            None => {
                let number = self.generate_number(place);
                self.numbers.insert(Cow::Owned(number.clone()), event);
                number
            }
        };
        let (sold_at, date_replaced) = self.date(draft.date_vente);
        let date_sent = date_replaced.and_then(|_| draft.date_sent.clone());
        self.events.push(SaleRecorded {
            shop_id: self.shop.shop_id,
            timezone: self.shop.settings.timezone,
            terminal: self.command.terminal_serial.clone(),
            terminal_name: self.terminal_name.to_owned(),
            numero_facture,
            number_generated: given.is_none(),
            mode_paiement: draft.mode,
            paye: draft.paye,
            montant_total,
            sold_at,
            date_replaced,
            date_sent,
            fingerprint,
            lines,
        });
        Ok(event)
    }

    fn refuse_duplicate(&self, number: &str, fingerprint: &str) -> Result<(), SaleError> {
        let before = self.shop.recent.fingerprint(number);
        let before = before.or_else(|| self.numbers.get(number).map(|event| &*self.events[*event].fingerprint));
        let before = before.or_else(|| self.command.known.get(number).map(|known| &*known.fingerprint));
        match before {
            None => Ok(()),
            Some(same) if same == fingerprint => Err(SaleError::Duplicate { numero: number.to_owned() }),
            Some(_) => Err(SaleError::DuplicateConflict { numero: number.to_owned() }),
        }
    }

    /// The lines with their prices, their stock still that of the shop, and what they cost together.
    fn price(&self, lines: &[DraftLine]) -> Result<(Vec<SaleLine>, Money), SaleError> {
        match lines.len() {
            0 => return Err(SaleError::NoLines),
            1..=LINES_MAX => {}
            count => return Err(SaleError::TooManyLines { count }),
        }
        let mut total = Money::ZERO;
        let mut priced = Vec::with_capacity(lines.len());
        for line in lines {
            let article = self.shop.active_article(line.article_id);
            let article = article.ok_or(SaleError::ArticleNotFound { article_id: line.article_id })?;
            if !(1..=QUANTITY_MAX).contains(&line.quantite) {
                return Err(SaleError::QuantityOutOfRange { quantity: line.quantite });
            }
            let prix_unitaire = line.prix_unitaire.unwrap_or(article.price);
            let sous_total = prix_unitaire.times(line.quantite).ok_or(SaleError::AmountTooLarge)?;
            total = total.plus(sous_total).ok_or(SaleError::AmountTooLarge)?;
            priced.push(SaleLine {
                article_id: line.article_id,
                article_nom: article.name.clone(),
                article_code: article.code.clone(),
                quantite: line.quantite,
                prix_unitaire,
                sous_total,
                stock_before: article.stock,
                stock_after: article.stock,
                alerts: Vec::new(),
            });
        }
        Ok((priced, total))
    }

    /// Takes the goods of all `lines` from the stock, or none.
    fn move_stock(&mut self, lines: &mut [SaleLine]) -> Result<(), SaleError> {
        for moved in 0..lines.len() {
            let line = &mut lines[moved];
            let stock = self.stocks.entry(line.article_id).or_insert(line.stock_before);
            let (before, after) = (*stock, *stock - line.quantite);
            // Every line only takes: what is enough for the last line of an article is enough for all of them.
            let refused = if after < 0 && !self.shop.settings.allow_negative_stock {
                SaleError::InsufficientStock { article: line.article_nom.clone() }
            } else if after < -STOCK_MAX {
                SaleError::StockOutOfRange { article: line.article_nom.clone() }
            } else {
                *stock = after;
                line.stock_before = before;
                line.stock_after = after;
                line.alerts = Alert::raised(before, after, self.shop.settings.low_stock_threshold);
                continue;
            };
            for line in &lines[..moved] {
                *self.stocks.entry(line.article_id).or_default() += line.quantite;
            }
            return Err(refused);
        }
        Ok(())
    }

    fn generate_number(&mut self, place: u64) -> String {
        let prefix = self.prefix.get_or_insert_with(|| generated_prefix(self.shop.shop_id, self.now));
        let is_taken = |number: &str| self.numbers.contains_key(number) || self.command.known.contains_key(number);
        let (index, number) = self.shop.recent.free_number(prefix, place, self.next_index, is_taken);
        self.next_index = index.saturating_add(1);
        number
    }

    /// Whether a till whose clock is about right can have sold something then.
    fn is_plausible(&self, date: DateTime<Utc>) -> bool {
        date - self.now <= FUTURE_SALE_MINUTES_MAX && self.now - date <= self.command.past_max
    }

    /// When the sale happened, and what the till said when that cannot be.
    fn date(&self, date_vente: Option<DateTime<Utc>>) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
        match date_vente {
            None => (self.now, None),
            Some(date) if self.is_plausible(date) => (to_micros(date), None),
            Some(date) => (self.now, Some(to_micros(date))),
        }
    }
}
