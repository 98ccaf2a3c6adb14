//! What can be in the way of reading or writing read models.

use std::path::PathBuf;

use daybook_eventlog::ReadError;

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
    #[error("the read models are damaged: {0}; stop the server and delete their folder to build them anew")]
    Corrupt(String),
}

impl ReadModelsError {
    /// Whether what is in the way may pass by itself: a full disk, a busy file. Trying again would not help otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        /// SQLite's primary result codes BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN and PROTOCOL.
        const OF_THE_MOMENT: [i32; 8] = [5, 6, 7, 9, 10, 13, 14, 15];
        match self {
            Self::Storage(sqlx::Error::Database(error)) => {
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                code.is_some_and(|code| OF_THE_MOMENT.contains(&(code & 0xff)))
            }
            Self::Storage(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) | Self::Folder { .. } | Self::Log(_) => true,
            Self::Storage(_) | Self::Corrupt(_) => false,
        }
    }
}
