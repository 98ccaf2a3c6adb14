//! The HTTP server and command line of Daybook.

pub mod admin;
pub mod app;
pub mod auth;
pub mod caught_up;
pub mod cli;
mod demo;
pub mod http;
pub mod jobs;
pub mod log;
pub mod log_files;
mod migrate;
pub mod observability;
mod openapi;
pub mod operations;
pub mod ops;
mod progress;
pub mod projections;
pub mod reading;
pub mod serve;
pub mod settings;
pub mod shop;
mod signals;
mod store;
pub mod surface;
pub mod surfaces;
