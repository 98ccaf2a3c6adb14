//! What a server's failures mean to a log.

use std::{io::ErrorKind, sync::Arc};

use sqlx::postgres::PgDatabaseError;

use crate::{AppendError, Position, ReadError};

/// Why the log on a server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address or the schema's name cannot be used.
    #[error("the log's database cannot be addressed like this: {0}")]
    Options(String),
    /// The server could not be reached, or refused.
    #[error("cannot open the log in {place}")]
    Database {
        /// Server, database and schema.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The server did not answer in time.
    #[error("cannot open the log in {place}: no answer within {seconds} s")]
    NoAnswer {
        /// Server, database and schema.
        place: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The schema holds something else.
    #[error("{place} holds tables, but no log of Daybook: choose another schema or database")]
    Foreign {
        /// Server, database and schema.
        place: String,
    },
    /// The database keeps text in another encoding.
    #[error("{place} keeps text as {encoding}: a log needs a database with the encoding UTF8")]
    Encoding {
        /// Server, database and schema.
        place: String,
        /// What was found.
        encoding: String,
    },
    /// The log was made by a newer build.
    #[error("{place} has format {found}, this build knows up to {known}: use a newer daybook")]
    TooNew {
        /// Server, database and schema.
        place: String,
        /// The format found.
        found: i32,
        /// The newest format this build reads.
        known: i32,
    },
    /// There is no log, or an older one, and it was asked to leave it at that.
    #[error("{place} {}, this build needs format {known}: run `daybook migrate`", had(*found))]
    NotMigrated {
        /// Server, database and schema.
        place: String,
        /// The format found; 0 when there is no log.
        found: i32,
        /// The format needed.
        known: i32,
    },
    /// The log's last event is not the one that was committed last.
    #[error("{place} is damaged: its head says position {head}, its last event has {last}; restore a backup")]
    TailLost {
        /// Server, database and schema.
        place: String,
        /// What the head says.
        head: Position,
        /// What is there.
        last: Position,
    },
}

fn had(format: i32) -> String {
    if format == 0 { "holds no log".to_owned() } else { format!("holds a log of format {format}") }
}

impl ServerError {
    /// The server cannot be reached, or cannot serve now: the same may go through a little later.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            // A certificate that does not fit does not begin to.
            Self::Database { source: sqlx::Error::Tls(_), .. } => false,
            Self::Database { source: sqlx::Error::Io(error), .. } if error.kind() == ErrorKind::InvalidData => false,
            Self::Database { source, .. } => matches!(failure_of(source), Failure::Lost | Failure::Busy),
            _ => false,
        }
    }
}

/// What a failure of a statement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is gone: what the statement did is not known.
    Lost,
    /// The server said that it cannot now; nothing was done.
    Busy,
    /// No room on the server's disk; nothing was done.
    Full,
    /// Anything else; nothing was done.
    Broken,
}

/// A statement that failed, or got no answer in time.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum StatementError {
    #[error("the database failed")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("the database gave no answer within {0} ms")]
    NoAnswer(u128),
}

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl StatementError {
    pub(super) fn failure(&self) -> Failure {
        let Self::Database(error) = self else { return Failure::Lost };
        failure_of(error)
    }

    /// The statement would have written something that may stand only once.
    pub(super) fn is_taken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.failure() == Failure::Lost
    }

    pub(super) fn into_append(self) -> AppendError {
        match self.failure() {
            Failure::Lost | Failure::Busy => AppendError::Unavailable(Arc::new(self)),
            Failure::Full => AppendError::StorageFull(Arc::new(self)),
            Failure::Broken => AppendError::Storage(Arc::new(self)),
        }
    }

    pub(super) fn into_read(self) -> ReadError {
        match self.failure() {
            Failure::Lost | Failure::Busy => ReadError::Unavailable(Arc::new(self)),
            Failure::Full | Failure::Broken => ReadError::Storage(Arc::new(self)),
        }
    }
}

/// Whether a PostgreSQL server that failed like this cannot be reached, or cannot answer now.
#[must_use]
pub fn is_away(error: &sqlx::Error) -> bool {
    let is_of_server = match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<PgDatabaseError>().is_some(),
        _ => true,
    };
    is_of_server && matches!(failure_of(error), Failure::Lost | Failure::Busy)
}

fn failure_of(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Failure::Lost
        }
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Failure::Busy,
        sqlx::Error::Database(error) => of_code(error.code().as_deref().unwrap_or_default()),
        _ => Failure::Broken,
    }
}

/// By PostgreSQL's error codes.
fn of_code(code: &str) -> Failure {
    match code {
        // The server ends the connection: shut down by an administrator, crash of another session, idle for too long.
        "57P01" | "57P02" | "57P05" | "25P03" => Failure::Lost,
        "53100" => Failure::Full,
        // Starting or stopping, too many connections, out of memory or locks; a lock or a statement that took too long;
        // a deadlock, a serialisation failure; a server that only reads (a standby that was not yet, or is no longer,
        // the primary).
        "57P03" | "55P03" | "57014" | "25006" => Failure::Busy,
        _ => match code.get(..2) {
            Some("08") => Failure::Lost,
            Some("53" | "40") => Failure::Busy,
            _ => Failure::Broken,
        },
    }
}
