//! What a server's failures mean to a log.

use std::sync::Arc;

use crate::{AppendError, Position, ReadError, database::Meaning};

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
            Self::Database { source, .. } => Meaning::of_connecting(source).is_away(),
            _ => false,
        }
    }
}

/// A statement that failed, or got no answer in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database failed")]
pub(super) struct StatementError(#[source] Arc<sqlx::Error>);

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl StatementError {
    pub(super) fn meaning(&self) -> Meaning {
        Meaning::of(&self.0)
    }

    /// The connection is gone: what the statement did is not known.
    pub(super) fn is_lost(&self) -> bool {
        self.meaning() == Meaning::Lost
    }

    pub(super) fn into_append(self) -> AppendError {
        match self.meaning() {
            Meaning::Lost | Meaning::Retry | Meaning::Busy => AppendError::Unavailable(Arc::new(self)),
            Meaning::Full => AppendError::StorageFull(Arc::new(self)),
            _ => AppendError::Storage(Arc::new(self)),
        }
    }

    pub(super) fn into_read(self) -> ReadError {
        match self.meaning() {
            Meaning::Lost | Meaning::Retry | Meaning::Busy => ReadError::Unavailable(Arc::new(self)),
            Meaning::Damaged => ReadError::Corrupt(self.0.to_string()),
            _ => ReadError::Storage(Arc::new(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_answer_that_does_not_come_makes_the_log_unavailable() {
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionReset] {
            let error = StatementError::from(sqlx::Error::Io(io::Error::from(kind)));
            assert!(error.is_lost());
            assert!(matches!(error.clone().into_append(), AppendError::Unavailable(_)));
            assert!(matches!(error.into_read(), ReadError::Unavailable(_)));
        }
        let broken = StatementError::from(sqlx::Error::RowNotFound);
        assert!(matches!(broken.clone().into_append(), AppendError::Storage(_)));
        assert!(matches!(broken.into_read(), ReadError::Storage(_)));
    }
}
