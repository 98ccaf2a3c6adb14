//! What is known of the jobs that one node runs for all of them. Where nodes share the read models, it is kept beside
//! their catalog, so that every node can show it.

use super::{ReadModels, ReadModelsError, query::Argument};

/// What is known of a job. Times are microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobRecord {
    /// The job's name.
    pub name: String,
    /// When the run under way started.
    pub running_since: Option<i64>,
    /// When the last run started.
    pub last_started_at: Option<i64>,
    /// When the last run ended.
    pub last_ended_at: Option<i64>,
    /// When the last successful run ended.
    pub last_succeeded_at: Option<i64>,
    /// When the next run is due.
    pub next_run_at: Option<i64>,
    /// How the last run ended, in one word.
    pub last_outcome: Option<String>,
    /// Why the last run did not succeed.
    pub last_error: Option<String>,
    /// Runs that failed since the last one that succeeded.
    pub consecutive_failures: u32,
}

type Row =
    (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<String>, i64);

const SELECT: &str = "SELECT name, running_since, last_started_at, last_ended_at, last_succeeded_at, next_run_at, \
                      last_outcome, last_error, consecutive_failures FROM jobs ORDER BY name";

const UPSERT: &str = "INSERT INTO jobs (name, running_since, last_started_at, last_ended_at, last_succeeded_at, \
                      next_run_at, last_outcome, last_error, consecutive_failures) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                      ON CONFLICT (name) DO UPDATE SET running_since = excluded.running_since, \
                      last_started_at = excluded.last_started_at, last_ended_at = excluded.last_ended_at, \
                      last_succeeded_at = excluded.last_succeeded_at, next_run_at = excluded.next_run_at, \
                      last_outcome = excluded.last_outcome, last_error = excluded.last_error, \
                      consecutive_failures = excluded.consecutive_failures \
                      RETURNING name";

impl ReadModels {
    /// Lets the other nodes know about a job. Does nothing in a data folder, which one process has to itself.
    ///
    /// # Errors
    /// [`ReadModelsError::Storage`] when the database cannot be written.
    pub async fn share_job(&self, job: &JobRecord) -> Result<(), ReadModelsError> {
        if self.shared().is_none() {
            return Ok(());
        }
        let times = [job.running_since, job.last_started_at, job.last_ended_at, job.last_succeeded_at, job.next_run_at];
        let query = self.query(UPSERT).bind(job.name.clone()).bind_all(times.map(Argument::Int));
        let query = query.bind(job.last_outcome.clone()).bind(job.last_error.clone()).bind(job.consecutive_failures);
        query.fetch_one::<(String,)>().await.map(drop)
    }

    /// What the leading node has let the others know about jobs; nothing in a data folder.
    ///
    /// # Errors
    /// [`ReadModelsError::Storage`] when the database cannot be read.
    pub async fn shared_jobs(&self) -> Result<Vec<JobRecord>, ReadModelsError> {
        if self.shared().is_none() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = self.query(SELECT).fetch_all().await?;
        Ok(rows.into_iter().map(JobRecord::from).collect())
    }
}

impl From<Row> for JobRecord {
    fn from(row: Row) -> Self {
        let (name, running_since, last_started_at, last_ended_at, last_succeeded_at, next_run_at, outcome, error, n) =
            row;
        Self {
            name,
            running_since,
            last_started_at,
            last_ended_at,
            last_succeeded_at,
            next_run_at,
            last_outcome: outcome,
            last_error: error,
            consecutive_failures: u32::try_from(n).unwrap_or(u32::MAX),
        }
    }
}
