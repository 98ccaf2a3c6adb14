//! Appending to the log and replaying it.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent};
use tempfile::TempDir;

use super::{
    Failed,
    bare::BareFile,
    measure::{Latencies, ROUNDS, Rates, per_second},
    replay,
    report::{Report, Row},
    seconds,
    sessions::{Sessions, metadata},
    temporary_folder,
};

/// Measures the log, in a temporary folder that is removed afterwards.
#[derive(Debug, Clone, Args)]
pub struct LogBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// Seconds that each side of a case appends for, over all its turns.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Events that are replayed, and the most that one turn appends.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Writers at the same time, in the case of many.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    writers: u32,
    /// Events of one append, in the case of big appends.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    per_commit: u32,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One writer, single events.
    AppendOne,
    /// One writer, big appends.
    AppendMany,
    /// Many writers, single events.
    AppendWriters,
    /// All events of a log, decoded.
    Replay,
}

impl LogBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        for case in Case::value_variants() {
            if self.case.is_some_and(|only| only != *case) {
                continue;
            }
            let row = match case {
                Case::AppendOne => self.appends(1).await?,
                Case::AppendMany => self.appends(self.per_commit).await?,
                Case::AppendWriters => self.writers().await?,
                Case::Replay => replay::replay(self.folder()?, self.events).await?,
            };
            report.add(&row)?;
        }
        Ok(())
    }

    async fn appends(&self, per_commit: u32) -> Result<Row, Failed> {
        let (folder, count) = (self.folder()?, usize::try_from(per_commit)?);
        let log = Log::open(folder.path()).await?;
        let mut bare = Bare { file: BareFile::create(&bare_path(&folder))?, sessions: Sessions::new(1) };
        let mut sessions = Sessions::new(1);
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..ROUNDS {
            let turn = self.turn();
            let (written, limit) = tokio::task::spawn_blocking(move || bare.write(count, turn)).await??;
            bare = written;
            limits.add(limit);
            let started = Instant::now();
            let written = write(&log, &mut sessions, count, self.turn(), &mut latencies).await?;
            rates.add(per_second(written, started));
        }
        log.close().await;
        Ok(Row {
            bench: "log",
            case: format!("append/{per_commit}-per-commit"),
            per_s: rates.median(),
            p50_ms: Some(latencies.percentile(50.0)),
            p99_ms: Some(latencies.percentile(99.0)),
            limit_per_s: Some(limits.median()),
            ratio: Some(rates.ratio_to(&limits)),
            memory_mib: None,
        })
    }

    /// Here the limit is one writer alone: how much is gained by commits that are shared.
    async fn writers(&self) -> Result<Row, Failed> {
        let folder = self.folder()?;
        let log = Log::open(folder.path()).await?;
        let mut alone = Sessions::new(1);
        let mut writers: Vec<Sessions> = (0..self.writers).map(|writer| Sessions::new(2 + writer)).collect();
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let written = write(&log, &mut alone, 1, self.turn(), &mut Latencies::new()?).await?;
            limits.add(per_second(written, started));
            rates.add(write_side_by_side(&log, &mut writers, self.turn(), &mut latencies).await?);
        }
        log.close().await;
        Ok(Row {
            bench: "log",
            case: format!("append/{}-writers", self.writers),
            per_s: rates.median(),
            p50_ms: Some(latencies.percentile(50.0)),
            p99_ms: Some(latencies.percentile(99.0)),
            limit_per_s: Some(limits.median()),
            ratio: Some(rates.ratio_to(&limits)),
            memory_mib: None,
        })
    }

    fn folder(&self) -> std::io::Result<TempDir> {
        temporary_folder(self.dir.as_deref())
    }

    fn turn(&self) -> Turn {
        Turn {
            ends: Instant::now() + Duration::from_secs_f64(self.seconds / f64::from(ROUNDS)),
            events_max: self.events,
        }
    }
}

/// Until when one side writes, and how much at most.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) ends: Instant,
    pub(super) events_max: u64,
}

impl Turn {
    fn goes_on(&self, written: u64) -> bool {
        written < self.events_max && Instant::now() < self.ends
    }
}

/// Appends one after the other, until the turn ends; answers how many events.
pub(super) async fn write(
    log: &Log,
    sessions: &mut Sessions,
    per_append: usize,
    turn: Turn,
    latencies: &mut Latencies,
) -> Result<u64, Failed> {
    let metadata = metadata();
    let mut written = 0;
    while turn.goes_on(written) {
        let (stream, events) = sessions.next(per_append);
        let started = Instant::now();
        let events = NewEvent::from_domain(&events, &metadata);
        log.append(Append::to(stream, ExpectedVersion::Any, events)).await?;
        latencies.add(started.elapsed());
        written += per_append as u64;
    }
    Ok(written)
}

/// Every writer appends single events, all at the same time; answers the events each second.
pub(super) async fn write_side_by_side(
    log: &Log,
    writers: &mut Vec<Sessions>,
    turn: Turn,
    latencies: &mut Latencies,
) -> Result<f64, Failed> {
    let started = Instant::now();
    let spawn = |sessions| tokio::spawn(writer(log.clone(), sessions, turn));
    let tasks: Vec<_> = writers.drain(..).map(spawn).collect();
    let mut written = 0;
    for task in tasks {
        let (sessions, events, took) = task.await??;
        writers.push(sessions);
        written += events;
        latencies.add_all(&took)?;
    }
    Ok(per_second(written, started))
}

async fn writer(log: Log, mut sessions: Sessions, turn: Turn) -> Result<(Sessions, u64, Latencies), Failed> {
    let mut latencies = Latencies::new()?;
    let written = write(&log, &mut sessions, 1, turn, &mut latencies).await?;
    Ok((sessions, written, latencies))
}

struct Bare {
    file: BareFile,
    sessions: Sessions,
}

impl Bare {
    /// One turn; with the events written each second.
    fn write(mut self, per_commit: usize, turn: Turn) -> std::io::Result<(Self, f64)> {
        let (metadata, started, mut written) = (metadata(), Instant::now(), 0);
        while turn.goes_on(written) {
            let (stream, events) = self.sessions.next(per_commit);
            self.file.commit(&stream, &NewEvent::from_domain(&events, &metadata))?;
            written += per_commit as u64;
        }
        Ok((self, per_second(written, started)))
    }
}

fn bare_path(folder: &TempDir) -> PathBuf {
    folder.path().join("bare")
}
