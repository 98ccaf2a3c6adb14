//! Connections, set up for what they are used for.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};

use super::{PostgresOptions, ServerError, error::StatementError};

/// A statement that takes longer than this is ended by the server, whatever it does.
const STATEMENT_SECONDS_MAX: u64 = 60;
/// A session that holds a transaction open without saying anything is ended by the server, so that a node which hangs
/// or has lost its network holds no lock for ever.
const IDLE_IN_TRANSACTION_SECONDS_MAX: u64 = 10;
/// Bytes of a statement that a second is allowed for, on top of the patience.
const BYTES_A_SECOND_MIN: usize = 2 << 20;

/// How this log's connections are made.
#[derive(Clone)]
pub(super) struct Connector {
    options: PgConnectOptions,
    pub(super) patience: Duration,
    place: String,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, ServerError> {
        let PostgresOptions { url, schema, patience, .. } = options;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if schema.is_empty() || schema.len() > 63 || !schema.bytes().all(is_plain) || schema.starts_with("pg_") {
            return Err(ServerError::Options(format!(
                "a schema's name has 1 to 63 lower-case letters, digits and '_', and does not begin with pg_, unlike \
                 {schema:?}"
            )));
        }
        // The error of a url names its parts, but not the password.
        let url: PgConnectOptions =
            url.parse().map_err(|error: sqlx::Error| ServerError::Options(error.to_string()))?;
        let database = url.get_database().unwrap_or_else(|| url.get_username()).to_owned();
        let place = format!("postgres://{}:{}/{database}, schema {schema}", url.get_host(), url.get_port());
        // A lock is waited for half the patience, so that there is a second try.
        let lock_ms = (patience.as_millis() / 2).max(100);
        let settings = [
            ("search_path", schema.clone()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("statement_timeout", format!("{STATEMENT_SECONDS_MAX}s")),
            ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_SECONDS_MAX}s")),
            ("lock_timeout", format!("{lock_ms}ms")),
            ("client_connection_check_interval", "2s".to_owned()),
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("standard_conforming_strings", "on".to_owned()),
            // Every statement goes through an index, however few rows there are and however old the statistics: a plan
            // that was made when the log was empty must still be good when it is not.
            ("enable_seqscan", "off".to_owned()),
            ("enable_bitmapscan", "off".to_owned()),
            ("enable_hashjoin", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
            // And planned once: planning takes longer than running it.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("max_parallel_workers_per_gather", "0".to_owned()),
            ("jit", "off".to_owned()),
        ];
        let options = url.options(settings).disable_statement_logging();
        Ok(Self { options, patience: *patience, place })
    }

    /// Server, database and schema, without the password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// `what`: what the connection is for, as an administrator sees it.
    pub(super) fn options(&self, what: &str) -> PgConnectOptions {
        self.options.clone().application_name(&format!("daybook {what}"))
    }

    pub(super) async fn connect(&self, what: &str) -> Result<PgConnection, StatementError> {
        answered(self.patience, PgConnection::connect_with(&self.options(what))).await
    }

    /// A connection whose commits are on disk when they are answered, whatever the server is told otherwise. Stricter
    /// settings, which wait for standbys, stay as they are.
    pub(super) async fn connect_to_write(&self) -> Result<PgConnection, StatementError> {
        let mut connection = self.connect("writer").await?;
        let durable = sqlx::raw_sql(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        );
        answered(self.patience, durable.execute(&mut connection)).await?;
        Ok(connection)
    }

    /// How long a statement of so many bytes may take.
    pub(super) fn patience_for(&self, bytes: usize) -> Duration {
        let seconds = u64::try_from(bytes / BYTES_A_SECOND_MIN).unwrap_or(u64::MAX);
        self.patience + Duration::from_secs(seconds.min(STATEMENT_SECONDS_MAX))
    }
}

/// Waits for the database, but not for ever: it may be gone without a word.
pub(super) async fn answered<T>(
    patience: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StatementError> {
    match tokio::time::timeout(patience, statement).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StatementError::NoAnswer(patience.as_millis())),
    }
}

/// The rows of a statement, read to the very end: only then has an autocommitted statement committed.
pub(super) async fn rows(
    connection: &mut PgConnection,
    patience: Duration,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, StatementError> {
    answered(patience, query.fetch_all(connection)).await
}
