//! What is known of a job.

use chrono::{DateTime, Utc};
use daybook_projections::JobRecord;

/// A job, and how it gets on.
#[derive(Clone, Debug)]
pub struct JobStatus {
    /// Its name.
    pub name: &'static str,
    /// When it runs, in words.
    pub schedule: String,
    /// When the run under way started.
    pub running_since: Option<DateTime<Utc>>,
    /// When the last run started.
    pub last_started_at: Option<DateTime<Utc>>,
    /// When the last run ended.
    pub last_ended_at: Option<DateTime<Utc>>,
    /// When the last successful run ended.
    pub last_succeeded_at: Option<DateTime<Utc>>,
    /// When the next run is due.
    pub next_run_at: Option<DateTime<Utc>>,
    /// How the last run ended, in one word.
    pub last_outcome: Option<String>,
    /// Why the last run did not succeed.
    pub last_error: Option<String>,
    /// Runs that failed since the last one that succeeded.
    pub consecutive_failures: u32,
}

impl JobStatus {
    pub(super) fn of(name: &'static str, schedule: String, record: JobRecord) -> Self {
        let time = |micros: Option<i64>| micros.and_then(DateTime::from_timestamp_micros);
        Self {
            name,
            schedule,
            running_since: time(record.running_since),
            last_started_at: time(record.last_started_at),
            last_ended_at: time(record.last_ended_at),
            last_succeeded_at: time(record.last_succeeded_at),
            next_run_at: time(record.next_run_at),
            last_outcome: record.last_outcome,
            last_error: record.last_error,
            consecutive_failures: record.consecutive_failures,
        }
    }
}
