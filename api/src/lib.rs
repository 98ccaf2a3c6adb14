//! The HTTP server and command line of Daybook.

pub mod auth;
pub mod cli;
pub mod http;
pub mod observability;
pub mod serve;
pub mod settings;
