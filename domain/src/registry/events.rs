//! What can happen to the register of shops.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{self, DecodeError, DomainEvent, Stored, Upcaster};
use crate::shop::{ArticleId, ShopId};

/// An event of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent {
    /// A number belongs to a shop now.
    ShopIdTaken(ShopIdTaken),
    /// A number belongs to an article now.
    ArticleIdTaken(ArticleIdTaken),
    /// A terminal is active in a shop now.
    TerminalAssigned(TerminalAssigned),
    /// A terminal is not active in a shop any more.
    TerminalReleased(TerminalReleased),
}

/// A number belongs to a shop now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopIdTaken {
    /// The shop.
    pub shop_id: ShopId,
    /// When the number was taken.
    #[serde(with = "crate::instant")]
    pub at: DateTime<Utc>,
}

impl Stored for ShopIdTaken {
    const TYPE: &'static str = "ShopIdTaken";
    const SCHEMA_VERSION: u16 = 1;
}

/// A number belongs to an article now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleIdTaken {
    /// The article.
    pub article_id: ArticleId,
    /// The shop it belongs to.
    pub shop_id: ShopId,
    /// When the number was taken.
    #[serde(with = "crate::instant")]
    pub at: DateTime<Utc>,
}

impl Stored for ArticleIdTaken {
    const TYPE: &'static str = "ArticleIdTaken";
    const SCHEMA_VERSION: u16 = 1;
}

/// A terminal is active in a shop now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalAssigned {
    /// The terminal's serial number.
    pub serial: String,
    /// The shop it is active in.
    pub shop_id: ShopId,
    /// Since when.
    #[serde(with = "crate::instant")]
    pub at: DateTime<Utc>,
}

impl Stored for TerminalAssigned {
    const TYPE: &'static str = "TerminalAssigned";
    const SCHEMA_VERSION: u16 = 1;
}

/// A terminal is not active in a shop any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalReleased {
    /// The terminal's serial number.
    pub serial: String,
    /// The shop it was active in.
    pub shop_id: ShopId,
    /// Since when.
    #[serde(with = "crate::instant")]
    pub at: DateTime<Utc>,
}

impl Stored for TerminalReleased {
    const TYPE: &'static str = "TerminalReleased";
    const SCHEMA_VERSION: u16 = 1;
}

/// No stored shape of the register is older than the current one.
const UPCASTERS: &[Upcaster] = &[];

impl RegistryEvent {
    /// The names of all events of this family.
    pub const TYPES: &[&str] =
        &[ShopIdTaken::TYPE, ArticleIdTaken::TYPE, TerminalAssigned::TYPE, TerminalReleased::TYPE];

    /// Reads stored data; `None` for a type that is not of this family.
    pub(crate) fn decode_own(event_type: &str, schema_version: u16, data: &[u8]) -> Option<Result<Self, DecodeError>> {
        Some(match event_type {
            ShopIdTaken::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ShopIdTaken),
            ArticleIdTaken::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::ArticleIdTaken),
            TerminalAssigned::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::TerminalAssigned),
            TerminalReleased::TYPE => event::read(UPCASTERS, schema_version, data).map(Self::TerminalReleased),
            _ => return None,
        })
    }
}

impl DomainEvent for RegistryEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ShopIdTaken(_) => ShopIdTaken::TYPE,
            Self::ArticleIdTaken(_) => ArticleIdTaken::TYPE,
            Self::TerminalAssigned(_) => TerminalAssigned::TYPE,
            Self::TerminalReleased(_) => TerminalReleased::TYPE,
        }
    }

    fn schema_version(&self) -> u16 {
        match self {
            Self::ShopIdTaken(_) => ShopIdTaken::SCHEMA_VERSION,
            Self::ArticleIdTaken(_) => ArticleIdTaken::SCHEMA_VERSION,
            Self::TerminalAssigned(_) => TerminalAssigned::SCHEMA_VERSION,
            Self::TerminalReleased(_) => TerminalReleased::SCHEMA_VERSION,
        }
    }

    fn occurred_at(&self) -> DateTime<Utc> {
        match self {
            Self::ShopIdTaken(taken) => taken.at,
            Self::ArticleIdTaken(taken) => taken.at,
            Self::TerminalAssigned(assigned) => assigned.at,
            Self::TerminalReleased(released) => released.at,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::ShopIdTaken(taken) => event::write(taken),
            Self::ArticleIdTaken(taken) => event::write(taken),
            Self::TerminalAssigned(assigned) => event::write(assigned),
            Self::TerminalReleased(released) => event::write(released),
        }
    }

    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_own(event_type, schema_version, data)
            .unwrap_or_else(|| Err(DecodeError::UnknownType(event_type.to_owned())))
    }
}
