//! A subscriber of the log with as little around it as can be: the socket, the chunks of HTTP/1.1, the lines.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::Failed;

const BUFFER_BYTES: usize = 64 << 10;
/// A server that says nothing for so long has failed; it sends a comment every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The subscriber's end of an open subscription.
pub(super) struct Subscription {
    stream: BufReader<TcpStream>,
    /// Bytes left of the chunk that is being read.
    chunk: usize,
    lines: Lines,
}

/// What has come so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) events: u64,
    /// The position of the last one.
    pub(super) last: u64,
}

impl Subscription {
    /// Subscribes to everything after `after`, and reads the head of the answer.
    pub(super) fn open(address: SocketAddr, token: &str, after: u64) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let request = format!(
            "GET /api/v1/log/subscribe?after={after} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        (&stream).write_all(request.as_bytes())?;
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(format!("a subscription was answered {line:?}").into());
        }
        let mut is_chunked = false;
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Err("a subscription was answered without an end of its head".into());
            }
            is_chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
        }
        if !is_chunked {
            return Err("a subscription was answered without chunks".into());
        }
        Ok(Self { stream, chunk: 0, lines: Lines::default() })
    }

    /// Reads on until `wanted` events have come, since the beginning.
    pub(super) fn read_until(&mut self, wanted: u64) -> Result<Seen, Failed> {
        while self.lines.seen.events < wanted {
            self.read()?;
        }
        Ok(self.lines.seen)
    }

    /// Reads what there is, and waits when there is nothing.
    fn read(&mut self) -> Result<(), Failed> {
        if self.chunk == 0 {
            let mut size = String::new();
            self.stream.read_line(&mut size)?;
            self.chunk = usize::from_str_radix(size.trim_end(), 16)?;
            if self.chunk == 0 {
                return Err("the server ended a subscription".into());
            }
        }
        let there = self.stream.fill_buf()?;
        let taken = there.len().min(self.chunk);
        if taken == 0 {
            return Err("the server broke a subscription off".into());
        }
        self.lines.take(there.get(..taken).unwrap_or_default())?;
        self.stream.consume(taken);
        self.chunk -= taken;
        if self.chunk == 0 {
            self.stream.read_exact(&mut [0; 2])?;
        }
        Ok(())
    }
}

/// The lines of the body, which come in any pieces.
#[derive(Default)]
struct Lines {
    /// The beginning of the line that is being read, as much of it as anybody looks at.
    begun: Vec<u8>,
    seen: Seen,
}

impl Lines {
    /// `id: 18446744073709551615`
    const LOOKED_AT: usize = 24;

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.begin(line);
            self.end()?;
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.begin(bytes);
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = Self::LOOKED_AT - self.begun.len();
        self.begun.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(id) = self.begun.strip_prefix(b"id: ") {
            let position = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            self.seen.last = position.ok_or_else(|| io::Error::other("an event with an id that is no position"))?;
        } else if self.begun.starts_with(b"data: ") {
            self.seen.events += 1;
        } else if self.begun.starts_with(b"event: ") {
            return Err(io::Error::other("the server cut a subscription off"));
        }
        self.begun.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let body =
            b": daybook\nretry: 1000\n\nid: 41\ndata: {\"position\":41}\n\n: nothing new\n\nid: 42\ndata: {}\n\n";
        for piece in 1..body.len() {
            let mut lines = Lines::default();
            body.chunks(piece).for_each(|bytes| lines.take(bytes).unwrap());
            assert_eq!(lines.seen, Seen { events: 2, last: 42 });
        }
    }

    #[test]
    fn a_cut_off_is_a_failure() {
        assert!(Lines::default().take(b"event: cut-off\n").is_err());
    }
}
