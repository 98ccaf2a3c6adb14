//! What the log and the read models share when they stand on a PostgreSQL server: how connections are made and set up,
//! how long an answer is waited for, what the server's error codes mean, and texts that it cannot store as they are.
//!
//! It knows no table. Which statements run, and what follows from an error's [`Meaning`], is decided by its users.

mod connector;
mod meaning;
mod text;
mod wait;

pub(crate) use self::text::of_name;
pub use self::{
    connector::{AddressError, Connector, STATEMENT_SECONDS_MAX},
    meaning::{Meaning, is_away},
    text::{escape_nul, unescape_nul},
    wait::{late, within},
};
