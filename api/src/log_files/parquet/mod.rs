//! The log as a Parquet file: typed columns for the envelope, `data` and `metadata` as JSON, every column required.
//!
//! Written here rather than by the `parquet` crate, whose dependencies bring a licence that `deny.toml` does not
//! allow. It is the plainest file that the format knows (first version of data pages, no nesting, no nulls, no
//! encryption), written in one pass: memory holds one row group, compressed.

mod chunk;
mod encoding;
mod schema;
mod thrift;
mod words;

use std::io::Write;

use daybook_eventlog::EventRef;

use self::{
    chunk::{Chunk, Compressor},
    schema::COLUMNS,
    thrift::Struct,
    words::Words,
};
use super::Failed;

/// Events of one row group.
const GROUP_ROWS_MAX: u64 = 131_072;
/// Bytes of data and metadata of one row group, before they are compressed.
const GROUP_BYTES_MAX: usize = 64 << 20;
const MAGIC: &[u8] = b"PAR1";

/// The events of one part of the log, column by column.
#[derive(Default)]
pub(super) struct Columns {
    position: Vec<i64>,
    stream: Words,
    category: Words,
    version: Vec<i64>,
    /// 16 bytes each.
    id: Vec<u8>,
    event_type: Words,
    schema_version: Vec<i64>,
    /// Each with its length in front, as a page has it.
    data: Vec<u8>,
    metadata: Words,
    occurred_at: Vec<i64>,
    recorded_at: Vec<i64>,
}

impl Columns {
    pub(super) fn add(&mut self, event: &EventRef<'_>) {
        self.position.push(event.position.get().cast_signed());
        self.stream.add(event.stream.as_str());
        self.category.add(event.stream.category());
        self.version.push(event.version.cast_signed());
        self.id.extend_from_slice(event.id.as_bytes());
        self.event_type.add(event.event_type);
        self.schema_version.push(event.schema_version.into());
        plain(event.data, &mut self.data);
        self.metadata.add(event.metadata);
        self.occurred_at.push(event.occurred_at);
        self.recorded_at.push(event.recorded_at);
    }

    pub(super) fn rows(&self) -> u64 {
        self.position.len() as u64
    }

    fn bytes(&self) -> usize {
        self.data.len() + self.metadata.bytes()
    }
}

/// A text as plain pages have it.
fn plain(text: &str, out: &mut Vec<u8>) {
    // A text of the log is at most some MiB long.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A Parquet file of events that is being written.
pub(super) struct EventFile<W> {
    out: W,
    written: u64,
    rows: u64,
    groups: Vec<Struct>,
    group: Group,
    compressor: Compressor,
}

/// The row group that is being filled.
struct Group {
    chunks: [Chunk; COLUMNS.len()],
    rows: u64,
    bytes: usize,
}

impl Group {
    fn new() -> Self {
        Self { chunks: std::array::from_fn(|place| Chunk::new(&COLUMNS[place])), rows: 0, bytes: 0 }
    }
}

impl<W: Write> EventFile<W> {
    pub(super) fn new(mut out: W) -> Result<Self, Failed> {
        out.write_all(MAGIC)?;
        let written = MAGIC.len() as u64;
        Ok(Self { out, written, rows: 0, groups: Vec::new(), group: Group::new(), compressor: Compressor::new()? })
    }

    /// Adds the events of the next part.
    pub(super) fn add(&mut self, part: &Columns) -> Result<(), Failed> {
        let is_full = self.group.rows + part.rows() > GROUP_ROWS_MAX || self.group.bytes >= GROUP_BYTES_MAX;
        if is_full && self.group.rows > 0 {
            self.end_group()?;
        }
        let compressor = &mut self.compressor;
        let [position, stream, category, version, id, event_type, schema_version, data, metadata, occurred, recorded] =
            &mut self.group.chunks;
        position.numbers(&part.position, compressor)?;
        stream.words(&part.stream, compressor)?;
        category.words(&part.category, compressor)?;
        version.numbers(&part.version, compressor)?;
        id.fixed(&part.id, compressor)?;
        event_type.words(&part.event_type, compressor)?;
        schema_version.numbers(&part.schema_version, compressor)?;
        data.texts(&part.data, compressor)?;
        metadata.words(&part.metadata, compressor)?;
        occurred.numbers(&part.occurred_at, compressor)?;
        recorded.numbers(&part.recorded_at, compressor)?;
        self.group.rows += part.rows();
        self.group.bytes += part.bytes();
        Ok(())
    }

    /// Writes what is left and the footer; `about` are names and values that any reader shows. Answers the length.
    pub(super) fn finish(mut self, about: &[(&str, String)]) -> Result<(W, u64), Failed> {
        if self.group.rows > 0 {
            self.end_group()?;
        }
        let about = about
            .iter()
            .map(|(name, value)| Struct::default().binary(1, name.as_bytes()).binary(2, value.as_bytes()))
            .collect::<Vec<_>>();
        // Numbers and texts are compared as their types say: without this word readers ignore the statistics.
        let orders = COLUMNS.iter().map(|_| Struct::default().inner(1, Struct::default()));
        let footer = Struct::default()
            .i32(1, 2)
            .structs(2, schema::elements().into_iter())
            .i64(3, self.rows.cast_signed())
            .structs(4, self.groups.into_iter())
            .structs(5, about.into_iter())
            .binary(6, format!("daybook version {}", env!("CARGO_PKG_VERSION")).as_bytes())
            .structs(7, orders)
            .finish();
        self.out.write_all(&footer)?;
        self.out.write_all(&u32::try_from(footer.len())?.to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        Ok((self.out, self.written + (footer.len() + 4 + MAGIC.len()) as u64))
    }

    fn end_group(&mut self) -> Result<(), Failed> {
        let start = self.written;
        let group = std::mem::replace(&mut self.group, Group::new());
        let mut columns = Vec::with_capacity(COLUMNS.len());
        let mut raw = 0;
        for chunk in group.chunks {
            let finished = chunk.finish(self.written, &mut self.compressor)?;
            self.out.write_all(&finished.bytes)?;
            self.written += finished.bytes.len() as u64;
            raw += finished.raw;
            columns.push(finished.about);
        }
        // Rows stand in the order of positions, the first column.
        let sorting = Struct::default().i32(1, 0).bool(2, false).bool(3, false);
        let about = Struct::default()
            .structs(1, columns.into_iter())
            .i64(2, raw.cast_signed())
            .i64(3, group.rows.cast_signed())
            .structs(4, std::iter::once(sorting))
            .i64(5, start.cast_signed())
            .i64(6, (self.written - start).cast_signed());
        self.groups.push(match i16::try_from(self.groups.len()) {
            Ok(place) => about.i16(7, place),
            Err(_) => about,
        });
        self.rows += group.rows;
        Ok(())
    }
}
