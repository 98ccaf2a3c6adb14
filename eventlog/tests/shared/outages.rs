//! A server that goes away, or does not answer.

use std::time::{Duration, Instant};

use daybook_eventlog::{Append, AppendError, ExpectedVersion, Filter, Log, Position, PostgresOptions, ReadError};

use super::{load::Load, nodes};
use crate::{
    Postgres,
    conformance::{Engine, append, append_any, assert_gapless, event, everything, stream, try_append},
    server::{self, Server},
};

/// Impatient nodes answer within this, whatever happens to the server.
const BOUND: Duration = Duration::from_secs(10);

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

async fn refused(log: &Log) -> AppendError {
    let begun = Instant::now();
    let outcome =
        try_append(log, Append::to(stream("reader-1"), ExpectedVersion::Any, vec![event("Started", 9)])).await;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    outcome.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load_lose_nothing_and_double_nothing() {
    let Some((place, nodes)) = nodes::<2>().await else { return };
    let load = Load::on(&nodes);
    for _ in 0..25 {
        pause(100).await;
        place.cut("daybook %");
    }
    load.holds_on(&nodes[0]).await;
    append_any(&nodes[1], "reader-1", vec![event("Started", 9)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_under_load_loses_nothing_and_doubles_nothing() {
    if server::missing().is_some() {
        return;
    }
    let server = Server::start();
    let place = Postgres { database: server.create_database(), crashed: Some(server) };
    let nodes = [place.open().await, place.open().await, place.impatient().await];
    let load = Load::on(&nodes);
    for round in 0..3 {
        pause(700).await;
        place.server().crash();
        // Once for longer than the impatient one waits.
        pause(if round == 1 { 2_500 } else { 0 }).await;
        tokio::task::block_in_place(|| place.server().run());
    }
    pause(700).await;
    load.holds_on(&nodes[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_transaction_holds_nobody_up_for_ever() {
    if server::missing().is_some() {
        return;
    }
    let place = Postgres::fresh().await;
    let log = place.impatient().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;
    let mut hung = place.session().await;
    sqlx::raw_sql("BEGIN; SELECT FROM head FOR UPDATE").execute(&mut hung).await.unwrap();

    assert!(matches!(refused(&log).await, AppendError::Unavailable(_)));
    assert!(!log.is_writable().await);
    assert_eq!(everything(&log).await.len(), 1, "reading goes on");
    sqlx::raw_sql("ROLLBACK").execute(&mut hung).await.unwrap();

    assert!(log.is_writable().await, "it looks for itself");
    append(&log, "reader-1", ExpectedVersion::Exact(0), vec![event("Ended", 1)]).await;
    assert_gapless(&everything(&log).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_the_middle_of_a_transaction_is_forgotten() {
    if server::missing().is_some() {
        return;
    }
    let place = Postgres::fresh().await;
    let log = place.open().await;
    let mut dying = place.session().await;
    sqlx::raw_sql("BEGIN; SELECT FROM head FOR UPDATE").execute(&mut dying).await.unwrap();
    let waiting = tokio::spawn(async move { append_any(&log, "reader-1", vec![event("Started", 1)]).await });
    pause(100).await;
    drop(dying);
    assert_eq!(waiting.await.unwrap().last, Position::new(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_connection_to_spare_is_told_and_recovered_from() {
    if server::missing().is_some() {
        return;
    }
    let place = Postgres::fresh().await;
    let (database, role) = (&place.database, format!("{}_node", place.database));
    place.sql(&format!("CREATE ROLE {role} LOGIN; ALTER DATABASE {database} OWNER TO {role}")).unwrap();
    let url = place.server().url_as(&role, database);
    let options = PostgresOptions { patience: Duration::from_secs(1), ..PostgresOptions::new(url) };
    let log = Log::connect(&options).await.unwrap();
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;

    place.sql(&format!("ALTER DATABASE {database} CONNECTION LIMIT 0")).unwrap();
    place.cut("daybook %");
    // A statement was on its way when the connection was found cut, and cannot be asked about.
    assert!(matches!(refused(&log).await, AppendError::Unavailable(_) | AppendError::InDoubt(_)));
    assert!(matches!(refused(&log).await, AppendError::Unavailable(_)));
    let read = log.read_all(Position::START, 1, &Filter::all()).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    assert!(!log.is_writable().await);

    place.sql(&format!("ALTER DATABASE {database} CONNECTION LIMIT -1")).unwrap();
    append(&log, "reader-1", ExpectedVersion::Exact(0), vec![event("Ended", 1)]).await;
    assert_eq!(everything(&log).await.len(), 2);
    log.close().await;
    place.sql(&format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_cut_while_idle_go_unnoticed() {
    let Some((place, [log])) = nodes::<1>().await else { return };
    for n in 0..5 {
        append_any(&log, "reader-1", vec![event("Started", n)]).await;
        place.cut("daybook %");
        assert_eq!(log.last_version(&stream("reader-1")).await.unwrap(), Some(n));
        place.cut("daybook %");
        assert_eq!(everything(&log).await.len() as u64, n + 1);
        place.cut("daybook %");
    }
}
