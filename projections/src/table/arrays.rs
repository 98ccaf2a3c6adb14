//! Changes as PostgreSQL takes them: a statement for each, whose columns are arrays. Its text is the same however many
//! rows there are, and so stays prepared.

use std::{borrow::Cow, sync::Arc};

use daybook_eventlog::database::escape_nul;
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{Change, ChangeKind, Value};

/// The most rows of one statement.
const STATEMENT_ROWS_MAX: usize = 10_000;
/// The most bytes of text of one statement, but for its last row; the server takes a thousand times as many.
const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// The types of columns that read models have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Int,
    Text,
    Id,
}

impl ColumnType {
    /// By the server's name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Int, Self::Text, Self::Id].into_iter().find(|known| known.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Int => "bigint",
            Self::Text => "text",
            Self::Id => "uuid",
        }
    }
}

/// A part of a change, ready to be bound: a column is a list.
pub(crate) enum Columns<'a> {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<Cow<'a, str>>>),
    Id(Vec<Option<Uuid>>),
}

/// A row holds something else than its table's columns do.
#[derive(Debug, thiserror::Error)]
#[error("a row of {table} has {value:?} where its table has a {column:?}")]
pub(crate) struct Mismatch {
    table: &'static str,
    value: Value,
    column: ColumnType,
}

impl Change {
    /// The statement that writes rows of it, whose columns are of `types`.
    pub(crate) fn sql_of_arrays(&self, types: &[ColumnType]) -> Arc<str> {
        let array = |(place, column): (usize, &ColumnType)| format!("${}::{}[]", place + 1, column.name());
        let arrays = types.iter().enumerate().map(array).collect::<Vec<_>>().join(", ");
        let sql = match self.kind {
            ChangeKind::Upsert => self.upsert(&format!("SELECT * FROM UNNEST({arrays})"), add_within_64_bits),
            ChangeKind::Update => {
                let names = (1..=types.len()).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ");
                self.update(&format!("UNNEST({arrays}) AS v({names})"), |place| format!("c{}", place + 1))
            }
        };
        sql.into()
    }

    /// Its rows, in parts that are not too large for a statement.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[Value]> {
        let width = self.columns.len();
        let mut left = self.values.as_slice();
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fitting = left.chunks(width).take(STATEMENT_ROWS_MAX).take_while(|row| {
                let fits = bytes < STATEMENT_BYTES_MAX;
                bytes += row.iter().map(bytes_of).sum::<usize>();
                fits
            });
            let length = fitting.count() * width;
            let (part, rest) = left.split_at_checked(length).filter(|_| length > 0)?;
            left = rest;
            Some(part)
        })
    }

    /// The columns of `rows`.
    pub(crate) fn arrays<'a>(&self, rows: &'a [Value], types: &[ColumnType]) -> Result<Vec<Columns<'a>>, Mismatch> {
        let width = self.columns.len();
        let column = |(place, column): (usize, &ColumnType)| {
            let values = rows.iter().skip(place).step_by(width);
            let mismatch = |value: &Value| Mismatch { table: self.table.name, value: value.clone(), column: *column };
            Ok(match column {
                ColumnType::Int => Columns::Int(
                    values
                        .map(|value| match value {
                            Value::Null => Ok(None),
                            Value::Int(number) => Ok(Some(*number)),
                            other => Err(mismatch(other)),
                        })
                        .collect::<Result<_, _>>()?,
                ),
                ColumnType::Text => Columns::Text(
                    values
                        .map(|value| match value {
                            Value::Null => Ok(None),
                            Value::Word(word) => Ok(Some(Cow::Borrowed(*word))),
                            Value::Text(text) => Ok(Some(escape_nul(text))),
                            other => Err(mismatch(other)),
                        })
                        .collect::<Result<_, _>>()?,
                ),
                ColumnType::Id => Columns::Id(
                    values
                        .map(|value| match value {
                            Value::Null => Ok(None),
                            Value::Id(id) => Ok(Some(*id)),
                            other => Err(mismatch(other)),
                        })
                        .collect::<Result<_, _>>()?,
                ),
            })
        };
        types.iter().enumerate().map(column).collect()
    }
}

impl Columns<'_> {
    /// Binds the column to its place.
    pub(crate) fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>
    where
        Self: 'q,
    {
        match self {
            Self::Int(numbers) => query.bind(numbers),
            Self::Text(texts) => query.bind(texts),
            Self::Id(ids) => query.bind(ids),
        }
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Int(_) => 8,
        Value::Id(_) => 16,
        Value::Word(word) => word.len(),
        Value::Text(text) => text.len(),
    }
}

/// Where SQLite's sum becomes a float and is cast back, PostgreSQL's would be refused.
fn add_within_64_bits(old: &str, new: &str) -> String {
    format!(
        "CAST(GREATEST(LEAST(CAST({old} AS NUMERIC) + {new}, {max}), {min}) AS BIGINT)",
        max = i64::MAX,
        min = i64::MIN
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changes, Column, Merge, Table};

    static COUNTS: Table = Table {
        name: "counts",
        key: 1,
        columns: &[Column::new("name"), Column::merged("n", Merge::Add), Column::merged("first", Merge::Min)],
    };
    const TYPES: [ColumnType; 3] = [ColumnType::Text, ColumnType::Int, ColumnType::Int];

    #[test]
    fn all_rows_of_a_change_are_one_statement_of_arrays() {
        let mut changes = Changes::default();
        changes.upsert(&COUNTS, [[Value::Word("a"), Value::Int(1), Value::Int(7)]]);
        changes.update(&COUNTS, &["first"], [[Value::Word("a"), Value::Int(1)]]);
        assert_eq!(
            &*changes.0[0].sql_of_arrays(&TYPES),
            r#"INSERT INTO "counts" ("name", "n", "first") SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) ON CONFLICT ("name") DO UPDATE SET "n" = CAST(GREATEST(LEAST(CAST("counts"."n" AS NUMERIC) + excluded."n", 9223372036854775807), -9223372036854775808) AS BIGINT), "first" = CASE WHEN excluded."first" < "counts"."first" THEN excluded."first" ELSE "counts"."first" END"#
        );
        assert_eq!(
            &*changes.0[1].sql_of_arrays(&TYPES[..2]),
            r#"UPDATE "counts" SET "first" = v.c2 FROM UNNEST($1::text[], $2::bigint[]) AS v(c1, c2) WHERE "counts"."name" = v.c1"#
        );
    }

    #[test]
    fn large_changes_are_cut_into_parts_that_hold_every_row_once() {
        let mut changes = Changes::default();
        let large = |n: i64| Value::Text(format!("{n}{}", "x".repeat(if n % 2 == 0 { 5 << 20 } else { 1 })));
        changes.upsert(&COUNTS, (0..5).map(|n| [large(n), Value::Int(1), Value::Int(1)]));
        changes.upsert(&COUNTS, (0..25_000).map(|n| [Value::Int(n), Value::Int(1), Value::Int(1)]));
        let rows = |change: &Change| change.parts().map(|part| part.len() / 3).collect::<Vec<_>>();
        assert_eq!(rows(&changes.0[0]), [3, 2]);
        assert_eq!(rows(&changes.0[1]), [10_000, 10_000, 5_000]);
        assert_eq!(changes.0[0].parts().flatten().cloned().collect::<Vec<_>>(), changes.0[0].values);
    }

    #[test]
    fn a_value_of_another_type_than_its_column_is_refused() {
        let mut changes = Changes::default();
        changes.upsert(&COUNTS, [[Value::Int(3), Value::Int(1), Value::Null]]);
        let error = changes.0[0].arrays(&changes.0[0].values, &TYPES).err().unwrap();
        assert_eq!(error.to_string(), "a row of counts has Int(3) where its table has a Text");
    }
}
