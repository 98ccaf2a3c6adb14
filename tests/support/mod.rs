//! The rig of the end-to-end tests: the real binary on a folder of its own, callers with tokens, and what the files
//! say once nobody writes them.

pub mod caller;
pub mod chance;
pub mod database;
pub mod files;
#[expect(dead_code, clippy::expect_used, reason = "the tests of the engines need more of it, and meant it")]
pub mod postgres;
pub mod server;
pub mod till;
pub mod wire;
pub mod world;

pub use caller::{Caller, Reply};
pub use server::{Place, Server};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer: the one place where a test waits.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
