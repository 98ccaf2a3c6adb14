//! The limit: a file that takes the same events, and nothing else.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use daybook_domain::event::DomainEvent;
use daybook_domain::reading::ReaderEvent;
use daybook_eventlog::{NewEvent, StreamId};

/// Records one after the other: everything that a recorded event has, each text with its length before it.
pub(super) struct BareFile {
    file: File,
    buffer: Vec<u8>,
    position: u64,
}

impl BareFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, buffer: Vec::new(), position: 0 })
    }

    /// Writes the events and waits until they are on the disk.
    pub(super) fn commit(&mut self, stream: &StreamId, events: &[NewEvent]) -> io::Result<()> {
        self.buffer.clear();
        let recorded_at = chrono::Utc::now().timestamp_micros();
        for event in events {
            self.position += 1;
            let start = self.buffer.len();
            self.buffer.extend([0; 4]);
            self.buffer.extend(self.position.to_le_bytes());
            self.buffer.extend(event.id.as_bytes());
            self.buffer.extend(event.schema_version.to_le_bytes());
            self.buffer.extend(event.occurred_at.timestamp_micros().to_le_bytes());
            self.buffer.extend(recorded_at.to_le_bytes());
            for text in [stream.as_str(), &event.event_type, &event.metadata, &event.data] {
                self.buffer.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                self.buffer.extend(text.as_bytes());
            }
            let bytes = u32::try_from(self.buffer.len() - start - 4).unwrap_or(u32::MAX);
            if let Some(length) = self.buffer.get_mut(start..start + 4) {
                length.copy_from_slice(&bytes.to_le_bytes());
            }
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()
    }
}

/// Reads all records and decodes their events; hands on each with its position.
pub(super) fn read(path: &Path, mut visit: impl FnMut(u64, ReaderEvent)) -> io::Result<()> {
    const CHUNK_BYTES: usize = 1 << 20;
    let mut file = BufReader::with_capacity(CHUNK_BYTES, File::open(path)?);
    let (mut length, mut record) = ([0; 4], Vec::new());
    loop {
        match file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        record.resize(usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX), 0);
        file.read_exact(&mut record)?;
        let (position, event) = parse(&record).ok_or_else(|| io::Error::other("a record of the bare file is torn"))?;
        visit(position, event);
    }
}

fn parse(mut record: &[u8]) -> Option<(u64, ReaderEvent)> {
    let rest = &mut record;
    let position = u64::from_le_bytes(take(rest)?);
    let _id = uuid::Uuid::from_bytes(take(rest)?);
    let schema_version = u16::from_le_bytes(take(rest)?);
    let _occurred_at = i64::from_le_bytes(take(rest)?);
    let _recorded_at = i64::from_le_bytes(take(rest)?);
    let _stream = take_text(rest)?;
    let event_type = take_text(rest)?;
    let _metadata = take_text(rest)?;
    let data = take_text(rest)?;
    let event = ReaderEvent::decode(event_type, schema_version, data.as_bytes()).ok()?;
    Some((position, event))
}

fn take<const BYTES: usize>(rest: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (field, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*field)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let bytes = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (text, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}
