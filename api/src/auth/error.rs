//! Why a token is refused, and why keys cannot be used.

use std::path::PathBuf;

/// Why there is no caller. No variant carries any part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No bearer token came.
    #[error("a bearer token is needed: send Authorization: Bearer <token>")]
    Missing,
    /// Not three base64url parts of JSON, or more than one of them.
    #[error("the Authorization header holds no well-formed bearer token")]
    Malformed,
    /// `none`, or an algorithm this server does not use.
    #[error("the token's algorithm is not accepted; accepted are HS256, RS256, ES256 and EdDSA with a configured key")]
    Algorithm,
    /// The token needs a header extension that this server does not know.
    #[error("the token's header has critical extensions, which are not supported")]
    CriticalHeader,
    /// No key of that id and algorithm.
    #[error("no key of this server verifies the token")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired: get a new one")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is missing or another one.
    #[error("the token's issuer (iss) is not the configured one")]
    Issuer,
    /// `aud` is missing or another one.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// `sub` is missing, empty, too long, or reads like a terminal's or the server's own name in events.
    #[error(
        "the token's subject (sub) must be a text of 1 to 255 characters that does not begin with a prefix that names \
         the server's own actors, like terminal: or system:"
    )]
    Subject,
    /// `sub` is no reader.
    #[error("the token's subject (sub) must be the reader's UUID")]
    NoReader,
    /// A claim has a wrong type, or `exp` is missing.
    #[error(
        "a claim of the token is missing or has a wrong type: exp and sub are needed, roles and projects are lists"
    )]
    Claims,
    /// The key set has never been fetched, so nothing can be said about the token.
    #[error("the key set that verifies tokens cannot be reached now")]
    KeysUnavailable,
}

/// Why keys cannot be read, made or used. Messages name files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file cannot be made.
    #[error("a key cannot be made in {path}")]
    Make {
        /// The file that was to be made.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no key, and none is made.
    #[error(
        "there is no key for tokens in {folder}, and no log that one belongs to: start the server there first (daybook serve \
         --data …), name the folder of a server with --data, or set DAYBOOK_JWT_SECRET"
    )]
    NotMade {
        /// The data folder.
        folder: PathBuf,
    },
    /// Others on the machine can read the key.
    #[error(
        "the key file {path} has mode {mode:03o}, so others may read it: run chmod 600 on it, or delete it to get a new key"
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("the key file {path} is of no use: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is expected.
        problem: &'static str,
    },
    /// The key set cannot be fetched.
    #[error("the key set {url} cannot be fetched: {problem}")]
    KeySet {
        /// Where it was looked for.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// Nothing would verify any token.
    #[error(
        "no key for tokens is set, and with a database none is made: set DAYBOOK_JWT_SECRET, DAYBOOK_JWT_SECRET_FILE, \
         DAYBOOK_JWT_PUBLIC_KEY_FILE or DAYBOOK_JWKS_URL, the same for all nodes"
    )]
    Unset,
    /// Tokens are verified, but nothing here can sign one.
    #[error(
        "there is no key to sign tokens with: set DAYBOOK_JWT_SECRET or DAYBOOK_JWT_SECRET_FILE, the same for all nodes"
    )]
    NoneToSignWith,
    /// A token cannot be made.
    #[error("the token cannot be made: {0}")]
    Mint(&'static str),
}
