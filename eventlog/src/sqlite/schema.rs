//! Opening the file: what it is, which format it has, how connections to it are set up.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OpenError;
use crate::{Anchor, Position};

/// "DBOK", so that `file` and SQLite itself can tell what the file is.
const APPLICATION_ID: i64 = 0x4442_4F4B;

/// Forward only; a step's place in the list + 1 is the format it leads to.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/sqlite/log/0001_log.sql")];

/// Pages in the WAL before a commit moves them into the file: large enough to write a hot page once for many
/// commits, small enough that the commit which does it stays short.
const WAL_PAGES: u32 = 2_000;

/// The writer's connection, with the newest format.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let in_engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(
        plain(path),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(in_engine)?;
    // First of all, as the settings below change a file.
    let format = identify(&connection, path)?;
    connection
        .execute_batch(&format!(
            "PRAGMA busy_timeout = 10000;
             PRAGMA page_size = 4096;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = OFF;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -32768;
             PRAGMA journal_size_limit = 67108864;
             PRAGMA wal_autocheckpoint = {WAL_PAGES};"
        ))
        .map_err(in_engine)?;
    migrate(connection, format).map_err(in_engine)
}

/// A reader's connection: it cannot write. Where this account may not write beside the file, and no writer has left a
/// write-ahead log there, the file is read as one that does not change.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    match open_beside_writer(path) {
        Err(error) if needs_to_write(&error) && !wal_of(path).exists() => open_immutable(path),
        opened => opened,
    }
}

fn open_beside_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepare_to_read(Connection::open_with_flags(plain(path), flags)?)
}

fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let escaped = plain(path).to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    prepare_to_read(Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?)
}

fn prepare_to_read(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch(
        "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;",
    )?;
    // The first read is the first that needs the files beside the log.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// SQLite wanted to write a file beside the log, and may not.
fn needs_to_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// The absolute path: SQLite would take a relative one that begins with `file:` for a URI.
pub(super) fn plain(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A reader's connection to a file that may be anything: refuses what is no log, or has not this build's format.
pub(super) fn open_to_examine(path: &Path) -> Result<Connection, OpenError> {
    let in_engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let connection = open_for_reading(path).map_err(|source| match source {
        source if needs_to_write(&source) && wal_of(path).exists() => {
            OpenError::WalInTheWay { path: path.to_owned(), source }
        }
        source => in_engine(source),
    })?;
    connection.pragma_update(None, "cache_size", -16_384).map_err(in_engine)?;
    match identify(&connection, path)? {
        format if format == MIGRATIONS.len() => Ok(connection),
        // A database with nothing in it.
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// The last position and its checksum, as written with the last commit.
pub(super) fn anchor(connection: &Connection) -> rusqlite::Result<Anchor> {
    connection.prepare_cached("SELECT position, checksum FROM head")?.query_row([], |row| {
        let checksum = row.get::<_, i64>(1)?.cast_unsigned();
        Ok(Anchor { position: Position::from_sql(row.get(0)?), checksum })
    })
}

/// Refuses a file that no writer of this build could open; changes nothing.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    let connection = open_for_reading(path).map_err(|source| OpenError::Engine { path: path.to_owned(), source })?;
    identify(&connection, path).map(drop)
}

/// What a log of this build consists of, for comparison: an empty one in memory.
pub(super) fn blank() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    MIGRATIONS.iter().try_for_each(|sql| connection.execute_batch(sql))?;
    Ok(connection)
}

/// The format of the file, from 0 for a new one; refuses what is not a log, or a newer build's.
fn identify(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let in_engine = |source| OpenError::Engine { path: path.to_owned(), source };
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(in_engine);
    let found = number("PRAGMA user_version")?;
    match number("PRAGMA application_id")? {
        APPLICATION_ID => {}
        0 if found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 => {}
        _ => return Err(OpenError::Foreign { path: path.to_owned() }),
    }
    let known = MIGRATIONS.len();
    usize::try_from(found).ok().filter(|found| *found <= known).ok_or_else(|| OpenError::TooNew {
        path: path.to_owned(),
        found,
        known: i64::try_from(known).unwrap_or(i64::MAX),
    })
}

fn migrate(mut connection: Connection, format: usize) -> rusqlite::Result<Connection> {
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(format) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(step + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(connection)
}
