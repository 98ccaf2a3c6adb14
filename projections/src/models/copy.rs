//! One copy of a projection's tables, wherever it is, and the one who writes it.

use daybook_eventlog::Position;

use super::{ReadModelsError, postgres::PostgresCopy, sqlite::SqliteCopy};
use crate::table::Changes;

/// A copy of a projection's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyId {
    pub(crate) name: String,
    /// Tells it from every other copy of this name.
    pub(crate) generation: i64,
}

/// Where a copy stands, as stored with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) fault: Option<(Position, String)>,
}

impl Checkpoint {
    /// From what is stored.
    pub(super) fn stored(position: i64, fault_position: Option<i64>, fault_reason: Option<String>) -> Self {
        let at = |position: i64| Position::new(position.cast_unsigned());
        Self { position: at(position), fault: fault_position.map(at).zip(fault_reason) }
    }

    /// What is stored: position, and where and why it stopped.
    pub(super) fn columns(&self) -> (i64, Option<i64>, Option<&str>) {
        let (position, reason) = self.fault.as_ref().map(|(position, reason)| (position, reason.as_str())).unzip();
        let number = |position: Position| position.get().cast_signed();
        (number(self.position), position.copied().map(number), reason)
    }
}

/// The writing end of a copy.
pub(crate) enum ProjectionCopy {
    Sqlite(SqliteCopy),
    Postgres(Box<PostgresCopy>),
}

impl ProjectionCopy {
    pub(crate) fn id(&self) -> &CopyId {
        match self {
            Self::Sqlite(copy) => &copy.id,
            Self::Postgres(copy) => &copy.id,
        }
    }

    /// What is stored of how far it is.
    pub(crate) fn stored(&self) -> &Checkpoint {
        match self {
            Self::Sqlite(copy) => copy.stored(),
            Self::Postgres(copy) => copy.stored(),
        }
    }

    /// Whether others wait for what is stored of it: every step is written then, even one without rows.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Writes rows and checkpoint in one transaction.
    pub(crate) async fn write(&mut self, changes: &Changes, checkpoint: &Checkpoint) -> Result<(), ReadModelsError> {
        match self {
            Self::Sqlite(copy) => copy.write(changes, checkpoint).await,
            Self::Postgres(copy) => copy.write(changes, checkpoint).await,
        }
    }

    /// Its tables are served now, and may have moved to another place for that.
    pub(crate) fn has_taken_over(&mut self) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(copy) => copy.forget_connection(),
        }
    }

    /// Lets go of it.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(copy) => copy.close().await,
            Self::Postgres(copy) => copy.close().await,
        }
    }
}
