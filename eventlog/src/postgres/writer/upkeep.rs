//! What the writer does besides: copies of states, old answers, and seeing whether a write goes through again.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    super::{connection::answered, error::StatementError},
    Writer,
};
use crate::{
    Snapshot,
    rules::{ANSWERS_KEPT, PURGE_AGAIN, PURGE_EVERY, PURGE_ROWS_MAX},
};

/// When old answers are looked for next.
pub(super) struct Purge {
    at: Instant,
}

impl Purge {
    pub(super) fn new() -> Self {
        Self { at: Instant::now() + PURGE_EVERY }
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl Writer {
    /// A small statement beside the appends, on the writer's connection.
    async fn aside(&mut self, query: Query<'_>) -> Result<u64, StatementError> {
        let mut connection = self.take_connection().await?;
        let done = answered(self.connector.patience, query.execute(&mut connection)).await?;
        self.connection = Some(connection);
        Ok(done.rows_affected())
    }

    pub(super) async fn keep(&mut self, snapshot: &Snapshot) {
        let query = sqlx::query(
            "INSERT INTO snapshots AS kept (stream_id, shape, next, state)
             SELECT stream_id, $2, $3, $4 FROM streams WHERE name = $1
             ON CONFLICT (stream_id) DO UPDATE SET shape = excluded.shape, next = excluded.next, state = excluded.state
             WHERE kept.shape <> excluded.shape OR kept.next < excluded.next",
        );
        let query = query.bind(snapshot.stream.as_str()).bind(&snapshot.shape).bind(snapshot.next.cast_signed());
        if let Err(error) = self.aside(query.bind(&snapshot.state)).await {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(stream = %snapshot.stream, error, "a state's copy could not be kept");
        }
    }

    /// A write that changes nothing, to see whether one goes through again.
    pub(super) async fn probe(&mut self) -> bool {
        self.rest().await;
        let goes_through = self.aside(sqlx::query("UPDATE head SET position = position")).await.is_ok();
        self.writable.store(goes_through, Ordering::Release);
        if goes_through {
            self.rest = None;
        }
        goes_through
    }

    pub(super) async fn purge_old_answers(&mut self) {
        let now = Instant::now();
        if now < self.purge.at {
            return;
        }
        self.purge.at = now + PURGE_EVERY;
        let query = sqlx::query(
            "DELETE FROM idempotency_keys WHERE (caller, route, key) IN
             (SELECT caller, route, key FROM idempotency_keys
              WHERE created_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1
              ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        );
        let kept = i64::try_from(ANSWERS_KEPT.as_micros()).unwrap_or(i64::MAX);
        match self.aside(query.bind(kept).bind(PURGE_ROWS_MAX)).await {
            // There may be more: go on soon.
            Ok(rows) if rows >= PURGE_ROWS_MAX.unsigned_abs() => self.purge.at = now + PURGE_AGAIN,
            Ok(_) => {}
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error, "old answers to repeated requests could not be removed");
            }
        }
    }
}
