//! Sales as a terminal sends them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::SaleError;
use super::money::Money;
use super::values::{ArticleId, PaymentMode};

/// Record a batch of sales of one terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSales {
    /// The serial number of the terminal.
    pub terminal_serial: String,
    /// The time of the command.
    pub now: DateTime<Utc>,
    /// How long ago a sale may have happened by the till's clock.
    pub past_max: TimeDelta,
    /// The sales in the order they were sent; what could not be read is its error, in its place.
    pub sales: Vec<Result<SaleDraft, SaleError>>,
    /// The sales of the shop, out of all that were ever recorded, that have one of the invoice numbers sent. Numbers
    /// that the shop remembers itself need not be here.
    pub known: HashMap<String, KnownSale>,
}

/// A sale recorded before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSale {
    /// Its fingerprint: [`SaleRecorded::fingerprint`](super::SaleRecorded::fingerprint).
    pub fingerprint: String,
}

/// A sale as it was sent, with the defaults filled in that do not depend on the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleDraft {
    /// The invoice number; none, or an empty one, asks for one.
    pub numero_facture: Option<String>,
    /// How it is paid.
    pub mode: PaymentMode,
    /// Whether it is paid.
    pub paye: bool,
    /// When it happened at the till, if the till says so.
    pub date_vente: Option<DateTime<Utc>>,
    /// The text that [`date_vente`](Self::date_vente) was sent as.
    pub date_sent: Option<String>,
    /// What was sold.
    pub lines: Vec<DraftLine>,
}

/// One line of a sale as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftLine {
    /// The article.
    pub article_id: ArticleId,
    /// How many units.
    pub quantite: i64,
    /// What one unit costs; without it, what the article costs.
    pub prix_unitaire: Option<Money>,
}
