//! What is wrong with one sale of a batch, in the words its terminal shows.

use super::money::{AMOUNT_MAX, MoneyError};
use super::values::{ArticleId, LINES_MAX, QUANTITY_MAX};

/// Why one sale is not recorded; the others of its batch go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaleError {
    /// There is less of an article than was sold.
    #[error("Stock insuffisant pour {article}")]
    InsufficientStock {
        /// The article's name.
        article: String,
    },
    /// The sale was recorded before.
    #[error("Vente {numero} existe déjà")]
    Duplicate {
        /// The invoice number.
        numero: String,
    },
    /// Another sale has the same number.
    #[error("Vente {numero} existe déjà avec un autre contenu")]
    DuplicateConflict {
        /// The invoice number.
        numero: String,
    },
    /// The shop does not sell this article.
    #[error("Article {article_id} introuvable ou inactif")]
    ArticleNotFound {
        /// The article.
        article_id: ArticleId,
    },
    /// Nobody pays like this.
    #[error("Mode de paiement inconnu: {mode}")]
    UnknownPaymentMode {
        /// What was sent.
        mode: String,
    },
    /// Nothing was sold.
    #[error("La vente ne contient aucune ligne")]
    NoLines,
    /// More was sold than fits one sale.
    #[error("La vente contient {count} lignes, {LINES_MAX} au plus")]
    TooManyLines {
        /// How many lines were sent.
        count: usize,
    },
    /// No or too many units.
    #[error("Quantité invalide: {quantity} (de 1 à {QUANTITY_MAX})")]
    QuantityOutOfRange {
        /// What was sent.
        quantity: i64,
    },
    /// A line or the whole sale costs too much.
    #[error("Montant trop élevé (au plus {AMOUNT_MAX})")]
    AmountTooLarge,
    /// The stock would be farther below zero than it is counted.
    #[error("Stock hors limites pour {article}")]
    StockOutOfRange {
        /// The article's name.
        article: String,
    },
    /// A field could not be read.
    #[error("{field}: {message}")]
    Invalid {
        /// Where it is: `lignes[0].quantite`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl SaleError {
    /// The error of an amount in `field` that could not be read.
    #[must_use]
    pub fn amount(field: impl Into<String>, error: MoneyError) -> Self {
        let message = match error {
            MoneyError::NotANumber => "un nombre est attendu",
            MoneyError::Negative => "le montant ne peut pas être négatif",
            MoneyError::TooPrecise => "deux décimales au plus",
            MoneyError::TooLarge => return Self::AmountTooLarge,
        };
        Self::Invalid { field: field.into(), message: message.to_owned() }
    }

    /// What a program tells the error by; none where there is nothing a terminal could do.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::InsufficientStock { .. } => Some("INSUFFICIENT_STOCK"),
            Self::Duplicate { .. } => Some("DUPLICATE"),
            Self::DuplicateConflict { .. } => Some("DUPLICATE_CONFLICT"),
            Self::ArticleNotFound { .. } => Some("ARTICLE_NOT_FOUND"),
            Self::UnknownPaymentMode { .. }
            | Self::NoLines
            | Self::TooManyLines { .. }
            | Self::QuantityOutOfRange { .. }
            | Self::AmountTooLarge
            | Self::Invalid { .. } => Some("INVALID_SALE"),
            Self::StockOutOfRange { .. } => None,
        }
    }
}
