//! Which numbers may be taken, and where a terminal may be active.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::events::{ArticleIdTaken, RegistryEvent, ShopIdTaken, TerminalAssigned, TerminalReleased};
use crate::decider::Decider;
use crate::instant::to_micros;
use crate::shop::{ArticleId, ShopId};

/// What is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryState {
    /// The numbers of all shops.
    pub shops: BTreeSet<ShopId>,
    /// The numbers of all articles, and the shop of each.
    pub articles: BTreeMap<ArticleId, ShopId>,
    /// The serial numbers of all active terminals, and the shop of each.
    pub terminals: BTreeMap<String, ShopId>,
}

impl RegistryState {
    /// Names the shape of this state, for the copies that are kept of it. Raise it when the shape changes: copies of
    /// another shape are not looked at.
    pub const SHAPE: &str = "registry-1";
}

/// A command to the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryCommand {
    /// Take a number for a shop.
    TakeShopId {
        /// The number; without one, the next free one.
        id: Option<ShopId>,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Take a number for an article.
    TakeArticleId {
        /// The number; without one, the next free one.
        id: Option<ArticleId>,
        /// The shop of the article.
        shop_id: ShopId,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Make a terminal active in a shop.
    AssignTerminal {
        /// The terminal's serial number.
        serial: String,
        /// The shop.
        shop_id: ShopId,
        /// The time of the command.
        now: DateTime<Utc>,
    },
    /// Make a terminal not active in a shop; nothing when it is not.
    ReleaseTerminal {
        /// The terminal's serial number.
        serial: String,
        /// The shop.
        shop_id: ShopId,
        /// The time of the command.
        now: DateTime<Utc>,
    },
}

/// Why the register refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryRejection {
    /// The number belongs to another shop or article.
    #[error("the id {id} is taken")]
    IdTaken {
        /// The number.
        id: i64,
    },
    /// Numbers count from 1.
    #[error("the id {id} is below 1")]
    IdBelowOne {
        /// The number.
        id: i64,
    },
    /// The highest number there is was taken: none comes after it.
    #[error("there is no id after the highest one taken")]
    NoIdLeft,
    /// The terminal is active in another shop.
    #[error("the terminal {serial} is active in shop {shop_id}")]
    ActiveElsewhere {
        /// The terminal's serial number.
        serial: String,
        /// The shop it is active in.
        shop_id: ShopId,
    },
}

/// The rules of the register.
#[derive(Debug, Clone, Copy)]
pub struct RegistryDecider;

impl Decider for RegistryDecider {
    type Command = RegistryCommand;
    type Event = RegistryEvent;
    type State = RegistryState;
    type Rejection = RegistryRejection;

    fn decide(state: &RegistryState, command: &RegistryCommand) -> Result<Vec<RegistryEvent>, RegistryRejection> {
        match command {
            RegistryCommand::TakeShopId { id, now } => {
                let shop_id = free(*id, state.shops.last(), |id| state.shops.contains(&id))?;
                Ok(vec![RegistryEvent::ShopIdTaken(ShopIdTaken { shop_id, at: to_micros(*now) })])
            }
            RegistryCommand::TakeArticleId { id, shop_id, now } => {
                let highest = state.articles.last_key_value().map(|(id, _)| id);
                let article_id = free(*id, highest, |id| state.articles.contains_key(&id))?;
                let taken = ArticleIdTaken { article_id, shop_id: *shop_id, at: to_micros(*now) };
                Ok(vec![RegistryEvent::ArticleIdTaken(taken)])
            }
            RegistryCommand::AssignTerminal { serial, shop_id, now } => match state.terminals.get(serial) {
                Some(active_in) if active_in == shop_id => Ok(Vec::new()),
                Some(active_in) => {
                    Err(RegistryRejection::ActiveElsewhere { serial: serial.clone(), shop_id: *active_in })
                }
                None => Ok(vec![RegistryEvent::TerminalAssigned(TerminalAssigned {
                    serial: serial.clone(),
                    shop_id: *shop_id,
                    at: to_micros(*now),
                })]),
            },
            RegistryCommand::ReleaseTerminal { serial, shop_id, now } => match state.terminals.get(serial) {
                Some(active_in) if active_in == shop_id => {
                    Ok(vec![RegistryEvent::TerminalReleased(TerminalReleased {
                        serial: serial.clone(),
                        shop_id: *shop_id,
                        at: to_micros(*now),
                    })])
                }
                Some(_) | None => Ok(Vec::new()),
            },
        }
    }

    fn evolve(state: &mut RegistryState, event: &RegistryEvent) {
        match event {
            RegistryEvent::ShopIdTaken(taken) => {
                state.shops.insert(taken.shop_id);
            }
            RegistryEvent::ArticleIdTaken(taken) => {
                state.articles.insert(taken.article_id, taken.shop_id);
            }
            RegistryEvent::TerminalAssigned(assigned) => {
                state.terminals.insert(assigned.serial.clone(), assigned.shop_id);
            }
            RegistryEvent::TerminalReleased(released) => {
                state.terminals.remove(&released.serial);
            }
        }
    }
}

/// The number asked for, if it is free; without one, the number after the highest.
fn free(asked: Option<i64>, highest: Option<&i64>, is_taken: impl Fn(i64) -> bool) -> Result<i64, RegistryRejection> {
    match asked {
        Some(id) if id < 1 => Err(RegistryRejection::IdBelowOne { id }),
        Some(id) if is_taken(id) => Err(RegistryRejection::IdTaken { id }),
        Some(id) => Ok(id),
        None => highest.map_or(Some(1), |highest| highest.checked_add(1)).ok_or(RegistryRejection::NoIdLeft),
    }
}
