//! Who keeps the read models: the one node that holds a lock in the database.

use std::time::Duration;

use daybook_eventlog::database::{Connector, within};
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{ReadModelsError, patience::LOOK_MAX};

/// How often the connection that holds the lock is tried.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that does not answer for so long has lost the lock, or soon will have.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long the server hears nothing of a node that leads, before it lets another one.
const SILENCE_MAX: &str = "10s";
/// How long letting go may take; the server notices the end of a connection by itself.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Being the one who keeps the read models, until it is [`lost`](Self::lost), released or dropped.
///
/// It says who should write. What is written is safe without it: two nodes that both believe to lead do not spoil
/// anything, because a copy only takes what follows on what it has.
pub(crate) struct Leadership {
    is_lost: watch::Receiver<bool>,
    release: oneshot::Sender<()>,
    holder: JoinHandle<()>,
}

impl Leadership {
    /// Takes the lock of the schema's read models, if it is free.
    pub(super) async fn take(connector: &Connector) -> Result<Option<Self>, ReadModelsError> {
        // A node that hangs does not lead: the server ends a session that is silent for so long.
        let silence = [("idle_session_timeout", SILENCE_MAX)];
        let mut connection = connector.connect_with("leader", silence).await?;
        let ask = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("daybook read models, leader, {}", connector.schema));
        let taken: bool = within(LOOK_MAX, ask.fetch_one(&mut connection)).await?;
        if !taken {
            // A connection that cannot be closed cleanly is dropped.
            let _ = within(LOOK_MAX, connection.close()).await;
            return Ok(None);
        }
        let (lost, is_lost) = watch::channel(false);
        let (release, released) = oneshot::channel();
        let holder = tokio::spawn(hold(connection, lost, released));
        Ok(Some(Self { is_lost, release, holder }))
    }

    /// Waits until it is lost. Another node may lead from then on.
    pub(crate) async fn lost(&mut self) {
        // An error means that nobody holds the connection any more.
        drop(self.is_lost.wait_for(|is_lost| *is_lost).await);
    }

    /// Lets another node lead, at once.
    pub(crate) async fn release(self) {
        drop(self.release);
        // When it takes longer the server notices by itself.
        let _ = tokio::time::timeout(RELEASE_MAX, self.holder).await;
    }
}

/// Keeps the connection until it fails or is to be released, whichever way.
async fn hold(mut connection: PgConnection, lost: watch::Sender<bool>, mut released: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut released => {
                // Its end is the lock's, cleanly closed or not.
                let _ = connection.close().await;
                return;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let answer = tokio::time::timeout(ANSWER_MAX, connection.ping()).await;
        if !matches!(answer, Ok(Ok(()))) {
            tracing::warn!("the lock on the read models is lost: another node may keep them now");
            lost.send_replace(true);
            return;
        }
    }
}
