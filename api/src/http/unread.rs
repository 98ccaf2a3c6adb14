//! Reads that failed. A database that is away is no failure of the server's: it is 503, and comes back.

use daybook_eventlog::{ReadError, is_away};
use daybook_projections::ReadModelsError;

use super::Problem;
use crate::auth::TerminalsError;

/// Seconds until a database that is away may be back.
pub const AWAY_RETRY_S: u64 = 2;
const AWAY: &str = "The database is not reachable now: try again shortly.";

/// The log could not be read.
pub fn log_unread(error: ReadError) -> Problem {
    match error {
        ReadError::Closed => Problem::unavailable("The server is stopping: try again.", 2),
        ReadError::Unavailable(_) => Problem::unavailable(AWAY, AWAY_RETRY_S),
        error @ (ReadError::Storage(_) | ReadError::Corrupt(_)) => Problem::internal(&error),
    }
}

/// The register of terminals could not be brought up to date.
pub fn terminals_unread(error: TerminalsError) -> Problem {
    match error {
        TerminalsError::Read(error) => log_unread(error),
        error @ TerminalsError::Decode(_) => Problem::internal(&error),
    }
}

/// The read models could not be read.
pub fn models_unread(error: ReadModelsError) -> Problem {
    match error {
        ReadModelsError::Storage(cause) if is_away(&cause) => Problem::unavailable(AWAY, AWAY_RETRY_S),
        ReadModelsError::Log(cause) => log_unread(cause),
        error => Problem::internal(&error),
    }
}
