//! Who is calling: bearer tokens, the keys that verify them, and the caller they name; terminals and their keys.
//!
//! Nothing here knows HTTP status codes or routes.

mod caller;
mod claims;
mod demand;
mod error;
mod jwks;
mod key;
mod secret;
pub mod terminal_key;
mod terminals;
mod verifier;
mod watched;

pub use caller::{Caller, Role, Roles};
pub use demand::MissingRole;
pub use error::{AuthError, KeyError};
pub use secret::MissingKey;
pub use terminals::{Terminal, TerminalRefused, Terminals, TerminalsError};
pub use verifier::TokenVerifier;

#[cfg(test)]
mod tests;
