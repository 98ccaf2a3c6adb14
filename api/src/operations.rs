//! What the server does by itself, for those who operate it.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::Problem;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::NoQuery;
use crate::http::unread::models_unread;
use crate::jobs::{self, JobStatus};
use crate::surface::Surface;

/// The surface.
pub const SURFACE: Surface = Surface {
    actor_prefix: Some(jobs::ACTOR_PREFIX),
    describe_metrics,
    ..Surface::new("Jobs", || OpenApiRouter::new().routes(routes!(list)))
};

const READERS: [Role; 4] = [Role::Staff, Role::Analyst, Role::Auditor, Role::Admin];

fn describe_metrics() {
    describe_counter!("daybook_job_runs_total", "Runs of jobs that have ended, by job and outcome");
    describe_histogram!("daybook_job_seconds", Unit::Seconds, "Time that a run of a job took, by job");
    describe_gauge!(
        "daybook_job_last_success_timestamp_seconds",
        Unit::Seconds,
        "When a run of the job last succeeded on this node, in seconds since 1970"
    );
}

/// Every job.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    jobs: Vec<Job>,
}

/// Something that the server does by itself.
#[derive(Serialize, ToSchema)]
pub struct Job {
    #[schema(example = "idle-sweep")]
    name: &'static str,
    /// When it runs: `every` and a duration, a cron expression with its time zone, or `on demand`.
    #[schema(example = "every 30s")]
    schedule: String,
    /// Whether a run is under way.
    running: bool,
    /// When the run under way started.
    #[schema(required)]
    running_since: Option<DateTime<Utc>>,
    /// When the last run started.
    #[schema(required)]
    last_started_at: Option<DateTime<Utc>>,
    /// When the last run ended.
    #[schema(required)]
    last_ended_at: Option<DateTime<Utc>>,
    /// How the last run ended: `succeeded`, `failed`, `timed out`, `cancelled` or `panicked`.
    #[schema(required, example = "succeeded")]
    last_outcome: Option<String>,
    /// Why the last run did not succeed.
    #[schema(required)]
    last_error: Option<String>,
    /// When the last successful run ended.
    #[schema(required)]
    last_succeeded_at: Option<DateTime<Utc>>,
    /// When the next run is due.
    #[schema(required)]
    next_run_at: Option<DateTime<Utc>>,
    /// Runs that failed since the last one that succeeded.
    consecutive_failures: u32,
}

impl From<JobStatus> for Job {
    fn from(status: JobStatus) -> Self {
        Self {
            name: status.name,
            schedule: status.schedule,
            running: status.running_since.is_some(),
            running_since: status.running_since,
            last_started_at: status.last_started_at,
            last_ended_at: status.last_ended_at,
            last_outcome: status.last_outcome,
            last_error: status.last_error,
            last_succeeded_at: status.last_succeeded_at,
            next_run_at: status.next_run_at,
            consecutive_failures: status.consecutive_failures,
        }
    }
}

/// What the server does by itself, and how it gets on
///
/// Jobs run on the node that leads; any node answers what is known of them.
#[utoipa::path(
    get,
    operation_id = "list_jobs",
    path = "/api/v1/jobs",
    tag = "Jobs",
    responses((status = 200, description = "All jobs", body = JobList), ReadProblems, Forbidden)
)]
pub async fn list(State(app): State<App>, caller: Caller, _: NoQuery) -> Result<Json<JobList>, Problem> {
    caller.must_be(&READERS)?;
    let jobs = app.jobs.status().await.map_err(models_unread)?;
    Ok(Json(JobList { jobs: jobs.into_iter().map(Job::from).collect() }))
}
