//! What the server does, seen from outside: the real binary, real HTTP, a fresh folder or database for each fact.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests: what fails here is meant to fail loudly"
)]

#[path = "../support/mod.rs"]
mod support;

mod administration;
mod audit;
mod batch;
mod conventions;
mod data_folder;
mod database_away;
mod database_projections;
mod database_start;
mod engines;
mod full_disk;
mod history;
mod jobs;
mod ledger;
mod library;
mod log_copies;
mod log_copy;
mod log_export;
mod log_import;
mod log_lineage;
mod log_pages;
mod log_parquet;
mod log_stopped;
mod log_stream;
mod log_subscribe;
mod nodes;
mod odd_texts;
mod openapi;
mod projections;
mod projections_offline;
mod projections_rebuild;
mod queries;
mod rebuilding;
mod refusals;
mod running;
mod sessions;
mod shop_model;
mod statistics;
mod statistics_reference;
mod superseding;
mod sweep;
mod till_cancel;
mod till_duplicates;
mod till_fields;
mod till_history;
mod till_races;
mod till_terminals;
mod tills;
mod tokens;
mod writing;
