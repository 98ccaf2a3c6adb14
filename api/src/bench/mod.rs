//! Figures for the machine at hand: what a part of Daybook does each second, beside what the machine itself allows.
//!
//! A limit is measured in the same run and in turns with what it limits, so that a busy disk slows both down alike.

mod bare;
mod log;
mod measure;
mod replay;
mod report;
mod sessions;

pub use self::log::LogBench;

/// Why a bench came to no figure.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// The log, against a bare file that takes the same bytes in the same commits.
    Log(LogBench),
}

impl BenchCommand {
    /// Measures, and prints what was found.
    ///
    /// # Errors
    /// The folder could not be used, or the log failed.
    pub async fn run(self) -> Result<(), Failed> {
        match self {
            Self::Log(bench) => bench.run().await,
        }
    }
}
