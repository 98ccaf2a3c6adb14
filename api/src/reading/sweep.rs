//! Ends sessions that nobody has given a sign of life of for too long.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use daybook_domain::reading::ReaderCommand;
use daybook_eventlog::Metadata;
use daybook_projections::{ReadModelsError, reading::history};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::sessions::stream;
use crate::app::App;

/// Sessions ended between two looks at the read model.
const SESSIONS_A_ROUND: u32 = 500;
/// Sessions being ended at the same time; they share commits.
const AT_ONCE: usize = 32;

/// Looks every `every` for active sessions without a sign of life for `idle`, as long as this node `leads`.
pub fn start(app: App, idle: Duration, every: Duration, mut leads: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            match sweep(&app.clone(), idle).await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "ended reading sessions that were left"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "idle sessions could not be looked for");
                }
            }
        }
    })
}

/// Ends what is due; answers how many sessions that were.
async fn sweep(app: &App, idle: Duration) -> Result<usize, ReadModelsError> {
    let idle = TimeDelta::from_std(idle).unwrap_or(TimeDelta::MAX);
    let run = Uuid::now_v7().to_string();
    let mut total = 0;
    loop {
        // A read model that lags shows sessions that have ended already; deciding sorts them out.
        if app.caught_up(&[history::NAME], None).await.is_err() {
            return Ok(total);
        }
        let Some(before) = Utc::now().checked_sub_signed(idle) else { return Ok(total) };
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
            return Ok(total);
        }
    }
}

async fn end(app: &App, reader: Uuid, session_id: Uuid, idle: TimeDelta, run: &str) -> bool {
    let metadata = Metadata {
        actor: Some("system:idle-sweep".to_owned()),
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
