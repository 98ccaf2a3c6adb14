//! Tills that send their sales in batches, all at once.

use std::{fmt::Write, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};
use daybook_domain::shop::{RECENT_NUMBERS_MAX, ShopId};

use super::{
    Failed,
    dice::Dice,
    ledger,
    load::{Caller, load},
    report::{Report, Row},
    seconds,
    server::{Process, Server},
    shops, temporary_folder, trade,
};

/// Seconds before the measured ones.
const WARM_UP_SECONDS: f64 = 1.0;

/// Measures tills that send sales, and questions to the ledger, over HTTP: a sale counts when it is on the disk and
/// in the read models.
#[derive(Debug, Clone, Args)]
pub struct SalesBench {
    /// Only this case.
    #[arg(long, value_enum)]
    case: Option<Case>,
    /// Tills, each with a connection.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    connections: u32,
    /// Sales of one request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Shops, in the case of several.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    shops: u32,
    /// Articles of each shop.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    articles: u32,
    /// Seconds to measure each case for.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Movements in the ledger that is asked; 10,000 articles have moved.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    movements: u64,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON for each case instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Tills of several shops.
    SeveralShops,
    /// As many tills, all of one shop.
    OneShop,
    /// Questions to the ledger.
    Ledger,
}

impl SalesBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let (mut report, process) = (Report::new(self.json), Process::start()?);
        for case in Case::value_variants() {
            if self.case.is_some_and(|only| only != *case) {
                continue;
            }
            let folder = temporary_folder(self.dir.as_deref())?;
            match case {
                Case::SeveralShops => report.add(&self.sell(&process, self.shops, "several-shops").await?)?,
                Case::OneShop => report.add(&self.sell(&process, 1, "one-shop").await?)?,
                Case::Ledger => {
                    let asked = ledger::Asked {
                        movements: self.movements,
                        connections: self.connections,
                        seconds: self.seconds,
                    };
                    for row in ledger::measure(&process, folder, asked).await? {
                        report.add(&row)?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn sell(&self, process: &Process, shops: u32, case: &str) -> Result<Row, Failed> {
        let server = Server::start(process, temporary_folder(self.dir.as_deref())?).await?;
        let (shops, tills, articles) =
            (usize::try_from(shops)?, usize::try_from(self.connections)?, self.articles.into());
        for place in 0..shops {
            let own: Vec<usize> = (0..tills).filter(|till| till % shops == place).collect();
            shops::open(&server.app.log, shop_id(place), articles, &own, trade::opened_at()).await?;
        }
        server.caught_up().await?;
        let host = server.address.to_string();
        let till = |till: usize| Till::new(&host, till, shop_id(till % shops), articles, self.batch);
        // Long enough that the shops have forgotten their first numbers, as every shop has that is in use.
        let mut callers: Vec<Till> = (0..tills).map(till).collect();
        let enough = u64::try_from(RECENT_NUMBERS_MAX * shops)?;
        let mut sold = 0;
        while sold < enough {
            let (warm, loaded) = load(server.address, callers, WARM_UP_SECONDS).await?;
            callers = warm;
            sold += loaded.requests * u64::from(self.batch);
        }
        server.caught_up().await?;

        let started = Instant::now();
        let (_, loaded) = load(server.address, callers, self.seconds).await?;
        server.caught_up().await?;
        let per_s = super::measure::per_second(loaded.requests * u64::from(self.batch), started);
        server.stop().await?;
        Ok(Row {
            bench: "sales",
            case: case.to_owned(),
            per_s,
            p50_ms: Some(loaded.latencies.percentile(50.0)),
            p99_ms: Some(loaded.latencies.percentile(99.0)),
            limit_per_s: None,
            ratio: None,
            memory_mib: None,
        })
    }
}

fn shop_id(place: usize) -> ShopId {
    1 + ShopId::try_from(place).unwrap_or(0)
}

/// A till with more and more to send.
pub(super) struct Till {
    head: String,
    pub(super) number: usize,
    pub(super) shop_id: ShopId,
    articles: i64,
    batch: u32,
    /// Sent so far.
    pub(super) sales: u64,
    dice: Dice,
    body: String,
}

impl Till {
    pub(super) fn new(host: &str, number: usize, shop_id: ShopId, articles: i64, batch: u32) -> Self {
        let head = format!(
            "POST /api/v2/simple/ventes/sync/ HTTP/1.1\r\nHost: {host}\r\nX-Device-Serial: {}\r\n\
             Content-Type: application/json\r\nContent-Length: ",
            shops::serial(number)
        );
        let dice = Dice::new(number as u64);
        Self { head, number, shop_id, articles, batch, sales: 0, dice, body: String::new() }
    }

    /// The number of the till's sale that was sent as this one, from 1.
    pub(super) fn invoice(till: usize, sale: u64) -> String {
        format!("T{till}-{sale:08}")
    }

    fn write_sale(&mut self) {
        self.sales += 1;
        let first = self.dice.between(0, self.articles);
        let second = (first + 1 + self.dice.between(0, self.articles - 1)) % self.articles;
        let (first, second) = (shops::article(self.shop_id, first), shops::article(self.shop_id, second));
        // Writing to a String cannot fail.
        let _ = write!(
            self.body,
            "{{\"numero_facture\": \"{}\", \"mode_paiement\": \"CASH\", \"paye\": true, \"lignes\": [\
             {{\"article_id\": {first}, \"quantite\": 2, \"prix_unitaire\": 40000.00}}, \
             {{\"article_id\": {second}, \"quantite\": 1, \"prix_unitaire\": 25000.00}}]}}",
            Self::invoice(self.number, self.sales)
        );
    }
}

impl Caller for Till {
    fn next(&mut self, request: &mut Vec<u8>) {
        self.body.clear();
        for place in 0..self.batch {
            self.body.push(if place == 0 { '[' } else { ',' });
            self.write_sale();
        }
        self.body.push(']');
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(format!("{}\r\n\r\n", self.body.len()).as_bytes());
        request.extend_from_slice(self.body.as_bytes());
    }

    /// Every sale of the batch was recorded.
    fn is_right(&self, status: u16, body: &[u8]) -> bool {
        status == 201 && body.ends_with(b"\"ventes_erreurs\":null}")
    }
}
