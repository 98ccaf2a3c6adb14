//! Read models: a fold, its tables and its queries together, and the runner that keeps them up with the log.
//!
//! Nothing here decides anything, and nothing else writes a read model. All of it can be thrown away: the log has
//! everything that is needed to build it again, to the byte.

pub mod library;
pub mod reading;
pub mod shop;

mod control;
mod followers;
mod keeper;
mod live;
mod models;
mod node;
mod offline;
mod progress;
mod projection;
mod rebuild;
mod runner;
mod supervise;
mod table;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use self::{
    control::{ControlError, ProjectionControl},
    models::{
        Differences, JobRecord, PostgresModelsOptions, READ_MODELS_FOLDER, ReadModels, ReadModelsError, Standing,
    },
    offline::{Rebuilt, Told, Verdict, cancel, catch_up, rebuild, verify},
    progress::{Lagging, Progress, ProjectionState, ProjectionStatus, RebuildStatus},
    projection::{Decoded, FoldError, Projection},
    runner::Runner,
    supervise::{panic_message, supervised},
    table::{Changes, Column, Merge, Table, Value},
};

/// Every projection of this build. A new one is a line here.
#[must_use]
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(library::Library),
        Arc::new(reading::profiles::ReaderProfiles),
        Arc::new(reading::history::ReadingHistory),
        Arc::new(reading::statistics::ReadingStatistics),
        Arc::new(shop::register::Shops),
        Arc::new(shop::ledger::StockLedger),
        Arc::new(shop::documents::StockDocuments),
        Arc::new(shop::sales::Sales),
    ]
}
