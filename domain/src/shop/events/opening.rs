//! What can happen to a shop itself, to its terminals and to its articles.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::event::Stored;
use crate::shop::money::Money;
use crate::shop::values::{ArticleId, KeyDigest, ShopId};

/// A shop was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopOpened {
    /// The shop.
    pub shop_id: ShopId,
    /// Its name.
    pub name: String,
    /// The currency of its prices: `CDF`.
    pub currency: String,
    /// The zone whose calendar its days are counted in.
    pub timezone: Tz,
    /// Whether it sells what it does not have.
    pub allow_negative_stock: bool,
    /// The stock at or under which an article is low, in units.
    pub low_stock_threshold: i64,
    /// Whether every terminal needs a key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_terminal_keys: bool,
    /// When it was opened.
    #[serde(with = "crate::instant")]
    pub opened_at: DateTime<Utc>,
}

impl Stored for ShopOpened {
    const TYPE: &'static str = "ShopOpened";
    const SCHEMA_VERSION: u16 = 1;
}

/// A shop's settings changed; the fields are all of them afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopChanged {
    /// The shop.
    pub shop_id: ShopId,
    /// Its name.
    pub name: String,
    /// The currency of its prices: `CDF`.
    pub currency: String,
    /// The zone whose calendar its days are counted in.
    pub timezone: Tz,
    /// Whether it sells what it does not have.
    pub allow_negative_stock: bool,
    /// The stock at or under which an article is low, in units.
    pub low_stock_threshold: i64,
    /// Whether every terminal needs a key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_terminal_keys: bool,
    /// When they changed.
    #[serde(with = "crate::instant")]
    pub changed_at: DateTime<Utc>,
}

impl Stored for ShopChanged {
    const TYPE: &'static str = "ShopChanged";
    const SCHEMA_VERSION: u16 = 1;
}

/// A terminal was registered and is active; also one of this shop that was inactive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalRegistered {
    /// The shop.
    pub shop_id: ShopId,
    /// The terminal's serial number.
    pub serial: String,
    /// Its name.
    pub name: String,
    /// What its key is checked against, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyDigest>,
    /// When it was registered.
    #[serde(with = "crate::instant")]
    pub registered_at: DateTime<Utc>,
}

impl Stored for TerminalRegistered {
    const TYPE: &'static str = "TerminalRegistered";
    const SCHEMA_VERSION: u16 = 1;
}

/// A terminal was renamed, activated or deactivated; its key stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalChanged {
    /// The shop.
    pub shop_id: ShopId,
    /// The terminal's serial number.
    pub serial: String,
    /// Its name afterwards.
    pub name: String,
    /// Whether it may sell afterwards.
    pub active: bool,
    /// When it changed.
    #[serde(with = "crate::instant")]
    pub changed_at: DateTime<Utc>,
}

impl Stored for TerminalChanged {
    const TYPE: &'static str = "TerminalChanged";
    const SCHEMA_VERSION: u16 = 1;
}

/// An article was added, with a stock of zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleAdded {
    /// The shop.
    pub shop_id: ShopId,
    /// The article.
    pub article_id: ArticleId,
    /// Its name.
    pub name: String,
    /// Its code, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its category, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What one unit costs a customer.
    pub price: Money,
    /// Whether it may be sold.
    pub active: bool,
    /// When it was added.
    #[serde(with = "crate::instant")]
    pub added_at: DateTime<Utc>,
}

impl Stored for ArticleAdded {
    const TYPE: &'static str = "ArticleAdded";
    const SCHEMA_VERSION: u16 = 1;
}

/// An article changed; the fields are the whole article afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleChanged {
    /// The shop.
    pub shop_id: ShopId,
    /// The article.
    pub article_id: ArticleId,
    /// Its name.
    pub name: String,
    /// Its code, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its category, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What one unit costs a customer.
    pub price: Money,
    /// Whether it may be sold.
    pub active: bool,
    /// When it changed.
    #[serde(with = "crate::instant")]
    pub changed_at: DateTime<Utc>,
}

impl Stored for ArticleChanged {
    const TYPE: &'static str = "ArticleChanged";
    const SCHEMA_VERSION: u16 = 1;
}
