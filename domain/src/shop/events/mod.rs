//! What can happen to a shop.

mod opening;
mod sale;
mod stock;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

pub use opening::{ArticleAdded, ArticleChanged, ShopChanged, ShopOpened, TerminalChanged, TerminalRegistered};
pub use sale::{CancelledSale, SaleCancelled, SaleLine, SaleRecorded};
pub use stock::{
    AdjustmentLine, ReceiptLine, StockAdjusted, StockReceived, StockTransferredIn, StockTransferredOut, TransferLine,
};

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

    fn remark(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::SaleRecorded(sale) => {
                let sent = || sale.date_replaced.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
                let sent = sale.date_sent.clone().or_else(sent);
                sent.map(|sent| ("date_replaced", Value::String(sent)))
            }
            _ => None,
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
