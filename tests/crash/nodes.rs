//! Three nodes on one database, under load, while they are killed in turn and while the database is not there for them:
//! what was acknowledged is there, once, on every node, and the read models are what the log says.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::check;
use crate::client::{Acknowledged, Client};
use crate::support::chance::Chance;
use crate::support::database::Database;
use crate::support::{Place, Server, eventually};

const NODES: usize = 3;
const CLIENTS: usize = 9;
/// Acknowledgements between two blows.
const STRETCH: u64 = 40;
/// Who the nodes are for a database server.
const ROLE: &str = "daybook_node";
/// How long a client leaves a node alone that could not answer.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_killed_in_turn_lose_nothing_and_others_go_on() {
    let Some(database) = Database::fresh() else { return };
    // Whatever else the database is used for, its defaults are not what nodes rely on.
    let name = database.sql("SELECT current_database()");
    for setting in [
        "default_transaction_isolation = serializable",
        "synchronous_commit = off",
        "lock_timeout = 1",
        "statement_timeout = 50",
        "standard_conforming_strings = off",
        "search_path = nowhere",
    ] {
        database.sql(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    let nodes = Nodes::start(database.place()).await;
    let load = Load::on(&nodes);
    for round in 0..9 {
        load.get_on(&nodes).await;
        // The one that keeps the read models as often as the others.
        nodes.replace(round % NODES).await;
    }
    load.get_on(&nodes).await;
    load.holds_on(nodes, &database.place()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_loses_the_lead_and_spoils_nothing_when_it_wakes_up() {
    let Some(database) = Database::fresh() else { return };
    let nodes = Nodes::start(database.place()).await;
    let load = Load::on(&nodes);
    load.get_on(&nodes).await;
    let hanging = eventually("one node leads", async || nodes.leader().await).await;
    nodes.get(hanging).signal(Signal::STOP);
    eventually("another node leads", async || nodes.leader_besides(hanging).await).await;
    // It takes what it was sent meanwhile for new, and finds that others went on.
    nodes.get(hanging).signal(Signal::CONT);
    load.get_on(&nodes).await;
    load.holds_on(nodes, &database.place()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_and_goes_is_waited_out_and_nothing_is_doubled() {
    let Some(database) = Database::on_its_own_server() else { return };
    // Somebody who may do nothing else in this database server.
    database.sql(&format!("CREATE ROLE {ROLE} LOGIN"));
    let name = database.sql("SELECT current_database()");
    database.sql(&format!("ALTER DATABASE {name} OWNER TO {ROLE}"));
    let nodes = Nodes::start(Place::on_database(&database.server().url_as(ROLE, &name))).await;
    let load = Load::on(&nodes);
    load.get_on(&nodes).await;

    // It crashes, and comes back.
    for _ in 0..2 {
        database.server().crash();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let server = database.clone();
        tokio::task::spawn_blocking(move || server.server().run()).await.unwrap();
        load.get_on(&nodes).await;
    }

    // All connections are cut, again and again.
    for _ in 0..20 {
        database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    load.get_on(&nodes).await;

    // A transaction holds the log's head, and does nothing.
    let hanging = database.clone();
    let hangs = tokio::task::spawn_blocking(move || {
        hanging.sql("BEGIN; SELECT position FROM daybook.head FOR UPDATE; SELECT pg_sleep(8); COMMIT")
    });
    hangs.await.unwrap();
    load.get_on(&nodes).await;

    // No connections are to be had, and those that there were are gone.
    let without = |limit: i32| {
        database.sql(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT {limit}"));
        database
            .sql(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{ROLE}'"));
    };
    without(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    without(-1);
    load.get_on(&nodes).await;

    assert!(load.refused() > 0, "none of this was noticed");
    load.holds_on(nodes, &database.place()).await;
}

/// The nodes, of which one may be away for a moment.
struct Nodes {
    place: Place,
    running: Mutex<Vec<Arc<Server>>>,
}

impl Nodes {
    async fn start(place: Place) -> Arc<Self> {
        let (one, two, three) = tokio::join!(place.serve(&[]), place.serve(&[]), place.serve(&[]));
        let running = [one, two, three].map(Arc::new).into();
        Arc::new(Self { place, running: Mutex::new(running) })
    }

    fn get(&self, node: usize) -> Arc<Server> {
        Arc::clone(&self.running.lock().unwrap_or_else(PoisonError::into_inner)[node])
    }

    /// The node that keeps the read models.
    async fn leader(&self) -> Option<usize> {
        self.leader_besides(NODES).await
    }

    /// The same, when it is not the one that cannot be asked.
    async fn leader_besides(&self, silent: usize) -> Option<usize> {
        for node in (0..NODES).filter(|node| *node != silent) {
            let metrics = self.get(node).stranger().get("/metrics").await.text;
            if metrics.lines().any(|line| line == "daybook_node_leads 1") {
                return Some(node);
            }
        }
        None
    }

    /// Kills a node, and starts another one in its place.
    async fn replace(&self, node: usize) {
        self.get(node).signal(Signal::KILL);
        let fresh = Arc::new(self.place.serve(&[]).await);
        self.running.lock().unwrap_or_else(PoisonError::into_inner)[node] = fresh;
    }
}

/// Clients that write, each wherever it gets an answer.
struct Load {
    clients: Vec<JoinHandle<Vec<Acknowledged>>>,
    acknowledged: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn on(nodes: &Arc<Nodes>) -> Self {
        let mut chance = Chance::told();
        let (acknowledged, refused, stop) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let work = |number: usize| {
            let client = Client::new(chance.split());
            let (nodes, stop) = (Arc::clone(nodes), Arc::clone(&stop));
            let (acknowledged, refused) = (Arc::clone(&acknowledged), Arc::clone(&refused));
            tokio::spawn(work(client, nodes, number, stop, acknowledged, refused))
        };
        let clients = (0..CLIENTS).map(work).collect();
        Self { clients, acknowledged, refused, stop }
    }

    /// How often a client had no answer, or one that said to come again.
    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until every node is ready, and the clients have got on.
    async fn get_on(&self, nodes: &Nodes) {
        for node in 0..NODES {
            let anybody = nodes.get(node).stranger();
            eventually("the node is ready", async || (anybody.get("/readyz").await.status == 200).then_some(())).await;
        }
        let before = self.acknowledged.load(Ordering::Relaxed);
        let get_on = async || (self.acknowledged.load(Ordering::Relaxed) >= before + STRETCH).then_some(());
        eventually("the clients get on", get_on).await;
    }

    /// Stops the clients and the nodes, and looks at what is there.
    async fn holds_on(self, nodes: Arc<Nodes>, place: &Place) {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for client in self.clients {
            acknowledged.extend(client.await.unwrap());
        }
        let nodes = Arc::into_inner(nodes).unwrap();
        for node in nodes.running.into_inner().unwrap() {
            let stopped = Arc::into_inner(node).unwrap().stop().await;
            assert!(stopped.status.success(), "{}", stopped.log);
        }
        let events = place.events();
        check(&events, &acknowledged, 0);
        place.assert_read_models_equal_a_rebuild().await;
        eprintln!("{} acknowledgements, {} events", acknowledged.len(), events.len());
    }
}

/// Writes until it is to stop, on the next node whenever one cannot answer.
async fn work(
    mut client: Client,
    nodes: Arc<Nodes>,
    mut node: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
) -> Vec<Acknowledged> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let reader = nodes.get(node % NODES).reader_called(client.id);
        match client.step(&reader).await {
            Some(one) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                seen.push(one);
                // Some go on elsewhere also without need.
                node += usize::from(seen.len() % 5 == 0);
            }
            None => {
                refused.fetch_add(1, Ordering::Relaxed);
                node += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    seen
}
