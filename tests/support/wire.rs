//! Answers without an end, over a connection of the test's own: it reads as slowly as it likes, and can go away
//! without a word.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Caller, PATIENCE, Server};

/// A GET whose answer is read bit by bit.
pub struct Wire {
    connection: TcpStream,
    raw: Vec<u8>,
    body: Vec<u8>,
    ended: bool,
    pub status: u16,
    pub head: String,
}

/// What server-sent events are made of: the lines up to an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub id: Option<u64>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub retry: Option<String>,
    pub comment: Option<String>,
}

/// The body broke off: the connection ended before it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff;

impl Wire {
    pub async fn get(server: &Server, caller: &Caller, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_get(server.address(), caller, path, headers, None).await.unwrap()
    }

    /// With a small window: what is not read stays with the server.
    pub async fn get_narrow(server: &Server, caller: &Caller, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_get(server.address(), caller, path, headers, Some(8_192)).await.unwrap()
    }

    async fn try_get(
        address: SocketAddr,
        caller: &Caller,
        path: &str,
        headers: &[(&str, &str)],
        window: Option<u32>,
    ) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = window {
            socket.set_recv_buffer_size(bytes)?;
        }
        let mut connection = socket.connect(address).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: {}\r\n", caller.authorization());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        connection.write_all(request.as_bytes()).await?;
        let (mut wire, mut head_end) =
            (Self { connection, raw: vec![], body: vec![], ended: false, status: 0, head: String::new() }, None);
        while head_end.is_none() {
            assert!(wire.more().await, "no answer: {}", String::from_utf8_lossy(&wire.raw));
            head_end = wire.raw.windows(4).position(|four| four == b"\r\n\r\n");
        }
        let head = wire.raw.drain(..head_end.unwrap() + 4).collect();
        wire.head = String::from_utf8(head).unwrap().to_lowercase();
        wire.status = wire.head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(wire)
    }

    /// Takes what the connection has; false at its end.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.connection.read_buf(&mut self.raw)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing came for too long"));
        // Reset or closed: the end either way.
        read.unwrap_or(0) > 0
    }

    /// More of the body; false at its proper end.
    async fn more_body(&mut self) -> Result<bool, BrokenOff> {
        loop {
            if self.ended {
                return Ok(false);
            }
            if let Some(line_end) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..line_end]).unwrap(), 16).unwrap();
                let chunk = line_end + 2..line_end + 2 + size;
                if self.raw.len() >= chunk.end + 2 {
                    self.body.extend_from_slice(&self.raw[chunk.clone()]);
                    self.raw.drain(..chunk.end + 2);
                    self.ended = size == 0;
                    return Ok(!self.ended);
                }
            }
            if !self.more().await {
                return Err(BrokenOff);
            }
        }
    }

    /// The next frame; none at the end of the body.
    pub async fn try_frame(&mut self) -> Result<Option<Frame>, BrokenOff> {
        let mut searched = 0;
        loop {
            let found = self.body[searched..].windows(2).position(|two| two == b"\n\n");
            if let Some(end) = found.map(|end| searched + end) {
                let frame = Frame::read(std::str::from_utf8(&self.body[..end]).unwrap());
                self.body.drain(..end + 2);
                return Ok(Some(frame));
            }
            searched = self.body.len().saturating_sub(1);
            if !self.more_body().await? {
                assert!(self.body.is_empty(), "half a frame at the end");
                return Ok(None);
            }
        }
    }

    pub async fn frame(&mut self) -> Option<Frame> {
        self.try_frame().await.unwrap()
    }

    /// The next frame that is an event to a client.
    pub async fn event(&mut self) -> Frame {
        loop {
            let frame = self.frame().await.unwrap_or_else(|| panic!("the subscription ended"));
            if frame.data.is_some() {
                return frame;
            }
        }
    }

    /// All frames up to the end of the body.
    pub async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// The body up to its end, proper or not.
    pub async fn text(mut self) -> (String, Result<(), BrokenOff>) {
        let ended = loop {
            match self.more_body().await {
                Ok(true) => {}
                ended => break ended.map(drop),
            }
        };
        (String::from_utf8(self.body).unwrap(), ended)
    }

    /// Waits until some of the body has come.
    pub async fn begin(&mut self) {
        assert!(self.more_body().await.unwrap());
    }

    /// Goes away with a reset.
    pub fn reset(self) {
        SockRef::from(&self.connection).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Frame {
    fn read(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line} is no field"));
            match name {
                "id" => frame.id = Some(value.parse().unwrap()),
                "event" => frame.event = Some(value.to_owned()),
                "data" => assert_eq!(frame.data.replace(value.to_owned()), None, "one line of data"),
                "retry" => frame.retry = Some(value.to_owned()),
                "" => frame.comment = Some(value.to_owned()),
                _ => panic!("{line}"),
            }
        }
        frame
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }

    /// The reason and the position of a cut-off.
    #[track_caller]
    pub fn cut_off(&self) -> (String, u64) {
        assert_eq!(self.event.as_deref(), Some("cut-off"), "{self:?}");
        let said = self.json();
        (said["reason"].as_str().unwrap().to_owned(), said["resume_after"].as_u64().unwrap())
    }
}
