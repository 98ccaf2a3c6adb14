//! How often a decision is made anew while others keep writing to its stream.

use std::time::Duration;

/// The most tries of one decision.
const TRIES_MAX: u32 = 24;
/// Tries that follow at once: where one process writes, others are rarely faster twice.
const TRIES_AT_ONCE: u32 = 3;
/// The longest pause between two tries.
const PAUSE_MS_MAX: u64 = 64;

/// The tries of one decision. Nodes that want the same stream pause for random times, so that each gets its turn.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    made: u32,
}

impl Tries {
    /// Waits until it is time for the next try; whether there is one.
    pub(crate) async fn next(&mut self) -> bool {
        self.made += 1;
        if self.made > TRIES_AT_ONCE {
            let longest = PAUSE_MS_MAX.min(1 << (self.made - TRIES_AT_ONCE).min(6));
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..longest * 1_000))).await;
        }
        self.made <= TRIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_come_to_an_end_within_a_second_or_two() {
        let (mut tries, mut made, began) = (Tries::default(), 0, tokio::time::Instant::now());
        while tries.next().await {
            made += 1;
        }
        assert_eq!(made, TRIES_MAX);
        assert!(began.elapsed() < Duration::from_millis(u64::from(TRIES_MAX) * PAUSE_MS_MAX));
    }
}
