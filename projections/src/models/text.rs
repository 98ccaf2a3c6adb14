//! Texts of read models, which may have a NUL character in them.

use daybook_eventlog::database::unescape_nul;
use sqlx::{
    Decode, Postgres, Sqlite, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
    sqlite::{SqliteTypeInfo, SqliteValueRef},
};

/// A text of a read model, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredText(pub(crate) String);

impl From<StoredText> for String {
    fn from(StoredText(text): StoredText) -> Self {
        text
    }
}

impl Type<Sqlite> for StoredText {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }

    fn compatible(known: &SqliteTypeInfo) -> bool {
        <String as Type<Sqlite>>::compatible(known)
    }
}

impl<'r> Decode<'r, Sqlite> for StoredText {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <String as Decode<'r, Sqlite>>::decode(value).map(Self)
    }
}

impl Type<Postgres> for StoredText {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }

    fn compatible(known: &PgTypeInfo) -> bool {
        <String as Type<Postgres>>::compatible(known)
    }
}

impl<'r> Decode<'r, Postgres> for StoredText {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <String as Decode<'r, Postgres>>::decode(value).map(unescape_nul).map(Self)
    }
}
