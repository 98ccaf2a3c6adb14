//! Turns, medians and latencies.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Turns of each side of a comparison; the median of them is reported.
pub(super) const ROUNDS: u32 = 5;

/// The rate of `events` since `started`.
pub(super) fn per_second(events: u64, started: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no turn has 2^52 events")]
    let events = events as f64;
    events / started.elapsed().as_secs_f64()
}

/// What one side did each second, turn by turn.
#[derive(Default)]
pub(super) struct Rates(Vec<f64>);

impl Rates {
    pub(super) fn add(&mut self, per_second: f64) {
        self.0.push(per_second);
    }

    pub(super) fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The median of what each turn reached of the other side's turn.
    pub(super) fn ratio_to(&self, limit: &Self) -> f64 {
        median(self.0.iter().zip(&limit.0).map(|(rate, limit)| rate / limit).collect())
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The longest time that is told from a longer one.
const MINUTE_NANOS: u64 = 60_000_000_000;

/// How long calls took, to three digits.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Histogram::new_with_bounds(1, MINUTE_NANOS, 3).map(Self)
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add_all(&mut self, other: &Self) -> Result<(), hdrhistogram::AdditionError> {
        self.0.add(&other.0)
    }

    /// In milliseconds.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        Duration::from_nanos(self.0.value_at_percentile(percent)).as_secs_f64() * 1_000.0
    }
}
