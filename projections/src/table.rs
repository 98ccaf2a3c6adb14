//! Tables of read models as the runner writes them: rows come from a fold, SQL comes from here.

use std::sync::Arc;

use uuid::Uuid;

/// The most values bound to one statement; both engines allow more (SQLite 32,766, PostgreSQL 65,535).
const BOUND_VALUES_MAX: usize = 16_000;
/// The most rows of one statement. The rows left over go into statements of half as many, of a quarter, and so on:
/// each table has a handful of texts, and they stay prepared.
const STATEMENT_ROWS_MAX: usize = 64;

/// A table of a read model.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key; they come first in `columns`.
    pub key: usize,
    /// All columns, in the order in which rows hold their values.
    pub columns: &'static [Column],
}

/// A column, and what becomes of its value when a row is written again.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// How an old and a new value come together.
    pub merge: Merge,
}

/// How an old and a new value come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The new one stands.
    Replace,
    /// They add up.
    Add,
    /// The smaller one stands.
    Min,
    /// The larger one stands.
    Max,
}

impl Column {
    /// A column whose new value stands.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, merge: Merge::Replace }
    }

    /// A column whose values come together by `merge`.
    #[must_use]
    pub const fn merged(name: &'static str, merge: Merge) -> Self {
        Self { name, merge }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number, a time in microseconds, or a truth (0, 1).
    Int(i64),
    /// A word known at compile time.
    Word(&'static str),
    /// Any text.
    Text(String),
    /// An id.
    Id(Uuid),
}

impl From<Option<Self>> for Value {
    fn from(value: Option<Self>) -> Self {
        value.unwrap_or(Self::Null)
    }
}

/// What a batch of events changes in the read models, in the order in which it is written.
#[derive(Debug, Default, PartialEq)]
pub struct Changes(pub(crate) Vec<Change>);

/// Rows for one table.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) table: &'static Table,
    /// The columns the rows hold, as places in the table's columns; the key first.
    pub(crate) columns: Vec<usize>,
    pub(crate) kind: ChangeKind,
    pub(crate) values: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Rows that may be new; old ones are merged column by column.
    Upsert,
    /// Some columns of rows that are there.
    Update,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Changes {
    /// Whole rows of `table`: written when they are new, merged with what is there when not. A key occurs once.
    pub fn upsert<const N: usize>(&mut self, table: &'static Table, rows: impl IntoIterator<Item = [Value; N]>) {
        debug_assert_eq!(N, table.columns.len(), "a row of {} has all its columns", table.name);
        self.push(table, (0..N).collect(), ChangeKind::Upsert, rows.into_iter().flatten().collect());
    }

    /// Values of a few columns (named after the key's) of rows of `table` that are there. A key occurs once.
    pub fn update<const N: usize>(
        &mut self,
        table: &'static Table,
        columns: &[&str],
        rows: impl IntoIterator<Item = [Value; N]>,
    ) {
        let place = |name: &&str| table.columns.iter().position(|column| column.name == *name);
        let places: Vec<usize> = (0..table.key).chain(columns.iter().filter_map(place)).collect();
        debug_assert_eq!(N, places.len(), "columns of {}: {columns:?}", table.name);
        self.push(table, places, ChangeKind::Update, rows.into_iter().flatten().collect());
    }

    fn push(&mut self, table: &'static Table, columns: Vec<usize>, kind: ChangeKind, values: Vec<Value>) {
        if !values.is_empty() {
            self.0.push(Change { table, columns, kind, values });
        }
    }
}

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
            ChangeKind::Upsert => self.upsert(&format!("VALUES {values}")),
            ChangeKind::Update => {
                self.update(&format!("(VALUES {values}) AS v"), |place| format!("column{}", place + 1))
            }
        }
    }

    /// Writes the rows that `values` tells: a SELECT or VALUES.
    fn upsert(&self, values: &str) -> String {
        let table = self.table.quoted();
        let (key, rest) = self.columns.split_at(self.table.key);
        let (names, key) = (self.names(&self.columns), self.names(key));
        let merges = rest.iter().map(|place| self.merge(*place)).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {table} ({names}) {values} ON CONFLICT ({key}) DO UPDATE SET {merges}")
    }

    /// Writes into rows that are there what `values` (called `v`) tells, whose columns have the names of `column`.
    fn update(&self, values: &str, column: impl Fn(usize) -> String) -> String {
        let table = self.table.quoted();
        let set = |(value, place): (usize, &usize)| format!("{} = v.{}", self.name(*place), column(value));
        let is = |(value, place): (usize, &usize)| format!("{table}.{} = v.{}", self.name(*place), column(value));
        let (key, rest) = (0..self.table.key, self.table.key..);
        let key = key.zip(&self.columns).map(is).collect::<Vec<_>>().join(" AND ");
        let set = rest.zip(&self.columns[self.table.key..]).map(set).collect::<Vec<_>>().join(", ");
        format!("UPDATE {table} SET {set} FROM {values} WHERE {key}")
    }

    fn name(&self, place: usize) -> String {
        quoted(self.table.columns[place].name)
    }

    fn names(&self, places: &[usize]) -> String {
        places.iter().map(|place| self.name(*place)).collect::<Vec<_>>().join(", ")
    }

    fn merge(&self, place: usize) -> String {
        let (table, name) = (self.table.quoted(), self.name(place));
        match self.table.columns[place].merge {
            Merge::Replace => format!("{name} = excluded.{name}"),
            // A sum beyond 64 bits becomes a float, which the cast brings back to the largest number.
            Merge::Add => format!("{name} = CAST({table}.{name} + excluded.{name} AS INTEGER)"),
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
