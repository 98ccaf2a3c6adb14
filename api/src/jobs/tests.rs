//! Jobs by a clock that jumps to whatever is waited for next.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use super::*;

struct Rig {
    jobs: Jobs,
    models: ReadModels,
    leads: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new(leads: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = ReadModels::open(folder.path()).await.unwrap();
        // What follows asks no database: nothing but the jobs takes time.
        tokio::time::pause();
        Self { jobs: Jobs::default(), models, leads: watch::Sender::new(leads), _folder: folder }
    }

    fn start(&self, job: Job) -> JobHandle {
        let name = job.name;
        self.jobs.start(vec![job], &self.models, &self.leads.subscribe());
        self.jobs.find(name).unwrap()
    }

    async fn status(&self) -> JobStatus {
        self.jobs.status().await.unwrap().pop().unwrap()
    }
}

/// A job that counts its runs; `work` gets the number of the run, from 1.
fn counting<W, F>(schedule: Schedule, work: W) -> (Job, Arc<AtomicU32>)
where
    W: Fn(u32, CancellationToken) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let job = Job::new("count", schedule, Duration::from_secs(60), move |cancelled| {
        work(counted.fetch_add(1, Ordering::SeqCst) + 1, cancelled)
    });
    (job, runs)
}

async fn until(runs: &AtomicU32, number: u32) {
    while runs.load(Ordering::SeqCst) < number {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const EVERY_MINUTE: Schedule = Schedule::Every(Duration::from_secs(60));

#[tokio::test]
async fn a_job_runs_as_long_as_its_node_leads_and_again_after_its_pause() {
    let rig = Rig::new(false).await;
    let (job, runs) = counting(EVERY_MINUTE, |_, _| async { Ok::<(), JobError>(()) });
    let job = rig.start(job);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    assert_eq!(job.run().await, Err(NotRun::NotLeading));

    rig.leads.send_replace(true);
    let began = Instant::now();
    until(&runs, 3).await;
    assert_eq!(began.elapsed().as_secs(), 120);
    let status = rig.status().await;
    assert_eq!((status.last_outcome.as_deref(), status.consecutive_failures), (Some("succeeded"), 0));
    assert!(status.last_succeeded_at.is_some() && status.running_since.is_none());

    rig.leads.send_replace(false);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_job_that_fails_or_panics_says_why_and_is_tried_again() {
    let rig = Rig::new(true).await;
    let (job, runs) = counting(Schedule::OnDemand, |run, _| async move {
        match run {
            1 => Err(JobError::from("the disk is on fire")),
            2 => panic!("run two"),
            _ => Ok(()),
        }
    });
    let job = rig.start(job);
    assert_eq!(job.run().await, Ok(Outcome::Failed("the disk is on fire".to_owned())));
    let status = rig.status().await;
    assert_eq!((status.last_error.as_deref(), status.consecutive_failures), (Some("the disk is on fire"), 1));
    assert!(status.next_run_at.is_some(), "it is tried again by itself");
    until(&runs, 2).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let status = rig.status().await;
    assert_eq!((status.last_outcome.as_deref(), status.consecutive_failures), (Some("panicked"), 2));
    assert_eq!(status.last_error.as_deref(), Some("run two"));
    until(&runs, 3).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let status = rig.status().await;
    assert_eq!((status.last_error, status.consecutive_failures, status.next_run_at), (None, 0, None));
    assert_eq!(runs.load(Ordering::SeqCst), 3, "a success is not followed by another try");
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_told_to_stop_and_is_then_aborted() {
    let rig = Rig::new(true).await;
    let (job, _) = counting(Schedule::OnDemand, |_, _| std::future::pending::<Result<(), JobError>>());
    let began = Instant::now();
    assert_eq!(rig.start(job).run().await, Ok(Outcome::TimedOut));
    assert_eq!(began.elapsed().as_secs(), 65);
}

#[tokio::test]
async fn who_asks_for_a_run_that_is_under_way_gets_its_outcome() {
    let rig = Rig::new(true).await;
    let (job, runs) = counting(Schedule::OnDemand, |_, _| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok::<(), JobError>(())
    });
    let job = rig.start(job);
    let second = async {
        until(&runs, 1).await;
        job.run().await
    };
    assert_eq!(tokio::join!(job.run(), second), (Ok(Outcome::Succeeded), Ok(Outcome::Succeeded)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stop_tells_the_run_under_way_and_waits_for_it() {
    let rig = Rig::new(true).await;
    let (job, runs) = counting(EVERY_MINUTE, |_, cancelled: CancellationToken| async move {
        cancelled.cancelled().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Err(JobError::from("not done"))
    });
    let job = rig.start(job);
    until(&runs, 1).await;
    let began = Instant::now();
    rig.jobs.stop().await;
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(rig.status().await.last_outcome.as_deref(), Some("cancelled"));
    assert_eq!(job.run().await, Err(NotRun::Stopped));
}
