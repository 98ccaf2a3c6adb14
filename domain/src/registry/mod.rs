//! The register of shops: which numbers are taken, and where a terminal is active, over all shops.
//!
//! What a shop or an article is called is not here: that is in the stream of its shop, and written together with the
//! number taken here.

mod decider;
mod events;

pub use decider::{RegistryCommand, RegistryDecider, RegistryRejection, RegistryState};
pub use events::{ArticleIdTaken, RegistryEvent, ShopIdTaken, TerminalAssigned, TerminalReleased};

/// The one stream of the register.
pub const STREAM: &str = "register-shops";
