//! Connections to one schema of a server, with the settings that every session has.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::wait::within;

/// The server ends a statement that takes longer than this, whatever it does.
pub const STATEMENT_SECONDS_MAX: u64 = 60;
/// The server ends a session that keeps a transaction open without a statement for this long, so that a node which hangs
/// or has lost its network does not keep locks.
const IDLE_IN_TRANSACTION_SECONDS_MAX: u64 = 10;
/// A statement is given a second more for every so many bytes that it sends.
const BYTES_A_SECOND_MIN: usize = 2 << 20;

/// The address or the schema's name cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

/// Makes connections that find the tables of one schema.
#[derive(Clone)]
pub struct Connector {
    options: PgConnectOptions,
    application: &'static str,
    /// The schema that unqualified names are looked up in.
    pub schema: String,
    /// How long a connection, and a statement without a limit of its own, is waited for.
    pub patience: Duration,
    /// Server, database and schema, without the password.
    pub place: String,
}

impl Connector {
    /// `application` begins the name of every session, as an administrator sees it. A schema's name has at most
    /// `schema_bytes_max` bytes, so that there is room for what its users add to it.
    ///
    /// # Errors
    /// [`AddressError`] when `url` or `schema` cannot be used. The text holds no password.
    pub fn new(
        application: &'static str,
        url: &str,
        (schema, schema_bytes_max): (&str, usize),
        patience: Duration,
    ) -> Result<Self, AddressError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = (1..=schema_bytes_max).contains(&schema.len()) && schema.bytes().all(is_plain);
        if !is_name || schema.starts_with("pg_") {
            return Err(AddressError(format!(
                "a schema's name has 1 to {schema_bytes_max} lower-case letters, digits and '_', and does not begin \
                 with pg_, unlike {schema:?}"
            )));
        }
        // The error of a URL names the part that is wrong, but never the password.
        let url: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| AddressError(error.to_string()))?;
        let database = url.get_database().unwrap_or_else(|| url.get_username()).to_owned();
        let place = format!("postgres://{}:{}/{database}, schema {schema}", url.get_host(), url.get_port());
        // Half the patience, so that there is time for a second try.
        let lock_ms = (patience.as_millis() / 2).max(100);
        let settings = [
            ("search_path", schema.to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("statement_timeout", format!("{STATEMENT_SECONDS_MAX}s")),
            ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_SECONDS_MAX}s")),
            ("lock_timeout", format!("{lock_ms}ms")),
            ("client_connection_check_interval", "2s".to_owned()),
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
            ("jit", "off".to_owned()),
        ];
        let options = url.options(settings).disable_statement_logging();
        Ok(Self { options, application, schema: schema.to_owned(), patience, place })
    }

    /// With settings that all its sessions have on top of the common ones, or instead of them.
    #[must_use]
    pub fn with_settings<const N: usize>(mut self, settings: [(&str, &str); N]) -> Self {
        self.options = self.options.options(settings);
        self
    }

    /// `purpose`: what the session is for; it ends the session's name.
    #[must_use]
    pub fn options(&self, purpose: &str) -> PgConnectOptions {
        self.options.clone().application_name(&format!("{} {purpose}", self.application))
    }

    /// A connection that belongs to no pool, for the runtime that asks.
    ///
    /// # Errors
    /// [`sqlx::Error`] when the server cannot be reached within the patience, or refuses.
    pub async fn connect(&self, purpose: &str) -> Result<PgConnection, sqlx::Error> {
        self.connect_with(purpose, []).await
    }

    /// As [`connect`](Self::connect), with settings for this session alone.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with<const N: usize>(
        &self,
        purpose: &str,
        settings: [(&str, &str); N],
    ) -> Result<PgConnection, sqlx::Error> {
        let options = self.options(purpose).options(settings);
        within(self.patience, PgConnection::connect_with(&options)).await
    }

    /// How long a statement that sends so many bytes is waited for.
    #[must_use]
    pub fn patience_for(&self, bytes: usize) -> Duration {
        let seconds = u64::try_from(bytes / BYTES_A_SECOND_MIN).unwrap_or(u64::MAX);
        self.patience + Duration::from_secs(seconds.min(STATEMENT_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://me:hush@db.example:6000/books";

    fn new(url: &str, schema: &str) -> Result<Connector, AddressError> {
        Connector::new("daybook", url, (schema, 24), Duration::from_secs(5))
    }

    #[test]
    fn a_place_names_server_database_and_schema_and_not_the_password() {
        assert_eq!(new(URL, "daybook").unwrap().place, "postgres://db.example:6000/books, schema daybook");
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_the_password() {
        let long = "a".repeat(25);
        for (url, schema) in [
            (URL, ""),
            (URL, "Upper"),
            (URL, "pg_x"),
            (URL, "a-b"),
            (URL, &long),
            ("postgres://me:hush@db:port/x", "a"),
        ] {
            let message = new(url, schema).err().unwrap().to_string();
            assert!(!message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn a_large_statement_is_waited_for_longer_but_never_for_ever() {
        let connector = new(URL, "daybook").unwrap();
        let seconds = |bytes| connector.patience_for(bytes).as_secs();
        assert_eq!([seconds(0), seconds(20 << 20), seconds(usize::MAX)], [5, 15, 5 + STATEMENT_SECONDS_MAX]);
    }
}
