//! Whether the database holds a log, of which format, and bringing it to this build's.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{PostgresOptions, ServerError, connection::connector};
use crate::{Position, database::Connector};

/// Forward only; a step's place in the list + 1 is the format it leads to.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/postgres/log/0001_log.sql")];

/// Which format a log had, and which one it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Server, database and schema.
    pub place: String,
    /// The format found; 0 when there was no log.
    pub from: i32,
    /// The format now.
    pub to: i32,
}

/// Brings the log on a server to this build's format, or checks only, as the options say. Any number of processes may
/// do so at once.
///
/// # Errors
/// [`ServerError::NotMigrated`] when the options only allow a check and the log has another format than this build's;
/// the others when there is no log to be reached.
pub async fn migrate(options: &PostgresOptions) -> Result<Migrated, ServerError> {
    let connector = connector(options)?;
    let (found, _) = prepare(&connector, options).await?;
    Ok(Migrated { place: connector.place, from: found, to: known() })
}

fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// Checks the log's format, and brings it to this build's when that is allowed. Several nodes may do so at once: one of
/// them migrates, the others wait for it. Answers the format that was found, and the log's head.
pub(super) async fn prepare(connector: &Connector, options: &PostgresOptions) -> Result<(i32, Position), ServerError> {
    let place = || connector.place.clone();
    // Migrating may wait for another node that migrates, and for large tables.
    let patience = connector.patience_for(usize::MAX);
    match tokio::time::timeout(patience, open(connector, options)).await {
        Ok(opened) => opened,
        Err(_) => Err(ServerError::NoAnswer { place: place(), seconds: patience.as_secs() }),
    }
}

async fn open(connector: &Connector, options: &PostgresOptions) -> Result<(i32, Position), ServerError> {
    let place = || connector.place.clone();
    let in_database = |source| ServerError::Database { place: place(), source };
    let mut connection = PgConnection::connect_with(&connector.options("start")).await.map_err(in_database)?;
    let encoding: String = setting(&mut connection, "server_encoding").await.map_err(in_database)?;
    if encoding != "UTF8" {
        return Err(ServerError::Encoding { place: place(), encoding });
    }
    if setting(&mut connection, "fsync").await.map_err(in_database)? != "on" {
        tracing::warn!(place = place(), "fsync is off on this server: a power loss there can take what was answered");
    }
    let mut found = format(&mut connection, &options.schema, &place).await?;
    if found > known() {
        return Err(ServerError::TooNew { place: place(), found, known: known() });
    }
    if found < known() {
        if !options.migrate {
            return Err(ServerError::NotMigrated { place: place(), found, known: known() });
        }
        found = bring_forward(&mut connection, &options.schema, &place).await?;
    }
    let ends = sqlx::query("SELECT position, (SELECT max(position) FROM events) FROM head");
    let ends = ends.fetch_one(&mut connection).await.map_err(in_database)?;
    let head = Position::from_sql(ends.try_get(0).map_err(in_database)?);
    let last = Position::from_sql(ends.try_get::<Option<i64>, _>(1).map_err(in_database)?.unwrap_or(0));
    if head != last {
        return Err(ServerError::TailLost { place: place(), head, last });
    }
    // What cannot be said to a server any more need not be.
    let _ = connection.close().await;
    Ok((found, head))
}

async fn setting(connection: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(connection).await?.try_get(0)
}

/// The format found, 0 when there is no log; refuses a schema that holds something else.
async fn format(connection: &mut PgConnection, schema: &str, place: &impl Fn() -> String) -> Result<i32, ServerError> {
    let in_database = |source| ServerError::Database { place: place(), source };
    let found = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE c.relname = 'log_format')
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1",
    );
    let found = found.bind(schema).fetch_one(&mut *connection).await.map_err(in_database)?;
    let (relations, formats): (i64, i64) =
        (found.try_get(0).map_err(in_database)?, found.try_get(1).map_err(in_database)?);
    match (relations, formats) {
        (0, _) => Ok(0),
        (_, 0) => Err(ServerError::Foreign { place: place() }),
        _ => {
            let step = sqlx::query("SELECT coalesce(max(step), 0) FROM log_format");
            step.fetch_one(connection).await.and_then(|row| row.try_get(0)).map_err(in_database)
        }
    }
}

/// Answers the format that was found once nobody else was migrating.
async fn bring_forward(
    connection: &mut PgConnection,
    schema: &str,
    place: &impl Fn() -> String,
) -> Result<i32, ServerError> {
    let in_database = |source| ServerError::Database { place: place(), source };
    let mut transaction = connection.begin().await.map_err(in_database)?;
    let run = async |transaction: &mut PgConnection, sql: String| {
        // Made of what is compiled in and of a schema name that was checked.
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(transaction).await.map(drop).map_err(in_database)
    };
    run(&mut transaction, "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0".to_owned()).await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('daybook log ' || $1, 0))").bind(schema);
    lock.execute(&mut *transaction).await.map_err(in_database)?;
    // Another node may have been faster, or newer.
    let found = format(&mut transaction, schema, place).await?;
    if found > known() {
        return Err(ServerError::TooNew { place: place(), found, known: known() });
    }
    if found == 0 {
        let exists = sqlx::query("SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1").bind(schema);
        if exists.fetch_optional(&mut *transaction).await.map_err(in_database)?.is_none() {
            run(&mut transaction, format!("CREATE SCHEMA {schema}")).await?;
        }
        let format =
            "CREATE TABLE log_format (step integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";
        run(&mut transaction, format.to_owned()).await?;
    }
    for (step, sql) in (1..).zip(MIGRATIONS) {
        if step > found {
            run(&mut transaction, sql.to_owned()).await?;
            let applied = sqlx::query("INSERT INTO log_format (step) VALUES ($1)").bind(step);
            applied.execute(&mut *transaction).await.map_err(in_database)?;
        }
    }
    transaction.commit().await.map_err(in_database)?;
    if found < known() {
        tracing::info!(place = place(), from = found, to = known(), "brought the log's tables to this build's format");
    }
    Ok(found)
}
