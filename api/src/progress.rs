//! How far a command is: a bar on a terminal, else a line now and then; one closing line in any case.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// Between two lines where nobody watches a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Events,
    Bytes,
    Pages,
}

/// The progress of one command, on standard error.
pub(crate) struct Progress {
    doing: &'static str,
    unit: Unit,
    /// 0 when it is not known.
    total: u64,
    started: Instant,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines { told: Mutex<Instant> },
}

impl Progress {
    /// Nothing done yet of `total`; `doing` is a word like "exporting".
    pub(crate) fn new(doing: &'static str, unit: Unit, total: u64) -> Self {
        let started = Instant::now();
        let shown = if io::stderr().is_terminal() {
            Shown::Bar(bar(doing, unit, total))
        } else {
            Shown::Lines { told: Mutex::new(started) }
        };
        Self { doing, unit, total, started, shown }
    }

    /// So much is done by now.
    pub(crate) fn at(&self, done: u64) {
        match &self.shown {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines { told } => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.elapsed() >= LINE_EVERY {
                    *told = Instant::now();
                    drop(told);
                    tell(&self.line(done));
                }
            }
        }
    }

    /// As [`at`](Self::at), of a whole that may have become another one.
    pub(crate) fn at_of(&mut self, done: u64, total: u64) {
        if total != self.total {
            self.total = total;
            if let Shown::Bar(bar) = &self.shown {
                bar.set_length(total);
            }
        }
        self.at(done);
    }

    /// Takes the bar away; answers how long it all took.
    pub(crate) fn end(&self) -> Duration {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }

    fn line(&self, done: u64) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let (done_text, total_text, unit) = match self.unit {
            Unit::Events => (count(done), count(self.total), " events"),
            Unit::Pages => (count(done), count(self.total), " pages"),
            Unit::Bytes => (bytes(done), bytes(self.total), ""),
        };
        let doing = self.doing;
        if self.total == 0 {
            return format!("{doing}: {done_text}{unit} in {seconds:.0} s");
        }
        let left = seconds / (done.max(1) as f64) * self.total.saturating_sub(done) as f64;
        format!("{doing}: {done_text} of {total_text}{unit} in {seconds:.0} s, about {left:.0} s left")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn bar(doing: &'static str, unit: Unit, total: u64) -> ProgressBar {
    let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
    let numbers = match unit {
        Unit::Events => "{human_pos} of {human_len} events, {rate}/s",
        Unit::Pages => "{human_pos} of {human_len} pages, {rate}/s",
        Unit::Bytes if total == 0 => "{binary_bytes}, {binary_bytes_per_sec}",
        Unit::Bytes => "{binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
    };
    // The template is a constant; the plain bar does as well.
    let styled = match ProgressStyle::with_template(&format!("{{msg}} {{bar:30}} {numbers}, {{eta}} left")) {
        Ok(style) => bar.with_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Nothing can be done about a bar that cannot be drawn.
            let _ = write!(out, "{}", count(whole(state.per_sec())));
        })),
        Err(_) => bar,
    };
    styled.with_message(doing)
}

/// A line on standard error.
pub(crate) fn tell(line: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `1,000,000`
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `1.50 MiB`
pub(crate) fn bytes(number: u64) -> String {
    HumanBytes(number).to_string()
}

/// `1,000,000 events, 280.00 MiB, 1.52 s, 657,894 events/s`
pub(crate) fn summary(events: u64, size: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
    let rate = whole(events as f64 / seconds);
    format!("{} events, {}, {:.2} s, {} events/s", count(events), bytes(size), took.as_secs_f64(), count(rate))
}

/// A rate without what comes after its point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate has no sign; the cast saturates")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_long_and_how_much_is_left() {
        let known = Progress::new("exporting", Unit::Events, 2_000);
        assert!(known.line(1_000).starts_with("exporting: 1,000 of 2,000 events in 0 s, about 0 s left"));
        let unknown = Progress::new("importing", Unit::Bytes, 0);
        assert!(unknown.line(2_048).starts_with("importing: 2.00 KiB in 0 s"));
    }

    #[test]
    fn a_summary_has_events_bytes_seconds_and_the_rate() {
        let text = summary(1_500, 2_048, Duration::from_millis(1_500));
        assert_eq!(text, "1,500 events, 2.00 KiB, 1.50 s, 1,000 events/s");
    }
}
