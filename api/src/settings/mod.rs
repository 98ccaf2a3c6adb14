//! What the operator may choose, and where each choice came from.
//!
//! [`table::TABLE`] is the only list: flags, environment variables, keys of `daybook.toml`, help, defaults and
//! validation all come from it. A setting is taken from its flag, else its variable, else the file, else its default.

mod args;
mod database;
mod describe;
mod error;
mod parse;
mod sources;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::Url;

pub use args::{SettingsArgs, args};
pub(crate) use describe::masked_url;
pub use describe::{Row, as_toml};
pub use error::{SettingsError, WrongSetting};
pub(crate) use parse::duration;
pub use sources::{ConfigFile, Sources};
pub use table::{Setting, TABLE};

/// Every setting, parsed and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the embedded engine.
    pub data: PathBuf,
    /// The database that takes the folder's place.
    pub database_url: Option<Secret>,
    /// File that holds its URL; when there is one, `database_url` was read from it.
    pub database_url_file: Option<PathBuf>,
    /// Address the server listens on.
    pub listen: SocketAddr,
    /// Tracing filter, already known to parse.
    pub log: String,
    /// Shape of the log lines.
    pub log_format: LogFormat,
    /// HS256 key given as text.
    pub jwt_secret: Option<Secret>,
    /// File that holds the HS256 key.
    pub jwt_secret_file: Option<PathBuf>,
    /// PEM file of an RS256, ES256 or EdDSA public key.
    pub jwt_public_key_file: Option<PathBuf>,
    /// Where the key set is fetched.
    pub jwks_url: Option<Url>,
    /// Required `iss` of tokens.
    pub jwt_issuer: Option<String>,
    /// Required `aud` of tokens.
    pub jwt_audience: Option<String>,
    /// Origins that browsers may call from, as browsers write them.
    pub cors_origins: Vec<HeaderValue>,
    /// Largest request body, in bytes.
    pub body_limit: usize,
    /// Requests a second for each caller; 0 is no limit.
    pub rate_limit: u32,
    /// When an active session counts as left.
    pub session_idle: Duration,
    /// How often idle sessions are looked for.
    pub session_sweep: Duration,
    /// How long ago a sale may have happened by its till's clock.
    pub till_past_max: Duration,
    /// Read-model lag above which the server reports itself as not ready.
    pub lag_max: Duration,
    /// What the operator should know although nothing is wrong enough to stop: misspelt variables, for one.
    pub warnings: Vec<String>,
    rows: Vec<Row>,
}

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Text that is never printed: `Debug` shows a mask, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The URL of a database; the error says what is allowed.
    pub(crate) fn database_url(text: &str) -> Result<Self, String> {
        parse::database_url(text)
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(describe::MASK)
    }
}

impl Settings {
    /// Reads every setting from `sources`; the error names every wrong one at once.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        let mut settings = Self::blank();
        let mut wrong = sources.unknown_file_keys();
        for setting in TABLE {
            let found = match sources.find(setting) {
                Ok(found) => found,
                Err(error) => {
                    wrong.push(error);
                    continue;
                }
            };
            if let Some(value) = &found
                && let Err(allowed) = (setting.take)(&mut settings, &value.text)
            {
                wrong.push(WrongSetting::value(setting, value, allowed));
            }
            settings.rows.push(Row::new(setting, found));
        }
        if let Err(error) = database::read_file(&mut settings) {
            wrong.push(error);
        }
        if settings.jwt_secret.is_some() && settings.jwt_secret_file.is_some() {
            wrong.push(WrongSetting::rule(
                "DAYBOOK_JWT_SECRET and DAYBOOK_JWT_SECRET_FILE are both set: keep one of them",
            ));
        }
        settings.warnings = sources.warnings();
        settings.warnings.extend(database::unused_folder(&settings));
        if wrong.is_empty() { Ok(settings) } else { Err(SettingsError::new(wrong)) }
    }

    /// Name, value (masked when secret) and source of every setting, in the table's order.
    pub fn describe(&self) -> &[Row] {
        &self.rows
    }

    // Every field with a default in the table is overwritten while loading; a test holds the table to it.
    fn blank() -> Self {
        Self {
            data: PathBuf::new(),
            database_url: None,
            database_url_file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: String::new(),
            log_format: LogFormat::Text,
            jwt_secret: None,
            jwt_secret_file: None,
            jwt_public_key_file: None,
            jwks_url: None,
            jwt_issuer: None,
            jwt_audience: None,
            cors_origins: Vec::new(),
            body_limit: 0,
            rate_limit: 0,
            session_idle: Duration::ZERO,
            session_sweep: Duration::ZERO,
            till_past_max: Duration::ZERO,
            lag_max: Duration::ZERO,
            warnings: Vec::new(),
            rows: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
