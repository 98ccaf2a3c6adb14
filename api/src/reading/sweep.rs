//! Ends reading sessions that showed no sign of life for too long.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use daybook_domain::reading::ReaderCommand;
use daybook_eventlog::Metadata;
use daybook_projections::reading::history;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sessions::stream;
use crate::app::App;
use crate::jobs::{ACTOR_PREFIX, Job, JobError, Schedule};
use crate::settings::Settings;

/// The job's name.
const NAME: &str = "idle-sweep";
/// The longest that one run may take; the next run goes on where it ended.
const RUN_MAX: Duration = Duration::from_mins(10);
/// The shortest pause between two runs.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Sessions ended between two looks at the read model.
const SESSIONS_A_ROUND: u32 = 500;
/// Sessions being ended at the same time; they share commits.
const AT_ONCE: usize = 32;

/// The job that looks every `DAYBOOK_SESSION_SWEEP` for active sessions without a sign of life for
/// `DAYBOOK_SESSION_IDLE`.
pub fn job(app: &App, settings: &Settings) -> Job {
    let (app, idle) = (app.clone(), settings.session_idle);
    let idle = TimeDelta::from_std(idle).unwrap_or(TimeDelta::MAX);
    Job::new(NAME, Schedule::Every(settings.session_sweep.max(PAUSE_MIN)), RUN_MAX, move |cancelled| {
        // A clone for each run: it may pin the read models that it asks.
        let app = app.clone();
        async move { sweep(&app, idle, &cancelled).await }
    })
}

/// Ends what is due.
async fn sweep(app: &App, idle: TimeDelta, cancelled: &CancellationToken) -> Result<(), JobError> {
    let run = Uuid::now_v7().to_string();
    let mut total = 0;
    while !cancelled.is_cancelled() {
        // A read model that lags shows sessions that have ended already; deciding sorts them out.
        app.caught_up(&[history::NAME], None).await?;
        let Some(before) = Utc::now().checked_sub_signed(idle) else { break };
        let due = history::idle_since(&app.models, before, SESSIONS_A_ROUND).await?;
        let round = due.len();
        let ended = futures::stream::iter(due)
            .map(|(reader, session_id)| end(app, reader, session_id, idle, &run))
            .buffer_unordered(AT_ONCE)
            .filter(|ended| std::future::ready(*ended))
            .count()
            .await;
        total += ended;
        if round < SESSIONS_A_ROUND as usize || ended == 0 {
            break;
        }
    }
    if total > 0 {
        tracing::info!(ended = total, "ended reading sessions that were left");
    }
    Ok(())
}

async fn end(app: &App, reader: Uuid, session_id: Uuid, idle: TimeDelta, run: &str) -> bool {
    let metadata = Metadata {
        actor: Some(format!("{ACTOR_PREFIX}{NAME}")),
        correlation_id: Some(run.to_owned()),
        causation_id: Some(session_id.to_string()),
    };
    let command = ReaderCommand::EndIdle { session_id, idle_after: idle, now: Utc::now() };
    match app.readers.run(&stream(reader), &command, &metadata).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%session_id, error = &error as &dyn std::error::Error, "a session was not ended for idleness");
            false
        }
    }
}
