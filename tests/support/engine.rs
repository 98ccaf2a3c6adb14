//! Which engine a run of the tests is about: `DAYBOOK_TEST_ENGINE=postgres`, else the embedded one.

use std::io::Write as _;
use std::sync::LazyLock;

use super::postgres;

/// The variable that chooses: `embedded` or `postgres`.
pub const ENGINE: &str = "DAYBOOK_TEST_ENGINE";
/// What a fact that does not run says on standard error, before its name and the reason.
pub const SKIPPED: &str = "SKIPPED on postgres:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Embedded,
    Postgres,
}

impl Engine {
    /// That of this run.
    pub fn of_this_run() -> Self {
        static ENGINES: LazyLock<Engine> = LazyLock::new(|| match std::env::var(ENGINE).as_deref() {
            Err(_) | Ok("" | "embedded") => Engine::Embedded,
            Ok("postgres") => {
                assert_eq!(postgres::missing(), None, "{ENGINE} asks for it");
                Engine::Postgres
            }
            Ok(other) => panic!("{ENGINE} is embedded or postgres, and not {other}"),
        });
        *ENGINES
    }
}

/// The first line of a fact that is about the embedded engine alone, usually about its files: whether the fact is over,
/// as this run is about another one.
#[must_use]
pub fn is_embedded_only(why: &str) -> bool {
    if Engine::of_this_run() == Engine::Embedded {
        return false;
    }
    let fact = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the test harness, which would keep it to itself; in one piece, as others write as well.
    let _ = std::io::stderr().write_all(format!("{SKIPPED} {fact}: {why}\n").as_bytes());
    true
}
