//! The columns of the file: names, types, and how their values are laid out.

use super::thrift::Struct;

/// How a column's values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Deltas of whole numbers, of so many bytes.
    Numbers { bytes: usize },
    /// Values of so many bytes each.
    Fixed { bytes: usize },
    /// Texts one after the other.
    Texts,
    /// Places in a dictionary of texts. `ordered`: their least and their greatest are worth knowing.
    Words { ordered: bool },
}

/// What a reader takes the values for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Number,
    Text,
    Json,
    Uuid,
    /// Microseconds since 1970-01-01 UTC.
    Instant,
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) layout: Layout,
    meaning: Meaning,
}

const I64: Layout = Layout::Numbers { bytes: 8 };

/// All columns, in the file's order.
pub(super) const COLUMNS: [Column; 11] = [
    column("position", I64, Meaning::Number),
    column("stream", Layout::Words { ordered: true }, Meaning::Text),
    column("category", Layout::Words { ordered: true }, Meaning::Text),
    column("version", I64, Meaning::Number),
    column("id", Layout::Fixed { bytes: 16 }, Meaning::Uuid),
    column("type", Layout::Words { ordered: true }, Meaning::Text),
    column("schema_version", Layout::Numbers { bytes: 4 }, Meaning::Number),
    column("data", Layout::Texts, Meaning::Json),
    column("metadata", Layout::Words { ordered: false }, Meaning::Json),
    column("occurred_at", I64, Meaning::Instant),
    column("recorded_at", I64, Meaning::Instant),
];

const fn column(name: &'static str, layout: Layout, meaning: Meaning) -> Column {
    Column { name, layout, meaning }
}

impl Column {
    /// The format's number for the type that values are stored as.
    pub(super) fn stored_as(&self) -> i32 {
        match self.layout {
            Layout::Numbers { bytes: 4 } => 1,
            Layout::Numbers { .. } => 2,
            Layout::Texts | Layout::Words { .. } => 6,
            Layout::Fixed { .. } => 7,
        }
    }

    fn element(&self) -> Struct {
        let mut element = Struct::default().i32(1, self.stored_as());
        if let Layout::Fixed { bytes } = self.layout {
            element = element.i32(2, i32::try_from(bytes).unwrap_or(i32::MAX));
        }
        // Required: no value is ever missing.
        element = element.i32(3, 0).binary(4, self.name.as_bytes());
        // The older name of the meaning, for older readers, and the logical type, where there are such.
        let empty = Struct::default;
        match self.meaning {
            Meaning::Number => element,
            Meaning::Text => element.i32(6, 0).inner(10, empty().inner(1, empty())),
            Meaning::Json => element.i32(6, 19).inner(10, empty().inner(12, empty())),
            Meaning::Uuid => element.inner(10, empty().inner(14, empty())),
            Meaning::Instant => {
                let micros = empty().inner(2, empty());
                element.i32(6, 10).inner(10, empty().inner(8, empty().bool(1, true).inner(2, micros)))
            }
        }
    }
}

/// The schema as the footer has it: the row, then its columns.
pub(super) fn elements() -> Vec<Struct> {
    let columns = i32::try_from(COLUMNS.len()).unwrap_or(i32::MAX);
    let row = Struct::default().binary(4, b"event").i32(5, columns);
    std::iter::once(row).chain(COLUMNS.iter().map(Column::element)).collect()
}
