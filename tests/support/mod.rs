//! The rig of the end-to-end tests: the real binary on a place of its own, on either engine; callers with tokens; and
//! what is stored, read past the server.

pub mod caller;
pub mod chance;
pub mod database;
pub mod engine;
pub mod meddle;
pub mod place;
#[expect(dead_code, clippy::expect_used, reason = "other tests do more with a server, and fail more loudly")]
pub mod postgres;
pub mod server;
pub mod stored;
pub mod till;
pub mod wire;
pub mod world;

pub use caller::{Caller, Reply};
pub use place::Place;
pub use server::Server;

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
