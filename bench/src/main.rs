//! Figures for the machine at hand: what a part of Daybook does each second, beside what the machine itself allows.
//!
//! A limit is measured in the same run and in turns with what it limits, so that a busy disk slows both down alike.

mod bare;
mod beside;
mod dice;
mod export;
mod ledger;
mod load;
mod log;
mod measure;
mod memory;
mod mixed;
mod pgbench;
mod postgres;
mod reading;
mod rebuild;
mod replay;
mod report;
mod sales;
mod server;
mod sessions;
mod shops;
mod sse;
mod subscribe;
mod trade;
mod years;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;
use error_reporter::Report;
use tempfile::TempDir;

use self::{
    export::ExportBench, log::LogBench, postgres::PostgresBench, reading::ReadingBench, rebuild::RebuildBench,
    sales::SalesBench, subscribe::SubscribeBench,
};

/// Measures Daybook on this machine: throughput and latency, beside what the machine itself allows
#[derive(Debug, clap::Parser)]
#[command(
    name = "daybook-bench",
    version,
    after_help = "Examples:\n  daybook-bench log\n  daybook-bench rebuild --json\n\nEach bench makes its own data in a temporary folder and needs nothing running; only `postgres` needs a server."
)]
struct Cli {
    #[command(subcommand)]
    bench: BenchCommand,
}

fn main() -> ExitCode {
    let bench = Cli::parse().bench;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(bench.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr().lock(), "daybook-bench: {}", Report::new(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Why a bench came to no figure.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    /// The log, against a bare file that takes the same bytes in the same commits.
    Log(LogBench),
    /// The log on PostgreSQL, against pgbench with the same rows.
    Postgres(PostgresBench),
    /// Read models built from nothing, against reading and decoding the same log.
    Rebuild(RebuildBench),
    /// The log written to a file, against reading and decoding it.
    Export(ExportBench),
    /// Subscribers of the log, over HTTP.
    Subscribe(SubscribeBench),
    /// Readers who report where they are, over HTTP.
    Reading(ReadingBench),
    /// Tills that send their sales, then questions to the stock ledger, over HTTP.
    Sales(SalesBench),
}

impl BenchCommand {
    /// Measures, and prints what was found.
    async fn run(self) -> Result<(), Failed> {
        match self {
            Self::Log(bench) => bench.run().await,
            Self::Postgres(bench) => bench.run().await,
            Self::Rebuild(bench) => bench.run().await,
            Self::Export(bench) => bench.run().await,
            Self::Subscribe(bench) => bench.run().await,
            Self::Reading(bench) => bench.run().await,
            Self::Sales(bench) => bench.run().await,
        }
    }
}

/// A folder in `dir`, or where the system keeps such, that goes away with the bench.
fn temporary_folder(dir: Option<&Path>) -> std::io::Result<TempDir> {
    let dir = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
    tempfile::Builder::new().prefix("daybook-bench-").tempdir_in(dir)
}

/// Seconds as an argument.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3_600.0 => Ok(seconds),
        _ => Err("more than 0 and at most 3600 seconds".to_owned()),
    }
}
