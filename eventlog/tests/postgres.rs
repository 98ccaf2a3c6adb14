//! The engine on a PostgreSQL server keeps the log's promises, and those of a log that several nodes share.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here is meant to fail loudly")]

#[macro_use]
mod conformance;

mod shared;

#[path = "../../tests/support/postgres.rs"]
mod server;

use conformance::{Engine, Tampering};
use daybook_eventlog::{Log, PostgresOptions};
use server::Server;

/// A log in a database of its own, on the server that all facts share, or on what a hard stop of it left behind.
struct Postgres {
    crashed: Option<Server>,
    database: String,
}

impl Postgres {
    fn server(&self) -> &Server {
        self.crashed.as_ref().unwrap_or_else(|| Server::shared())
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions::new(self.server().url(&self.database))
    }

    fn sql(&self, sql: &str) -> Result<String, String> {
        self.server().sql(&self.database, &format!("SET search_path = daybook; {sql}"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.crashed.is_none() {
            Server::shared().drop_database(&self.database);
        }
    }
}

impl Engine for Postgres {
    fn missing() -> Option<String> {
        server::missing()
    }

    async fn fresh() -> Self {
        Self { crashed: None, database: Server::shared().create_database() }
    }

    async fn open(&self) -> Log {
        Log::connect(&self.options()).await.unwrap()
    }

    async fn after_a_hard_stop(&self) -> Self {
        Self { crashed: Some(self.server().after_a_hard_stop()), database: self.database.clone() }
    }

    async fn tamper(&self, tampering: Tampering) -> Result<(), String> {
        let sql = match tampering {
            Tampering::ChangeEvent => "UPDATE events SET data = '{}' WHERE position = 1",
            Tampering::DeleteEvent => "DELETE FROM events WHERE position = 1",
            Tampering::DeleteAllEvents => "DELETE FROM events",
            Tampering::RenameStream => "UPDATE streams SET name = 'other-1'",
            Tampering::DeleteStream => "DELETE FROM streams",
            Tampering::RenameType => "UPDATE kinds SET event_type = 'Other'",
        };
        self.sql(sql).map(drop)
    }
}

conformance!(Postgres);
