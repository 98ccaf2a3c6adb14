//! Read models from nothing.

use std::{
    hint::black_box,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use clap::{Args, ValueEnum};
use daybook_domain::event::Event;
use daybook_eventlog::{EventRef, Log, Position};
use daybook_projections::{Projection, ProjectionState, ReadModels};
use futures::TryStreamExt;

use super::{
    Failed,
    measure::{Latencies, Rates, per_second},
    report::{Report, Row, progress_bar},
    temporary_folder, trade, years,
};

/// Turns of each side.
const TURNS: u32 = 3;
/// Articles of the shop whose log is read.
const ARTICLES: i64 = 1_000;

/// Measures how quickly the read models are built from nothing, in a temporary folder that is removed afterwards.
#[derive(Debug, Clone, Args)]
pub struct RebuildBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// Events in the log.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// Readers that the events are of.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Reading sessions.
    Reading,
    /// Sales of two lines each.
    Sales,
}

impl RebuildBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        for case in Case::value_variants() {
            if self.case.is_none_or(|only| only == *case) {
                report.add(&self.measure(*case).await?)?;
            }
        }
        Ok(())
    }

    async fn measure(&self, case: Case) -> Result<Row, Failed> {
        let folder = temporary_folder(self.dir.as_deref())?;
        let log = Log::open(folder.path()).await?;
        let bar = progress_bar("events written", self.events);
        match case {
            Case::Reading => years::write(&log, self.events, self.readers, &bar).await?,
            Case::Sales => trade::write_sales(&log, self.events, ARTICLES, &bar).await?,
        }
        bar.finish_and_clear();
        let events = log.head().get();
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..TURNS {
            let started = Instant::now();
            let replayed = replay(&log).await?;
            limits.add(per_second(replayed, started));
            if replayed != events {
                return Err(format!("{events} events were written, {replayed} were read").into());
            }
            let fresh = tempfile::tempdir_in(folder.path())?;
            let models = ReadModels::open(fresh.path()).await?;
            let started = Instant::now();
            rebuild(&log, &models, daybook_projections::all(), &mut latencies).await?;
            rates.add(per_second(events, started));
            models.close().await;
        }
        log.close().await;
        Ok(Row {
            bench: "rebuild",
            case: match case {
                Case::Reading => "reading".to_owned(),
                Case::Sales => "sales".to_owned(),
            },
            per_s: rates.median(),
            p50_ms: Some(latencies.percentile(50.0)),
            p99_ms: Some(latencies.percentile(99.0)),
            limit_per_s: Some(limits.median()),
            ratio: Some(rates.ratio_to(&limits)),
        })
    }
}

/// Builds everything; the times are those of the batches.
async fn rebuild(
    log: &Log,
    models: &ReadModels,
    projections: Vec<Arc<dyn Projection>>,
    latencies: &mut Latencies,
) -> Result<(), Failed> {
    let batches = Arc::new(Mutex::new((Instant::now(), Vec::new())));
    let written = Arc::clone(&batches);
    let told = move |_: &'static str, _: Position| {
        let mut batches = written.lock().unwrap_or_else(PoisonError::into_inner);
        let took = std::mem::replace(&mut batches.0, Instant::now()).elapsed();
        batches.1.push(took);
    };
    let progress = daybook_projections::catch_up(log, models, projections, Arc::new(told)).await?;
    for took in &batches.lock().unwrap_or_else(PoisonError::into_inner).1 {
        latencies.add(*took);
    }
    for status in progress.status() {
        if matches!(status.state, ProjectionState::Faulted { .. }) || status.checkpoint < log.head() {
            return Err(format!("{} stopped at {}: {:?}", status.name, status.checkpoint, status.state).into());
        }
    }
    Ok(())
}

/// Reads and decodes everything, and does nothing with it.
async fn replay(log: &Log) -> Result<u64, Failed> {
    let decode = |event: &EventRef<'_>| Event::decode(event.event_type, event.schema_version, event.data.as_bytes());
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
