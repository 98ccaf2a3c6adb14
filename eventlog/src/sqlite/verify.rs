//! Verification: whether the file still holds what was written to it, all of it and nothing else.
//!
//! It finds what a disk, a program or a hand has done to the file. Who can write the file and knows the format can
//! make another chain of checksums that fits: against that there is the [`Anchor`] that somebody wrote down elsewhere.

mod events;
mod indexes;
mod row;
mod structure;
mod sum;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use self::events::Scan;
use super::{LOG_FILE, OpenError, schema};
use crate::{
    Anchor, Damage, Finding, Position,
    finding::{Findings, Part},
};

/// What a verification has seen. The log is sound when there are no findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The last position, as the log itself has it noted.
    pub head: Position,
    /// Its checksum, as noted with it: together they are an [`Anchor`] to write down.
    pub checksum: u64,
    /// Events that were read.
    pub events: u64,
    /// What is wrong, in the order in which it was found: first the events by position, then everything around them.
    pub findings: Vec<Finding>,
    /// What else is wrong, and was only counted.
    pub more_findings: u64,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// The head, to be written down.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor { position: self.head, checksum: self.checksum }
    }
}

/// Why a verification could not be made. What is wrong with a log is a [`Finding`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log.
    #[error("there is no log at {path}: name a data folder that holds one")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is no log, or not one of this build's format.
    #[error(transparent)]
    Unknown(#[from] OpenError),
    /// SQLite failed for a reason that is not the file's.
    #[error("the log {path} could not be verified: try again")]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread that verified came to an early end.
    #[error("the verification was interrupted: try again")]
    Interrupted,
}

/// Verifies the log of the data folder `folder`, also while a server has it open and goes on writing: what is looked
/// at is the log of the moment of the call. Reads the whole file, on two threads, in bounded memory. While it runs,
/// the WAL of a server grows by what is written meanwhile.
///
/// `expected` is an anchor that was written down earlier: another event at its position is a finding. `progress` is
/// called now and then with the position up to which events were checked and the last position.
///
/// # Errors
/// [`VerifyError`]; damage is none.
pub async fn verify(
    folder: &Path,
    expected: Option<Anchor>,
    progress: impl FnMut(Position, Position) + Send + 'static,
) -> Result<Verified, VerifyError> {
    verify_file(&folder.join(LOG_FILE), expected, progress).await
}

/// As [`verify`], for a log's file that may lie anywhere, such as a backup.
///
/// # Errors
/// [`VerifyError`]; damage is none.
pub async fn verify_file(
    file: &Path,
    expected: Option<Anchor>,
    progress: impl FnMut(Position, Position) + Send + 'static,
) -> Result<Verified, VerifyError> {
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || verify_blocking(&file, expected, progress))
        .await
        .unwrap_or(Err(VerifyError::Interrupted))
}

pub(super) fn verify_blocking(
    path: &Path,
    expected: Option<Anchor>,
    progress: impl FnMut(Position, Position),
) -> Result<Verified, VerifyError> {
    if !path.try_exists().unwrap_or(true) {
        return Err(VerifyError::Missing { path: path.to_owned() });
    }
    let connection = match schema::open_to_examine(path) {
        // Damaged so near its beginning that nothing else can be said.
        Err(OpenError::Engine { source, .. }) if source.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            let findings = vec![Finding::of(Damage::Structure(source.to_string()))];
            return Ok(Verified { head: Position::START, checksum: 0, events: 0, findings, more_findings: 0 });
        }
        opened => opened?,
    };
    let mut check = Check { path, connection: &connection, findings: Findings::default() };
    // Both read the whole file, and neither needs the other.
    let (seen, pages) = std::thread::scope(|scope| {
        let pages = scope.spawn(|| structure::of_pages(path));
        (check.everything(expected, progress), pages.join())
    });
    let (anchor, events) = match seen {
        Ok(seen) => seen,
        // Not even the list of tables can be read.
        Err(error) => {
            check.damaged(error)?;
            (Anchor::default(), 0)
        }
    };
    match pages.map_err(|_panic| VerifyError::Interrupted)? {
        Ok(lines) => lines.into_iter().for_each(|line| check.findings.add(Finding::of(Damage::Structure(line)))),
        Err(error) => check.damaged(error)?,
    }
    let (findings, more_findings) = check.findings.into_parts();
    Ok(Verified { head: anchor.position, checksum: anchor.checksum, events, findings, more_findings })
}

/// A verification under way.
struct Check<'a> {
    path: &'a Path,
    connection: &'a Connection,
    findings: Findings,
}

impl Check<'_> {
    fn everything(
        &mut self,
        expected: Option<Anchor>,
        progress: impl FnMut(Position, Position),
    ) -> Result<(Anchor, u64), rusqlite::Error> {
        self.findings.begin(Part::Events);
        // One snapshot for all that follows.
        self.connection.execute_batch("BEGIN")?;
        let head = schema::anchor(self.connection);
        let head = match head {
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                self.findings.add(Finding::of(Damage::Head("it is missing".to_owned())));
                None
            }
            Err(error) if is_damage(&error) => {
                self.findings.add(Finding::of(Damage::Head(error.to_string())));
                None
            }
            head => Some(head?),
        };
        let mut scan = Scan::new(self.connection, &mut self.findings, head, expected)?;
        scan.run(progress)?;
        let seen = scan.finish();
        indexes::check(self.connection, &mut self.findings, &seen)?;
        structure::check(self.connection, &mut self.findings)?;
        let last = seen.last;
        Ok((head.unwrap_or(last), seen.events))
    }

    /// Makes a finding of a failure that is the file's; any other ends the verification.
    fn damaged(&mut self, error: rusqlite::Error) -> Result<(), VerifyError> {
        if !is_damage(&error) {
            return Err(VerifyError::Engine { path: self.path.to_owned(), source: error });
        }
        self.findings.add(Finding::of(Damage::Structure(error.to_string())));
        Ok(())
    }
}

/// Whether SQLite fails for what it has read, and not for want of memory, locks or the like.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(..) | rusqlite::Error::SqlInputError { .. } => matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::TypeMismatch
                    // A table or a column that is not there.
                    | ErrorCode::Unknown
            )
        ),
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}
