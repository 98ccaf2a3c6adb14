//! The head as this node knows it, and how it hears of what other nodes append.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Row,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{connection::answered, error::StatementError};
use crate::{Position, database::Connector};

/// The channel on which a commit tells its last position; the schema's name goes before it.
pub(super) const CHANNEL: &str = "_head";
/// How often the head is asked for, should a notification get lost.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Between two tries to listen.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The last position known to be committed. It never goes back.
///
/// Whoever knows position n of it sees everything up to n in any statement that begins from then on. A writer locks the
/// row `head` before it takes its positions, and keeps it until its transaction has ended; a transaction's rows become
/// visible before its locks are let go of. So the next writer begins only when everything below its own positions is
/// visible to every new statement, and a statement that sees one transaction's events sees those of all before it.
pub(super) struct Head(watch::Sender<Position>);

impl Head {
    pub(super) fn new(position: Position) -> Self {
        Self(watch::Sender::new(position))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Position> {
        self.0.subscribe()
    }

    pub(super) fn position(&self) -> Position {
        *self.0.borrow()
    }

    /// `position` was seen to be committed.
    pub(super) fn advance(&self, position: Position) {
        self.0.send_if_modified(|head| {
            let grows = position > *head;
            *head = position.max(*head);
            grows
        });
    }
}

/// Follows what all nodes append, for ever: by notifications, and by asking now and then.
pub(super) async fn follow(head: Arc<Head>, connector: Connector, schema: String) {
    let mut retry = RETRY_FIRST;
    loop {
        let listening = Instant::now();
        if let Err(error) = listen(&head, &connector, &schema).await {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "the log's notifications cannot be listened to: trying again");
        }
        if listening.elapsed() > RETRY_MAX {
            retry = RETRY_FIRST;
        }
        sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Until the connection is lost, which is told as `Ok` when it was quiet about it.
async fn listen(head: &Head, connector: &Connector, schema: &str) -> Result<(), StatementError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(connector.patience)
        .connect_lazy_with(connector.options("listener"));
    let mut listener = answered(connector.patience, PgListener::connect_with(&pool)).await?;
    match answered(connector.patience, listener.listen(&format!("{schema}{CHANNEL}"))).await {
        // A database of another make, or a pool in between: asking now and then does as well, only later.
        Err(error) if !error.meaning().may_pass() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "this database takes no LISTEN: asking it for the log's head every {POLL_EVERY:?}"
            );
        }
        told => told?,
    }
    let mut poll = interval(POLL_EVERY);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = listener.try_recv() => match told? {
                Some(notification) => {
                    if let Ok(position) = notification.payload().parse() {
                        head.advance(Position::new(position));
                    }
                }
                None => return Ok(()),
            },
            _ = poll.tick() => {
                let ask = sqlx::query("SELECT position FROM head").fetch_one(&mut listener);
                let row = answered(connector.patience, ask).await?;
                head.advance(Position::from_sql(row.try_get(0)?));
            }
        }
    }
}
