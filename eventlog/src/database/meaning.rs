//! What an error of a PostgreSQL server means. This is the only place that knows SQLSTATEs.

use std::io::ErrorKind;

use sqlx::postgres::PgDatabaseError;

/// What an error means to whoever ran the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// There is no connection any more, or there never was one. It is not known what the statement did.
    Lost,
    /// Another transaction had to go first. Nothing was done; the same statement may go through at once.
    Retry,
    /// The server cannot do it now. Nothing was done; the same statement may go through a little later.
    Busy,
    /// There is no room on the server's disk. Nothing was done.
    Full,
    /// The server refuses this user, this password or this certificate: an administrator has to act.
    Denied,
    /// The database, the schema or the table is not there.
    Missing,
    /// A row that may stand only once is there already. Nothing was done.
    Taken,
    /// The statement was prepared for a table that has changed since, or this server does not support it.
    Stale,
    /// What the server has stored is damaged.
    Damaged,
    /// The statement, or the data in it, is wrong. Nothing was done, and nothing would be a second time.
    Refused,
}

/// By SQLSTATE (five characters) or by class (the first two). A code counts before its class; what is not here is
/// [`Meaning::Refused`].
const SQLSTATES: [(&str, Meaning); 27] = [
    // Connection exceptions.
    ("08", Meaning::Lost),
    ("0A000", Meaning::Stale),
    ("23505", Meaning::Taken),
    // A standby that is not yet, or is no longer, the primary.
    ("25006", Meaning::Busy),
    // The server ended the session: idle in a transaction, or a transaction that took too long.
    ("25P03", Meaning::Lost),
    ("25P04", Meaning::Lost),
    // Wrong password, or no entry for this user in pg_hba.conf.
    ("28", Meaning::Denied),
    // No such database; no such schema.
    ("3D000", Meaning::Missing),
    ("3F000", Meaning::Missing),
    // Rolled back: a serialisation failure, a deadlock. With 40003 it is not known whether the statement completed.
    ("40", Meaning::Retry),
    ("40003", Meaning::Lost),
    ("42501", Meaning::Denied),
    ("42P01", Meaning::Missing),
    // Out of memory, of connections, of locks.
    ("53", Meaning::Busy),
    ("53100", Meaning::Full),
    // An object in use; a lock that was not free in time.
    ("55006", Meaning::Busy),
    ("55P03", Meaning::Busy),
    // Somebody intervened, or a statement took too long (57014).
    ("57", Meaning::Busy),
    // The session ended: shut down, crash of another session, not accepting connections yet, database dropped, idle for
    // too long.
    ("57P01", Meaning::Lost),
    ("57P02", Meaning::Lost),
    ("57P03", Meaning::Lost),
    ("57P04", Meaning::Lost),
    ("57P05", Meaning::Lost),
    // The server's operating system failed, such as an I/O error.
    ("58", Meaning::Busy),
    // Damaged data, a damaged index.
    ("XX001", Meaning::Damaged),
    ("XX002", Meaning::Damaged),
    // The server's configuration file is damaged.
    ("F0", Meaning::Denied),
];

impl Meaning {
    /// Of an error of a statement, or of waiting for one.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Lost
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Busy,
            // Other databases have other codes.
            sqlx::Error::Database(error) => {
                error.try_downcast_ref::<PgDatabaseError>().map_or(Self::Refused, |error| Self::of_code(error.code()))
            }
            _ => Self::Refused,
        }
    }

    /// Of an error of making a connection. A certificate that is not trusted now will not be trusted later.
    #[must_use]
    pub fn of_connecting(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Tls(_) => Self::Denied,
            sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Self::Denied,
            _ => Self::of(error),
        }
    }

    /// Of a SQLSTATE.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        let of = |key: &str| SQLSTATES.iter().find(|(known, _)| *known == key).map(|(_, meaning)| *meaning);
        of(code).or_else(|| of(code.get(..2)?)).unwrap_or(Self::Refused)
    }

    /// The server cannot be reached or cannot answer now: the same may go through a little later.
    #[must_use]
    pub fn is_away(self) -> bool {
        matches!(self, Self::Lost | Self::Retry | Self::Busy)
    }

    /// Whether what is in the way may pass without a change of the statement or of the server's configuration.
    #[must_use]
    pub fn may_pass(self) -> bool {
        self.is_away() || self == Self::Full
    }
}

/// Whether a PostgreSQL server that failed like this cannot be reached, or cannot answer now.
#[must_use]
pub fn is_away(error: &sqlx::Error) -> bool {
    Meaning::of(error).is_away()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, io};

    use super::*;

    #[test]
    fn every_code_means_what_the_table_says_and_stands_there_once() {
        let mut keys = HashSet::new();
        for (key, meaning) in SQLSTATES {
            assert!(matches!(key.len(), 2 | 5) && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
            assert!(keys.insert(key), "{key} stands twice");
            assert_eq!(Meaning::of_code(key), meaning, "{key}");
        }
    }

    #[test]
    fn a_code_counts_before_its_class_and_an_unknown_one_is_a_refusal() {
        let expected = [
            ("08006", Meaning::Lost),
            ("40001", Meaning::Retry),
            ("40P01", Meaning::Retry),
            ("40003", Meaning::Lost),
            ("53300", Meaning::Busy),
            ("53100", Meaning::Full),
            ("57P01", Meaning::Lost),
            ("58030", Meaning::Busy),
            ("28P01", Meaning::Denied),
            ("22003", Meaning::Refused),
            ("23502", Meaning::Refused),
            ("42703", Meaning::Refused),
            ("XX000", Meaning::Refused),
            ("", Meaning::Refused),
            ("5", Meaning::Refused),
        ];
        for (code, meaning) in expected {
            assert_eq!(Meaning::of_code(code), meaning, "{code:?}");
        }
    }

    #[test]
    fn a_meaning_says_whether_to_wait() {
        let all = [
            (Meaning::Lost, true, true),
            (Meaning::Retry, true, true),
            (Meaning::Busy, true, true),
            (Meaning::Full, false, true),
            (Meaning::Denied, false, false),
            (Meaning::Missing, false, false),
            (Meaning::Taken, false, false),
            (Meaning::Stale, false, false),
            (Meaning::Damaged, false, false),
            (Meaning::Refused, false, false),
        ];
        for (meaning, is_away, may_pass) in all {
            assert_eq!((meaning.is_away(), meaning.may_pass()), (is_away, may_pass), "{meaning:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_denied_to_who_connects_and_a_lost_connection_to_who_commits() {
        let untrusted = sqlx::Error::Io(io::Error::new(ErrorKind::InvalidData, "invalid peer certificate"));
        assert_eq!(Meaning::of_connecting(&untrusted), Meaning::Denied);
        assert_eq!(Meaning::of(&untrusted), Meaning::Lost);
        let reset = sqlx::Error::Io(io::Error::from(ErrorKind::ConnectionReset));
        assert_eq!(Meaning::of_connecting(&reset), Meaning::Lost);
    }
}
