//! Texts that have a NUL character in them, which PostgreSQL has no room for.
//!
//! There they are written with an escape that begins with the last character of all, and read back as they were. So
//! two texts that differ stay two texts, on every engine.

use std::borrow::Cow;

use sqlx::{
    Decode, Postgres, Sqlite, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
    sqlite::{SqliteTypeInfo, SqliteValueRef},
};

const ESCAPE: char = '\u{10ffff}';

/// What is stored on a PostgreSQL server for `text`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c {
        '\0' => [Some(ESCAPE), Some('0')],
        ESCAPE => [Some(ESCAPE), Some('1')],
        other => [Some(other), None],
    };
    Cow::Owned(text.chars().flat_map(escape).flatten().collect())
}

/// The text that `stored` stands for.
fn unescaped(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut left = stored.chars();
    let next = || {
        Some(match left.next()? {
            ESCAPE if left.next() == Some('0') => '\0',
            other => other,
        })
    };
    std::iter::from_fn(next).collect()
}

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
        <String as Decode<'r, Postgres>>::decode(value).map(unescaped).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{escaped, unescaped};

    #[test]
    fn every_text_comes_back_as_it_was_and_holds_no_nul() {
        let all = ["", "plain", "\0", "a\0b", "\u{10ffff}", "\u{10ffff}0", "\0\u{10ffff}1\0", "日本\u{10ffff}"];
        let mut stored: Vec<String> = all.iter().map(|text| escaped(text).into_owned()).collect();
        for (text, stored) in all.iter().zip(&stored) {
            assert!(!stored.contains('\0'));
            assert_eq!(unescaped(stored.clone()), *text);
        }
        stored.sort();
        stored.dedup();
        assert_eq!(stored.len(), all.len(), "texts that differ stay apart");
    }
}
