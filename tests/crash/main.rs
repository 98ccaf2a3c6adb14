//! A server that is killed under load, again and again, on one folder: what it acknowledged is there, once, and the
//! read models are what the log says. `DAYBOOK_TEST_CRASHES` says how often (20).
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests: what fails here is meant to fail loudly"
)]
#![expect(dead_code, reason = "the rig serves other tests, too")]

mod client;
mod nodes;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;

use client::{Acknowledged, Client};
use support::chance::Chance;
use support::stored::{Logged, assert_gapless};
use support::{PATIENCE, Place, Server};
use tokio::sync::Semaphore;

const CLIENTS: usize = 6;
/// How many acknowledgements a server lives for, at most.
const ACKNOWLEDGEMENTS_MAX: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_kill_once() {
    let crashes: u32 = std::env::var("DAYBOOK_TEST_CRASHES").map_or(20, |crashes| crashes.parse().unwrap());
    let mut chance = Chance::told();
    let place = Place::fresh();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(chance.split())).collect();
    let mut acknowledged = Vec::new();
    let mut checked = 0;
    for crash in 1..=crashes {
        let server = place.serve(&[]).await;
        checked = check(&place.events(), &acknowledged, checked);
        clients = load(server, clients, &mut acknowledged, &mut chance).await;
        if chance.below(3) == 0 || crash == crashes {
            let server = place.serve(&[]).await;
            let stopped = server.stop().await;
            assert!(stopped.status.success(), "{}", stopped.log);
            place.assert_read_models_equal_a_rebuild().await;
        }
    }
    let events = place.events();
    check(&events, &acknowledged, 0);
    assert!(acknowledged.len() > crashes as usize, "{} acknowledgements are no load", acknowledged.len());
    eprintln!("{crashes} crashes, {} acknowledgements, {} events", acknowledged.len(), events.len());
}

/// Lets all clients work until so many requests were answered, and kills the server in the middle of the others.
async fn load(
    server: Server,
    clients: Vec<Client>,
    acknowledged: &mut Vec<Acknowledged>,
    chance: &mut Chance,
) -> Vec<Client> {
    let answered = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let reader = server.reader_called(client.id);
            tokio::spawn(client.work_until_the_end(reader, Arc::clone(&answered)))
        })
        .collect();
    let enough = chance.below(ACKNOWLEDGEMENTS_MAX) as u32;
    let waited = tokio::time::timeout(PATIENCE, answered.acquire_many(enough)).await;
    assert!(waited.is_ok_and(|answered| answered.is_ok()), "the clients do not get on:\n{}", server.said());
    server.kill();
    let mut back = Vec::new();
    for task in tasks {
        let (client, seen) = task.await.unwrap();
        back.push(client);
        acknowledged.extend(seen);
    }
    back
}

/// Every acknowledgement has its event, every request its events once, and there are no gaps. Looks at the
/// acknowledgements from number `checked` on; answers how many there are.
fn check(events: &[Logged], acknowledged: &[Acknowledged], checked: usize) -> usize {
    assert_gapless(events);
    for seen in &acknowledged[checked..] {
        let event = events.get(seen.position as usize - 1);
        let event = event.unwrap_or_else(|| panic!("lost: {seen:?}, the log ends at {}", events.len()));
        assert_eq!(event.metadata["correlation_id"], seen.request.as_str(), "{seen:?}");
        assert_eq!(event.kind, seen.kind, "{seen:?}");
        for (field, value) in &seen.fields {
            assert_eq!(event.data[field], *value, "{seen:?}");
        }
    }
    let mut times: HashMap<(&str, &str), u32> = HashMap::new();
    for event in events {
        let request = event.metadata["correlation_id"].as_str().unwrap();
        let times = times.entry((request, &event.kind)).or_default();
        *times += 1;
        assert_eq!(*times, 1, "the request {request} had its effect twice");
    }
    acknowledged.len()
}
