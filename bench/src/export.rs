//! Everything out of the log, as `daybook log export` does it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use daybook::log_files::Format;
use daybook_eventlog::transfer::Export;
use daybook_eventlog::{Filter, Log, Position};

use super::{
    Failed,
    measure::{Rates, per_second},
    memory, mixed,
    replay::replay_all,
    report::{Report, Row, progress_bar},
    temporary_folder,
};

/// Turns of each side.
const TURNS: u32 = 3;
/// The most that the process may have resident while it exports, with all that the bench itself has.
const MEMORY_MIB_MAX: f64 = 512.0;

/// Measures how quickly the log is exported, in a temporary folder that is removed afterwards.
#[derive(Debug, Clone, Args)]
pub struct ExportBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Format>,
    /// Events in the log.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// Readers that half of the events are of.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
}

impl ExportBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        let folder = temporary_folder(self.dir.as_deref())?;
        let log = Log::open(folder.path()).await?;
        let bar = progress_bar("events written", self.events);
        mixed::write(&log, self.events, self.readers, &bar).await?;
        bar.finish_and_clear();
        for format in Format::value_variants() {
            if self.case.is_none_or(|only| only == *format) {
                report.add(&measure(&log, *format, folder.path()).await?)?;
            }
        }
        log.close().await;
        Ok(())
    }
}

async fn measure(log: &Log, format: Format, folder: &Path) -> Result<Row, Failed> {
    let (mut rates, mut limits, mut memory) = (Rates::default(), Rates::default(), 0.0_f64);
    let out = folder.join("export");
    for _ in 0..TURNS {
        limits.add(replay_all(log).await?);
        memory::forget_peak()?;
        let output = std::fs::File::create(&out)?;
        let export = Export { format: format.into(), after: Position::START, until: log.head(), filter: Filter::all() };
        let started = std::time::Instant::now();
        let exported = export.run(log, output, |_| {}).await?;
        if let Some(exported) = &exported {
            exported.output.sync_all()?;
        }
        rates.add(per_second(log.head().get(), started));
        memory = memory.max(memory::peak()?);
        let written = exported.map_or(0, |exported| exported.events);
        if written != log.head().get() {
            return Err(format!("of {} events, {written} were exported", log.head()).into());
        }
    }
    if memory > MEMORY_MIB_MAX {
        return Err(format!("an export took {memory:.0} MiB of memory, {MEMORY_MIB_MAX:.0} are allowed").into());
    }
    Ok(Row {
        bench: "export",
        case: format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()),
        per_s: rates.median(),
        p50_ms: None,
        p99_ms: None,
        limit_per_s: Some(limits.median()),
        ratio: Some(rates.ratio_to(&limits)),
        memory_mib: Some(memory),
    })
}
