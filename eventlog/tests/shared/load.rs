//! Writers under adverse conditions, and what must be true of them afterwards.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use daybook_eventlog::{
    Answer, Append, AppendError, AppendOutcome, ExpectedVersion, Log, Position, Remember, RequestKey,
};
use futures::future::join_all;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::conformance::{assert_gapless, event, everything, stream};

const WRITERS: u64 = 12;

/// What writers were told.
#[derive(Default)]
pub struct Told {
    /// Written, and where.
    acknowledged: HashMap<Uuid, Position>,
    /// Not written.
    refused: HashSet<Uuid>,
    in_doubt: usize,
}

/// Writers on these nodes, each to a stream of its own, until they are stopped.
pub struct Load {
    writers: Vec<JoinHandle<Told>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub fn on(nodes: &[Log]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS).map(|writer| {
            let log = nodes[usize::try_from(writer).unwrap() % nodes.len()].clone();
            tokio::spawn(write(log, writer, Arc::clone(&stop)))
        });
        Self { writers: writers.collect(), stop }
    }

    /// Stops the writers, and looks at what is in the log: all that was acknowledged, where it was said to stand;
    /// nothing that was refused; nothing twice.
    pub async fn holds_on(self, log: &Log) {
        self.stop.store(true, Ordering::Release);
        let mut told = Told::default();
        for writer in join_all(self.writers).await {
            let of_writer = writer.unwrap();
            told.acknowledged.extend(of_writer.acknowledged);
            told.refused.extend(of_writer.refused);
            told.in_doubt += of_writer.in_doubt;
        }
        // The writers' nodes may know more than this one.
        log.stored_head().await.unwrap();
        let events = everything(log).await;
        assert_gapless(&events);
        let places: HashMap<Uuid, Position> = events.iter().map(|event| (event.id, event.position)).collect();
        assert_eq!(places.len(), events.len(), "an event stands twice");
        for (id, position) in &told.acknowledged {
            assert_eq!(places.get(id), Some(position), "an acknowledged event");
        }
        assert!(told.acknowledged.len() > 50, "{} acknowledged", told.acknowledged.len());
        assert!(told.refused.iter().all(|id| !places.contains_key(id)), "a refused event stands in the log");
        assert!(events.len() <= told.acknowledged.len() + 3 * told.in_doubt);
    }
}

async fn write(log: Log, writer: u64, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    let name = stream(&format!("reader-{writer}"));
    for n in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let events: Vec<_> = (0..=n % 3).map(|_| event("Updated", n)).collect();
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let key = || RequestKey {
            caller: format!("w{writer}"),
            route: "r".to_owned(),
            key: n.to_string(),
            fingerprint: [1; 32],
        };
        let answer = |_: &_| Answer::default();
        let remember = (n % 4 == 0).then(|| Remember { key: key(), answer: Box::new(answer) });
        match log.append(Append::to(name.clone(), ExpectedVersion::Any, events).remembering(remember)).await {
            Ok(AppendOutcome::Appended(appended)) => told.acknowledged.extend(ids.into_iter().zip(appended.positions)),
            // A commit of ours whose answer got lost: the last event is where the answer says.
            Ok(AppendOutcome::Remembered(stored)) => {
                told.acknowledged.extend(ids.last().copied().map(|id| (id, stored.position)));
                told.in_doubt += 1;
            }
            Err(AppendError::Unavailable(_)) => told.refused.extend(ids),
            Err(AppendError::InDoubt(_)) => told.in_doubt += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    told
}
