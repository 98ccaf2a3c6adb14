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
    PostgresModelsOptions, ReadModels, ReadModelsError, Runner, Told, all, catch_up, library, rebuild, verify,
};
use server::Server;
use tempfile::TempDir;

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
    assert_eq!(place.sql(tables), (expected + 2).to_string());
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
    runner.progress().reached(&names, head, Duration::from_secs(20)).await.unwrap();
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
    runner.progress().reached(&names, place.log.head(), Duration::from_secs(20)).await.unwrap();
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
async fn reads_and_writes_survive_connections_that_are_cut() {
    let Some(place) = Place::new().await else { return };
    let models = place.connect().await;
    let runner = Runner::start(place.log.clone(), models.clone(), all()).await.unwrap();
    let names: Vec<&'static str> = all().iter().map(|projection| projection.name()).collect();
    for round in 0..4 {
        mixed::fill(&place.log, 260 + round, 30).await;
        place.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'daybook models%'",
        );
        library::count(&models, uuid::Uuid::nil()).await.unwrap();
        mixed::fill(&place.log, 270 + round, 30).await;
        runner.progress().reached(&names, place.log.head(), Duration::from_secs(20)).await.unwrap();
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
    for schema in ["", "Daybook", "a\"b", "pg_x", "abcdefghijklmnopqrstuvwxy"] {
        let options = PostgresModelsOptions { schema: schema.to_owned(), ..place.options() };
        assert!(matches!(ReadModels::connect(&options).await.err(), Some(ReadModelsError::Options(_))), "{schema}");
    }
}
