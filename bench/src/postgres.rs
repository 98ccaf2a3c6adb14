//! The log on PostgreSQL: appending, against what pgbench reaches with bare inserts of the same rows, and reading.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use daybook_eventlog::{Log, PostgresOptions};

use super::{
    Failed,
    log::{Turn, write, write_side_by_side},
    measure::{Latencies, ROUNDS, Rates, per_second},
    pgbench::Bare,
    replay,
    report::{Report, Row},
    seconds,
    sessions::{EVENTS_EACH, READERS, Sessions},
};
use daybook::settings::SettingsArgs;

/// How long making what is measured may take.
const FILL_MAX: Duration = Duration::from_secs(3_600);

/// The schema that the bench makes, and removes.
pub(super) const SCHEMA: &str = "daybook_bench";

/// Measures the log on a PostgreSQL server that is there, in a schema of its own. Needs the programs psql and pgbench.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  DAYBOOK_DATABASE_URL=postgres://postgres@127.0.0.1/bench daybook bench postgres\n\nThe schema daybook_bench of that database is made and removed; nothing else in it is touched."
)]
pub struct PostgresBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// Seconds that each side of a case appends for, over all its turns.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Events that are read.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Writers at the same time, and clients of pgbench.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    writers: u32,
    /// Events of one append, and rows of one bare insert.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    per_commit: u32,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Many writers of single events, to streams that are there, against as many clients of pgbench.
    AppendWriters,
    /// One writer of larger appends, against one client with inserts of as many rows.
    AppendMany,
    /// All events of a log, decoded.
    Replay,
}

impl PostgresBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let Some(url) = self.settings.load()?.database_url else {
            return Err("there is no database to measure: name it with DAYBOOK_DATABASE_URL".into());
        };
        let options = PostgresOptions { schema: SCHEMA.to_owned(), ..PostgresOptions::new(url.expose()) };
        let mut report = Report::new(self.json);
        for case in Case::value_variants() {
            if self.case.is_some_and(|only| only != *case) {
                continue;
            }
            let bare = Bare::fresh(url.expose())?;
            let log = Log::connect(&options).await?;
            let measured = match case {
                Case::AppendWriters => self.writers(&log, &bare).await,
                Case::AppendMany => self.appends(&log, &bare).await,
                Case::Replay => self.replay(&log).await,
            };
            log.close().await;
            drop(bare);
            report.add(&measured?)?;
        }
        Ok(())
    }

    async fn writers(&self, log: &Log, bare: &Bare) -> Result<Row, Failed> {
        bare.make_table()?;
        let mut writers: Vec<Sessions> = (0..self.writers).map(|writer| Sessions::new(2 + writer)).collect();
        // Readers who come back: the first event of a stream costs a node one more round trip.
        first_sessions(log, &mut writers).await?;
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..ROUNDS {
            limits.add(bare.insert(self.writers, 1, self.turn_seconds()).await?);
            rates.add(write_side_by_side(log, &mut writers, self.turn(), &mut latencies).await?);
        }
        Ok(row(format!("append/{}-writers", self.writers), &rates, Some(&limits), Some(&latencies)))
    }

    async fn appends(&self, log: &Log, bare: &Bare) -> Result<Row, Failed> {
        bare.make_table()?;
        let count = usize::try_from(self.per_commit)?;
        let mut sessions = Sessions::new(1);
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..ROUNDS {
            limits.add(bare.insert(1, self.per_commit, self.turn_seconds()).await?);
            let started = Instant::now();
            let written = write(log, &mut sessions, count, self.turn(), &mut latencies).await?;
            rates.add(per_second(written, started));
        }
        Ok(row(format!("append/{}-per-commit", self.per_commit), &rates, Some(&limits), Some(&latencies)))
    }

    async fn replay(&self, log: &Log) -> Result<Row, Failed> {
        let mut sessions = Sessions::new(1);
        let turn = Turn { ends: Instant::now() + FILL_MAX, events_max: self.events };
        write(log, &mut sessions, 1_000, turn, &mut Latencies::new()?).await?;
        let mut rates = Rates::default();
        for _ in 0..ROUNDS {
            rates.add(replay::replay_all(log).await?);
        }
        Ok(row("replay/decoded".to_owned(), &rates, None, None))
    }

    fn turn_seconds(&self) -> f64 {
        self.seconds / f64::from(ROUNDS)
    }

    fn turn(&self) -> Turn {
        Turn { ends: Instant::now() + Duration::from_secs_f64(self.turn_seconds()), events_max: u64::MAX }
    }
}

/// A session of each writer's readers, all writers at the same time.
async fn first_sessions(log: &Log, writers: &mut Vec<Sessions>) -> Result<(), Failed> {
    let first = |mut sessions: Sessions| {
        let log = log.clone();
        let events = u64::try_from(READERS)? * EVENTS_EACH;
        Ok::<_, Failed>(tokio::spawn(async move {
            let turn = Turn { ends: Instant::now() + FILL_MAX, events_max: events };
            write(&log, &mut sessions, usize::try_from(EVENTS_EACH)?, turn, &mut Latencies::new()?).await?;
            Ok::<_, Failed>(sessions)
        }))
    };
    let tasks = writers.drain(..).map(first).collect::<Result<Vec<_>, _>>()?;
    for task in tasks {
        writers.push(task.await??);
    }
    Ok(())
}

fn row(case: String, rates: &Rates, limits: Option<&Rates>, latencies: Option<&Latencies>) -> Row {
    Row {
        bench: "postgres",
        case,
        per_s: rates.median(),
        p50_ms: latencies.map(|latencies| latencies.percentile(50.0)),
        p99_ms: latencies.map(|latencies| latencies.percentile(99.0)),
        limit_per_s: limits.map(Rates::median),
        ratio: limits.map(|limits| rates.ratio_to(limits)),
        memory_mib: None,
    }
}
