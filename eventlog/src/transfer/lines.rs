//! The lines of an export read back: one thread reads them, several parse them, and the events come out in order.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::{EVENT_BYTES_MAX, RecordedEvent};

/// Bytes of whole lines that are read and taken apart at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait to be taken apart, and chunks that are being taken apart.
const CHUNKS_WAITING_MAX: usize = 2;
const CHUNKS_AT_ONCE: usize = 4;
/// The longest line: the largest event, and room for its envelope.
const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + (64 << 10);

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("{name} cannot be read")]
    Read {
        /// The file's name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{name} is {what}")]
    Other {
        /// The file's name.
        name: String,
        /// What it is instead of an export.
        what: &'static str,
    },
    /// There is nothing in it.
    #[error("{name} holds no events: nothing was imported")]
    Empty {
        /// The file's name.
        name: String,
    },
    /// One of its lines is wrong.
    #[error("line {line}: {what}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// Where lines come from.
pub struct Source {
    name: String,
    reader: Box<dyn BufRead + Send>,
    /// Its length in bytes; 0 when that is not known.
    pub length: u64,
}

/// Events of consecutive lines.
pub struct Batch {
    /// The events, in the order of their lines.
    pub events: Vec<RecordedEvent>,
    /// Bytes of the source up to their end.
    pub read: u64,
}

impl Source {
    /// The file at `path`, or standard input for `-`.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be read, is empty, or its first bytes show that it is no export.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let unreadable = |source| SourceError::Read { name: name.clone(), source };
        let (mut reader, length): (Box<dyn BufRead + Send>, u64) = if is_stdin {
            (Box::new(BufReader::new(io::stdin())), 0)
        } else {
            let file = File::open(path).map_err(unreadable)?;
            let found = file.metadata().map_err(unreadable)?;
            if found.is_dir() {
                return Err(SourceError::Other { name, what: "a folder: name the file of an export" });
            }
            (Box::new(BufReader::with_capacity(CHUNK_BYTES, file)), found.len())
        };
        let start = reader.fill_buf().map_err(unreadable)?;
        if start.is_empty() {
            return Err(SourceError::Empty { name });
        }
        match foreign(start) {
            Some(what) => Err(SourceError::Other { name, what }),
            None => Ok(Self { name, reader, length }),
        }
    }

    /// The events of all lines, in order. After an error nothing more comes.
    pub fn batches(self) -> impl Stream<Item = Result<Batch, SourceError>> + Send + 'static {
        let (to_parser, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        // Not one of the runtime's threads: it may wait for standard input for ever, and must hold no end up.
        std::thread::spawn(move || {
            let mut chunks = Chunks { source: self, rest: Vec::new(), lines: 0, read: 0 };
            while let Some(chunk) = chunks.next().transpose() {
                let is_last = chunk.is_err();
                if to_parser.blocking_send(chunk).is_err() || is_last {
                    break;
                }
            }
        });
        let chunks = stream::unfold(chunks, |mut chunks| async { chunks.recv().await.map(|chunk| (chunk, chunks)) });
        chunks
            .map(|chunk| async {
                let chunk = chunk?;
                let interrupted =
                    |error| SourceError::Read { name: "the import".to_owned(), source: io::Error::other(error) };
                tokio::task::spawn_blocking(move || chunk.parse()).await.map_err(interrupted)?
            })
            .buffered(CHUNKS_AT_ONCE)
    }
}

/// What a file that starts so is, when it is no export of lines.
fn foreign(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (b"PAR1", "a Parquet file, which cannot be imported: export with --format ndjson"),
        (b"\x1f\x8b", "packed with gzip: unpack it on the way, gunzip -c FILE | daybook log import -"),
        (b"\x28\xb5\x2f\xfd", "packed with zstd: unpack it on the way, zstd -dc FILE | daybook log import -"),
        (b"SQLite format 3\0", "a SQLite file, not an export: a backup is put back with daybook restore FILE"),
        (b"[", "no export: it has to hold one event a line, without an array around them"),
    ];
    known.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| what)
}

/// Whole lines.
struct Chunk {
    bytes: Vec<u8>,
    /// The number of its first line.
    first_line: u64,
    /// Bytes of the source up to its end.
    read: u64,
}

struct Chunks {
    source: Source,
    /// What was read of a line whose end was not.
    rest: Vec<u8>,
    lines: u64,
    read: u64,
}

impl Chunks {
    fn next(&mut self) -> Result<Option<Chunk>, SourceError> {
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            let before = bytes.len();
            let unreadable = |source| SourceError::Read { name: self.source.name.clone(), source };
            let wanted = CHUNK_BYTES as u64;
            let read = self.source.reader.by_ref().take(wanted).read_to_end(&mut bytes).map_err(unreadable)?;
            let end = bytes[before..].iter().rposition(|byte| *byte == b'\n').map(|place| before + place + 1);
            match end {
                Some(end) => {
                    self.rest = bytes.split_off(end);
                    break;
                }
                None if read == 0 => break,
                None if bytes.len() > LINE_BYTES_MAX => {
                    let what = format!("it is longer than {LINE_BYTES_MAX} bytes, no event is");
                    return Err(SourceError::Line { line: self.lines + 1, what });
                }
                None => {}
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let first_line = self.lines + 1;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.read += bytes.len() as u64;
        Ok(Some(Chunk { bytes, first_line, read: self.read }))
    }
}

impl Chunk {
    fn parse(self) -> Result<Batch, SourceError> {
        let lines = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes).split(|byte| *byte == b'\n');
        let events = lines.zip(self.first_line..).map(|(text, line)| event_of(text, line)).collect::<Result<_, _>>()?;
        Ok(Batch { events, read: self.read })
    }
}

/// The event of a line. A whole export has the event of position n in line n.
fn event_of(text: &[u8], line: u64) -> Result<RecordedEvent, SourceError> {
    let wrong = |what: String| SourceError::Line { line, what };
    if text.trim_ascii().is_empty() {
        return Err(wrong("it is empty, where an event should be".to_owned()));
    }
    // Every line is one text to the parser: only the column says anything.
    let event = RecordedEvent::from_line(text)
        .map_err(|error| wrong(error.to_string().replace("at line 1 column", "at column")))?;
    let position = event.position.get();
    if position > line {
        let what = format!(
            "it holds position {position} where {line} should be: events were left out, and only an export of \
             everything (without --after, --types, --category, --stream) can be imported"
        );
        return Err(wrong(what));
    }
    if position < line {
        return Err(wrong(format!("it holds position {position} where {line} should be: the lines are not in order")));
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &'static [u8]) -> Chunks {
        let source = Source { name: "it".to_owned(), reader: Box::new(text), length: 0 };
        Chunks { source, rest: Vec::new(), lines: 0, read: 0 }
    }

    #[test]
    fn a_chunk_holds_whole_lines_and_knows_their_numbers() {
        let mut chunks = chunks(b"a\nb\nc");
        let first = chunks.next().unwrap().unwrap();
        assert_eq!((&*first.bytes, first.first_line, first.read), (&b"a\nb\n"[..], 1, 4));
        let second = chunks.next().unwrap().unwrap();
        assert_eq!((&*second.bytes, second.first_line, second.read), (&b"c"[..], 3, 5));
        assert!(chunks.next().unwrap().is_none());
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut endless = chunks(b"");
        endless.source.reader = Box::new(BufReader::new(io::repeat(b'x')));
        let refused = endless.next().err().unwrap().to_string();
        assert!(refused.starts_with("line 1: it is longer than"), "{refused}");
    }

    #[test]
    fn what_is_no_export_is_known_by_its_first_bytes() {
        for (start, told) in
            [(&b"PAR1\x15"[..], "Parquet"), (b"\x1f\x8b\x08", "gzip"), (b"SQLite format 3\0", "restore")]
        {
            assert!(foreign(start).unwrap().contains(told));
        }
        assert_eq!(foreign(b"{\"position\":1"), None);
    }
}
