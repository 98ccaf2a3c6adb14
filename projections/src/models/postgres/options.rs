//! How the server is reached.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::ReadModelsError;

/// The schema that read models live in, unless another is asked for.
const SCHEMA: &str = "daybook_models";
const READERS_MAX: u32 = 8;
/// How long a connection to the server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest name that PostgreSQL keeps, less what the name of a projection may take.
const SCHEMA_BYTES_MAX: usize = 24;
/// The longest query; a little shorter than it is waited for.
const READ_MAX: &str = "10s";
/// A connection that was not used for so long is tried before it is used again.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Which PostgreSQL server keeps the read models, and how it is used. A node holds up to `readers_max` connections that
/// read; the one that keeps the read models up holds one more for each of them.
#[derive(Clone)]
pub struct PostgresModelsOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`
    pub url: String,
    /// The schema that holds the read models: lower-case letters, digits and `_`. Schemas that begin with it and
    /// `_building_` are used as well.
    pub schema: String,
    /// Whether the schema and the catalog in it are made where there are none.
    pub make: bool,
    /// The most connections that read at the same time.
    pub readers_max: u32,
    /// How long a connection is waited for.
    pub patience: Duration,
}

impl PostgresModelsOptions {
    /// Read models in the schema `daybook_models` of the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let (url, schema) = (url.into(), SCHEMA.to_owned());
        Self { url, schema, make: true, readers_max: READERS_MAX, patience: PATIENCE }
    }
}

/// Without the url, which may hold a password.
impl fmt::Debug for PostgresModelsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, schema, make, readers_max, patience } = self;
        f.debug_struct("PostgresModelsOptions")
            .field("schema", schema)
            .field("make", make)
            .field("readers_max", readers_max)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

/// How connections are made.
#[derive(Clone)]
pub(super) struct Connector {
    options: PgConnectOptions,
    pub(super) schema: String,
    pub(super) patience: Duration,
    readers_max: u32,
    pub(super) place: String,
}

impl Connector {
    pub(super) fn new(options: &PostgresModelsOptions) -> Result<Self, ReadModelsError> {
        let PostgresModelsOptions { url, schema, readers_max, patience, .. } = options;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = (1..=SCHEMA_BYTES_MAX).contains(&schema.len()) && schema.bytes().all(is_plain);
        if !is_name || schema.starts_with("pg_") {
            return Err(ReadModelsError::Options(format!(
                "a schema's name has 1 to {SCHEMA_BYTES_MAX} lower-case letters, digits and '_', and does not begin \
                 with pg_, unlike {schema:?}"
            )));
        }
        // The error of a url names its parts, but not the password.
        let url: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| ReadModelsError::Options(error.to_string()))?;
        let database = url.get_database().unwrap_or_else(|| url.get_username()).to_owned();
        let place = format!("postgres://{}:{}/{database}, schema {schema}", url.get_host(), url.get_port());
        let settings = [
            ("search_path", schema.as_str()),
            ("default_transaction_isolation", "read committed"),
            ("statement_timeout", "60s"),
            // A node that hangs or has lost its network keeps no lock for ever.
            ("idle_in_transaction_session_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("client_connection_check_interval", "2s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("standard_conforming_strings", "on"),
            ("jit", "off"),
        ];
        let options = url.options(settings).disable_statement_logging();
        let (schema, patience, readers_max) = (schema.clone(), *patience, (*readers_max).max(1));
        Ok(Self { options, schema, patience, readers_max, place })
    }

    /// `what`: what the connection is for, as an administrator sees it.
    fn options(&self, what: &str) -> PgConnectOptions {
        self.options.clone().application_name(&format!("daybook models {what}"))
    }

    /// A connection of its own, bound to nobody's pool and to the runtime that asks.
    pub(super) async fn connect(&self, what: &str) -> Result<PgConnection, sqlx::Error> {
        self.connect_with(what, []).await
    }

    pub(super) async fn connect_with<const N: usize>(
        &self,
        what: &str,
        settings: [(&str, &str); N],
    ) -> Result<PgConnection, sqlx::Error> {
        let options = self.options(what).options(settings);
        tokio::time::timeout(self.patience, PgConnection::connect_with(&options)).await.unwrap_or_else(|_| {
            let seconds = self.patience.as_secs_f32();
            let text = format!("no connection to the server within {seconds} s");
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
        })
    }

    /// Connections for queries.
    pub(super) fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(self.readers_max)
            .acquire_timeout(self.patience)
            .test_before_acquire(false)
            .before_acquire(|connection, usage| {
                Box::pin(async move {
                    if usage.idle_for > IDLE_MAX {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(
                self.options("reader").options([("statement_timeout", READ_MAX)]).statement_cache_capacity(256),
            )
    }
}
