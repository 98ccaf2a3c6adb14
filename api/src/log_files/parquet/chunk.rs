//! One column of one row group: pages, compressed as they fill up.

use super::{
    encoding, plain,
    schema::{Column, Layout},
    thrift::Struct,
    words::Words,
};
use crate::log_files::Failed;

/// A page is ended when it has so many values, or so many bytes.
const PAGE_VALUES: usize = 16_384;
const PAGE_BYTES: usize = 1 << 20;
/// The quickest of zstd's usual levels.
const LEVEL: i32 = 1;

const PLAIN: i32 = 0;
const RLE: i32 = 3;
const DELTA_BINARY_PACKED: i32 = 5;
const RLE_DICTIONARY: i32 = 8;
const ZSTD: i32 = 6;
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;

/// Compresses pages.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(super) fn new() -> Result<Self, Failed> {
        Ok(Self(zstd::bulk::Compressor::new(LEVEL)?))
    }
}

/// A column's part of a row group while it is filled.
pub(super) struct Chunk {
    column: &'static Column,
    pending: Pending,
    /// Values of the page that is being filled.
    page_values: usize,
    values: usize,
    numbers_range: Option<(i64, i64)>,
    pages: Pages,
}

/// What is not in a page yet.
enum Pending {
    Numbers(Vec<i64>),
    Bytes(Vec<u8>),
    Words(Words),
}

/// A chunk as it stands in the file.
pub(super) struct Finished {
    pub(super) bytes: Vec<u8>,
    /// Its bytes before they were compressed.
    pub(super) raw: u64,
    /// Its entry in the footer.
    pub(super) about: Struct,
}

impl Chunk {
    pub(super) fn new(column: &'static Column) -> Self {
        let pending = match column.layout {
            Layout::Numbers { .. } => Pending::Numbers(Vec::new()),
            Layout::Fixed { .. } | Layout::Texts => Pending::Bytes(Vec::new()),
            Layout::Words { .. } => Pending::Words(Words::default()),
        };
        Self { column, pending, page_values: 0, values: 0, numbers_range: None, pages: Pages::default() }
    }

    pub(super) fn numbers(&mut self, numbers: &[i64], compressor: &mut Compressor) -> Result<(), Failed> {
        let ranges = numbers.iter().map(|number| (*number, *number));
        self.numbers_range = ranges.chain(self.numbers_range).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if let Pending::Numbers(pending) = &mut self.pending {
            pending.extend_from_slice(numbers);
        }
        self.added(numbers.len(), compressor)
    }

    /// Values of the column's fixed length, one after the other.
    pub(super) fn fixed(&mut self, bytes: &[u8], compressor: &mut Compressor) -> Result<(), Failed> {
        let Layout::Fixed { bytes: each } = self.column.layout else { return Ok(()) };
        if let Pending::Bytes(pending) = &mut self.pending {
            pending.extend_from_slice(bytes);
        }
        self.added(bytes.len() / each, compressor)
    }

    /// Texts, each with its length in front.
    pub(super) fn texts(&mut self, mut texts: &[u8], compressor: &mut Compressor) -> Result<(), Failed> {
        while let Some(length) = texts.first_chunk() {
            let (text, rest) = texts.split_at(4 + u32::from_le_bytes(*length) as usize);
            texts = rest;
            if let Pending::Bytes(pending) = &mut self.pending {
                pending.extend_from_slice(text);
            }
            self.added(1, compressor)?;
        }
        Ok(())
    }

    pub(super) fn words(&mut self, words: &Words, compressor: &mut Compressor) -> Result<(), Failed> {
        if let Pending::Words(pending) = &mut self.pending {
            pending.add_all(words);
        }
        self.added(words.places.len(), compressor)
    }

    /// Ends the last page; answers everything as it stands at the place `offset` of the file.
    pub(super) fn finish(mut self, offset: u64, compressor: &mut Compressor) -> Result<Finished, Failed> {
        self.end_page(compressor)?;
        let mut before = Pages::default();
        if let Pending::Words(words) = &self.pending {
            let mut dictionary = Vec::with_capacity(words.bytes() + 4 * words.distinct().len());
            words.distinct().iter().for_each(|text| plain(text, &mut dictionary));
            let header = Struct::default().i32(1, i32::try_from(words.distinct().len())?).i32(2, PLAIN);
            before.add(DICTIONARY_PAGE, 7, header, &dictionary, compressor)?;
        }
        let statistics = self.statistics();
        let data_offset = offset + before.bytes.len() as u64;
        let has_dictionary = !before.bytes.is_empty();
        let mut bytes = before.bytes;
        bytes.extend_from_slice(&self.pages.bytes);
        let raw = before.raw + self.pages.raw;
        let encodings: &[i32] = match self.column.layout {
            Layout::Numbers { .. } => &[DELTA_BINARY_PACKED],
            Layout::Fixed { .. } | Layout::Texts => &[PLAIN],
            Layout::Words { .. } => &[PLAIN, RLE_DICTIONARY],
        };
        let mut about = Struct::default()
            .i32(1, self.column.stored_as())
            .i32s(2, encodings)
            .text(3, &[self.column.name])
            .i32(4, ZSTD)
            .i64(5, i64::try_from(self.values)?)
            .i64(6, raw.cast_signed())
            .i64(7, i64::try_from(bytes.len())?)
            .i64(9, data_offset.cast_signed());
        if has_dictionary {
            about = about.i64(11, offset.cast_signed());
        }
        let about = Struct::default().i64(2, offset.cast_signed()).inner(3, about.inner(12, statistics));
        Ok(Finished { bytes, raw, about })
    }

    /// Nothing is missing; and what the least and the greatest are, where that is worth knowing.
    fn statistics(&self) -> Struct {
        let none_missing = Struct::default().i64(3, 0);
        match (&self.pending, self.column.layout) {
            (_, Layout::Numbers { bytes }) => match self.numbers_range {
                Some((least, greatest)) => {
                    none_missing.binary(5, &greatest.to_le_bytes()[..bytes]).binary(6, &least.to_le_bytes()[..bytes])
                }
                None => none_missing,
            },
            (Pending::Words(words), Layout::Words { ordered: true }) => {
                match (words.distinct().iter().max(), words.distinct().iter().min()) {
                    (Some(greatest), Some(least)) => {
                        none_missing.binary(5, greatest.as_bytes()).binary(6, least.as_bytes())
                    }
                    _ => none_missing,
                }
            }
            _ => none_missing,
        }
    }

    fn added(&mut self, values: usize, compressor: &mut Compressor) -> Result<(), Failed> {
        self.page_values += values;
        self.values += values;
        let is_long = matches!(&self.pending, Pending::Bytes(bytes) if bytes.len() >= PAGE_BYTES);
        if self.page_values >= PAGE_VALUES || is_long { self.end_page(compressor) } else { Ok(()) }
    }

    fn end_page(&mut self, compressor: &mut Compressor) -> Result<(), Failed> {
        if self.page_values == 0 {
            return Ok(());
        }
        let mut body = Vec::new();
        let encoding = match &mut self.pending {
            Pending::Numbers(numbers) => {
                encoding::delta(numbers, &mut body);
                numbers.clear();
                DELTA_BINARY_PACKED
            }
            Pending::Bytes(bytes) => {
                body = std::mem::take(bytes);
                PLAIN
            }
            Pending::Words(words) => {
                encoding::places(&words.places, words.distinct().len(), &mut body);
                words.places.clear();
                RLE_DICTIONARY
            }
        };
        // The levels are those of columns that are neither nested nor ever missing: there are none.
        let header =
            Struct::default().i32(1, i32::try_from(self.page_values)?).i32(2, encoding).i32(3, RLE).i32(4, RLE);
        self.page_values = 0;
        self.pages.add(DATA_PAGE, 5, header, &body, compressor)
    }
}

/// Pages as they stand in the file, one after the other.
#[derive(Default)]
struct Pages {
    bytes: Vec<u8>,
    raw: u64,
}

impl Pages {
    /// Adds a page with its own header as the field `id` of the page's header.
    fn add(&mut self, kind: i32, id: u8, own: Struct, body: &[u8], compressor: &mut Compressor) -> Result<(), Failed> {
        let compressed = compressor.0.compress(body)?;
        let header = Struct::default()
            .i32(1, kind)
            .i32(2, i32::try_from(body.len())?)
            .i32(3, i32::try_from(compressed.len())?)
            .inner(id, own)
            .finish();
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(&compressed);
        self.raw += (header.len() + body.len()) as u64;
        Ok(())
    }
}
