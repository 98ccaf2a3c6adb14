//! What can happen to a shop.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::money::Money;
use super::values::{Alert, ArticleId, KeyDigest, PaymentMode, ShopId};
use crate::event::{self, DecodeError, DomainEvent, Stored, Upcaster};

/// An event of a shop's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShopEvent {
    /// A shop was opened.
    ShopOpened(ShopOpened),
    /// A shop's settings changed.
    ShopChanged(ShopChanged),
    /// A terminal was registered, or registered again.
    TerminalRegistered(TerminalRegistered),
    /// A terminal was renamed, activated or deactivated.
    TerminalChanged(TerminalChanged),
    /// An article was added.
    ArticleAdded(ArticleAdded),
    /// An article changed.
    ArticleChanged(ArticleChanged),
    /// Goods came in.
    StockReceived(StockReceived),
    /// Stock was corrected.
    StockAdjusted(StockAdjusted),
    /// Stock left for another shop.
    StockTransferredOut(StockTransferredOut),
    /// Stock came from another shop.
    StockTransferredIn(StockTransferredIn),
    /// A terminal sold something.
    SaleRecorded(SaleRecorded),
    /// A sale was cancelled; its goods came back.
    SaleCancelled(SaleCancelled),
}

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
    /// What changed; an article whose stock was right has no line.
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
    /// By how many units; not zero.
    pub delta: i64,
    /// What was counted, when the correction comes from counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<i64>,
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
    /// The till's own date, when it was too far in the future to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_instant")]
    pub date_replaced: Option<DateTime<Utc>>,
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
    /// The shop's zone at that time.
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

/// A moment that may be absent, like [`crate::instant`].
mod optional_instant {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Moment(#[serde(with = "crate::instant")] DateTime<Utc>);

    #[expect(clippy::ref_option, reason = "serde hands the field over as it is")]
    pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Moment).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        Ok(Option::<Moment>::deserialize(deserializer)?.map(|Moment(at)| at))
    }
}

/// No stored shape of a shop is older than the current one.
const UPCASTERS: &[Upcaster] = &[];

impl ShopEvent {
    /// The names of all events of this family.
    pub const TYPES: &[&str] = &[
        ShopOpened::TYPE,
        ShopChanged::TYPE,
        TerminalRegistered::TYPE,
        TerminalChanged::TYPE,
        ArticleAdded::TYPE,
        ArticleChanged::TYPE,
        StockReceived::TYPE,
        StockAdjusted::TYPE,
        StockTransferredOut::TYPE,
        StockTransferredIn::TYPE,
        SaleRecorded::TYPE,
        SaleCancelled::TYPE,
    ];

    /// Reads stored data; `None` for a type that is not of this family.
    pub(crate) fn decode_own(event_type: &str, schema_version: u16, data: &[u8]) -> Option<Result<Self, DecodeError>> {
        Some(match event_type {
            SaleRecorded::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::SaleRecorded),
            ShopOpened::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ShopOpened),
            ShopChanged::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ShopChanged),
            TerminalRegistered::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::TerminalRegistered),
            TerminalChanged::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::TerminalChanged),
            ArticleAdded::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ArticleAdded),
            ArticleChanged::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ArticleChanged),
            StockReceived::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::StockReceived),
            StockAdjusted::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::StockAdjusted),
            StockTransferredOut::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::StockTransferredOut),
            StockTransferredIn::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::StockTransferredIn),
            SaleCancelled::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::SaleCancelled),
            _ => return None,
        })
    }
}

impl DomainEvent for ShopEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ShopOpened(_) => ShopOpened::TYPE,
            Self::ShopChanged(_) => ShopChanged::TYPE,
            Self::TerminalRegistered(_) => TerminalRegistered::TYPE,
            Self::TerminalChanged(_) => TerminalChanged::TYPE,
            Self::ArticleAdded(_) => ArticleAdded::TYPE,
            Self::ArticleChanged(_) => ArticleChanged::TYPE,
            Self::StockReceived(_) => StockReceived::TYPE,
            Self::StockAdjusted(_) => StockAdjusted::TYPE,
            Self::StockTransferredOut(_) => StockTransferredOut::TYPE,
            Self::StockTransferredIn(_) => StockTransferredIn::TYPE,
            Self::SaleRecorded(_) => SaleRecorded::TYPE,
            Self::SaleCancelled(_) => SaleCancelled::TYPE,
        }
    }

    fn schema_version(&self) -> u16 {
        match self {
            Self::ShopOpened(_) => ShopOpened::SCHEMA_VERSION,
            Self::ShopChanged(_) => ShopChanged::SCHEMA_VERSION,
            Self::TerminalRegistered(_) => TerminalRegistered::SCHEMA_VERSION,
            Self::TerminalChanged(_) => TerminalChanged::SCHEMA_VERSION,
            Self::ArticleAdded(_) => ArticleAdded::SCHEMA_VERSION,
            Self::ArticleChanged(_) => ArticleChanged::SCHEMA_VERSION,
            Self::StockReceived(_) => StockReceived::SCHEMA_VERSION,
            Self::StockAdjusted(_) => StockAdjusted::SCHEMA_VERSION,
            Self::StockTransferredOut(_) => StockTransferredOut::SCHEMA_VERSION,
            Self::StockTransferredIn(_) => StockTransferredIn::SCHEMA_VERSION,
            Self::SaleRecorded(_) => SaleRecorded::SCHEMA_VERSION,
            Self::SaleCancelled(_) => SaleCancelled::SCHEMA_VERSION,
        }
    }

    fn occurred_at(&self) -> DateTime<Utc> {
        match self {
            Self::ShopOpened(opened) => opened.opened_at,
            Self::ShopChanged(changed) => changed.changed_at,
            Self::TerminalRegistered(registered) => registered.registered_at,
            Self::TerminalChanged(changed) => changed.changed_at,
            Self::ArticleAdded(added) => added.added_at,
            Self::ArticleChanged(changed) => changed.changed_at,
            Self::StockReceived(received) => received.received_at,
            Self::StockAdjusted(adjusted) => adjusted.adjusted_at,
            Self::StockTransferredOut(transferred) => transferred.transferred_at,
            Self::StockTransferredIn(transferred) => transferred.transferred_at,
            Self::SaleRecorded(sold) => sold.sold_at,
            Self::SaleCancelled(cancelled) => cancelled.cancelled_at,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::ShopOpened(opened) => event::write(opened),
            Self::ShopChanged(changed) => event::write(changed),
            Self::TerminalRegistered(registered) => event::write(registered),
            Self::TerminalChanged(changed) => event::write(changed),
            Self::ArticleAdded(added) => event::write(added),
            Self::ArticleChanged(changed) => event::write(changed),
            Self::StockReceived(received) => event::write(received),
            Self::StockAdjusted(adjusted) => event::write(adjusted),
            Self::StockTransferredOut(transferred) => event::write(transferred),
            Self::StockTransferredIn(transferred) => event::write(transferred),
            Self::SaleRecorded(sold) => event::write(sold),
            Self::SaleCancelled(cancelled) => event::write(cancelled),
        }
    }

    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_own(event_type, schema_version, data)
            .unwrap_or_else(|| Err(DecodeError::UnknownType(event_type.to_owned())))
    }
}
