//! What was found, for people or for programs.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// One case of a bench. In JSON, what was not measured is `null`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which bench: `log`.
    pub bench: &'static str,
    /// Which case of it: `append/1-per-commit`.
    pub case: String,
    /// Events, requests or sales each second.
    pub per_s: f64,
    /// Half of the calls took at most this long.
    pub p50_ms: Option<f64>,
    /// 99 of 100 calls took at most this long.
    pub p99_ms: Option<f64>,
    /// What the machine allows, measured in turns with the case.
    pub limit_per_s: Option<f64>,
    /// How much of the limit is reached: the median over the turns.
    pub ratio: Option<f64>,
    /// The most memory that the process had resident, or what it gained, as the case says.
    pub memory_mib: Option<f64>,
}

/// Prints rows as they come: a line of JSON each, or a line of a table.
pub struct Report {
    json: bool,
    has_rows: bool,
}

impl Report {
    /// A report without rows.
    pub fn new(json: bool) -> Self {
        Self { json, has_rows: false }
    }

    /// Prints a row.
    ///
    /// # Errors
    /// Nobody reads the output any more.
    pub fn add(&mut self, row: &Row) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, row)?;
            return writeln!(out);
        }
        if !self.has_rows {
            self.has_rows = true;
            let titles = ["bench", "case", "per s", "p50 ms", "p99 ms", "limit per s", "ratio", "MiB"];
            print_line(&mut out, &titles.map(str::to_owned))?;
        }
        let cell = |number: Option<f64>, decimals: usize| {
            number.map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
        };
        let cells = [
            row.bench.to_owned(),
            row.case.clone(),
            cell(Some(row.per_s), 0),
            cell(row.p50_ms, 3),
            cell(row.p99_ms, 3),
            cell(row.limit_per_s, 0),
            cell(row.ratio, 2),
            cell(row.memory_mib, 1),
        ];
        print_line(&mut out, &cells)
    }
}

fn print_line(out: &mut impl Write, [bench, case, per_s, p50, p99, limit, ratio, mib]: &[String; 8]) -> io::Result<()> {
    writeln!(out, "{bench:<8} {case:<24} {per_s:>11} {p50:>8} {p99:>8} {limit:>11} {ratio:>6} {mib:>8}")
}

/// What is being made, on standard error when that is a terminal.
pub(super) fn progress_bar(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    // The template is a constant; the plain bar does as well.
    match ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} {msg}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
