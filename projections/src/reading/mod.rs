//! Reading sessions: their history, and what they add up to.

pub mod history;
pub mod profiles;
pub mod statistics;

use chrono::{DateTime, Utc};

use crate::table::Value;

fn micros(at: DateTime<Utc>) -> Value {
    Value::Int(at.timestamp_micros())
}
