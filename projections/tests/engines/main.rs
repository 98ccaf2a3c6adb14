//! Read models on PostgreSQL are what they are in files: the same rows, the same answers, on the same log.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here is meant to fail loudly")]

mod answers;
mod mixed;
#[expect(dead_code, reason = "other tests do more with a server")]
#[path = "../../../tests/support/postgres.rs"]
mod server;

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{Log, Position};
use daybook_projections::{
    ControlError, PostgresModelsOptions, ProjectionState, ReadModels, ReadModelsError, Runner, Told, all, catch_up,
    library, rebuild, verify,
};
use server::Server;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A log in a folder, and an empty database for its read models.
struct Place {
    folder: TempDir,
    log: Log,
    database: String,
}

impl Place {
    /// Nothing where there is no PostgreSQL.
    async fn new() -> Option<Self> {
        if server::missing().is_some() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).await.unwrap();
        Some(Self { folder, log, database: Server::shared().create_database() })
    }

    fn options(&self) -> PostgresModelsOptions {
        PostgresModelsOptions::new(Server::shared().url(&self.database))
    }

    async fn connect(&self) -> ReadModels {
        ReadModels::connect(&self.options()).await.unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        Server::shared().sql(&self.database, sql).unwrap()
    }

    /// What a fresh build in files has.
    async fn fresh_rows(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let fresh = ReadModels::open(folder.path()).await.unwrap();
        catch_up(&self.log, &fresh, all(), silently()).await.unwrap();
        rows(&fresh).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Server::shared().drop_database(&self.database);
    }
}

fn silently() -> Told {
    Arc::new(|_, _| {})
}

async fn rows(models: &ReadModels) -> Vec<String> {
    let mut rows = Vec::new();
    for projection in all() {
        rows.extend(models.dump(&*projection).await.unwrap());
    }
    rows
}

#[track_caller]
fn assert_same(left: &[String], right: &[String]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
}

/// Waits for a condition; the time is only there so that a test which fails comes to its end.
async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_hold_the_same_rows_and_give_the_same_answers() {
    let Some(place) = Place::new().await else { return };
    for seed in [7, 8] {
        let place = if seed == 7 { &place } else { &Place::new().await.unwrap() };
        let (files, server) = (ReadModels::open(place.folder.path()).await.unwrap(), place.connect().await);
        // In steps, so that rows meet rows that are there.
        for (step, events) in [400, 1, 150, 1, 300].into_iter().enumerate() {
            mixed::fill(&place.log, seed * 100 + step as u64, events).await;
            catch_up(&place.log, &files, all(), silently()).await.unwrap();
            catch_up(&place.log, &server, all(), silently()).await.unwrap();
        }
        let (in_files, on_server) = (rows(&files).await, rows(&server).await);
        assert_same(&in_files, &on_server);
        for projection in all() {
            for table in projection.tables() {
                let start = format!("{}|", table.name);
                assert!(in_files.iter().any(|row| row.starts_with(&start)), "{} has rows", table.name);
            }
        }
        let (in_files, on_server) = (answers::all(&files).await, answers::all(&server).await);
        assert!(in_files.iter().any(|answer| answer.contains("nul\\0byte")), "a NUL is kept");
        assert_same(&in_files, &on_server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_read_model_takes_over_and_leaves_nothing_behind() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 21, 300).await;
    let models = place.connect().await;
    catch_up(&place.log, &models, all(), silently()).await.unwrap();
    let before = rows(&models).await;
    // Prepared statements are there of the tables that go.
    let asked = answers::all(&models).await;
    place.sql("UPDATE daybook_models.stock SET stock = stock + 1");
    let rebuilt = rebuild(&place.log, &models, all(), |_| true, silently()).await.unwrap();
    assert!(rebuilt.iter().all(|one| one.failure.is_none()), "{rebuilt:?}");
    assert_same(&rows(&models).await, &before);
    assert_same(&answers::all(&models).await, &asked);
    assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "1");
    assert_eq!(place.sql("SELECT count(*) FROM daybook_models.copies WHERE state = 'served'"), "8");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'daybook_models'";
    let expected: usize = all().iter().map(|projection| projection.tables().len()).sum();
    // Beside them: source, copies, jobs, and the list of migrations.
    assert_eq!(place.sql(tables), (expected + 4).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn analysts_read_read_models_and_change_none() {
    let Some(place) = Place::new().await else { return };
    // The log's migration makes the role where it may; here it is the test's.
    place.sql("DO $$ BEGIN CREATE ROLE daybook_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    mixed::fill(&place.log, 23, 100).await;
    let models = place.connect().await;
    catch_up(&place.log, &models, all(), silently()).await.unwrap();
    let asked = "SET ROLE daybook_reader; SELECT count(*) > 0 FROM daybook_models.stock";
    assert!(place.sql(asked).ends_with('t'));
    rebuild(&place.log, &models, all(), |_| true, silently()).await.unwrap();
    assert!(place.sql(asked).ends_with('t'), "also when another copy has taken over");
    let changed = "SET ROLE daybook_reader; UPDATE daybook_models.stock SET stock = 0";
    let refusal = Server::shared().sql(&place.database, changed).unwrap_err();
    assert!(refusal.contains("permission denied"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_compares_a_server_with_a_fresh_build_in_files() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 22, 200).await;
    let models = place.connect().await;
    catch_up(&place.log, &models, all(), silently()).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let verdicts = verify(&place.log, &models, all(), scratch.path(), silently()).await.unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.is_good() && verdict.differences.same > 0), "{verdicts:?}");
    place.sql("UPDATE daybook_models.shops SET name = 'tampered with' WHERE shop_id = 1");
    let scratch = tempfile::tempdir().unwrap();
    let verdicts = verify(&place.log, &models, all(), scratch.path(), silently()).await.unwrap();
    let bad: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_good()).map(|verdict| verdict.name).collect();
    assert_eq!(bad, ["shops"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_there_for_other_nodes_at_once_even_without_rows() {
    let Some(place) = Place::new().await else { return };
    let (writing, other) = (place.connect().await, place.connect().await);
    let runner = Runner::start(place.log.clone(), writing, all()).await.unwrap();
    mixed::fill(&place.log, 23, 20).await;
    let head = place.log.head();
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    runner.progress().reached(&names, head, PATIENCE).await.unwrap();
    let standings = other.standings(&all()).await.unwrap();
    assert!(standings.iter().all(|one| one.served == Some((head, None))), "{standings:?}");
    assert_same(&rows(&other).await, &place.fresh_rows().await);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_running_node_takes_over_while_events_come() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 24, 100).await;
    let models = place.connect().await;
    let runner = Runner::start(place.log.clone(), models.clone(), all()).await.unwrap();
    for round in 0..3 {
        for projection in all() {
            runner.control().rebuild(projection.name()).await.unwrap();
        }
        mixed::fill(&place.log, 240 + round, 50).await;
        eventually("all rebuilds have taken over", async || {
            runner.progress().status().iter().all(|status| status.rebuild.is_none())
        })
        .await;
        assert!(runner.progress().status().iter().all(|status| status.rebuild_failure.is_none()));
    }
    // The live ones go on with the copies that took over.
    mixed::fill(&place.log, 250, 20).await;
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    runner.progress().reached(&names, place.log.head(), PATIENCE).await.unwrap();
    assert_same(&rows(&models).await, &place.fresh_rows().await);
    assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "1");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_all_believe_to_lead_apply_nothing_twice() {
    let Some(place) = Place::new().await else { return };
    // All at once: they make the tables together.
    let start = || async { Runner::start(place.log.clone(), place.connect().await, all()).await.unwrap() };
    let (one, two, three) = tokio::join!(start(), start(), start());
    mixed::fill(&place.log, 25, 200).await;
    let models = place.connect().await;
    // Those that are still running may be quicker; nobody may be left at all.
    eventually("somebody has brought them up", async || match catch_up(&place.log, &models, all(), silently()).await {
        Ok(_) => true,
        Err(ReadModelsError::Fenced(_)) => false,
        Err(error) => panic!("{error}"),
    })
    .await;
    assert_same(&rows(&models).await, &place.fresh_rows().await);
    for runner in [one, two, three] {
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_keeps_the_read_models_and_another_goes_on_where_it_ends() {
    let Some(place) = Place::new().await else { return };
    let start = || async { Runner::start(place.log.clone(), place.connect().await, all()).await.unwrap() };
    let mut nodes = vec![start().await, start().await, start().await];
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    for round in 0..3 {
        mixed::fill(&place.log, 300 + round, 30).await;
        for node in &nodes {
            node.progress().reached(&names, place.log.head(), PATIENCE).await.unwrap();
        }
        let leading: Vec<usize> = (0..nodes.len()).filter(|place| *nodes[*place].leads().borrow()).collect();
        assert_eq!(leading.len(), 1, "one node leads");
        let leader = nodes.swap_remove(leading[0]);
        if round == 0 {
            leader.stop().await;
        } else {
            // Its tasks end in the middle of whatever they do.
            drop(leader);
        }
        if nodes.is_empty() {
            break;
        }
        eventually("another node leads", async || nodes.iter().any(|node| *node.leads().borrow())).await;
    }
    assert_same(&rows(&place.connect().await).await, &place.fresh_rows().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_can_be_asked_to_rebuild_to_cancel_and_to_resume() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 31, 100).await;
    let start = || async { Runner::start(place.log.clone(), place.connect().await, all()).await.unwrap() };
    let nodes = [start().await, start().await];
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    for node in &nodes {
        node.progress().reached(&names, place.log.head(), PATIENCE).await.unwrap();
    }
    eventually("a node leads", async || nodes.iter().any(|node| *node.leads().borrow())).await;
    let [asked, other] = if *nodes[0].leads().borrow() { [&nodes[1], &nodes[0]] } else { [&nodes[0], &nodes[1]] };
    place.sql("UPDATE daybook_models.shops SET name = 'tampered with'");
    asked.control().rebuild("shops").await.unwrap();
    assert!(matches!(other.control().rebuild("shops").await, Err(ControlError::Rebuilding)));
    let is_over = |node: &Runner| node.progress().status().iter().all(|status| status.rebuild.is_none());
    eventually("every node knows that it is over", async || {
        place.sql("SELECT count(*) FROM daybook_models.copies") == "8" && is_over(asked) && is_over(other)
    })
    .await;
    assert_same(&rows(&place.connect().await).await, &place.fresh_rows().await);

    assert!(matches!(asked.control().cancel("shops").await, Err(ControlError::NotRebuilding)));
    assert!(matches!(asked.control().resume("shops").await, Err(ControlError::NotStopped)));
    // The tables refuse the next rows, and take them after a while.
    place.sql("ALTER TABLE daybook_models.books ADD CONSTRAINT none CHECK (book_id IS NULL) NOT VALID");
    mixed::fill(&place.log, 32, 100).await;
    let is_faulted = |node: &Runner| {
        let status = node.progress().status();
        status.iter().any(|one| one.name == "library" && matches!(one.state, ProjectionState::Faulted { .. }))
    };
    eventually("both know that it stopped", async || is_faulted(asked) && is_faulted(other)).await;
    place.sql("ALTER TABLE daybook_models.books DROP CONSTRAINT none");
    asked.control().resume("library").await.unwrap();
    for node in &nodes {
        eventually("it goes on", async || node.progress().reached(&names, place.log.head(), PATIENCE).await.is_ok())
            .await;
    }
    assert_same(&rows(&place.connect().await).await, &place.fresh_rows().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_outside_is_done_by_the_node_that_keeps_the_read_models() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 33, 100).await;
    let node = Runner::start(place.log.clone(), place.connect().await, all()).await.unwrap();
    eventually("it leads", async || *node.leads().borrow()).await;
    place.sql("UPDATE daybook_models.shops SET name = 'tampered with'");
    place.sql("UPDATE daybook_models.books SET title = 'tampered with'");
    let outside = place.connect().await;
    let wanted = |name: &str| ["shops", "library"].contains(&name);
    let rebuilt = rebuild(&place.log, &outside, all(), wanted, silently()).await.unwrap();
    let mut names: Vec<_> = rebuilt.iter().map(|one| (one.name, one.failure.clone())).collect();
    names.sort_unstable();
    assert_eq!(names, [("library", None), ("shops", None)]);
    assert!(*node.leads().borrow());
    assert_same(&rows(&outside).await, &place.fresh_rows().await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_that_has_to_wait_holds_up_no_read_model() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 34, 100).await;
    let node = Runner::start(place.log.clone(), place.connect().await, all()).await.unwrap();
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    node.progress().reached(&names, place.log.head(), PATIENCE).await.unwrap();
    // Somebody reads a table for a while, as a dump or a verification does.
    let database = place.database.clone();
    let reading = std::thread::spawn(move || {
        let sql = "BEGIN; LOCK TABLE daybook_models.shops IN ACCESS SHARE MODE; SELECT pg_sleep(6); COMMIT";
        Server::shared().sql(&database, sql).unwrap()
    });
    let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'daybook_models.shops'::regclass AND granted";
    while place.sql(locks) == "0" {}
    node.control().rebuild("shops").await.unwrap();
    let mut appended = 0;
    while !reading.is_finished() {
        mixed::fill(&place.log, 340 + appended, 5).await;
        appended += 1;
        node.progress().reached(&names, place.log.head(), Duration::from_secs(3)).await.expect("everything goes on");
    }
    eventually("it has taken over", async || {
        node.progress().status().iter().all(|status| status.rebuild.is_none() && status.rebuild_failure.is_none())
    })
    .await;
    assert!(appended > 5, "{appended} rounds");
    assert_same(&rows(&place.connect().await).await, &place.fresh_rows().await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_survive_connections_that_are_cut() {
    let Some(place) = Place::new().await else { return };
    let models = place.connect().await;
    let runner = Runner::start(place.log.clone(), models.clone(), all()).await.unwrap();
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    runner.progress().reached(&names, Position::START, PATIENCE).await.unwrap();
    for round in 0..4 {
        mixed::fill(&place.log, 260 + round, 30).await;
        place.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'daybook models%'",
        );
        library::readable(&models, uuid::Uuid::nil(), 0, 1).await.unwrap();
        mixed::fill(&place.log, 270 + round, 30).await;
        runner.progress().reached(&names, place.log.head(), PATIENCE).await.unwrap();
    }
    assert_same(&rows(&models).await, &place.fresh_rows().await);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_of_another_log_are_built_anew() {
    let Some(place) = Place::new().await else { return };
    mixed::fill(&place.log, 28, 100).await;
    let models = place.connect().await;
    catch_up(&place.log, &models, all(), silently()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = Log::open(folder.path()).await.unwrap();
    mixed::fill(&other, 29, 150).await;
    catch_up(&other, &models, all(), silently()).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let fresh = ReadModels::open(files.path()).await.unwrap();
    catch_up(&other, &fresh, all(), silently()).await.unwrap();
    assert_same(&rows(&models).await, &rows(&fresh).await);
    let standings = models.standings(&all()).await.unwrap();
    assert!(standings.iter().all(|one| one.served == Some((other.head(), None))), "{standings:?}");
    assert!(other.head() > Position::START);
}

#[tokio::test]
async fn a_schema_without_read_models_is_left_alone_when_that_is_asked_for() {
    let Some(place) = Place::new().await else { return };
    let options = PostgresModelsOptions { make: false, ..place.options() };
    let refused = ReadModels::connect(&options).await.err().unwrap();
    assert!(matches!(refused, ReadModelsError::Missing(_)), "{refused}");
    assert_eq!(place.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'"), "0");
    place.connect().await;
    ReadModels::connect(&options).await.unwrap();
    place.sql("INSERT INTO daybook_models.catalog_format VALUES (3)");
    let refused = ReadModels::connect(&place.options()).await.err().unwrap();
    assert!(matches!(refused, ReadModelsError::NewerCatalog { found: 3, known: 2, .. }), "{refused}");
    for schema in ["", "Daybook", "a\"b", "pg_x", "abcdefghijklmnopqrstuvwxy"] {
        let options = PostgresModelsOptions { schema: schema.to_owned(), ..place.options() };
        assert!(matches!(ReadModels::connect(&options).await.err(), Some(ReadModelsError::Options(_))), "{schema}");
    }
}
