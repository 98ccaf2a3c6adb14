//! What PostgreSQL itself does each second: pgbench, which inserts the rows of the log into a bare table.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::{Failed, postgres::SCHEMA};

/// The same columns and indexes as the log's events, and none of its promises.
const TABLE: &str = "CREATE TABLE bare (LIKE events INCLUDING INDEXES); CREATE SEQUENCE places CACHE 1";

/// The bench's schema, which goes away with this.
pub(super) struct Bare {
    url: String,
}

impl Bare {
    /// Without anything that an earlier bench has left there.
    pub(super) fn fresh(url: &str) -> Result<Self, Failed> {
        let bare = Self { url: url.to_owned() };
        bare.remove()?;
        Ok(bare)
    }

    /// Makes the bare table, beside the log.
    pub(super) fn make_table(&self) -> Result<(), Failed> {
        self.sql(&format!("SET search_path TO {SCHEMA}; {TABLE}"))
    }

    /// The rows inserted each second by so many clients, so many rows a transaction.
    pub(super) async fn insert(&self, clients: u32, rows: u32, seconds: f64) -> Result<f64, Failed> {
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(insert(rows).as_bytes())?;
        let mut command = Command::new("pgbench");
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--client", &clients.to_string()]);
        command.args(["--time", &format!("{:.0}", seconds.ceil())]).arg("--file").arg(script.path()).arg(&self.url);
        let output = tokio::task::spawn_blocking(move || run(&mut command)).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        let transactions = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let transactions: f64 = transactions.ok_or_else(|| format!("pgbench told no rate: {text}"))?;
        Ok(transactions * f64::from(rows))
    }

    fn remove(&self) -> Result<(), Failed> {
        self.sql(&format!("SET client_min_messages TO warning; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
    }

    fn sql(&self, sql: &str) -> Result<(), Failed> {
        run(Command::new("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url])).map(drop)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "the schema {SCHEMA} is still there");
        }
    }
}

/// One statement with rows as the log has them: a session's report of where its reader is.
fn insert(rows: u32) -> String {
    let mut sql = format!("INSERT INTO {SCHEMA}.bare VALUES ");
    for row in 0..rows {
        let comma = if row == 0 { "" } else { ", " };
        // Positions twice: a place in the log, and a version that no other row of the client's stream has.
        let _ = write!(
            sql,
            "{comma}(nextval('{SCHEMA}.places'), :client_id, currval('{SCHEMA}.places'), 1, 1761000000000000, \
             1761000000000000, 4242424242424242, gen_random_uuid(), 1, \
             '{{\"actor\":\"456e7890-e12b-34c5-d678-901234567890\",\"correlation_id\":\"bench\"}}', \
             '{{\"session_id\":\"123e4567-e89b-12d3-a456-426614174000\",\"position\":20,\
             \"reported_at\":\"2025-10-20T22:40:00Z\"}}')"
        );
    }
    sql.push(';');
    sql
}

fn run(command: &mut Command) -> Result<Output, Failed> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} does not run: {error}; install PostgreSQL's client programs"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
