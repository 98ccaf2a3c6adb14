//! Sales and their cancellation.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::event::Stored;
use crate::shop::money::Money;
use crate::shop::values::{Alert, ArticleId, PaymentMode, ShopId};

/// A terminal sold something; the event tells the whole sale, so that a history needs no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleRecorded {
    /// The shop.
    pub shop_id: ShopId,
    /// The shop's zone at that time.
    pub timezone: Tz,
    /// The serial number of the terminal.
    pub terminal: String,
    /// The terminal's name at that time.
    pub terminal_name: String,
    /// The invoice number, unique in the shop.
    pub numero_facture: String,
    /// Whether the invoice number was made here, because the terminal gave none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub number_generated: bool,
    /// How it is paid.
    pub mode_paiement: PaymentMode,
    /// Whether it is paid.
    pub paye: bool,
    /// What all lines cost together.
    pub montant_total: Money,
    /// When it happened at the till.
    #[serde(with = "crate::instant")]
    pub sold_at: DateTime<Utc>,
    /// The till's own date, when it was too far in the future or in the past to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::instant::option")]
    pub date_replaced: Option<DateTime<Utc>>,
    /// That date as it was sent; events of older builds do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_sent: Option<String>,
    /// What tells a repetition from another sale with the same number: 32 hexadecimal digits.
    pub fingerprint: String,
    /// What was sold.
    pub lines: Vec<SaleLine>,
}

impl Stored for SaleRecorded {
    const TYPE: &'static str = "SaleRecorded";
    const SCHEMA_VERSION: u16 = 1;
}

/// What was sold, or came back, of one article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleLine {
    /// The article.
    pub article_id: ArticleId,
    /// The article's name at the time of the sale.
    pub article_nom: String,
    /// The article's code at the time of the sale, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article_code: Option<String>,
    /// How many units.
    pub quantite: i64,
    /// What one unit cost.
    pub prix_unitaire: Money,
    /// What the line cost.
    pub sous_total: Money,
    /// The stock before this line.
    pub stock_before: i64,
    /// The stock after this line.
    pub stock_after: i64,
    /// The limits it went through; goods that come back go through none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

/// A sale was cancelled: its goods came back, the sale itself stays in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleCancelled {
    /// The shop.
    pub shop_id: ShopId,
    /// The shop's zone at the time of the sale: it is taken back from the day it was counted in.
    pub timezone: Tz,
    /// The invoice number of the sale.
    pub numero_facture: String,
    /// Why it was cancelled.
    pub motif: String,
    /// The serial number of the terminal that cancelled it.
    pub terminal: String,
    /// That terminal's name at that time.
    pub terminal_name: String,
    /// The sale, as far as statistics have to take it back.
    pub sale: CancelledSale,
    /// What came back, line by line of the sale.
    pub lines: Vec<SaleLine>,
    /// When it was cancelled.
    #[serde(with = "crate::instant")]
    pub cancelled_at: DateTime<Utc>,
}

impl Stored for SaleCancelled {
    const TYPE: &'static str = "SaleCancelled";
    const SCHEMA_VERSION: u16 = 1;
}

/// The sale that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledSale {
    /// Where it stands in the log.
    pub position: u64,
    /// When it happened at the till.
    #[serde(with = "crate::instant")]
    pub sold_at: DateTime<Utc>,
    /// How it was paid.
    pub mode_paiement: PaymentMode,
    /// Whether it was paid.
    pub paye: bool,
    /// What all its lines cost together.
    pub montant_total: Money,
}
