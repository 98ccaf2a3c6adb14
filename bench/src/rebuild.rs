//! Read models from nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use clap::{Args, ValueEnum};
use daybook_eventlog::{Log, Position};
use daybook_projections::{Projection, ProjectionState, ReadModels};

use super::{
    Failed, beside,
    measure::{Latencies, Rates, per_second},
    mixed,
    replay::replay_all,
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
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
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
    /// Sessions of readers, and sales, receipts and cancellations of several shops, interleaved.
    All,
    /// Reading sessions.
    Reading,
    /// Sales of two lines each.
    Sales,
    /// As the first case, in a server that is read and written meanwhile.
    Beside,
}

impl RebuildBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        for case in Case::value_variants() {
            if self.case.is_none_or(|only| only == *case) {
                for row in self.rows(*case).await? {
                    report.add(&row)?;
                }
            }
        }
        Ok(())
    }

    async fn rows(&self, case: Case) -> Result<Vec<Row>, Failed> {
        match case {
            Case::Beside => beside::measure(self.dir.as_deref(), self.events, self.readers).await,
            Case::All | Case::Reading | Case::Sales => Ok(vec![self.measure(case).await?]),
        }
    }

    async fn measure(&self, case: Case) -> Result<Row, Failed> {
        let folder = temporary_folder(self.dir.as_deref())?;
        let log = Log::open(folder.path()).await?;
        let bar = progress_bar("events written", self.events);
        match case {
            Case::All | Case::Beside => mixed::write(&log, self.events, self.readers, &bar).await?,
            Case::Reading => years::write(&log, self.events, self.readers, &bar).await?,
            Case::Sales => trade::write_sales(&log, self.events, ARTICLES, &bar).await?,
        }
        bar.finish_and_clear();
        let events = log.head().get();
        let (mut rates, mut limits, mut latencies) = (Rates::default(), Rates::default(), Latencies::new()?);
        for _ in 0..TURNS {
            limits.add(replay_all(&log).await?);
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
            case: case.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()),
            per_s: rates.median(),
            p50_ms: Some(latencies.percentile(50.0)),
            p99_ms: Some(latencies.percentile(99.0)),
            limit_per_s: Some(limits.median()),
            ratio: Some(rates.ratio_to(&limits)),
            memory_mib: None,
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
