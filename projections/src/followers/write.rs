//! A batch on its way into the copies' files, side by side.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::{sync::Mutex, task::JoinHandle};

use super::Observer;
use crate::{
    Changes, ReadModelsError,
    models::{Checkpoint, ProjectionCopy},
};

/// Pauses between tries when a copy cannot be written.
const RETRY_FIRST: Duration = Duration::from_millis(50);
// Shorter than a read waits: what waited for room on the disk is there for the first read after there is some.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What one copy is to write.
pub(super) struct Write {
    pub(super) name: &'static str,
    pub(super) copy: Arc<Mutex<ProjectionCopy>>,
    pub(super) changes: Changes,
    pub(super) checkpoint: Checkpoint,
    pub(super) observer: Arc<dyn Observer>,
    /// How long what is in the way is waited out.
    pub(super) patience: Option<Duration>,
}

/// What became of it.
pub(super) enum Written {
    /// The copy stands here.
    At(Checkpoint),
    /// It could not be written, and others should not wait for it any longer.
    Stuck,
    /// Nobody wants it any more.
    Unwanted,
    /// Another node writes it.
    Fenced,
}

/// All writes of a batch. They stop when this is dropped.
pub(super) struct Writes(JoinHandle<Vec<(&'static str, Written)>>);

impl Writes {
    pub(super) fn begin(writes: Vec<Write>) -> Option<Self> {
        let all = async move { join_all(writes.into_iter().map(Write::run)).await };
        Some(Self(tokio::spawn(all)))
    }

    /// Waits for all of them; `None` when one of them panicked: what stands in the files has to be asked then.
    pub(super) async fn finished(&mut self) -> Option<Vec<(&'static str, Written)>> {
        (&mut self.0).await.ok()
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Write {
    async fn run(self) -> (&'static str, Written) {
        let Self { name, copy, changes, checkpoint, observer, patience } = self;
        let mut copy = copy.lock().await;
        let begun = Instant::now();
        let mut pause = RETRY_FIRST;
        let refusal = loop {
            let Err(error) = copy.write(&changes, &checkpoint).await else { return (name, Written::At(checkpoint)) };
            if matches!(error, ReadModelsError::Fenced(_)) {
                return (name, Written::Fenced);
            }
            if !error.may_pass() {
                break error;
            }
            report(name, &error, "a read model could not be written; trying again");
            if !observer.wants(name) {
                return (name, Written::Unwanted);
            }
            if patience.is_some_and(|patience| begun.elapsed() > patience) {
                return (name, Written::Stuck);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        };
        report(name, &refusal, "a read model takes no rows");
        let position = copy.stored().position;
        let reason = match &refusal {
            ReadModelsError::Storage(sqlx::Error::Database(refusal)) => refusal.message().to_owned(),
            other => other.to_string(),
        };
        let reason = format!("the tables refused the batch that begins here: {reason}");
        let stopped = Checkpoint { position, fault: Some((position.plus(1), reason)) };
        match copy.write(&Changes::default(), &stopped).await {
            Ok(()) => {}
            Err(ReadModelsError::Fenced(_)) => return (name, Written::Fenced),
            Err(error) => report(name, &error, "where a projection stopped could not be written"),
        }
        (name, Written::At(stopped))
    }
}

fn report(projection: &str, error: &ReadModelsError, what: &str) {
    tracing::error!(error = error as &dyn std::error::Error, projection, "{what}");
}
