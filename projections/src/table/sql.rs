//! The SQL that writes changes: that of SQLite, and what both engines have in common.

use std::sync::Arc;

use super::{Change, ChangeKind, Column, Merge, Table, Value};

/// The most values bound to one statement; both engines allow more (SQLite 32,766, PostgreSQL 65,535).
const BOUND_VALUES_MAX: usize = 16_000;
/// The most rows of one statement. The rows left over go into statements of half as many, of a quarter, and so on:
/// each table has a handful of texts, and they stay prepared.
const STATEMENT_ROWS_MAX: usize = 64;

/// How two numbers are added without going beyond 64 bits.
pub(super) type Add = fn(&str, &str) -> String;

impl Change {
    /// The statements that write it: SQL, and the values bound to it.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (Arc<str>, &[Value])> {
        let width = self.columns.len();
        let mut rows = (BOUND_VALUES_MAX / width).clamp(1, STATEMENT_ROWS_MAX);
        let mut sql: Option<Arc<str>> = None;
        let mut left = self.values.as_slice();
        std::iter::from_fn(move || {
            while rows > 1 && left.len() < rows * width {
                rows /= 2;
                sql = None;
            }
            let (values, after) = left.split_at_checked(rows * width)?;
            left = after;
            Some((Arc::clone(sql.get_or_insert_with(|| self.sql(rows).into())), values))
        })
    }

    fn sql(&self, rows: usize) -> String {
        let values = placeholders(rows, self.columns.len());
        match self.kind {
            ChangeKind::Upsert => self.upsert(&format!("VALUES {values}"), add_to_float),
            ChangeKind::Update => {
                self.update(&format!("(VALUES {values}) AS v"), |place| format!("column{}", place + 1))
            }
        }
    }

    /// Writes the rows that `values` tells: a SELECT or VALUES.
    pub(super) fn upsert(&self, values: &str, add: Add) -> String {
        let table = self.table.quoted();
        let (key, rest) = self.columns.split_at(self.table.key);
        let (names, key) = (self.names(&self.columns), self.names(key));
        let merges = rest.iter().map(|place| self.merge(*place, add)).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {table} ({names}) {values} ON CONFLICT ({key}) DO UPDATE SET {merges}")
    }

    /// Writes into rows that are there what `values` (called `v`) tells, whose columns have the names of `column`.
    pub(super) fn update(&self, values: &str, column: impl Fn(usize) -> String) -> String {
        let table = self.table.quoted();
        let set = |(value, place): (usize, &usize)| format!("{} = v.{}", self.name(*place), column(value));
        let is = |(value, place): (usize, &usize)| format!("{table}.{} = v.{}", self.name(*place), column(value));
        let (key, rest) = (0..self.table.key, self.table.key..);
        let key = key.zip(&self.columns).map(is).collect::<Vec<_>>().join(" AND ");
        let set = rest.zip(&self.columns[self.table.key..]).map(set).collect::<Vec<_>>().join(", ");
        format!("UPDATE {table} SET {set} FROM {values} WHERE {key}")
    }

    pub(super) fn name(&self, place: usize) -> String {
        quoted(self.table.columns[place].name)
    }

    fn names(&self, places: &[usize]) -> String {
        places.iter().map(|place| self.name(*place)).collect::<Vec<_>>().join(", ")
    }

    fn merge(&self, place: usize, add: Add) -> String {
        let (table, name) = (self.table.quoted(), self.name(place));
        match self.table.columns[place].merge {
            Merge::Replace => format!("{name} = excluded.{name}"),
            Merge::Add => format!("{name} = {}", add(&format!("{table}.{name}"), &format!("excluded.{name}"))),
            Merge::Min => {
                format!(
                    "{name} = CASE WHEN excluded.{name} < {table}.{name} THEN excluded.{name} ELSE {table}.{name} END"
                )
            }
            Merge::Max => {
                format!(
                    "{name} = CASE WHEN excluded.{name} > {table}.{name} THEN excluded.{name} ELSE {table}.{name} END"
                )
            }
        }
    }
}

/// In SQLite a sum beyond 64 bits becomes a float, which the cast brings back to the largest number.
fn add_to_float(old: &str, new: &str) -> String {
    format!("CAST({old} + {new} AS INTEGER)")
}

impl Table {
    fn quoted(&self) -> String {
        quoted(self.name)
    }

    /// All its rows in the order of its key.
    pub(crate) fn sql_of_all_rows(&self) -> String {
        let table = self.quoted();
        let name = |column: &Column| format!("{table}.{}", quoted(column.name));
        let names = |columns: &[Column]| columns.iter().map(name).collect::<Vec<_>>().join(", ");
        let (all, key) = (names(self.columns), names(&self.columns[..self.key]));
        format!("SELECT {all} FROM {table} ORDER BY {key}")
    }
}

/// Some names are words of SQL, and not of the same SQL everywhere.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// `(?, ?), (?, ?)`. Numbered ones (`$1`) would be read by both engines, but SQLite looks a number's name up from the
/// start of a list, so that binding a statement of thousands takes the square of that.
fn placeholders(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    vec![row.as_str(); rows].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Changes;

    static COUNTS: Table = Table {
        name: "counts",
        key: 1,
        columns: &[Column::new("name"), Column::merged("n", Merge::Add), Column::merged("first", Merge::Min)],
    };

    #[test]
    fn rows_are_merged_column_by_column() {
        let mut changes = Changes::default();
        changes.upsert(&COUNTS, [[Value::Word("a"), Value::Int(1), Value::Int(7)]]);
        let (sql, values) = changes.0[0].statements().next().unwrap();
        assert_eq!(
            &*sql,
            r#"INSERT INTO "counts" ("name", "n", "first") VALUES (?, ?, ?) ON CONFLICT ("name") DO UPDATE SET "n" = CAST("counts"."n" + excluded."n" AS INTEGER), "first" = CASE WHEN excluded."first" < "counts"."first" THEN excluded."first" ELSE "counts"."first" END"#
        );
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn a_few_columns_of_many_rows_are_one_statement() {
        let mut changes = Changes::default();
        changes.update(&COUNTS, &["first"], [[Value::Word("a"), Value::Int(1)], [Value::Word("b"), Value::Int(2)]]);
        let (sql, _) = changes.0[0].statements().next().unwrap();
        assert_eq!(
            &*sql,
            r#"UPDATE "counts" SET "first" = v.column2 FROM (VALUES (?, ?), (?, ?)) AS v WHERE "counts"."name" = v.column1"#
        );
    }

    #[test]
    fn many_rows_are_cut_into_statements_of_few_texts() {
        let mut changes = Changes::default();
        changes.upsert(&COUNTS, (0..151).map(|n| [Value::Int(n), Value::Int(1), Value::Int(1)]));
        let rows: Vec<usize> = changes.0[0].statements().map(|(_, values)| values.len() / 3).collect();
        assert_eq!(rows, [64, 64, 16, 4, 2, 1]);
        let written: Vec<Value> = changes.0[0].statements().flat_map(|(_, values)| values.to_vec()).collect();
        assert_eq!(written, changes.0[0].values);
    }
}
