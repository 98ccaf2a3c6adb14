//! Requests, one after the other on each of many kept connections, and as little work around them as can be: the
//! callers share the machine with the server they measure.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, task::JoinSet};

use super::{Failed, measure::Latencies};

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What one caller asks: writes its next request to the buffer, and knows a right answer by its status and body.
pub(super) trait Caller: Send + 'static {
    fn next(&mut self, request: &mut Vec<u8>);

    fn is_right(&self, status: u16, body: &[u8]) -> bool;
}

/// What came of a load.
pub(super) struct Loaded {
    pub(super) requests: u64,
    pub(super) latencies: Latencies,
    /// From the first request to the last answer.
    pub(super) took: Duration,
}

impl Loaded {
    /// Requests each second.
    pub(super) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 requests")]
        let requests = self.requests as f64;
        requests / self.took.as_secs_f64()
    }
}

/// When callers ask.
#[derive(Clone)]
struct Pace<W> {
    /// From one request of a caller to its next one; without it, the next one follows the answer.
    every: Option<Duration>,
    /// Says no when it is enough.
    goes_on: W,
}

/// Lets each caller ask on a connection of its own for so many seconds, all on one thread beside the server's.
pub(super) async fn load<C: Caller>(
    address: SocketAddr,
    callers: Vec<C>,
    seconds: f64,
) -> Result<(Vec<C>, Loaded), Failed> {
    let ends = Instant::now() + Duration::from_secs_f64(seconds);
    ask_aside(address, callers, Pace { every: None, goes_on: move || Instant::now() < ends }).await
}

/// Lets each caller ask once `every` so long, whether the server keeps up or not, while it `goes_on`: a request that
/// could not be sent in time, because the one before was not answered, has waited since it was due.
pub(super) async fn load_at_pace<C: Caller>(
    address: SocketAddr,
    callers: Vec<C>,
    every: Duration,
    goes_on: impl Fn() -> bool + Clone + Send + 'static,
) -> Result<(Vec<C>, Loaded), Failed> {
    ask_aside(address, callers, Pace { every: Some(every), goes_on }).await
}

async fn ask_aside<C: Caller>(
    address: SocketAddr,
    callers: Vec<C>,
    pace: Pace<impl Fn() -> bool + Clone + Send + 'static>,
) -> Result<(Vec<C>, Loaded), Failed> {
    let thread = move || -> Result<(Vec<C>, Loaded), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask_all(address, callers, pace))
    };
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("bench-load".to_owned()).spawn(move || {
        // Nobody waits for a bench that was given up.
        let _ = ended.send(thread());
    })?;
    end.await?
}

async fn ask_all<C: Caller>(
    address: SocketAddr,
    callers: Vec<C>,
    pace: Pace<impl Fn() -> bool + Clone + Send + 'static>,
) -> Result<(Vec<C>, Loaded), Failed> {
    let mut connections = Vec::with_capacity(callers.len());
    for caller in callers {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.push((caller, stream));
    }
    let started = Instant::now();
    let mut asking = JoinSet::new();
    let count = u32::try_from(connections.len())?;
    for (place, (caller, stream)) in (0..).zip(connections) {
        // Those who keep a pace do not ask all at the same moment.
        let first = started + pace.every.unwrap_or_default() * place / count;
        asking.spawn(ask(caller, stream, pace.clone(), first));
    }
    let (mut callers, mut requests, mut latencies) = (Vec::new(), 0, Latencies::new()?);
    while let Some(asked) = asking.join_next().await {
        let (caller, count, took) = asked??;
        callers.push(caller);
        requests += count;
        latencies.add_all(&took)?;
    }
    Ok((callers, Loaded { requests, latencies, took: started.elapsed() }))
}

async fn ask<C: Caller>(
    mut caller: C,
    stream: TcpStream,
    pace: Pace<impl Fn() -> bool>,
    mut due: Instant,
) -> Result<(C, u64, Latencies), Failed> {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let (mut requests, mut latencies) = (0, Latencies::new()?);
    while (pace.goes_on)() {
        request.clear();
        caller.next(&mut request);
        let mut started = Instant::now();
        if let Some(every) = pace.every {
            if due > started {
                // A timer may be late by a millisecond, for which the server can do nothing.
                tokio::time::sleep_until(due.into()).await;
                started = Instant::now();
            } else {
                started = due;
            }
            due += every;
        }
        write(&stream, &request).await?;
        let (status, body_at) = read(&stream, &mut answer).await?;
        latencies.add(started.elapsed());
        requests += 1;
        let body = answer.get(body_at..).unwrap_or_default();
        if !caller.is_right(status, body) {
            return Err(format!("answered {status}: {}", String::from_utf8_lossy(body)).into());
        }
    }
    Ok((caller, requests, latencies))
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one answer; its status, and where its body begins.
async fn read(stream: &TcpStream, answer: &mut Vec<u8>) -> Result<(u16, usize), Failed> {
    answer.clear();
    let mut ends_at = None;
    loop {
        stream.readable().await?;
        answer.reserve(HEAD_BYTES_MAX);
        match stream.try_read_buf(answer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        if ends_at.is_none() {
            ends_at = head(answer)?;
        }
        if let Some((status, body_at, length)) = ends_at
            && answer.len() >= body_at + length
        {
            return Ok((status, body_at));
        }
    }
}

/// The status, where the body begins, and how long it is; `None` while the head is not whole.
fn head(answer: &[u8]) -> Result<Option<(u16, usize, usize)>, Failed> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return if answer.len() > HEAD_BYTES_MAX {
            Err("an answer without an end of its head".into())
        } else {
            Ok(None)
        };
    };
    let lines = answer.get(..end).unwrap_or_default();
    let status = lines.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let length = lines.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.get(LENGTH.len()..)?;
        line.get(..LENGTH.len())?.eq_ignore_ascii_case(LENGTH).then_some(value)
    });
    let length = length.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some((status, end + 4, length))),
        _ => Err(format!("an answer that cannot be read: {}", String::from_utf8_lossy(lines)).into()),
    }
}
