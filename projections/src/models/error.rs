//! Why read models cannot be read or written, and whether that may pass.

use std::path::PathBuf;

use daybook_eventlog::{ReadError, database::Meaning};
use sqlx::{error::DatabaseError, sqlite::SqliteError};

/// Why the read models could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelsError {
    /// The engine failed.
    #[error("the read models could not be reached")]
    Storage(#[from] sqlx::Error),
    /// Their folder or a file in it could not be used.
    #[error("cannot use {path}")]
    Folder {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The log they are built from could not be read.
    #[error("the log to build the read models from could not be read")]
    Log(#[source] ReadError),
    /// What is stored cannot be.
    #[error(
        "the read models are damaged: {0}; stop the server and delete their folder, or drop their schema, to build them anew"
    )]
    Corrupt(String),
    /// A fold made a row that its table cannot hold.
    #[error("{0}")]
    Row(String),
    /// The server's address or the schema's name cannot be used.
    #[error("the read models' database cannot be addressed like this: {0}")]
    Options(String),
    /// There are none on the server, and it was asked to leave it at that.
    #[error("there are no read models in the schema {0}")]
    Missing(String),
    /// A newer build has made their catalog.
    #[error(
        "the catalog of the read models in the schema {schema} has format {found}, this build knows {known}: use the \
         newer daybook on this node"
    )]
    NewerCatalog {
        /// Where.
        schema: String,
        /// The format found.
        found: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// A copy of it is being built already.
    #[error("the read model {0} is being built anew already")]
    Rebuilding(String),
    /// Another node writes this copy now, or has put another one in its place.
    #[error("another node keeps the read model {0} now")]
    Fenced(String),
    /// A newer build keeps this read model.
    #[error(
        "the read model {name} is of version {found}, this build knows {known}: use the newer daybook on this node"
    )]
    TooNew {
        /// The projection's name.
        name: String,
        /// The version found.
        found: u32,
        /// The version of this build's code.
        known: u32,
    },
}

impl ReadModelsError {
    /// Whether what is in the way may pass by itself: a full disk, a busy file, a server that starts again. Trying
    /// again would not help otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Storage(error) => may_pass(error),
            Self::Folder { .. } | Self::Log(_) => true,
            Self::Corrupt(_)
            | Self::Row(_)
            | Self::Options(_)
            | Self::Missing(_)
            | Self::NewerCatalog { .. }
            | Self::Rebuilding(_)
            | Self::Fenced(_)
            | Self::TooNew { .. } => false,
        }
    }
}

fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) if error.try_downcast_ref::<SqliteError>().is_some() => may_pass_in_file(&**error),
        error => Meaning::of(error).may_pass(),
    }
}

fn may_pass_in_file(error: &dyn DatabaseError) -> bool {
    /// SQLite's primary result codes BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN and PROTOCOL.
    const OF_THE_MOMENT: [i32; 8] = [5, 6, 7, 9, 10, 13, 14, 15];
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    code.is_none_or(|code| OF_THE_MOMENT.contains(&(code & 0xff)))
}

/// Whether a read that failed like this can be asked again on another connection: this one is lost, its prepared
/// statement is of tables that are no more, or another transaction had to go first.
pub(super) fn is_worth_asking_again(error: &sqlx::Error) -> bool {
    match error {
        // An answer that did not come has taken all the time there is.
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        error => matches!(Meaning::of(error), Meaning::Lost | Meaning::Retry | Meaning::Stale),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn io_error(kind: io::ErrorKind) -> sqlx::Error {
        sqlx::Error::Io(io::Error::from(kind))
    }

    #[test]
    fn what_the_server_cannot_do_now_may_pass_and_what_is_wrong_may_not() {
        for passing in [io_error(io::ErrorKind::ConnectionReset), sqlx::Error::PoolTimedOut] {
            assert!(ReadModelsError::from(passing).may_pass());
        }
        for wrong in [sqlx::Error::RowNotFound, sqlx::Error::ColumnNotFound("total".to_owned())] {
            assert!(!ReadModelsError::from(wrong).may_pass());
        }
    }

    #[test]
    fn a_query_is_asked_again_on_another_connection_unless_all_its_time_is_used_up() {
        assert!(is_worth_asking_again(&io_error(io::ErrorKind::ConnectionReset)));
        assert!(!is_worth_asking_again(&io_error(io::ErrorKind::TimedOut)));
        assert!(!is_worth_asking_again(&sqlx::Error::PoolTimedOut));
    }
}
