//! How to reach the server.

use std::{fmt, time::Duration};

/// The schema that a log lives in, unless another is asked for.
const SCHEMA: &str = "daybook";
/// How long an append or a read waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that read at the same time.
const READERS_MAX: usize = 4;

/// Which PostgreSQL server, and how it is used. A node holds up to `readers_max` connections that read, one that writes
/// and one that listens.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=…`
    pub url: String,
    /// The schema that holds the log: lower-case letters, digits and `_`.
    pub schema: String,
    /// Whether a missing or older log is brought to this build's format; else it is refused.
    pub migrate: bool,
    /// How long an append or a read waits for a database that is away, before it fails.
    pub patience: Duration,
    /// The most connections that read at the same time.
    pub readers_max: usize,
}

impl PostgresOptions {
    /// The log in the schema `daybook` of the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let (url, schema) = (url.into(), SCHEMA.to_owned());
        Self { url, schema, migrate: true, patience: PATIENCE, readers_max: READERS_MAX }
    }
}

/// Without the url, which may hold a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, schema, migrate, patience, readers_max } = self;
        f.debug_struct("PostgresOptions")
            .field("schema", schema)
            .field("migrate", migrate)
            .field("patience", patience)
            .field("readers_max", readers_max)
            .finish_non_exhaustive()
    }
}
