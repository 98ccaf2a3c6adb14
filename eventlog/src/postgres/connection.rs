//! The log's connections, set up for what they are used for.

use std::time::Duration;

use sqlx::{
    PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{PostgresOptions, ServerError, error::StatementError};
use crate::database::{AddressError, Connector, within};

/// The longest name that PostgreSQL keeps.
const SCHEMA_BYTES_MAX: usize = 63;

/// How this log's connections are made.
pub(super) fn connector(options: &PostgresOptions) -> Result<Connector, ServerError> {
    let schema = (&*options.schema, SCHEMA_BYTES_MAX);
    let connector = Connector::new("daybook", &options.url, schema, options.patience)?;
    Ok(connector.with_settings([
        // Every statement goes through an index, however few rows there are and however old the statistics: a plan
        // that was made when the log was empty must still be good when it is not.
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        // And planned once: planning takes longer than running it.
        ("plan_cache_mode", "force_generic_plan"),
        ("max_parallel_workers_per_gather", "0"),
    ]))
}

impl From<AddressError> for ServerError {
    fn from(error: AddressError) -> Self {
        Self::Options(error.to_string())
    }
}

/// A connection whose commits are on disk when they are answered, whatever the server's default is. Stricter settings,
/// which wait for standbys, stay as they are.
pub(super) async fn connect_to_write(connector: &Connector) -> Result<PgConnection, StatementError> {
    let mut connection = connector.connect("writer").await?;
    let durable = sqlx::raw_sql(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    );
    answered(connector.patience, durable.execute(&mut connection)).await?;
    Ok(connection)
}

/// Waits for the database, but not for ever: it may disappear without closing the connection.
pub(super) async fn answered<T>(
    patience: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StatementError> {
    Ok(within(patience, statement).await?)
}

/// The rows of a statement, read to the very end: only then has an autocommitted statement committed.
pub(super) async fn rows(
    connection: &mut PgConnection,
    patience: Duration,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, StatementError> {
    answered(patience, query.fetch_all(connection)).await
}
