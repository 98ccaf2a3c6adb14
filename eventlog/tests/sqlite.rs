//! The embedded engine keeps the log's promises, and some of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests: what fails here is meant to fail loudly"
)]

#[macro_use]
mod conformance;

mod embedded;

use std::fs;

use conformance::{Engine, Tampering};
use daybook_eventlog::{LOG_FILE, Log};
use tempfile::TempDir;

/// A log in a folder of its own.
struct Sqlite {
    folder: TempDir,
}

impl Engine for Sqlite {
    async fn fresh() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self) -> Log {
        Log::open(self.folder.path()).await.unwrap()
    }

    async fn after_a_hard_stop(&self) -> Self {
        let after = Self::fresh().await;
        // Not the shared memory: it goes with the process.
        for name in [LOG_FILE.to_owned(), format!("{LOG_FILE}-wal")] {
            fs::copy(self.folder.path().join(&name), after.folder.path().join(&name)).unwrap();
        }
        after
    }

    async fn tamper(&self, tampering: Tampering) -> Result<(), String> {
        let sql = match tampering {
            Tampering::ChangeEvent => "UPDATE events SET data = '{}' WHERE position = 1",
            Tampering::DeleteEvent => "DELETE FROM events WHERE position = 1",
            Tampering::DeleteAllEvents => "DELETE FROM events",
            Tampering::RenameStream => "UPDATE streams SET name = 'other-1'",
            Tampering::DeleteStream => "DELETE FROM streams",
            Tampering::RenameType => "UPDATE kinds SET event_type = 'Other'",
        };
        let connection = rusqlite::Connection::open(self.folder.path().join(LOG_FILE)).unwrap();
        connection.execute_batch(sql).map_err(|refusal| refusal.to_string())
    }
}

conformance!(Sqlite);
