//! Tables of read models as the runner writes them: rows come from a fold, SQL comes from `sql`.

mod arrays;
mod sql;

use uuid::Uuid;

pub(crate) use self::arrays::ColumnType;

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
        assert_eq!(N, table.columns.len(), "a row of {} has all its columns", table.name);
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
        assert_eq!(N, places.len(), "columns of {}: {columns:?}", table.name);
        self.push(table, places, ChangeKind::Update, rows.into_iter().flatten().collect());
    }

    fn push(&mut self, table: &'static Table, columns: Vec<usize>, kind: ChangeKind, values: Vec<Value>) {
        if !values.is_empty() {
            self.0.push(Change { table, columns, kind, values });
        }
    }
}
