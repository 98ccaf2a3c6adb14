//! Subscribers of the log over HTTP: one that catches up, one that is up to date, many that wait.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent};
use tokio::runtime::Handle;

use super::{
    Failed,
    measure::{Latencies, Rates, per_second},
    memory, mixed,
    replay::replay_all,
    report::{Report, Row, progress_bar},
    server::{Process, Server},
    sessions::{Sessions, metadata},
    sse::Subscription,
    temporary_folder,
};
use daybook::auth::Role;

/// Turns of each side.
const TURNS: u32 = 3;
/// Between two events that are waited for.
const PAUSE: Duration = Duration::from_millis(20);
/// Events before the ones that are measured.
const WARM_UP_EVENTS: u32 = 10;

/// Measures subscriptions over HTTP: catching up, and how long an event takes to those who wait for it.
#[derive(Debug, Clone, Args)]
pub struct SubscribeBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// Events in the log.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// Readers that half of the events are of.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// Subscribers who wait at the same time, in the case of many.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    subscribers: u32,
    /// Events that are waited for, one after the other.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    waits: u32,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Everything in the log, to one subscriber.
    CatchUp,
    /// One subscriber who has everything, and single events.
    Live,
    /// Many subscribers who have everything, and single events.
    Idle,
}

impl SubscribeBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        let folder = temporary_folder(self.dir.as_deref())?;
        let log = Log::open(folder.path()).await?;
        let bar = progress_bar("events written", self.events);
        mixed::write(&log, self.events, self.readers, &bar).await?;
        bar.finish_and_clear();
        log.close().await;
        let server = Server::start(&Process::start()?, folder).await?;
        server.caught_up().await?;
        for case in Case::value_variants() {
            if self.case.is_none_or(|only| only == *case) {
                let row = match case {
                    Case::CatchUp => catch_up(&server).await?,
                    Case::Live => self.wait(&server, "live", 1).await?,
                    Case::Idle => self.wait(&server, &format!("{}-idle", self.subscribers), self.subscribers).await?,
                };
                report.add(&row)?;
            }
        }
        server.stop().await
    }

    async fn wait(&self, server: &Server, case: &str, subscribers: u32) -> Result<Row, Failed> {
        let waiting = Waiting {
            address: server.address,
            token: server.token("bench", &[Role::Analyst])?,
            log: server.app.log.clone(),
            runtime: Handle::current(),
            subscribers,
            waits: self.waits,
        };
        let (latencies, gained, rate) = tokio::task::spawn_blocking(move || waiting.measure()).await??;
        Ok(Row {
            bench: "subscribe",
            case: case.to_owned(),
            per_s: rate,
            p50_ms: Some(latencies.percentile(50.0)),
            p99_ms: Some(latencies.percentile(99.0)),
            limit_per_s: None,
            ratio: None,
            memory_mib: (subscribers > 1).then_some(gained),
        })
    }
}

async fn catch_up(server: &Server) -> Result<Row, Failed> {
    let (mut rates, mut limits) = (Rates::default(), Rates::default());
    let events = server.app.log.head().get();
    for _ in 0..TURNS {
        limits.add(replay_all(&server.app.log).await?);
        let (address, token) = (server.address, server.token("bench", &[Role::Analyst])?);
        let started = Instant::now();
        let read = move || Subscription::open(address, &token, 0)?.read_until(events);
        let seen = tokio::task::spawn_blocking(read).await??;
        rates.add(per_second(seen.events, started));
        if seen.last != seen.events {
            return Err(format!("{} events came, the last one has the position {}", seen.events, seen.last).into());
        }
    }
    Ok(Row {
        bench: "subscribe",
        case: "catch-up".to_owned(),
        per_s: rates.median(),
        p50_ms: None,
        p99_ms: None,
        limit_per_s: Some(limits.median()),
        ratio: Some(rates.ratio_to(&limits)),
        memory_mib: None,
    })
}

/// Subscribers who have everything, and events that come one by one.
struct Waiting {
    address: SocketAddr,
    token: String,
    log: Log,
    runtime: Handle,
    subscribers: u32,
    waits: u32,
}

impl Waiting {
    /// How long after an append began all had its event, the memory gained by the subscriptions in MiB, and how many
    /// deliveries there were each second of waiting.
    fn measure(self) -> Result<(Latencies, f64, f64), Failed> {
        let before = memory::resident()?;
        let head = self.log.head().get();
        let open = |_| Subscription::open(self.address, &self.token, head);
        let mut subscriptions = (0..self.subscribers).map(open).collect::<Result<Vec<_>, _>>()?;
        let (mut sessions, mut latencies, mut waited) = (Sessions::new(9), Latencies::new()?, Duration::ZERO);
        for number in 1..=WARM_UP_EVENTS + self.waits {
            std::thread::sleep(PAUSE);
            let (stream, events) = sessions.next(1);
            let events = NewEvent::from_domain(&events, &metadata());
            let started = Instant::now();
            self.runtime.block_on(self.log.append(Append::to(stream, ExpectedVersion::Any, events)))?;
            for subscription in &mut subscriptions {
                subscription.read_until(number.into())?;
            }
            if number > WARM_UP_EVENTS {
                latencies.add(started.elapsed());
                waited += started.elapsed();
            }
        }
        let gained = memory::resident()? - before;
        let deliveries = f64::from(self.waits) * f64::from(self.subscribers);
        Ok((latencies, gained, deliveries / waited.as_secs_f64()))
    }
}
