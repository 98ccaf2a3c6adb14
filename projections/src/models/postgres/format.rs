//! Whether the schema holds a catalog, of which format, and bringing it to this build's.

use daybook_eventlog::database::Connector;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{ReadModelsError, catalog::Change};

/// Forward only; a step's place in the list + 1 is the format it leads to.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../../../migrations/postgres/read_models/0001_catalog.sql"),
    include_str!("../../../../migrations/postgres/read_models/0002_jobs.sql"),
];

const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Brings the catalog to this build's format where that is allowed, and refuses one that it does not know. Several nodes
/// may do so at once.
pub(super) async fn prepare(connector: &Connector, is_allowed: bool) -> Result<(), ReadModelsError> {
    let schema = &connector.schema;
    let mut connection = connector.connect("catalog").await?;
    if format(&mut connection, schema).await? == KNOWN {
        return Ok(());
    }
    if !is_allowed {
        return Err(ReadModelsError::Missing(schema.clone()));
    }
    let mut change = Change::begin(&mut connection, schema).await?;
    // Another node may have been quicker.
    let found = format(&mut change.transaction, schema).await?;
    if found == 0 {
        change.run(format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await?;
    }
    change.run(format!("SET LOCAL search_path TO \"{schema}\"")).await?;
    if found == 0 {
        let steps =
            "CREATE TABLE catalog_format (step bigint PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";
        change.run(steps.to_owned()).await?;
    }
    for (step, sql) in (1..).zip(MIGRATIONS) {
        if step > found {
            change.run(format!("{sql}\nINSERT INTO catalog_format (step) VALUES ({step})")).await?;
        }
    }
    change.commit().await
}

/// The format found, 0 when there is no catalog; refuses a newer one than this build's.
async fn format(connection: &mut PgConnection, schema: &str) -> Result<i64, ReadModelsError> {
    // A look into the server's tables: what a session remembers of their names may be older than another's commit.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'catalog_format')";
    if !sqlx::query_scalar::<_, bool>(sql).bind(schema).fetch_one(&mut *connection).await? {
        return Ok(0);
    }
    let sql = format!("SELECT coalesce(max(step), 0) FROM \"{schema}\".catalog_format");
    match sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await? {
        found if found > KNOWN => Err(ReadModelsError::NewerCatalog { schema: schema.to_owned(), found, known: KNOWN }),
        found => Ok(found),
    }
}
