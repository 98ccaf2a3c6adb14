//! How the server is reached.

use std::{fmt, time::Duration};

use daybook_eventlog::database::{AddressError, Connector};
use sqlx::{Connection, PgPool, postgres::PgPoolOptions};

use super::ReadModelsError;

/// The schema that read models live in, unless another is asked for.
const SCHEMA: &str = "daybook_models";
const READERS_MAX: u32 = 8;
/// How long a connection to the server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest name that PostgreSQL keeps, less what the name of a projection may take.
const SCHEMA_BYTES_MAX: usize = 24;
/// How long a statement waits for a lock: a take-over may hold a table for a moment.
const LOCK_MAX: &str = "5s";
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

/// How the read models' connections are made.
pub(super) fn connector(options: &PostgresModelsOptions) -> Result<Connector, ReadModelsError> {
    let schema = (&*options.schema, SCHEMA_BYTES_MAX);
    let connector = Connector::new("daybook models", &options.url, schema, options.patience)?;
    Ok(connector.with_settings([("lock_timeout", LOCK_MAX)]))
}

impl From<AddressError> for ReadModelsError {
    fn from(error: AddressError) -> Self {
        Self::Options(error.to_string())
    }
}

/// At most `readers_max` connections for queries.
pub(super) fn pool(connector: &Connector, readers_max: u32) -> PgPool {
    let options = connector.options("reader").options([("statement_timeout", READ_MAX)]);
    PgPoolOptions::new()
        .max_connections(readers_max.max(1))
        .acquire_timeout(connector.patience)
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > IDLE_MAX {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.statement_cache_capacity(256))
}
