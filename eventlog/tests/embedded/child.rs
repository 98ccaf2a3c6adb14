//! A process that is killed while it writes.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use daybook_eventlog::Log;

use crate::{
    Sqlite,
    conformance::{Engine, append_any, assert_gapless, event, everything},
};

const FOLDER: &str = "DAYBOOK_TEST_FOLDER";
const WRITERS: u64 = 4;

#[tokio::test]
async fn what_a_process_acknowledged_before_it_was_killed_is_there() {
    let place = Sqlite::fresh().await;
    let mut before = 0;
    for acknowledgements in [1, 40, 700] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::child::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, place.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // The test harness has a line of its own to say.
        let told = lines.filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        let mut acknowledged: Vec<(u64, String)> = Vec::new();
        for line in told {
            // A line may be cut off by the kill.
            let Some((position, id)) = line.split_once(' ').filter(|(_, id)| id.len() == 36) else { continue };
            acknowledged.push((position.parse().unwrap(), id.to_owned()));
            if acknowledged.len() == acknowledgements {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= acknowledgements, "the child ended by itself");

        let log = place.open().await;

        let events = everything(&log).await;
        assert_gapless(&events);
        for (position, id) in &acknowledged {
            assert_eq!(events[usize::try_from(*position).unwrap() - 1].id.to_string(), *id);
        }
        assert!(events.len() >= before + acknowledged.len());
        before = events.len();
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test above kills"]
async fn writes_until_it_is_killed() {
    // Run by somebody who runs all ignored tests, there is nothing to do.
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let log = Log::open(&folder).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let events: Vec<_> = (0..=n % 3).map(|_| event("Updated", n)).collect();
                let ids: Vec<_> = events.iter().map(|event| event.id).collect();
                let appended = append_any(&log, &format!("reader-{writer}"), events).await;
                let mut out = std::io::stdout().lock();
                for (id, position) in ids.iter().zip(appended.positions) {
                    writeln!(out, "acknowledged {position} {id}").unwrap();
                }
            }
        })
    });
    futures::future::join_all(writers).await;
}
