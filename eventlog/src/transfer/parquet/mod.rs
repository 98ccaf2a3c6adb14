//! The log as a Parquet file: typed columns for the envelope, `id`, `data` and `metadata` as plain strings, every column
//! required. Strings and UTC timestamps are what every reader knows; not all know Parquet's types for JSON and UUIDs.
//!
//! The `parquet` crate writes it, column by column of one row group at a time: memory holds the row group that is
//! gathered or encoded, and it is bounded by events and by bytes.

mod columns;

use std::{io::Write, mem::take, sync::Arc};

use ::parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{ByteArrayType, DataType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

pub(super) use self::columns::Columns;
use super::ExportError;

/// Events of one row group.
const GROUP_ROWS_MAX: usize = 131_072;
/// Bytes of texts in one row group, before they are encoded; the part that goes beyond is the last one.
const GROUP_BYTES_MAX: usize = 32 << 20;

const SCHEMA: &str = "message event {
    required int64 position;
    required binary stream (STRING);
    required binary category (STRING);
    required int64 version;
    required binary id (STRING);
    required binary type (STRING);
    required int32 schema_version;
    required binary data (STRING);
    required binary metadata (STRING);
    required int64 occurred_at (TIMESTAMP(MICROS,true));
    required int64 recorded_at (TIMESTAMP(MICROS,true));
}";
/// Rising, or close to each other: kept as differences.
const NUMBERS: [&str; 5] = ["position", "version", "schema_version", "occurred_at", "recorded_at"];
/// Texts that come again and again: each is kept once in a row group.
const REPEATED: [&str; 4] = ["stream", "category", "type", "metadata"];
/// Nobody looks for the least or the greatest of them.
const UNORDERED: [&str; 3] = ["id", "data", "metadata"];

/// A Parquet file of events that is being written.
pub(super) struct EventFile<W: Write> {
    file: SerializedFileWriter<W>,
    /// The row group that is gathered.
    group: Vec<Columns>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> EventFile<W> {
    /// `about` are names and values that any reader shows.
    pub(super) fn new(out: W, about: &[(&str, String)]) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties(about)))?;
        Ok(Self { file, group: Vec::new(), rows: 0, bytes: 0 })
    }

    /// Adds the events of the next part.
    pub(super) fn add(&mut self, part: Columns) -> Result<(), ExportError> {
        // A filter may leave nothing of most parts.
        if part.rows() == 0 {
            return Ok(());
        }
        if self.rows + part.rows() > GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.end_group()?;
        }
        self.rows += part.rows();
        self.bytes += part.bytes();
        self.group.push(part);
        Ok(())
    }

    /// Writes what is left and the footer; answers the length of it all.
    pub(super) fn finish(mut self) -> Result<u64, ExportError> {
        self.end_group().and_then(|()| self.file.finish())?;
        Ok(self.file.bytes_written() as u64)
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let parts = take(&mut self.group);
        (self.rows, self.bytes) = (0, 0);
        if parts.is_empty() {
            return Ok(());
        }
        let mut group = Group { writer: self.file.next_row_group()?, parts };
        group.column::<Int64Type>(|part| take(&mut part.position))?;
        group.column::<ByteArrayType>(|part| take(&mut part.stream).values())?;
        group.column::<ByteArrayType>(|part| take(&mut part.category).values())?;
        group.column::<Int64Type>(|part| take(&mut part.version))?;
        group.column::<ByteArrayType>(|part| take(&mut part.id).values())?;
        group.column::<ByteArrayType>(|part| take(&mut part.event_type).values())?;
        group.column::<Int32Type>(|part| take(&mut part.schema_version))?;
        group.column::<ByteArrayType>(|part| take(&mut part.data).values())?;
        group.column::<ByteArrayType>(|part| take(&mut part.metadata).values())?;
        group.column::<Int64Type>(|part| take(&mut part.occurred_at))?;
        group.column::<Int64Type>(|part| take(&mut part.recorded_at))?;
        group.writer.close().map(drop)
    }
}

/// A row group on its way into the file, in the order of the schema's columns.
struct Group<'a, W: Write> {
    writer: SerializedRowGroupWriter<'a, W>,
    parts: Vec<Columns>,
}

impl<W: Write + Send> Group<'_, W> {
    /// Writes the next column: `values` takes it out of each part.
    fn column<T: DataType>(&mut self, values: impl Fn(&mut Columns) -> Vec<T::T>) -> Result<(), ParquetError> {
        let next = self.writer.next_column()?;
        let mut column = next.ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
        for part in &mut self.parts {
            column.typed::<T>().write_batch(&values(part), None, None)?;
        }
        column.close()
    }
}

fn properties(about: &[(&str, String)]) -> WriterProperties {
    let about = about.iter().map(|(name, value)| KeyValue::new((*name).to_owned(), value.clone())).collect();
    let by_position = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(vec![by_position]))
        .set_key_value_metadata(Some(about));
    for name in NUMBERS {
        properties = properties.set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED);
    }
    for name in REPEATED {
        properties = properties.set_column_dictionary_enabled(name.into(), true);
    }
    for name in UNORDERED {
        properties = properties.set_column_statistics_enabled(name.into(), EnabledStatistics::None);
    }
    properties.build()
}
