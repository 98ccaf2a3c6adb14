//! Why read models cannot be read or written, and whether that may pass.

use std::path::PathBuf;

use daybook_eventlog::ReadError;
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

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
            Self::Storage(sqlx::Error::Database(error)) => may_pass_in_database(&**error),
            Self::Storage(
                sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::TypeNotFound { .. },
            )
            | Self::Corrupt(_)
            | Self::Row(_)
            | Self::Options(_)
            | Self::Missing(_)
            | Self::NewerCatalog { .. }
            | Self::Rebuilding(_)
            | Self::Fenced(_)
            | Self::TooNew { .. } => false,
            Self::Storage(_) | Self::Folder { .. } | Self::Log(_) => true,
        }
    }
}

fn may_pass_in_database(error: &dyn DatabaseError) -> bool {
    /// SQLite's primary result codes BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN and PROTOCOL.
    const OF_THE_MOMENT: [i32; 8] = [5, 6, 7, 9, 10, 13, 14, 15];
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return may_pass_on_server(error.code());
    }
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    code.is_none_or(|code| OF_THE_MOMENT.contains(&(code & 0xff)))
}

/// By SQLSTATE: the connection (08), a rollback that has nothing to do with what was written (40), resources (53),
/// somebody's intervention (57), the operating system (58); a lock that was not free, a server that only reads for now,
/// because another one takes over from it, a transaction that took too long.
fn may_pass_on_server(code: &str) -> bool {
    const CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
    const CODES: [&str; 5] = ["55P03", "55006", "25006", "25P03", "25P04"];
    code.get(..2).is_some_and(|class| CLASSES.contains(&class)) || CODES.contains(&code)
}

/// Whether a read that failed like this can be put again to another connection: this one is lost, its prepared
/// statement is of tables that are no more, or another transaction had to go first.
pub(super) fn is_worth_asking_again(error: &sqlx::Error) -> bool {
    match error {
        // One that was waited for in vain has taken all the time there is.
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
            matches!(error.code(), "57P01" | "57P02" | "57P03" | "57P05" | "0A000" | "40001" | "40P01")
                || error.code().starts_with("08")
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::may_pass_on_server;

    #[test]
    fn what_the_server_cannot_do_now_may_pass_and_what_it_refuses_may_not() {
        for passing in ["08006", "40P01", "53100", "53300", "57P01", "57P03", "57014", "55P03", "25006"] {
            assert!(may_pass_on_server(passing), "{passing}");
        }
        for refusal in ["22003", "22021", "23502", "23505", "42P01", "42703", "42804", "XX001", ""] {
            assert!(!may_pass_on_server(refusal), "{refusal}");
        }
    }
}
