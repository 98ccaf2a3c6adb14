//! The documents that move stock, whole: receipts, adjustments, and transfers as the sending shop sees them.
//!
//! A document is made into JSON here and nowhere else, for the answer to who wrote it as for every later one. Sales are
//! documents of their own: see [`sales`](super::sales).

use chrono::{DateTime, Utc};
use daybook_domain::{
    event::{Event, Stored},
    instant,
    shop::{ArticleId, Money, ShopEvent, ShopId, StockAdjusted, StockReceived, StockTransferredOut},
};
use daybook_eventlog::Position;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    models::StoredText,
    table::{Column, Table, Value},
};

/// `stock_documents`.
pub struct StockDocuments;

/// The projection's name.
pub const NAME: &str = "stock_documents";

const DOCUMENTS: Table = Table {
    name: "stock_documents",
    key: 3,
    columns: &[Column::new("shop_id"), Column::new("kind"), Column::new("position"), Column::new("body")],
};

impl Projection for StockDocuments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&DOCUMENTS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/read_models/stock_documents.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [StockReceived::TYPE, StockAdjusted::TYPE, StockTransferredOut::TYPE].contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut rows = Vec::new();
        for decoded in events {
            let Some(Event::Shop(event)) = &decoded.event else { continue };
            let (position, user) = (Some(decoded.position), decoded.actor.as_deref());
            let (shop, kind, body) = match event {
                ShopEvent::StockReceived(event) => {
                    (event.shop_id, Kind::Receipt, serde_json::to_string(&receipt(event, position, user)))
                }
                ShopEvent::StockAdjusted(event) => {
                    (event.shop_id, Kind::Adjustment, serde_json::to_string(&adjustment(event, position, user)))
                }
                ShopEvent::StockTransferredOut(event) => {
                    (event.shop_id, Kind::Transfer, serde_json::to_string(&transfer(event, position, user)))
                }
                ShopEvent::ShopOpened(_)
                | ShopEvent::ShopChanged(_)
                | ShopEvent::TerminalRegistered(_)
                | ShopEvent::TerminalChanged(_)
                | ShopEvent::ArticleAdded(_)
                | ShopEvent::ArticleChanged(_)
                // The same document, seen from the other shop.
                | ShopEvent::StockTransferredIn(_)
                | ShopEvent::SaleRecorded(_)
                | ShopEvent::SaleCancelled(_) => continue,
            };
            let body = body.map_err(|error| FoldError { position: decoded.position, reason: error.to_string() })?;
            let position = Value::Int(decoded.position.get().cast_signed());
            rows.push([Value::Int(shop), Value::Word(kind.as_str()), position, Value::Text(body)]);
        }
        let mut changes = Changes::default();
        changes.upsert(&DOCUMENTS, rows);
        Ok(changes)
    }
}

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goods came in.
    Receipt,
    /// Stock was corrected.
    Adjustment,
    /// Stock left for another shop.
    Transfer,
}

impl Kind {
    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Adjustment => "adjustment",
            Self::Transfer => "transfer",
        }
    }
}

/// A document as it is answered, with its lines.
#[derive(Debug, Serialize)]
pub struct Document<'a, L> {
    /// The position of its event; none when nothing happened.
    id: Option<u64>,
    shop_id: ShopId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_shop: Option<ShopId>,
    document: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(serialize_with = "instant::serialize")]
    at: DateTime<Utc>,
    user: Option<&'a str>,
    position: Option<u64>,
    lines: Vec<Line<L>>,
}

/// A line: what its kind tells, between its article and what became of the stock.
#[derive(Debug, Serialize)]
struct Line<L> {
    line: usize,
    article_id: ArticleId,
    #[serde(flatten)]
    what: L,
    stock_before: i64,
    stock_after: i64,
}

/// What came.
#[derive(Debug, Serialize)]
pub struct Received {
    quantity: i64,
    unit_cost: Option<Money>,
}

/// What was put right.
#[derive(Debug, Serialize)]
pub struct Adjusted {
    delta: i64,
    counted: Option<i64>,
    #[serde(serialize_with = "instant::option::serialize")]
    counted_at: Option<DateTime<Utc>>,
}

/// What moved.
#[derive(Debug, Serialize)]
pub struct Moved {
    to_article_id: ArticleId,
    quantity: i64,
}

/// A delivery, written at `position` by `user`.
#[must_use]
pub fn receipt<'a>(
    event: &'a StockReceived,
    position: Option<Position>,
    user: Option<&'a str>,
) -> Document<'a, Received> {
    let lines = (1..).zip(&event.lines).map(|(line, received)| Line {
        line,
        article_id: received.article_id,
        what: Received { quantity: received.quantity, unit_cost: received.unit_cost },
        stock_before: received.stock_before,
        stock_after: received.stock_after,
    });
    Document {
        id: position.map(Position::get),
        shop_id: event.shop_id,
        to_shop: None,
        document: &event.document,
        reason: None,
        at: event.received_at,
        user,
        position: position.map(Position::get),
        lines: lines.collect(),
    }
}

/// A correction, likewise; without lines and position it is one that was not needed.
#[must_use]
pub fn adjustment<'a>(
    event: &'a StockAdjusted,
    position: Option<Position>,
    user: Option<&'a str>,
) -> Document<'a, Adjusted> {
    let lines = (1..).zip(&event.lines).map(|(line, adjusted)| Line {
        line,
        article_id: adjusted.article_id,
        what: Adjusted { delta: adjusted.delta, counted: adjusted.counted, counted_at: adjusted.counted_at },
        stock_before: adjusted.stock_before,
        stock_after: adjusted.stock_after,
    });
    Document {
        id: position.map(Position::get),
        shop_id: event.shop_id,
        to_shop: None,
        document: &event.document,
        reason: Some(&event.reason),
        at: event.adjusted_at,
        user,
        position: position.map(Position::get),
        lines: lines.collect(),
    }
}

/// A transfer, likewise; the stocks are those of the shop that sends.
#[must_use]
pub fn transfer<'a>(
    event: &'a StockTransferredOut,
    position: Option<Position>,
    user: Option<&'a str>,
) -> Document<'a, Moved> {
    let lines = (1..).zip(&event.lines).map(|(line, moved)| Line {
        line,
        article_id: moved.article_id,
        what: Moved { to_article_id: moved.other_article_id, quantity: moved.quantity },
        stock_before: moved.stock_before,
        stock_after: moved.stock_after,
    });
    Document {
        id: position.map(Position::get),
        shop_id: event.shop_id,
        to_shop: Some(event.to_shop),
        document: &event.document,
        reason: None,
        at: event.transferred_at,
        user,
        position: position.map(Position::get),
        lines: lines.collect(),
    }
}

/// One document of a shop.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn document(
    models: &ReadModels,
    shop: i64,
    kind: Kind,
    id: i64,
) -> Result<Option<Box<RawValue>>, ReadModelsError> {
    let sql = "SELECT body FROM stock_documents WHERE shop_id = $1 AND kind = $2 AND position = $3";
    let body: Option<(StoredText,)> =
        models.query(sql).bind(shop).bind(kind.as_str()).bind(id).fetch_optional().await?;
    body.map(json).transpose()
}

/// A shop's documents of one kind in the order of the log, and how many there are.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn documents(
    models: &ReadModels,
    shop: i64,
    kind: Kind,
    skip: u64,
    limit: u32,
) -> Result<(Vec<Box<RawValue>>, u64), ReadModelsError> {
    let sql = "SELECT body FROM stock_documents WHERE shop_id = $1 AND kind = $2 ORDER BY position LIMIT $3 OFFSET $4";
    let all = "SELECT count(*) FROM stock_documents WHERE shop_id = $1 AND kind = $2";
    let page = models.query(sql).bind(shop).bind(kind.as_str()).bind(limit).bind(skip.cast_signed());
    let (bodies, total) = page.fetch_page(all).await?;
    Ok((bodies.into_iter().map(json).collect::<Result<_, _>>()?, total))
}

fn json((body,): (StoredText,)) -> Result<Box<RawValue>, ReadModelsError> {
    RawValue::from_string(body.0).map_err(|error| ReadModelsError::Corrupt(format!("a stock document: {error}")))
}
