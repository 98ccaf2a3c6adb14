//! What holds for every route: problems, request ids, bodies and queries, callers, limits, headers, metrics.
//!
//! No route is defined here and nothing here knows what the product records.

mod access;
pub mod body;
mod conventions;
mod cors;
pub mod fields;
mod from_errors;
pub mod idempotency;
pub mod identify;
pub mod instant;
pub mod left_out;
pub mod openapi;
pub mod paging;
mod paths;
mod problem;
mod rate_limit;
pub mod read;
mod request_id;
mod security_headers;
pub mod unread;
pub mod write;

pub(crate) use access::{REQUEST_SECONDS, REQUESTS_TOTAL};
pub use conventions::{Conventions, conventions};
pub use cors::CorsHeaders;
pub use problem::{FieldError, Problem, ProblemBody};
pub use request_id::RequestId;
