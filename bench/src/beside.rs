//! A server that is read and written while all its read models are built anew.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_domain::shop::ShopId;
use daybook_eventlog::{Log, Position};
use daybook_projections::{ReadModels, shop::sales};
use futures::future::try_join_all;
use uuid::Uuid;

use super::{
    Failed,
    dice::Dice,
    load::{Caller, Loaded, load_at_pace},
    measure::per_second,
    mixed,
    report::{Row, progress_bar},
    sales::Till,
    server::{Process, Server},
    shops, temporary_folder, trade, years,
};
use daybook::auth::Role;

/// Readers of their history and statistics, and as many auditors of a ledger.
const ASKERS: usize = 8;
/// From one request of an asker to the next: 200 requests each second from all of them.
const ASKED_EVERY: Duration = Duration::from_millis(80);
/// Tills that go on selling, each in a shop of its own.
const TILLS: usize = 2;
/// From one sale of a till to the next.
const SOLD_EVERY: Duration = Duration::from_millis(500);
/// How long the server is read before its read models are built anew, and before that until it is warm.
const AT_REST: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Three rows: reads at rest, reads during the rebuild, the rebuild.
pub(super) async fn measure(dir: Option<&Path>, events: u64, readers: u32) -> Result<Vec<Row>, Failed> {
    let folder = temporary_folder(dir)?;
    fill(folder.path(), events, readers).await?;
    let server = Server::start(&Process::start()?, folder).await?;
    server.caught_up().await?;

    let (callers, _) = ask_for(&server, Callers::new(&server, readers)?, WARM_UP).await?;
    let (callers, at_rest) = ask_for(&server, callers, AT_REST).await?;

    let (is_rebuilding, begun) = (Arc::new(AtomicBool::new(true)), Instant::now());
    let asking = ask(&server, callers, Arc::clone(&is_rebuilding));
    let rebuilding = async {
        let rebuilt = rebuild_all(&server).await;
        let took = begun.elapsed();
        is_rebuilding.store(false, Ordering::Relaxed);
        rebuilt.map(|()| took)
    };
    let (asked, took) = futures::join!(asking, rebuilding);
    let ((callers, rebuilding), took) = (asked?, took?);
    let rate = per_second(events, begun) * begun.elapsed().as_secs_f64() / took.as_secs_f64();

    server.caught_up().await?;
    for till in &callers.tills {
        is_shown(&server, till).await?;
    }
    server.stop().await?;
    let row = |case: &str, loaded: &Loaded| Row {
        bench: "rebuild",
        case: case.to_owned(),
        per_s: loaded.rate(),
        p50_ms: Some(loaded.latencies.percentile(50.0)),
        p99_ms: Some(loaded.latencies.percentile(99.0)),
        limit_per_s: None,
        ratio: None,
        memory_mib: None,
    };
    let ratio = rebuilding.latencies.percentile(99.0) / at_rest.latencies.percentile(99.0);
    Ok(vec![
        row("beside/reads-at-rest", &at_rest),
        Row { ratio: Some(ratio), ..row("beside/reads-meanwhile", &rebuilding) },
        Row { per_s: rate, p50_ms: None, p99_ms: None, ..row("beside/rebuild", &rebuilding) },
    ])
}

/// Writes the log and builds the read models that are served first.
async fn fill(folder: &Path, events: u64, readers: u32) -> Result<(), Failed> {
    let log = Log::open(folder).await?;
    let bar = progress_bar("events written", events);
    mixed::write(&log, events, readers, &bar).await?;
    bar.finish_and_clear();
    let models = ReadModels::open(folder).await?;
    let bar = progress_bar("events applied", log.head().get());
    let shown = bar.clone();
    let told = Arc::new(move |_: &'static str, position: Position| shown.set_position(position.get()));
    daybook_projections::catch_up(&log, &models, daybook_projections::all(), told).await?;
    bar.finish_and_clear();
    models.close().await;
    log.close().await;
    Ok(())
}

/// Asks for all rebuilds at once, and waits until all have taken over.
async fn rebuild_all(server: &Server) -> Result<(), Failed> {
    let names: Vec<&'static str> = daybook_projections::all().iter().map(|projection| projection.name()).collect();
    try_join_all(names.iter().map(|name| server.app.projections.rebuild(name))).await?;
    loop {
        let status = server.app.progress.status();
        if let Some(failed) = status.iter().find_map(|status| status.rebuild_failure.as_ref()) {
            return Err(failed.clone().into());
        }
        if status.iter().all(|status| status.rebuild.is_none()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether every sale of the till is in the read model that was built anew.
async fn is_shown(server: &Server, till: &Till) -> Result<(), Failed> {
    let numbers: Vec<String> = (1..=till.sales).map(|sale| Till::invoice(till.number, sale)).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let shown = sales::fingerprints(&server.app.models, till.shop_id, &numbers).await?;
    if shown.len() == numbers.len() {
        Ok(())
    } else {
        Err(format!("of {} sales of a till, {} are shown after the rebuild", numbers.len(), shown.len()).into())
    }
}

/// Everybody who asks and sells.
struct Callers {
    askers: Vec<Asker>,
    tills: Vec<Till>,
}

impl Callers {
    fn new(server: &Server, readers: u32) -> Result<Self, Failed> {
        let ids = years::reader_ids(readers);
        let mut askers = Vec::new();
        for (number, reader) in (0..).zip(ids.iter().cycle().take(ASKERS)) {
            askers.push(Asker::reader(server, number, *reader)?);
            askers.push(Asker::auditor(server, number)?);
        }
        let host = server.address.to_string();
        let till = |place: usize| {
            let shop_id = trade::SHOP + ShopId::try_from(place).unwrap_or(0);
            Till::new(&host, trade::till_of(shop_id), shop_id, mixed::ARTICLES, 1)
        };
        Ok(Self { askers, tills: (0..TILLS).map(till).collect() })
    }
}

async fn ask_for(server: &Server, callers: Callers, time: Duration) -> Result<(Callers, Loaded), Failed> {
    let goes_on = Arc::new(AtomicBool::new(true));
    let timer = async {
        tokio::time::sleep(time).await;
        goes_on.store(false, Ordering::Relaxed);
    };
    futures::join!(ask(server, callers, Arc::clone(&goes_on)), timer).0
}

/// Reads and writes; the answers to the reads are measured.
async fn ask(server: &Server, callers: Callers, goes_on: Arc<AtomicBool>) -> Result<(Callers, Loaded), Failed> {
    let goes_on = move || goes_on.load(Ordering::Relaxed);
    let asking = load_at_pace(server.address, callers.askers, ASKED_EVERY, goes_on.clone());
    let selling = load_at_pace(server.address, callers.tills, SOLD_EVERY, goes_on);
    let (asked, sold) = futures::join!(asking, selling);
    let ((askers, loaded), (tills, _)) = (asked?, sold?);
    Ok((Callers { askers, tills }, loaded))
}

/// Somebody who asks one kind of question after the other.
struct Asker {
    questions: Vec<&'static str>,
    shop_id: ShopId,
    head: String,
    dice: Dice,
}

impl Asker {
    fn reader(server: &Server, number: u32, reader: Uuid) -> Result<Self, Failed> {
        let questions = vec![
            "/api/v1/reading-sessions/history",
            "/api/v1/users/stats/weekly",
            "/api/v1/users/stats/overview",
            "/api/v1/users/stats/patterns",
        ];
        Self::new(server, number, questions, &server.token(&reader.to_string(), &[])?)
    }

    fn auditor(server: &Server, number: u32) -> Result<Self, Failed> {
        Self::new(server, number, vec!["", "/movements"], &server.token("bench", &[Role::Auditor])?)
    }

    fn new(server: &Server, number: u32, questions: Vec<&'static str>, token: &str) -> Result<Self, Failed> {
        let head = format!(" HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", server.address);
        let shop_id = trade::SHOP + ShopId::from(number) % mixed::SHOPS;
        Ok(Self { questions, shop_id, head, dice: Dice::new(number.into()) })
    }
}

impl Caller for Asker {
    fn next(&mut self, request: &mut Vec<u8>) {
        let question = self.dice.pick(&self.questions, "");
        let path = if question.starts_with("/api") {
            format!("GET {question}")
        } else {
            let article = shops::article(self.shop_id, self.dice.between(0, mixed::ARTICLES));
            format!("GET /api/v1/shops/{}/stock/{article}{question}", self.shop_id)
        };
        request.extend_from_slice(path.as_bytes());
        request.extend_from_slice(self.head.as_bytes());
    }

    fn is_right(&self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}
