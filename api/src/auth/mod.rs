//! Who is calling: bearer tokens, the keys that verify them, and the caller they name.
//!
//! Nothing here knows HTTP status codes or routes; terminals of a shop are recognised elsewhere.

mod caller;
mod claims;
mod demand;
mod error;
mod jwks;
mod key;
mod secret;
pub mod terminal_key;
mod verifier;
mod watched;

pub use caller::{Caller, Role, Roles};
pub use demand::MissingRole;
pub use error::{AuthError, KeyError};
pub use verifier::TokenVerifier;

#[cfg(test)]
mod tests;
