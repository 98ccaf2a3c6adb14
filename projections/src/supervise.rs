//! Tasks that work as long as the process does. One that panics is reported, counted, and started again.

use std::{any::Any, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};

/// The pause before a task that panicked is started again. It doubles while the task keeps panicking.
pub(crate) const PAUSE_FIRST: Duration = Duration::from_millis(100);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A task that has worked for so long did not panic because of how it was started.
pub(crate) const SOUND_AFTER: Duration = Duration::from_secs(60);

/// Runs the task that `start` makes until it ends by itself, and starts it again after each panic. Dropping it aborts
/// the task.
pub async fn supervised<F>(task: &'static str, mut start: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = PAUSE_FIRST;
    loop {
        let began = Instant::now();
        // A set, because dropping it aborts what is in it.
        let mut running = JoinSet::new();
        running.spawn(start());
        let panicked = match running.join_next().await {
            Some(Err(error)) => report_panic(task, error),
            _ => false,
        };
        // Otherwise it has ended by itself, or the runtime is ending.
        if !panicked {
            return;
        }
        pause = if began.elapsed() >= SOUND_AFTER { PAUSE_FIRST } else { pause };
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reports and counts the panic that ended a task, if it was one.
pub(crate) fn report_panic(task: &'static str, error: JoinError) -> bool {
    let Ok(payload) = error.try_into_panic() else { return false };
    metrics::counter!("daybook_task_panics_total", "task" => task).increment(1);
    tracing::error!(task, panic = panic_message(&*payload), "a task panicked; it is started again");
    true
}

/// What a panic says.
#[must_use]
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_until_it_ends_by_itself() {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        supervised("test", move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(start == 2, "not yet") }
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }
}
