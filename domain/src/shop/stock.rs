//! The arithmetic of documents that move stock: every line on the stock that the lines before it have left.

use std::collections::HashMap;

use super::command::{AdjustmentOrder, Correction, CountedAt, ReceiptOrder, ShopRejection, SoldLine, TransferOrder};
use super::events::{AdjustmentLine, ReceiptLine, SaleLine, TransferLine};
use super::state::OpenShop;
use super::values::{Alert, ArticleId, LINES_MAX, QUANTITY_MAX, STOCK_MAX};
use crate::instant::to_micros;

/// The lines of a delivery.
pub(super) fn receive(shop: &OpenShop, orders: &[ReceiptOrder]) -> Result<Vec<ReceiptLine>, ShopRejection> {
    let mut stocks = Stocks::of(shop);
    numbered(orders)?
        .map(|(line, order)| {
            let delta = quantity(line, order.quantity)?;
            let moved = stocks.add(line, order.article_id, delta, true)?;
            Ok(ReceiptLine {
                article_id: order.article_id,
                quantity: order.quantity,
                unit_cost: order.unit_cost,
                stock_before: moved.before,
                stock_after: moved.after,
                alerts: moved.alerts,
            })
        })
        .collect()
}

/// The lines of a correction; one that neither corrects nor counts anything is left out.
pub(super) fn adjust(shop: &OpenShop, orders: &[AdjustmentOrder]) -> Result<Vec<AdjustmentLine>, ShopRejection> {
    let mut stocks = Stocks::of(shop);
    let mut lines = Vec::new();
    for (line, order) in numbered(orders)? {
        let article_id = order.article_id;
        let (delta, count) = match order.correction {
            Correction::Delta(delta) => (delta, None),
            Correction::Counted(count) => {
                let delta = count.units.checked_sub(stocks.when(line, article_id, count.at)?);
                (delta.ok_or(ShopRejection::StockOutOfRange { line, article_id })?, Some(count))
            }
        };
        let moved = stocks.add(line, article_id, delta, shop.settings.allow_negative_stock)?;
        if delta != 0 || count.is_some() {
            lines.push(AdjustmentLine {
                article_id,
                delta,
                counted: count.map(|count| count.units),
                counted_at: count.and_then(|count| count.at).map(|at| to_micros(at.at)),
                stock_before: moved.before,
                stock_after: moved.after,
                alerts: moved.alerts,
            });
        }
    }
    Ok(lines)
}

/// Which way goods move, seen from this shop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

/// The lines of a transfer. What a shop does not have it cannot send, whatever it may sell.
pub(super) fn transfer(
    shop: &OpenShop,
    way: Way,
    orders: &[TransferOrder],
) -> Result<Vec<TransferLine>, ShopRejection> {
    let mut stocks = Stocks::of(shop);
    numbered(orders)?
        .map(|(line, order)| {
            let article_id = order.article_id;
            shop.active_article(article_id).ok_or(ShopRejection::LineArticle { line, article_id })?;
            let quantity = quantity(line, order.quantity)?;
            let moved = match way {
                Way::Out => stocks.add(line, article_id, -quantity, false)?,
                Way::In => stocks.add(line, article_id, quantity, true)?,
            };
            Ok(TransferLine {
                article_id,
                other_article_id: order.other_article_id,
                quantity,
                stock_before: moved.before,
                stock_after: moved.after,
                alerts: moved.alerts,
            })
        })
        .collect()
}

/// The lines of a cancelled sale: what was sold comes back.
pub(super) fn take_back(shop: &OpenShop, sold: &[SoldLine]) -> Result<Vec<SaleLine>, ShopRejection> {
    let mut stocks = Stocks::of(shop);
    (1..)
        .zip(sold)
        .map(|(line, sold)| {
            let moved = stocks.add(line, sold.article_id, sold.quantite, true)?;
            Ok(SaleLine {
                article_id: sold.article_id,
                article_nom: sold.article_nom.clone(),
                article_code: sold.article_code.clone(),
                quantite: sold.quantite,
                prix_unitaire: sold.prix_unitaire,
                sous_total: sold.sous_total,
                stock_before: moved.before,
                stock_after: moved.after,
                alerts: moved.alerts,
            })
        })
        .collect()
}

/// The lines of a document with their numbers, if there are neither too few nor too many.
fn numbered<O>(orders: &[O]) -> Result<impl Iterator<Item = (usize, &O)>, ShopRejection> {
    match orders.len() {
        0 => Err(ShopRejection::NoLines),
        1..=LINES_MAX => Ok((1..).zip(orders)),
        count => Err(ShopRejection::TooManyLines { count }),
    }
}

fn quantity(line: usize, quantity: i64) -> Result<i64, ShopRejection> {
    if (1..=QUANTITY_MAX).contains(&quantity) {
        Ok(quantity)
    } else {
        Err(ShopRejection::LineQuantity { line, quantity })
    }
}

/// The stocks of a shop while a document moves them; the shop itself stays as it is.
struct Stocks<'a> {
    shop: &'a OpenShop,
    touched: HashMap<ArticleId, i64>,
}

/// What one line does to a stock.
struct Moved {
    before: i64,
    after: i64,
    alerts: Vec<Alert>,
}

impl<'a> Stocks<'a> {
    fn of(shop: &'a OpenShop) -> Self {
        Self { shop, touched: HashMap::new() }
    }

    fn now(&self, line: usize, article_id: ArticleId) -> Result<i64, ShopRejection> {
        let article = self.shop.articles.get(&article_id).ok_or(ShopRejection::LineArticle { line, article_id })?;
        Ok(self.touched.get(&article_id).copied().unwrap_or(article.stock))
    }

    /// The stock that a count is compared with: the present one, or the one recorded when it was counted. What earlier
    /// lines of the document have corrected since counts in either.
    fn when(&self, line: usize, article_id: ArticleId, at: Option<CountedAt>) -> Result<i64, ShopRejection> {
        let now = self.now(line, article_id)?;
        let Some(counted) = at else { return Ok(now) };
        let article = self.shop.articles.get(&article_id).ok_or(ShopRejection::LineArticle { line, article_id })?;
        if counted.at < article.added_at {
            return Err(ShopRejection::CountedBeforeAdded { line, article_id, added_at: article.added_at });
        }
        let corrected = now.saturating_sub(article.stock);
        Ok(counted.stock.saturating_add(corrected))
    }

    /// Moves `delta` units; below zero only where it `may_be_negative`.
    fn add(
        &mut self,
        line: usize,
        article_id: ArticleId,
        delta: i64,
        may_be_negative: bool,
    ) -> Result<Moved, ShopRejection> {
        let before = self.now(line, article_id)?;
        let after = before.checked_add(delta).filter(|after| (-STOCK_MAX..=STOCK_MAX).contains(after));
        let after = after.ok_or(ShopRejection::StockOutOfRange { line, article_id })?;
        if delta != 0 && after < 0 && !may_be_negative {
            return Err(ShopRejection::BelowZero { line, article_id, stock: before });
        }
        self.touched.insert(article_id, after);
        Ok(Moved { before, after, alerts: Alert::raised(before, after, self.shop.settings.low_stock_threshold) })
    }
}
