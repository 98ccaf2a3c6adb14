//! What the process says about itself: log lines and metrics.

use std::io::{self, Write};
use std::time::Duration;

use daybook_projections::supervised;
use metrics::{Unit, describe_counter, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing_subscriber::EnvFilter;

use crate::http::{REQUEST_SECONDS, REQUESTS_TOTAL};
use crate::settings::{LogFormat, Settings};
use crate::surfaces;

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// From half a millisecond, an append on a good disk, to the longest that a caller waits.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Why logging or metrics cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ObservabilityError {
    /// The filter does not parse.
    #[error("the log filter is wrong: DAYBOOK_LOG takes a level or a filter like info,daybook=debug")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Something else in the process already logs or records.
    #[error("logging or metrics are already set up in this process")]
    AlreadySet,
}

/// Standard error, for diagnostic output. What cannot be written is dropped: a full disk or a closed pipe must not stop
/// the work that the lines are about. (An error would make the subscriber print to standard error, which panics then.)
struct BestEffort;

impl Write for BestEffort {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// Sends log lines to standard error, in the format and with the filter of the settings.
pub fn start_logging(settings: &Settings) -> Result<(), ObservabilityError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(ObservabilityError::Filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| BestEffort);
    let started = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours).try_init()
        }
    };
    started.map_err(|_| ObservabilityError::AlreadySet)
}

/// Sends warnings and errors to standard error, for commands that otherwise only print what they found.
pub fn start_warnings() -> Result<(), ObservabilityError> {
    let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(|| BestEffort);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    lines.with_ansi(colours).try_init().map_err(|_| ObservabilityError::AlreadySet)
}

/// The process's metrics, ready to be rendered for Prometheus. A clone is a handle to the same ones.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Becomes the recorder of the process and keeps itself small: call it once, inside the runtime.
    pub fn start() -> Result<Self, ObservabilityError> {
        let recorder = recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| ObservabilityError::AlreadySet)?;
        describe_counter!(REQUESTS_TOTAL, "Answered requests by method, route pattern and status");
        describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time to answer a request by method and route pattern");
        surfaces::describe_metrics();
        let upkeep = handle.clone();
        describe_counter!("daybook_task_panics_total", "Panics of long-lived tasks, which were started again, by task");
        tokio::spawn(supervised("metrics-upkeep", move || fold_samples(upkeep.clone())));
        Ok(Self(handle))
    }

    /// The text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Samples pile up until they are folded into buckets, whether or not anyone scrapes.
async fn fold_samples(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

pub(crate) fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        // Only an empty list of buckets is refused, and this one is a constant.
        .unwrap_or_else(|_| PrometheusBuilder::new())
        .build_recorder()
}
