//! Shops: their tills, their articles, and a ledger of every change of stock; sales come in batches from the tills.
//!
//! Balances and statistics are not here: they are read models. The state of a shop knows the present stock, because
//! deciding on a sale needs it, and the invoice numbers used last; older ones are looked up by the caller.

mod command;
mod decider;
mod error;
mod events;
mod fingerprint;
mod money;
mod numbers;
mod plan;
mod sales;
mod state;
mod stock;
mod values;

pub use command::{
    AdjustmentOrder, CancelSale, Correction, Count, CountedAt, ReceiptOrder, SaleToCancel, ShopCommand, ShopRejection,
    SoldLine, TransferOrder,
};
pub use decider::ShopDecider;
pub use error::SaleError;
pub use events::{
    AdjustmentLine, ArticleAdded, ArticleChanged, CancelledSale, ReceiptLine, SaleCancelled, SaleLine, SaleRecorded,
    ShopChanged, ShopEvent, ShopOpened, StockAdjusted, StockReceived, StockTransferredIn, StockTransferredOut,
    TerminalChanged, TerminalRegistered, TransferLine,
};
pub use money::{AMOUNT_MAX, Money, MoneyError};
pub use numbers::{RECENT_NUMBERS_MAX, RecentNumbers, generated_number};
pub use plan::{SalesPlan, plan_sales};
pub use sales::{DraftLine, KnownSale, RecordSales, SaleDraft};
pub use state::{Article, OpenShop, Settings, Shop, Terminal};
pub use values::{
    Alert, AlertKind, ArticleId, FUTURE_SALE_MINUTES_MAX, KeyDigest, LINES_MAX, PaymentMode, QUANTITY_MAX, STOCK_MAX,
    ShopId,
};

/// The stream of one shop: `shop-{id}`.
#[must_use]
pub fn stream(shop_id: ShopId) -> String {
    format!("shop-{shop_id}")
}
