//! Batches on their way into the copies.

use std::{sync::Arc, time::Duration};

use daybook_eventlog::Position;
use futures::future::join_all;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    Changes, ReadModelsError,
    models::{Checkpoint, ProjectionCopy},
};

/// Pauses between tries when a copy cannot be written.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(50);
// Shorter than a read waits: what waited for room on the disk is there for the first read after there is some.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A batch on its way into the files.
pub(super) struct Writing {
    task: Option<AbortOnDrop<Vec<Written>>>,
    pub(super) noted: Vec<(&'static str, Checkpoint)>,
    pub(super) reached: Position,
}

/// Where a copy stands that had rows to write; nowhere when another node keeps it now.
pub(super) struct Written {
    pub(super) name: &'static str,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// Where the copies are that have written their rows.
pub(super) async fn written(writing: &mut Option<Writing>) -> Vec<Written> {
    match writing {
        Some(Writing { task: Some(AbortOnDrop(task)), .. }) => task.await.unwrap_or_default(),
        _ => Vec::new(),
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl Writing {
    /// Begins `writes`, side by side.
    pub(super) fn begin(writes: Vec<Write>, noted: Vec<(&'static str, Checkpoint)>, reached: Position) -> Self {
        let is_any = !writes.is_empty();
        let write = || AbortOnDrop(tokio::spawn(join_all(writes.into_iter().map(Write::run))));
        Self { task: is_any.then(write), noted, reached }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A batch on its way into one file.
pub(super) struct Write {
    pub(super) name: &'static str,
    pub(super) copy: Arc<Mutex<ProjectionCopy>>,
    /// Where the copy was before.
    pub(super) after: Position,
    pub(super) changes: Changes,
    pub(super) checkpoint: Checkpoint,
}

fn report(projection: &str, error: &ReadModelsError, what: &str) {
    tracing::error!(error = error as &dyn std::error::Error, projection, "{what}");
}

impl Write {
    /// Writes; what is in the way for now (a full disk, a busy file) is waited out. Answers where the copy stands.
    async fn run(self) -> Written {
        let Self { name, copy, after, changes, checkpoint } = self;
        let mut copy = copy.lock().await;
        let mut pause = RETRY_FIRST;
        let refusal = loop {
            let Err(error) = copy.write(&changes, &checkpoint).await else {
                return Written { name, checkpoint: Some(checkpoint) };
            };
            if matches!(error, ReadModelsError::Fenced(_)) {
                return Written { name, checkpoint: None };
            }
            if !error.may_pass() {
                break error;
            }
            report(name, &error, "a read model could not be written; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        };
        report(name, &refusal, "a read model takes no rows");
        let position = after;
        let reason = match &refusal {
            ReadModelsError::Storage(sqlx::Error::Database(refusal)) => refusal.message().to_owned(),
            other => other.to_string(),
        };
        let reason = format!("the tables refused the batch that begins here: {reason}");
        let stopped = Checkpoint { position, fault: Some((position.plus(1), reason)) };
        if let Err(error) = copy.write(&Changes::default(), &stopped).await {
            report(name, &error, "where a projection stopped could not be written");
        }
        Written { name, checkpoint: Some(stopped) }
    }
}
