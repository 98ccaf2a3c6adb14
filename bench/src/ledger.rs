//! Questions to a ledger in which much has happened.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use daybook_eventlog::{Log, Position};
use daybook_projections::ReadModels;
use tempfile::TempDir;

use super::{
    Failed,
    dice::Dice,
    load::{Caller, load},
    report::{Row, progress_bar},
    server::{Process, Server},
    shops, trade,
};
use daybook::auth::Role;

const ARTICLES: i64 = 10_000;
/// Seconds before the measured ones.
const WARM_UP_SECONDS: f64 = 1.0;

/// How much is asked of how large a ledger.
pub(super) struct Asked {
    pub(super) movements: u64,
    pub(super) connections: u32,
    pub(super) seconds: f64,
}

/// Makes the ledger, then asks it one kind of question after the other.
pub(super) async fn measure(process: &Process, folder: TempDir, asked: Asked) -> Result<Vec<Row>, Failed> {
    let (recorded_from, until) = fill(&folder, asked.movements).await?;
    let server = Server::start(process, folder).await?;
    server.caught_up().await?;
    let token = server.token("bench", &[Role::Auditor])?;
    let head = format!(" HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", server.address);
    let times = Times { occurred: (trade::opened_at(), until), recorded: (recorded_from, Utc::now()) };
    let mut rows = Vec::new();
    for question in [Question::Stock, Question::AsOf, Question::Movements] {
        let auditor = |number: u32| Auditor { question, head: head.clone(), times, dice: Dice::new(number.into()) };
        let auditors = (0..asked.connections).map(auditor).collect();
        let (auditors, _) = load(server.address, auditors, WARM_UP_SECONDS).await?;
        let (_, loaded) = load(server.address, auditors, asked.seconds).await?;
        rows.push(Row {
            bench: "ledger",
            case: question.name().to_owned(),
            per_s: loaded.rate(),
            p50_ms: Some(loaded.latencies.percentile(50.0)),
            p99_ms: Some(loaded.latencies.percentile(99.0)),
            limit_per_s: None,
            ratio: None,
            memory_mib: None,
        });
    }
    server.stop().await?;
    Ok(rows)
}

/// Writes the log and builds the read models; when that began, and when the last movement happened.
async fn fill(folder: &TempDir, movements: u64) -> Result<(DateTime<Utc>, DateTime<Utc>), Failed> {
    let (log, begun) = (Log::open(folder.path()).await?, Utc::now());
    let bar = progress_bar("movements written", movements);
    let until = trade::write_movements(&log, movements, ARTICLES, &bar).await?;
    bar.finish_and_clear();
    let models = ReadModels::open(folder.path()).await?;
    let bar = progress_bar("events applied", log.head().get());
    let shown = bar.clone();
    let told = Arc::new(move |_: &'static str, position: Position| shown.set_position(position.get()));
    daybook_projections::catch_up(&log, &models, daybook_projections::all(), told).await?;
    bar.finish_and_clear();
    models.close().await;
    log.close().await;
    Ok((begun, until))
}

/// Between which times movements happened, and were recorded.
#[derive(Clone, Copy)]
struct Times {
    occurred: (DateTime<Utc>, DateTime<Utc>),
    recorded: (DateTime<Utc>, DateTime<Utc>),
}

#[derive(Clone, Copy)]
enum Question {
    /// The stock now.
    Stock,
    /// The stock at a time, by both clocks in turns.
    AsOf,
    /// A hundred movements from a time on.
    Movements,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::AsOf => "as-of",
            Self::Movements => "movements",
        }
    }
}

/// Somebody who asks about any article, at any time.
struct Auditor {
    question: Question,
    head: String,
    times: Times,
    dice: Dice,
}

impl Caller for Auditor {
    fn next(&mut self, request: &mut Vec<u8>) {
        let article = shops::article(trade::SHOP, self.dice.between(0, ARTICLES));
        let path = format!("GET /api/v1/shops/{}/stock/{article}", trade::SHOP);
        let basis = self.dice.pick(&["occurred", "recorded"], "recorded");
        let (from, to) = if basis == "occurred" { self.times.occurred } else { self.times.recorded };
        let micros = self.dice.between(from.timestamp_micros(), to.timestamp_micros());
        let at = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let question = match self.question {
            Question::Stock => path,
            Question::AsOf => format!("{path}?as_of={at}&basis={basis}"),
            Question::Movements => format!("{path}/movements?from={at}&basis={basis}"),
        };
        request.extend_from_slice(question.as_bytes());
        request.extend_from_slice(self.head.as_bytes());
    }

    fn is_right(&self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}
