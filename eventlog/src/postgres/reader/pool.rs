//! A few connections that read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicUsize},
    time::Instant,
};

use sqlx::PgConnection;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    super::{error::StatementError, head::Head},
    chunk::ROWS_FIRST,
    names::Names,
};
use crate::{Position, ReadError, database::Connector};

/// The connections, and what they know together.
pub(crate) struct ReadPool {
    pub(super) connector: Connector,
    pub(super) names: Arc<Names>,
    connections_max: usize,
    /// Rows of the next piece of a read.
    pub(super) pace: AtomicUsize,
    free: Mutex<Vec<PgConnection>>,
    permits: Semaphore,
    head: Weak<Head>,
    /// When the head was asked for last, and what the answer was.
    pub(super) last_head: tokio::sync::Mutex<Option<(Instant, Result<Position, ReadError>)>>,
}

/// Why a read did not go through: the database, or what it holds.
pub(super) enum Trouble {
    Statement(StatementError),
    Read(ReadError),
}

impl From<StatementError> for Trouble {
    fn from(error: StatementError) -> Self {
        Self::Statement(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(error.into())
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Trouble> for ReadError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Statement(error) => error.into_read(),
            Trouble::Read(error) => error,
        }
    }
}

impl ReadPool {
    pub(in super::super) fn new(connector: Connector, connections_max: usize, head: Weak<Head>) -> Self {
        let connections_max = connections_max.max(1);
        let permits = Semaphore::new(connections_max);
        let pace = AtomicUsize::new(ROWS_FIRST);
        Self {
            connector,
            names: Arc::new(Names::new()),
            free: Mutex::default(),
            permits,
            connections_max,
            pace,
            head,
            last_head: tokio::sync::Mutex::default(),
        }
    }

    /// A pool of as many connections of its own, which knows the same names.
    pub(in super::super) fn beside(&self, head: Weak<Head>) -> Self {
        Self {
            connector: self.connector.clone(),
            names: Arc::clone(&self.names),
            free: Mutex::default(),
            permits: Semaphore::new(self.connections_max),
            connections_max: self.connections_max,
            pace: AtomicUsize::new(ROWS_FIRST),
            head,
            last_head: tokio::sync::Mutex::default(),
        }
    }

    /// A connection for as long as a read takes.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, ReadError> {
        let permit = self.permits.acquire().await.map_err(|_| ReadError::Closed)?;
        Ok(Lease { pool: self, _permit: permit, connection: None, is_fresh: false })
    }

    fn free(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head as this node knows it.
    pub(super) fn head(&self) -> Result<Position, ReadError> {
        self.head.upgrade().map(|head| head.position()).ok_or(ReadError::Closed)
    }

    /// `position` has been read, so it is committed.
    pub(super) fn seen(&self, position: Position) {
        if let Some(head) = Weak::upgrade(&self.head) {
            head.advance(position);
        }
    }

    /// Refuses to read from now on; reads under way come to their end.
    pub(in super::super) fn close(&self) {
        self.permits.close();
        self.free().clear();
    }
}

/// The use of one connection. Unless it is [`done`](Self::done), the connection is thrown away.
pub(super) struct Lease<'a> {
    pool: &'a ReadPool,
    _permit: SemaphorePermit<'a>,
    connection: Option<PgConnection>,
    /// It was opened just now, so that its failure is the database's.
    is_fresh: bool,
}

impl Lease<'_> {
    pub(super) async fn connection(&mut self) -> Result<&mut PgConnection, ReadError> {
        if self.connection.is_none() {
            self.connection = self.pool.free().pop();
        }
        if self.connection.is_none() {
            self.is_fresh = true;
            let connected = self.pool.connector.connect("reader").await;
            self.connection = Some(connected.map_err(|error| StatementError::from(error).into_read())?);
        }
        self.connection.as_mut().ok_or(ReadError::Closed)
    }

    /// After a failure: whether to try anew. A connection that was lost while nobody used it, or in the middle of
    /// something that can be asked for again, is none of the reader's business.
    pub(super) fn failed(&mut self, trouble: Trouble) -> Result<(), ReadError> {
        self.connection = None;
        match trouble {
            Trouble::Statement(error) if error.is_lost() && !self.is_fresh => {
                // The others are no better.
                self.pool.free().clear();
                Ok(())
            }
            trouble => Err(trouble.into()),
        }
    }

    /// The connection works: what becomes of it from here on is another story.
    pub(super) fn worked(&mut self) {
        self.is_fresh = false;
    }

    /// Goes on with another connection, and gives this one up, which is in the middle of something.
    pub(super) fn replace(&mut self, other: PgConnection) {
        self.connection = Some(other);
    }

    /// Hands the connection back.
    pub(super) fn done(mut self) {
        // After the log was closed the connection ends here.
        if let Some(connection) = self.connection.take()
            && !self.pool.permits.is_closed()
        {
            self.pool.free().push(connection);
        }
    }
}
