//! Who keeps the read models: the one node that holds a lock in the database.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{Connector, ReadModelsError};

/// How often the connection that holds the lock is tried.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection that does not answer for so long has lost the lock, or soon will have.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long letting go may take; the server notices the end of a connection by itself.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Being the one who keeps the read models, until it is [`lost`](Self::lost), released or dropped.
///
/// It says who should write. What is written is safe without it: two nodes that both believe to lead do not spoil
/// anything, because a copy only takes what follows on what it has.
pub struct Leadership(Lock);

enum Lock {
    /// Nobody else could have it.
    Undisputed,
    /// A connection holds it.
    Session { is_lost: watch::Receiver<bool>, release: Option<oneshot::Sender<()>>, holder: JoinHandle<()> },
}

impl Leadership {
    pub(crate) fn undisputed() -> Self {
        Self(Lock::Undisputed)
    }

    /// Takes the lock of the schema's read models, if it is free.
    pub(super) async fn take(connector: &Connector) -> Result<Option<Self>, ReadModelsError> {
        let mut connection = connector.connect("leader").await?;
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("daybook read models, leader, {}", connector.schema))
            .fetch_one(&mut connection)
            .await?;
        if !taken {
            // A connection that cannot be closed cleanly is dropped.
            let _ = connection.close().await;
            return Ok(None);
        }
        let (lost, is_lost) = watch::channel(false);
        let (release, released) = oneshot::channel();
        let holder = tokio::spawn(hold(connection, lost, released));
        Ok(Some(Self(Lock::Session { is_lost, release: Some(release), holder })))
    }

    /// Whether it is still held, as far as is known.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match &self.0 {
            Lock::Undisputed => true,
            Lock::Session { is_lost, .. } => !*is_lost.borrow() && is_lost.has_changed().is_ok(),
        }
    }

    /// Waits until it is lost. Another node may lead from then on.
    pub async fn lost(&mut self) {
        match &mut self.0 {
            Lock::Undisputed => std::future::pending().await,
            // An error means that nobody holds the connection any more.
            Lock::Session { is_lost, .. } => drop(is_lost.wait_for(|is_lost| *is_lost).await),
        }
    }

    /// Lets another node lead, at once.
    pub async fn release(mut self) {
        if let Lock::Session { release, holder, .. } = &mut self.0 {
            drop(release.take());
            // When it takes longer the server notices by itself.
            let _ = tokio::time::timeout(RELEASE_MAX, holder).await;
        }
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
