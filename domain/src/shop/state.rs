//! What has to be remembered of a shop to decide.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::money::Money;
use super::numbers::RecentNumbers;
use super::values::{ArticleId, KeyDigest, ShopId};

/// A shop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shop {
    /// Nobody has opened it.
    #[default]
    Unopened,
    /// It was opened.
    Open(Box<OpenShop>),
}

impl Shop {
    /// Names the shape of this state, for the copies that are kept of it. Raise it when the shape changes: copies of
    /// another shape are not looked at.
    pub const SHAPE: &str = "shop-2";
}

/// A shop that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenShop {
    /// The shop.
    pub shop_id: ShopId,
    /// What was decided about it.
    pub settings: Settings,
    /// Its terminals by serial number, also those that are not active.
    pub terminals: BTreeMap<String, Terminal>,
    /// Its articles, also those that are not active.
    pub articles: BTreeMap<ArticleId, Article>,
    /// The invoice numbers used last.
    pub recent: RecentNumbers,
}

/// What was decided about a shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
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
    pub require_terminal_keys: bool,
}

/// A till or a phone that sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its name.
    pub name: String,
    /// What its key is checked against, when it has one.
    pub key: Option<KeyDigest>,
    /// Whether it may sell.
    pub active: bool,
}

/// Something a shop sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    /// Its name.
    pub name: String,
    /// Its code, when it has one.
    pub code: Option<String>,
    /// Its category, when it has one.
    pub category: Option<String>,
    /// What one unit costs a customer.
    pub price: Money,
    /// Whether it may be sold.
    pub active: bool,
    /// How many units there are; below zero when more were sold than were known of.
    pub stock: i64,
    /// When it was added.
    pub added_at: DateTime<Utc>,
}

impl Shop {
    /// The shop, if it was opened.
    #[must_use]
    pub fn open(&self) -> Option<&OpenShop> {
        match self {
            Self::Open(shop) => Some(shop),
            Self::Unopened => None,
        }
    }
}

impl OpenShop {
    /// The terminal with this serial number, if it may sell.
    #[must_use]
    pub fn active_terminal(&self, serial: &str) -> Option<&Terminal> {
        self.terminals.get(serial).filter(|terminal| terminal.active)
    }

    /// The article, if it may be sold.
    #[must_use]
    pub fn active_article(&self, article_id: ArticleId) -> Option<&Article> {
        self.articles.get(&article_id).filter(|article| article.active)
    }
}
