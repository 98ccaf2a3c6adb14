//! Readers who report where they are, all at once.

use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use daybook_domain::{
    book::{self, PutBook},
    reading::{self, Percent, ReaderCommand},
};
use daybook_eventlog::{Metadata, StreamId};
use uuid::Uuid;

use super::{
    Failed,
    load::{Caller, load},
    report::{Report, Row},
    seconds,
    server::{Process, Server},
    temporary_folder,
};

/// Seconds before the measured ones.
const WARM_UP_SECONDS: f64 = 1.0;
const BOOK: Uuid = Uuid::from_u128(0x123e_4567_e89b_42d3_a456_4266_1417_4000);

/// Measures updates of reading sessions over HTTP: each is on the disk before it is answered.
#[derive(Debug, Clone, Args)]
pub struct ReadingBench {
    /// Readers, each with a connection and an active session.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    connections: u32,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Where the temporary folder is made: on the disk to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl ReadingBench {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut report = Report::new(self.json);
        let server = Server::start(&Process::start()?, temporary_folder(self.dir.as_deref())?).await?;
        add_book(&server).await?;
        let mut readers = Vec::new();
        for number in 0..self.connections {
            readers.push(Reader::begin(&server, number).await?);
        }
        let (readers, _) = load(server.address, readers, WARM_UP_SECONDS).await?;
        let (_, loaded) = load(server.address, readers, self.seconds).await?;
        server.stop().await?;
        report.add(&Row {
            bench: "reading",
            case: "update".to_owned(),
            per_s: loaded.rate(),
            p50_ms: Some(loaded.latencies.percentile(50.0)),
            p99_ms: Some(loaded.latencies.percentile(99.0)),
            limit_per_s: None,
            ratio: None,
            memory_mib: None,
        })?;
        Ok(())
    }
}

async fn add_book(server: &Server) -> Result<(), Failed> {
    let command = PutBook {
        book_id: BOOK,
        caller: BOOK,
        caller_is_admin: true,
        title: "Братья Карамазовы".to_owned(),
        total_pages: Some(Some(824)),
        shared: Some(true),
        now: Utc::now(),
    };
    let stream = StreamId::from(book::stream(BOOK));
    server.app.books.run(&stream, &command, &Metadata::default()).await?;
    Ok(())
}

/// A reader in the middle of a session.
struct Reader {
    head: String,
    reports: u32,
}

impl Reader {
    async fn begin(server: &Server, number: u32) -> Result<Self, Failed> {
        let (user_id, session_id) = (Uuid::from_u128(u128::from(number) | 0x4000_8000 << 64), Uuid::now_v7());
        let command = ReaderCommand::Start {
            session_id,
            user_id,
            book_id: BOOK,
            start_position: Percent::default(),
            device_type: None,
            timezone: None,
            now: Utc::now(),
        };
        let stream = StreamId::from(reading::stream(user_id));
        server.app.readers.run(&stream, &command, &Metadata::default()).await?;
        let token = server.token(&user_id.to_string(), &[])?;
        let head = format!(
            "PUT /api/v1/reading-sessions/{session_id}/update HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 24\r\n\r\n",
            server.address
        );
        Ok(Self { head, reports: number })
    }
}

impl Caller for Reader {
    fn next(&mut self, request: &mut Vec<u8>) {
        self.reports += 1;
        request.extend_from_slice(self.head.as_bytes());
        // Two digits, so that every body is as long as the head says.
        request.extend_from_slice(format!("{{\"current_position\": {}}}", 10 + self.reports % 90).as_bytes());
    }

    fn is_right(&self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}
