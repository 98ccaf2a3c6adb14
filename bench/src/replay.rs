//! Reading everything back, decoded, as a projection that is rebuilt does.

use std::{hint::black_box, path::Path, time::Instant};

use daybook_domain::{
    event::{DecodeError, DomainEvent, Event},
    reading::ReaderEvent,
};
use daybook_eventlog::{Append, EventRef, ExpectedVersion, Log, NewEvent, Position};
use futures::TryStreamExt;
use tempfile::TempDir;

use super::{
    Failed,
    bare::{self, BareFile},
    measure::{ROUNDS, Rates, per_second},
    report::Row,
    sessions::{Sessions, metadata},
};

const PER_COMMIT: u64 = 1_000;

pub(super) async fn replay(folder: TempDir, events: u64) -> Result<Row, Failed> {
    let bare = folder.path().join("bare");
    let log = Log::open(folder.path()).await?;
    fill(&log, &bare, events).await?;
    let (mut rates, mut limits) = (Rates::default(), Rates::default());
    for _ in 0..ROUNDS {
        let (path, started) = (bare.clone(), Instant::now());
        let read = tokio::task::spawn_blocking(move || read_bare(&path)).await??;
        limits.add(per_second(read, started));
        let started = Instant::now();
        let replayed = replay_log(&log).await?;
        rates.add(per_second(replayed, started));
        if (read, replayed) != (events, events) {
            return Err(format!("{events} events were written, {read} and {replayed} were read").into());
        }
    }
    log.close().await;
    Ok(Row {
        bench: "log",
        case: "replay/decoded".to_owned(),
        per_s: rates.median(),
        p50_ms: None,
        p99_ms: None,
        limit_per_s: Some(limits.median()),
        ratio: Some(rates.ratio_to(&limits)),
        memory_mib: None,
    })
}

/// The same events into the log and into the bare file.
async fn fill(log: &Log, bare: &Path, events: u64) -> Result<(), Failed> {
    let (mut sessions, mut file, metadata) = (Sessions::new(1), BareFile::create(bare)?, metadata());
    let mut left = events;
    while left > 0 {
        let count = left.min(PER_COMMIT);
        left -= count;
        let (stream, events) = sessions.next(usize::try_from(count)?);
        let events = NewEvent::from_domain(&events, &metadata);
        file.commit(&stream, &events)?;
        log.append(Append::to(stream, ExpectedVersion::Any, events)).await?;
    }
    Ok(())
}

/// The events that were read, none of them skipped.
fn read_bare(path: &Path) -> std::io::Result<u64> {
    let mut last = 0;
    bare::read(path, |position, event| last = black_box((position, event)).0)?;
    Ok(last)
}

/// Reads and decodes everything, and does nothing with it; the events of each second.
pub(super) async fn replay_all(log: &Log) -> Result<f64, Failed> {
    let started = Instant::now();
    let decode = |event: &EventRef<'_>| Event::decode(event.event_type, event.schema_version, event.data.as_bytes());
    let events = read(log, decode).await?;
    if events != log.head().get() {
        return Err(format!("{} events were written, {events} were read", log.head()).into());
    }
    Ok(per_second(events, started))
}

async fn replay_log(log: &Log) -> Result<u64, Failed> {
    read(log, |event| {
        let decoded = ReaderEvent::decode(event.event_type, event.schema_version, event.data.as_bytes());
        decoded.map(|event_data| (event.position, event_data))
    })
    .await
}

/// How many events were read and decoded, each on the thread that read it.
async fn read<T: Send + 'static>(
    log: &Log,
    decode: impl Fn(&EventRef<'_>) -> Result<T, DecodeError> + Clone + Send + 'static,
) -> Result<u64, Failed> {
    let mut parts = std::pin::pin!(log.replay(Position::START, log.head(), decode));
    let mut events = 0;
    while let Some(part) = parts.try_next().await? {
        for decoded in part {
            black_box(decoded?);
            events += 1;
        }
    }
    Ok(events)
}
