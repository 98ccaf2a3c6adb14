//! What may be asked of a shop, and the ways to be refused.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::events::SaleLine;
use super::money::Money;
use super::sales::RecordSales;
use super::values::{ArticleId, KeyDigest, LINES_MAX, PaymentMode, QUANTITY_MAX, STOCK_MAX, ShopId};

/// A command to a shop's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShopCommand {
    /// Open the shop.
    OpenShop {
        /// The shop: a number that belongs to it already.
        shop_id: ShopId,
        /// Its name.
        name: String,
        /// The currency of its prices.
        currency: String,
        /// The zone whose calendar its days are counted in.
        timezone: Tz,
        /// Whether it sells what it does not have.
        allow_negative_stock: bool,
        /// The stock at or under which an article is low, in units.
        low_stock_threshold: i64,
        /// Whether every terminal needs a key.
        require_terminal_keys: bool,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Change the shop's settings: `None` leaves a field as it is.
    ChangeShop {
        /// Its name.
        name: Option<String>,
        /// The currency of its prices.
        currency: Option<String>,
        /// The zone whose calendar its days are counted in.
        timezone: Option<Tz>,
        /// Whether it sells what it does not have.
        allow_negative_stock: Option<bool>,
        /// The stock at or under which an article is low, in units.
        low_stock_threshold: Option<i64>,
        /// Whether every terminal needs a key.
        require_terminal_keys: Option<bool>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Register a terminal, or one of this shop that is not active any more once again.
    RegisterTerminal {
        /// The terminal's serial number.
        serial: String,
        /// Its name.
        name: String,
        /// What its key is checked against, when it has one.
        key: Option<KeyDigest>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Rename, activate or deactivate a terminal: `None` leaves a field as it is.
    ChangeTerminal {
        /// The terminal's serial number.
        serial: String,
        /// Its name.
        name: Option<String>,
        /// Whether it may sell.
        active: Option<bool>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Add an article.
    AddArticle {
        /// The article: a number that belongs to it already.
        article_id: ArticleId,
        /// Its name.
        name: String,
        /// Its code.
        code: Option<String>,
        /// Its category.
        category: Option<String>,
        /// What one unit costs a customer.
        price: Money,
        /// Whether it may be sold.
        active: bool,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Change an article: `None` leaves a field as it is, `Some(None)` clears it.
    ChangeArticle {
        /// The article.
        article_id: ArticleId,
        /// Its name.
        name: Option<String>,
        /// Its code.
        code: Option<Option<String>>,
        /// Its category.
        category: Option<Option<String>>,
        /// What one unit costs a customer.
        price: Option<Money>,
        /// Whether it may be sold.
        active: Option<bool>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Take goods in.
    ReceiveStock {
        /// What the delivery is called on paper.
        document: String,
        /// What came.
        lines: Vec<ReceiptOrder>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Correct the stock. A count is recorded also when the stock was right.
    AdjustStock {
        /// What the correction is called on paper.
        document: String,
        /// Why it is made.
        reason: String,
        /// What is wrong.
        lines: Vec<AdjustmentOrder>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Send stock to another shop.
    TransferOut {
        /// The other shop.
        to_shop: ShopId,
        /// What the transfer is called on paper.
        document: String,
        /// What leaves.
        lines: Vec<TransferOrder>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Take stock in from another shop.
    TransferIn {
        /// The other shop.
        from_shop: ShopId,
        /// What the transfer is called on paper.
        document: String,
        /// What comes.
        lines: Vec<TransferOrder>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Record a batch of sales; what is wrong with one of them is in [`plan_sales`](super::plan_sales).
    RecordSales(RecordSales),
    /// Cancel a sale.
    CancelSale(CancelSale),
}

/// What came of one article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptOrder {
    /// The article.
    pub article_id: ArticleId,
    /// How many units came.
    pub quantity: i64,
    /// What one unit cost the shop, when known.
    pub unit_cost: Option<Money>,
}

/// What is wrong with the stock of one article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustmentOrder {
    /// The article.
    pub article_id: ArticleId,
    /// How it is put right.
    pub correction: Correction,
}

/// How a stock is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// By so many units more, or fewer.
    Delta(i64),
    /// So many units were counted.
    Counted(Count),
}

impl Correction {
    /// So many units were counted just now.
    #[must_use]
    pub const fn counted(units: i64) -> Self {
        Self::Counted(Count { units, at: None })
    }
}

/// What was counted of an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many units.
    pub units: i64,
    /// When they were counted, if that is not now.
    pub at: Option<CountedAt>,
}

/// A moment in the past at which an article was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedAt {
    /// The moment.
    pub at: DateTime<Utc>,
    /// The stock that was recorded at that moment.
    pub stock: i64,
}

/// What moves of one article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOrder {
    /// The article as this shop calls it.
    pub article_id: ArticleId,
    /// The article as the other shop calls it.
    pub other_article_id: ArticleId,
    /// How many units move.
    pub quantity: i64,
}

/// Cancel a sale: all of its goods come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSale {
    /// The invoice number of the sale.
    pub numero_facture: String,
    /// Why it is cancelled.
    pub motif: String,
    /// The serial number of the terminal that cancels it; any of the shop may.
    pub terminal: String,
    /// The sale with that number.
    pub sale: SaleToCancel,
    /// Whether it was cancelled before.
    pub already_cancelled: bool,
    /// The time of the command.
    pub now: DateTime<Utc>,
}

/// A recorded sale, as far as cancelling needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleToCancel {
    /// Where it stands in the log.
    pub position: u64,
    /// When it happened at the till.
    pub sold_at: DateTime<Utc>,
    /// The shop's zone at that time.
    pub timezone: Tz,
    /// How it was paid.
    pub mode: PaymentMode,
    /// Whether it was paid.
    pub paye: bool,
    /// What all its lines cost together.
    pub montant_total: Money,
    /// What was sold.
    pub lines: Vec<SoldLine>,
}

/// One line of a recorded sale, without the stock of that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldLine {
    /// The article.
    pub article_id: ArticleId,
    /// The article's name at the time of the sale.
    pub article_nom: String,
    /// The article's code at the time of the sale, when it had one.
    pub article_code: Option<String>,
    /// How many units.
    pub quantite: i64,
    /// What one unit cost.
    pub prix_unitaire: Money,
    /// What the line cost.
    pub sous_total: Money,
}

impl From<&SaleLine> for SoldLine {
    fn from(line: &SaleLine) -> Self {
        Self {
            article_id: line.article_id,
            article_nom: line.article_nom.clone(),
            article_code: line.article_code.clone(),
            quantite: line.quantite,
            prix_unitaire: line.prix_unitaire,
            sous_total: line.sous_total,
        }
    }
}

/// Why a shop's command is refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShopRejection {
    /// Nobody has opened the shop.
    #[error("the shop is not open")]
    NotOpen,
    /// The shop was opened before.
    #[error("the shop {shop_id} is open already")]
    AlreadyOpen {
        /// The shop.
        shop_id: ShopId,
    },
    /// The terminal is active in this shop already.
    #[error("the terminal {serial} is registered already")]
    AlreadyRegistered {
        /// The terminal's serial number.
        serial: String,
    },
    /// The shop has no such terminal.
    #[error("the shop has no terminal {serial}")]
    UnknownTerminal {
        /// The terminal's serial number.
        serial: String,
    },
    /// The terminal may not sell, or is none of this shop.
    #[error("the terminal {serial} is not active in this shop")]
    TerminalNotActive {
        /// The terminal's serial number.
        serial: String,
    },
    /// The article was added before.
    #[error("the article {article_id} was added already")]
    ArticleExists {
        /// The article.
        article_id: ArticleId,
    },
    /// The shop has no such article.
    #[error("the shop has no article {article_id}")]
    UnknownArticle {
        /// The article.
        article_id: ArticleId,
    },
    /// A document without lines moves nothing.
    #[error("there is no line")]
    NoLines,
    /// More lines than fit one document.
    #[error("there are {count} lines, at most {LINES_MAX} are allowed")]
    TooManyLines {
        /// How many there are.
        count: usize,
    },
    /// A line names an article that the shop does not have, or, where goods go from shop to shop, not any more.
    #[error("line {line}: the article {article_id} is unknown or not active in this shop")]
    LineArticle {
        /// The line.
        line: usize,
        /// The article.
        article_id: ArticleId,
    },
    /// A line moves no unit, or too many.
    #[error("line {line}: the quantity {quantity} is not from 1 to {QUANTITY_MAX}")]
    LineQuantity {
        /// The line.
        line: usize,
        /// The quantity.
        quantity: i64,
    },
    /// A line would take the stock below zero.
    #[error("line {line}: the stock of article {article_id} is {stock} and would be below zero")]
    BelowZero {
        /// The line.
        line: usize,
        /// The article.
        article_id: ArticleId,
        /// The stock before the line.
        stock: i64,
    },
    /// A line would take the stock farther from zero than it is counted.
    #[error("line {line}: the stock of article {article_id} would be more than {STOCK_MAX} from zero")]
    StockOutOfRange {
        /// The line.
        line: usize,
        /// The article.
        article_id: ArticleId,
    },
    /// An article was counted before the shop had it.
    #[error("line {line}: the article {article_id} was added at {added_at}, after it was counted")]
    CountedBeforeAdded {
        /// The line.
        line: usize,
        /// The article.
        article_id: ArticleId,
        /// When the article was added.
        added_at: DateTime<Utc>,
    },
    /// What was sold keeps its currency.
    #[error("the shop has sold in {currency} already")]
    CurrencyInUse {
        /// The shop's currency.
        currency: String,
    },
    /// The shop's terminals need keys, and this one is to be registered without.
    #[error("the shop requires keys, and the terminal {serial} is registered without")]
    KeyRequired {
        /// The terminal's serial number.
        serial: String,
    },
    /// A shop that requires keys has no active terminal without one.
    #[error("the shop cannot require keys while it has active terminals without: {}", serials.join(", "))]
    TerminalsWithoutKeys {
        /// Their serial numbers.
        serials: Vec<String>,
    },
    /// Goods do not move from a shop to itself.
    #[error("a transfer needs two shops")]
    SameShop,
    /// A sale is cancelled once.
    #[error("the sale {numero_facture} was cancelled already")]
    AlreadyCancelled {
        /// The invoice number of the sale.
        numero_facture: String,
    },
}
