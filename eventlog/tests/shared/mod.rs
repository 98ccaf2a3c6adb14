//! What only a log on a server promises: about several nodes, and about a server that goes away.

mod load;
mod nodes;
mod outages;
mod schema;
mod wire;

use std::time::Duration;

use daybook_eventlog::{Log, PostgresOptions};

use crate::{Postgres, conformance::Engine, server};

/// A database for `count` nodes, and the nodes; nothing where there is no PostgreSQL.
async fn nodes<const COUNT: usize>() -> Option<(Postgres, [Log; COUNT])> {
    if server::missing().is_some() {
        return None;
    }
    let place = Postgres::fresh().await;
    let mut nodes = Vec::new();
    for _ in 0..COUNT {
        nodes.push(place.open().await);
    }
    Some((place, nodes.try_into().ok().unwrap()))
}

impl Postgres {
    /// A node that waits for the database no longer than a second.
    async fn impatient(&self) -> Log {
        let options = PostgresOptions { patience: Duration::from_secs(1), ..self.options() };
        Log::connect(&options).await.unwrap()
    }

    /// A session of its own, as another node would have one.
    async fn session(&self) -> sqlx::PgConnection {
        use sqlx::Connection;
        let mut session = sqlx::PgConnection::connect(&self.server().url(&self.database)).await.unwrap();
        sqlx::raw_sql("SET search_path = daybook").execute(&mut session).await.unwrap();
        session
    }

    /// Ends all connections that are called so.
    fn cut(&self, application: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE '{application}'"
        );
        self.sql(&sql).unwrap();
    }
}
