//! Every fact of this binary, once more on PostgreSQL.

use std::process::{Command, Output, Stdio};

use crate::support::engine::{ENGINE, Engine, SKIPPED};
use crate::support::postgres;

/// The facts that choose their engines themselves: they are the same in every run.
const THEIR_OWN: [&str; 5] = ["database_away::", "database_start::", "engines::", "log_copy::", "nodes::"];
/// How many facts may be about the embedded engine alone, at most.
const EMBEDDED_ONLY_MAX: usize = 20;

#[test]
fn everything_here_holds_on_postgresql_too() {
    if Engine::of_this_run() == Engine::Postgres || postgres::missing().is_some() {
        return;
    }
    let listed = run(&["--list", "--format=terse"]);
    let facts = text(&listed.stdout).lines().filter(|line| line.ends_with(": test")).count();
    assert!(facts > 200, "{facts} facts are not all of them: {listed:?}");
    let output = run(&[]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains(&format!("test result: ok. {facts} passed; 0 failed; 0 ignored;")), "{facts}: {out}");
    let skipped: Vec<&str> = err.lines().filter(|line| line.contains(SKIPPED)).collect();
    assert!(skipped.len() <= EMBEDDED_ONLY_MAX, "{skipped:#?}");
    eprintln!("{} facts on PostgreSQL; {} are about the embedded engine alone", facts - skipped.len(), skipped.len());
}

/// This binary, on PostgreSQL, with as many threads as this run has.
fn run(args: &[&str]) -> Output {
    let mut facts = Command::new(std::env::current_exe().unwrap());
    facts.args(args).args(THEIR_OWN.iter().flat_map(|module| ["--skip", module]));
    facts.env(ENGINE, "postgres").stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
