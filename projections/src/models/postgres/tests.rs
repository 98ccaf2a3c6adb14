//! Facts of copies on a server, and of what several nodes may do to each other's.

#[expect(dead_code, reason = "other tests do more with a server")]
#[path = "../../../../tests/support/postgres.rs"]
mod server;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use tempfile::TempDir;

use self::server::Server;
use super::{CopyPositions, PostgresModelsOptions};
use crate::{
    Changes, Column, Decoded, FoldError, Merge, Projection, ReadModels, ReadModelsError, Table,
    models::{Checkpoint, CopyId, ProjectionCopy},
    table::Value,
};

const COUNTS: Table = Table {
    name: "counts",
    key: 1,
    columns: &[
        Column::new("name"),
        Column::merged("n", Merge::Add),
        Column::merged("first", Merge::Min),
        Column::merged("last", Merge::Max),
    ],
};

/// Its rows are written by the tests.
struct Counts(u32);

impl Projection for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn version(&self) -> u32 {
        self.0
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&COUNTS]
    }

    fn schema(&self) -> &'static str {
        "CREATE TABLE counts (name TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, first INTEGER, last INTEGER) STRICT;"
    }

    fn takes(&self, _: &str) -> bool {
        false
    }

    fn fold(&self, _: &[Decoded]) -> Result<Changes, FoldError> {
        Ok(Changes::default())
    }
}

async fn positions(node: &ReadModels) -> BTreeMap<String, CopyPositions> {
    node.shared().unwrap().positions().await.unwrap()
}

async fn building_of(node: &ReadModels) -> Option<Position> {
    positions(node).await["counts"].building.as_ref().map(|building| building.position)
}

fn counts(version: u32) -> Arc<dyn Projection> {
    Arc::new(Counts(version))
}

fn rows(rows: impl IntoIterator<Item = (&'static str, i64)>) -> Changes {
    let mut changes = Changes::default();
    let row = |(name, n)| [Value::Word(name), Value::Int(n), Value::Int(n), Value::Int(n)];
    changes.upsert(&COUNTS, rows.into_iter().map(row));
    changes
}

fn at(position: u64) -> Checkpoint {
    Checkpoint { position: Position::new(position), fault: None }
}

/// A database, and a log that says nothing.
struct Place {
    _folder: TempDir,
    log: Log,
    database: String,
}

impl Place {
    async fn new() -> Option<Self> {
        if server::missing().is_some() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).await.unwrap();
        Some(Self { _folder: folder, log, database: Server::shared().create_database() })
    }

    async fn node(&self) -> ReadModels {
        ReadModels::connect(&PostgresModelsOptions::new(Server::shared().url(&self.database))).await.unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        Server::shared().sql(&self.database, sql).unwrap()
    }

    /// The copy that `node` serves, of version 1. Its log is ahead of all copies, wherever they are.
    async fn served(&self, node: &ReadModels) -> ProjectionCopy {
        let mut copies = self.prepared(node, 1).await.unwrap();
        copies.pop().unwrap().1
    }

    async fn prepared(
        &self,
        node: &ReadModels,
        version: u32,
    ) -> Result<Vec<(Arc<dyn Projection>, ProjectionCopy)>, ReadModelsError> {
        node.prepare(&[counts(version)], &self.log).await
    }

    async fn append(&self, events: usize) {
        let event = |_| daybook_eventlog::NewEvent {
            id: uuid::Uuid::now_v7(),
            event_type: "Said".into(),
            schema_version: 1,
            data: "{}".to_owned(),
            metadata: "{}".into(),
            occurred_at: chrono::Utc::now(),
        };
        let events = (0..events).map(event).collect();
        let any = daybook_eventlog::ExpectedVersion::Any;
        self.log.append(daybook_eventlog::Append::to("test-1".into(), any, events)).await.unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Server::shared().drop_database(&self.database);
    }
}

async fn dump(node: &ReadModels) -> Vec<String> {
    node.dump(&Counts(1)).await.unwrap()
}

fn is_fenced<T>(result: &Result<T, ReadModelsError>) -> bool {
    matches!(result, Err(ReadModelsError::Fenced(name)) if name == "counts")
}

#[tokio::test]
async fn of_writers_at_the_same_position_exactly_one_wins() {
    let Some(place) = Place::new().await else { return };
    place.append(9).await;
    let (one, two) = (place.node().await, place.node().await);
    let (mut left, mut right) = (place.served(&one).await, place.served(&two).await);
    for round in 1..=8 {
        let (lefts, rights) = (rows([("left", 1), ("all", 1)]), rows([("right", 1), ("all", 1)]));
        let checkpoint = at(round);
        let (l, r) = tokio::join!(left.write(&lefts, &checkpoint), right.write(&rights, &checkpoint));
        assert!(l.is_ok() && is_fenced(&r) || r.is_ok() && is_fenced(&l), "{l:?} {r:?}");
        let (loser, name) = if l.is_ok() { (&mut right, "left") } else { (&mut left, "right") };
        let rows_now = dump(&one).await;
        assert!(rows_now[0].starts_with(&format!("counts|\"all\"|{round}|")), "{rows_now:?}");
        assert!(rows_now.iter().any(|row| row.contains(name)));
        // It stays so, also without rows.
        assert!(is_fenced(&loser.write(&Changes::default(), &at(round + 1)).await));
        assert!(is_fenced(&loser.write(&rows([("late", 1)]), &at(round + 1)).await));
        (left, right) = (place.served(&one).await, place.served(&two).await);
    }
    assert!(dump(&one).await.iter().all(|row| !row.contains("late")));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_not_written_again() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    let mut copy = place.served(&node).await;
    copy.write(&rows([("a", 1)]), &at(1)).await.unwrap();
    let lose_the_answer = |copy: &mut ProjectionCopy, in_doubt| match copy {
        ProjectionCopy::Postgres(copy) => copy.lose_the_answer(at(0), in_doubt),
        ProjectionCopy::Sqlite(_) => unreachable!(),
    };
    lose_the_answer(&mut copy, Some(at(1)));
    copy.write(&rows([("a", 1)]), &at(1)).await.unwrap();
    assert_eq!(copy.stored(), &at(1));
    copy.write(&rows([("b", 1)]), &at(2)).await.unwrap();
    assert_eq!(dump(&node).await, ["counts|\"a\"|1|1|1", "counts|\"b\"|1|1|1"]);
    // Without a doubt it was somebody else.
    lose_the_answer(&mut copy, None);
    assert!(is_fenced(&copy.write(&rows([("a", 1)]), &at(2)).await));
}

#[tokio::test]
async fn a_write_that_is_given_up_in_the_middle_leaves_nothing_and_the_next_one_goes_through() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    let mut copy = place.served(&node).await;
    let held = std::thread::spawn({
        let (server, database) = (Server::shared(), place.database.clone());
        move || server.sql(&database, "BEGIN; LOCK TABLE daybook_models.counts; SELECT pg_sleep(1.5); COMMIT").unwrap()
    });
    while place.sql("SELECT count(*) FROM pg_locks WHERE relation = 'daybook_models.counts'::regclass") == "0" {}
    let patience = std::time::Duration::from_millis(300);
    tokio::time::timeout(patience, copy.write(&rows([("a", 1)]), &at(1))).await.unwrap_err();
    copy.write(&rows([("a", 1)]), &at(1)).await.unwrap();
    held.join().unwrap();
    assert_eq!(dump(&node).await, ["counts|\"a\"|1|1|1"]);
}

#[tokio::test]
async fn a_copy_that_was_being_built_goes_on_where_it_was_and_takes_over() {
    let Some(place) = Place::new().await else { return };
    place.append(9).await;
    let node = place.node().await;
    let mut old = place.served(&node).await;
    old.write(&rows([("old", 1)]), &at(7)).await.unwrap();
    let id = node.begin_beside(&Counts(1)).await.unwrap();
    let mut building = node.open_copy(id.clone(), &Counts(1)).await.unwrap();
    building.write(&rows([("new", 1)]), &at(4)).await.unwrap();
    drop(building);

    let node = place.node().await;
    let unfinished: Vec<CopyId> =
        node.unfinished(&[counts(1)]).await.unwrap().into_iter().map(|(_, copy)| copy).collect();
    assert_eq!(unfinished, std::slice::from_ref(&id));
    assert!(node.unfinished(&[counts(2)]).await.unwrap().is_empty());
    let mut building = node.open_copy(id.clone(), &Counts(1)).await.unwrap();
    assert_eq!(building.stored(), &at(4));
    building.write(&rows([("new", 1)]), &at(7)).await.unwrap();
    assert_eq!(positions(&node).await["counts"].checkpoint, at(7));
    assert_eq!(building_of(&node).await, Some(Position::new(7)));
    assert_eq!(dump(&node).await, ["counts|\"old\"|1|1|1"]);

    node.take_over(&id).await.unwrap();
    // Again, as after an answer that was lost.
    node.take_over(&id).await.unwrap();
    building.has_taken_over();
    assert_eq!(dump(&node).await, ["counts|\"new\"|2|1|1"]);
    assert!(is_fenced(&old.write(&rows([("old", 1)]), &at(8)).await));
    let beside = node.begin_beside(&Counts(1)).await.unwrap();
    building.write(&rows([("new", 1)]), &at(8)).await.unwrap();
    assert_eq!(dump(&node).await, ["counts|\"new\"|3|1|1"]);
    assert_eq!(building_of(&node).await, Some(Position::START));

    // What is not built any more is nobody's, and what is served cannot be given up.
    node.give_up(&beside).await;
    node.give_up(&id).await;
    assert!(is_fenced(&node.open_copy(beside.clone(), &Counts(1)).await));
    assert!(is_fenced(&node.take_over(&beside).await));
    assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "1");
    assert_eq!(dump(&node).await, ["counts|\"new\"|3|1|1"]);
}

#[tokio::test]
async fn a_copy_of_an_older_version_is_served_until_the_new_one_takes_over_and_a_newer_one_is_left_alone() {
    let Some(place) = Place::new().await else { return };
    place.append(9).await;
    let (older, newer) = (place.node().await, place.node().await);
    let mut old = place.served(&older).await;
    old.write(&rows([("old", 1)]), &at(5)).await.unwrap();
    assert!(place.prepared(&newer, 2).await.unwrap().is_empty());
    let (_, second) = newer.unfinished(&[counts(2)]).await.unwrap().pop().unwrap();
    // Looking again makes no other.
    place.prepared(&newer, 2).await.unwrap();
    assert_eq!(newer.unfinished(&[counts(2)]).await.unwrap().pop().unwrap().1, second);
    old.write(&rows([("old", 1)]), &at(6)).await.unwrap();
    assert_eq!(dump(&newer).await, ["counts|\"old\"|2|1|1"]);

    // The older build goes on with its own, and leaves the newer one that is being built alone.
    assert_eq!(place.prepared(&older, 1).await.unwrap().len(), 1);
    let refusal = older.begin_beside(&Counts(1)).await.err().unwrap();
    let text = "the read model counts is of version 2, this build knows 1: use the newer daybook on this node";
    assert_eq!(refusal.to_string(), text);
    assert!(matches!(older.begin_beside(&Counts(1)).await, Err(ReadModelsError::TooNew { found: 2, known: 1, .. })));

    // The third version has no use for what the second one began.
    assert!(place.prepared(&newer, 3).await.unwrap().is_empty());
    assert!(is_fenced(&newer.open_copy(second, &Counts(2)).await));
    let (_, third) = newer.unfinished(&[counts(3)]).await.unwrap().pop().unwrap();
    newer.take_over(&third).await.unwrap();
    assert!(is_fenced(&old.write(&rows([("old", 1)]), &at(7)).await));
    assert_eq!(positions(&newer).await["counts"].version, 3);
    assert_eq!(place.prepared(&newer, 3).await.unwrap().len(), 1);
    assert!(place.prepared(&older, 1).await.unwrap().is_empty());
    let standings = older.standings(&[counts(1)]).await.unwrap();
    assert!(standings[0].served.is_none() && standings[0].building.is_none());
}

#[tokio::test]
async fn a_take_over_waits_for_queries_under_way_and_holds_up_others_only_for_moments() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    place.served(&node).await.write(&rows([("old", 1)]), &at(0)).await.unwrap();
    let id = node.begin_beside(&Counts(1)).await.unwrap();
    node.open_copy(id.clone(), &Counts(1)).await.unwrap().write(&rows([("new", 1)]), &at(0)).await.unwrap();
    let reading = std::thread::spawn({
        let (server, database) = (Server::shared(), place.database.clone());
        let sql =
            "BEGIN; SELECT name FROM daybook_models.counts; SELECT pg_sleep(2); SELECT name FROM daybook_models.counts";
        move || server.sql(&database, sql).unwrap()
    });
    while place.sql("SELECT count(*) FROM pg_locks WHERE relation = 'daybook_models.counts'::regclass") == "0" {}
    let taking_over = tokio::spawn({
        let node = node.clone();
        async move { node.take_over_in_the_end(&id).await }
    });
    let mut seen = Vec::new();
    while !taking_over.is_finished() {
        let started = std::time::Instant::now();
        seen.push(dump(&node).await.concat());
        assert!(started.elapsed() < std::time::Duration::from_millis(1_500), "{:?}", started.elapsed());
    }
    taking_over.await.unwrap().unwrap();
    assert_eq!(reading.join().unwrap().split_whitespace().collect::<Vec<_>>(), ["old", "old"]);
    seen.push(dump(&node).await.concat());
    seen.dedup();
    assert_eq!(seen, ["counts|\"old\"|1|1|1", "counts|\"new\"|1|1|1"]);
}

#[tokio::test]
async fn many_nodes_make_the_tables_together() {
    let Some(place) = Place::new().await else { return };
    let node = || async {
        let node = place.node().await;
        (place.served(&node).await.id().clone(), node)
    };
    let nodes = futures::future::join_all((0..8).map(|_| node())).await;
    assert!(nodes.iter().all(|(id, _)| *id == nodes[0].0));
}

#[tokio::test]
async fn sums_end_at_the_largest_number_and_many_rows_are_one_batch_on_both_engines() {
    let Some(place) = Place::new().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = (ReadModels::open(folder.path()).await.unwrap(), place.node().await);
    let mut dumps = Vec::new();
    for node in [&files, &server] {
        let mut copy = place.served(node).await;
        copy.write(&rows([("up", i64::MAX), ("down", i64::MIN), ("near", i64::MAX - 1)]), &at(1)).await.unwrap();
        copy.write(&rows([("up", 5), ("down", -5), ("near", 1), ("fresh", -1)]), &at(2)).await.unwrap();
        let mut many = Changes::default();
        many.upsert(
            &COUNTS,
            (0..25_000).map(|n| [Value::Text(format!("{n}")), Value::Int(n), Value::Null, Value::Null]),
        );
        many.update(&COUNTS, &["last"], (0..25_000).map(|n| [Value::Text(format!("{n}")), Value::Int(n)]));
        copy.write(&many, &at(3)).await.unwrap();
        dumps.push(dump(node).await);
        copy.close().await;
    }
    assert_eq!(dumps[0].len(), 25_004);
    assert!(dumps[0].contains(&format!("counts|\"up\"|{}|5|{}", i64::MAX, i64::MAX)), "{:?}", &dumps[0][25_000..]);
    assert!(dumps[0].contains(&format!("counts|\"down\"|{}|{}|-5", i64::MIN, i64::MIN)));
    assert_eq!(dumps[0], dumps[1]);
}

#[tokio::test]
async fn rows_that_the_tables_refuse_are_none_and_the_copy_goes_on() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    let mut copy = place.served(&node).await;
    let mut nothing = Changes::default();
    nothing.upsert(&COUNTS, [[Value::Word("a"), Value::Null, Value::Null, Value::Null]]);
    let mut other = Changes::default();
    other.upsert(&COUNTS, [[Value::Word("a"), Value::Word("one"), Value::Null, Value::Null]]);
    for refused in [nothing, other] {
        let error = copy.write(&refused, &at(1)).await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
    }
    let stopped = Checkpoint { position: Position::START, fault: Some((Position::new(1), "no".to_owned())) };
    copy.write(&Changes::default(), &stopped).await.unwrap();
    assert_eq!(positions(&node).await["counts"].checkpoint.fault, stopped.fault);
    copy.write(&rows([("a", 1)]), &at(1)).await.unwrap();
    assert_eq!(positions(&node).await["counts"].checkpoint.fault, None);
    place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'daybook models writer' AND datname = current_database()");
    let error = copy.write(&rows([("a", 1)]), &at(2)).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    copy.write(&rows([("a", 1)]), &at(2)).await.unwrap();
    assert_eq!(dump(&node).await, ["counts|\"a\"|2|1|1"]);
}

#[tokio::test]
async fn a_frozen_copy_stays_as_it_was_whatever_is_written() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    assert!(node.freeze(&Counts(1)).await.unwrap().is_none());
    let mut copy = place.served(&node).await;
    copy.write(&rows([("a", 1)]), &at(1)).await.unwrap();
    let mut frozen = node.freeze(&Counts(1)).await.unwrap().unwrap();
    copy.write(&rows([("a", 1), ("b", 1)]), &at(2)).await.unwrap();
    assert_eq!(frozen.checkpoint, at(1));
    assert!(node.freeze(&Counts(2)).await.unwrap().is_none());
    let differences = node.compare(&mut frozen, &Counts(1)).await.unwrap();
    assert_eq!((differences.same, differences.different), (0, 3), "{differences:?}");
    assert_eq!(differences.told[0], "only served: counts|\"a\"|1|1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_leads_until_it_lets_go_or_its_connection_is_lost() {
    let Some(place) = Place::new().await else { return };
    let (one, two) = (place.node().await, place.node().await);
    let (one, two) = (one.shared().unwrap(), two.shared().unwrap());
    let leading = one.try_lead().await.unwrap().expect("nobody leads yet");
    assert!(two.try_lead().await.unwrap().is_none());
    leading.release().await;
    let mut leading = two.try_lead().await.unwrap().expect("the other one has let go");
    assert!(one.try_lead().await.unwrap().is_none());
    place.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'daybook models leader'",
    );
    tokio::time::timeout(Duration::from_secs(20), leading.lost()).await.unwrap();
    // The server tells of a connection's end before it has let go of the connection's locks.
    let again = async {
        loop {
            if let Some(leading) = one.try_lead().await.unwrap() {
                return leading;
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again).await.expect("the lock is free");
    drop(again);
    let free = async { while two.try_lead().await.unwrap().is_none() {} };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("it is free again");
}

#[tokio::test]
async fn a_copy_that_was_forgotten_is_nobodys_and_its_tables_go() {
    let Some(place) = Place::new().await else { return };
    let node = place.node().await;
    place.served(&node).await;
    let forgotten = node.begin_beside(&Counts(1)).await.unwrap();
    assert!(matches!(node.begin_beside(&Counts(1)).await, Err(ReadModelsError::Rebuilding(_))));
    let mut building = node.open_copy(forgotten.clone(), &Counts(1)).await.unwrap();
    node.forget(&forgotten).await.unwrap();
    assert!(is_fenced(&building.write(&rows([("new", 1)]), &at(1)).await));
    // The next one has tables of its own; what is left of the first one is not taken for them.
    let next = node.begin_beside(&Counts(1)).await.unwrap();
    node.open_copy(next.clone(), &Counts(1)).await.unwrap().write(&rows([("next", 1)]), &at(1)).await.unwrap();
    node.give_up(&forgotten).await;
    assert_eq!(building_of(&node).await, Some(Position::new(1)));
    node.forget(&next).await.unwrap();
    node.give_up(&next).await;
    assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "1");
}
