//! The small values of a shop: its bounds, how a sale is paid, what an alert says.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// A shop's number.
pub type ShopId = i64;

/// An article's number, unique over all shops.
pub type ArticleId = i64;

/// The most units that one line moves.
pub const QUANTITY_MAX: i64 = 1_000_000_000;

/// The farthest that the stock of one article may be from zero, in either direction.
pub const STOCK_MAX: i64 = 1_000_000_000_000;

/// The most lines of one document.
pub const LINES_MAX: usize = 1000;

/// How far a till's clock may be ahead.
pub const FUTURE_SALE_MINUTES_MAX: TimeDelta = TimeDelta::minutes(30);

/// How a sale is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentMode {
    /// In cash.
    Cash,
    /// From a phone.
    MobileMoney,
    /// By card.
    Carte,
}

impl PaymentMode {
    /// The stored and served name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "CASH",
            Self::MobileMoney => "MOBILE_MONEY",
            Self::Carte => "CARTE",
        }
    }

    /// The mode that a till calls `name`; the aliases `CARD` and `MOBILE` are known too.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "CASH" => Some(Self::Cash),
            "MOBILE_MONEY" | "MOBILE" => Some(Self::MobileMoney),
            "CARTE" | "CARD" => Some(Self::Carte),
            _ => None,
        }
    }
}

/// What a terminal's key is checked against: made outside, for a digest needs a salt nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDigest {
    /// The salt, in hexadecimal.
    pub salt: String,
    /// The digest of salt and key, in hexadecimal.
    pub digest: String,
}

/// A limit that a movement of stock went through, downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Which limit.
    pub kind: AlertKind,
    /// The limit in units: the shop's threshold, or zero.
    pub threshold: i64,
}

/// The limits of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// At or under the shop's threshold.
    Low,
    /// Below zero.
    Negative,
}

impl AlertKind {
    /// The stored and served name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Negative => "negative",
        }
    }
}

impl Alert {
    /// The limits that a stock going from `before` to `after` goes through: once per crossing.
    pub(super) fn raised(before: i64, after: i64, threshold: i64) -> Vec<Self> {
        // The usual movement raises none; it costs no look at a list.
        if after > threshold && after >= 0 {
            return Vec::new();
        }
        let low = (before > threshold && after <= threshold).then_some(Self { kind: AlertKind::Low, threshold });
        let negative = (before >= 0 && after < 0).then_some(Self { kind: AlertKind::Negative, threshold: 0 });
        low.into_iter().chain(negative).collect()
    }
}
