//! Shops: what they are, every movement of their stock, and their sales.

pub mod documents;
pub mod ledger;
pub mod register;
pub mod sales;
