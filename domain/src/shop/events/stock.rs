//! What can happen to a stock apart from sales.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::Stored;
use crate::shop::money::Money;
use crate::shop::values::{Alert, ArticleId, ShopId};

/// Goods came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReceived {
    /// The shop.
    pub shop_id: ShopId,
    /// What the delivery is called on paper.
    pub document: String,
    /// What came.
    pub lines: Vec<ReceiptLine>,
    /// When it came.
    #[serde(with = "crate::instant")]
    pub received_at: DateTime<Utc>,
}

impl Stored for StockReceived {
    const TYPE: &'static str = "StockReceived";
    const SCHEMA_VERSION: u16 = 1;
}

/// What came of one article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptLine {
    /// The article.
    pub article_id: ArticleId,
    /// How many units came.
    pub quantity: i64,
    /// What one unit cost the shop, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_cost: Option<Money>,
    /// The stock before this line.
    pub stock_before: i64,
    /// The stock after this line.
    pub stock_after: i64,
    /// The limits it went through; goods that come in go through none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

/// Stock was corrected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockAdjusted {
    /// The shop.
    pub shop_id: ShopId,
    /// What the correction is called on paper.
    pub document: String,
    /// Why it was made.
    pub reason: String,
    /// What was corrected or counted; where the stock was right, the difference is 0.
    pub lines: Vec<AdjustmentLine>,
    /// When it was made.
    #[serde(with = "crate::instant")]
    pub adjusted_at: DateTime<Utc>,
}

impl Stored for StockAdjusted {
    const TYPE: &'static str = "StockAdjusted";
    const SCHEMA_VERSION: u16 = 1;
}

/// The correction of one article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustmentLine {
    /// The article.
    pub article_id: ArticleId,
    /// By how many units; 0 only for a count that equals the stock.
    pub delta: i64,
    /// What was counted, when the correction comes from counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<i64>,
    /// When it was counted, if not at the time of the correction: `delta` is the difference to the stock that was
    /// recorded at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::instant::option")]
    pub counted_at: Option<DateTime<Utc>>,
    /// The stock before this line.
    pub stock_before: i64,
    /// The stock after this line.
    pub stock_after: i64,
    /// The limits it went through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

/// Stock left for another shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockTransferredOut {
    /// The shop it left.
    pub shop_id: ShopId,
    /// The shop it went to.
    pub to_shop: ShopId,
    /// What the transfer is called on paper.
    pub document: String,
    /// What left.
    pub lines: Vec<TransferLine>,
    /// When it left.
    #[serde(with = "crate::instant")]
    pub transferred_at: DateTime<Utc>,
}

impl Stored for StockTransferredOut {
    const TYPE: &'static str = "StockTransferredOut";
    const SCHEMA_VERSION: u16 = 1;
}

/// Stock came from another shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockTransferredIn {
    /// The shop it came to.
    pub shop_id: ShopId,
    /// The shop it came from.
    pub from_shop: ShopId,
    /// What the transfer is called on paper.
    pub document: String,
    /// What came.
    pub lines: Vec<TransferLine>,
    /// When it came.
    #[serde(with = "crate::instant")]
    pub transferred_at: DateTime<Utc>,
}

impl Stored for StockTransferredIn {
    const TYPE: &'static str = "StockTransferredIn";
    const SCHEMA_VERSION: u16 = 1;
}

/// What moved of one article, seen from one of the two shops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLine {
    /// The article as this shop calls it.
    pub article_id: ArticleId,
    /// The article as the other shop calls it.
    pub other_article_id: ArticleId,
    /// How many units moved.
    pub quantity: i64,
    /// This shop's stock before this line.
    pub stock_before: i64,
    /// This shop's stock after this line.
    pub stock_after: i64,
    /// The limits it went through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}
