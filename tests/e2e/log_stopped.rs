//! Commands that are asked to stop: what they have made so far goes with them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::log_export::{complaint, exported};
use crate::log_import::{import_from_pipe, more_lines};
use crate::support::{Place, eventually};

fn stop(child: Child, signal: Signal) -> Output {
    // It may have come to its end by itself.
    let _ = kill_process(Pid::from_child(&child), signal);
    child.wait_with_output().unwrap()
}

/// A place whose log takes a while to write to a file.
async fn large_log() -> Place {
    let place = Place::fresh();
    place.fill(60_000, 1_000).await;
    place
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_stopped_export_or_backup_leaves_no_file() {
    let place = large_log().await;
    let out = place.file("out", "");
    fs::remove_file(&out).unwrap();
    let folder = out.parent().unwrap();
    let before = names(folder);
    let commands: [&[&str]; 3] = [
        &["log", "export", "--out", "out"],
        &["log", "export", "--format", "parquet", "--out", "out"],
        &["backup", "out"],
    ];
    // A database has no backup.
    let commands = &commands[..if place.database().is_some() { 2 } else { 3 }];
    for (&command, signal) in commands.iter().zip([Signal::TERM, Signal::INT, Signal::TERM]) {
        // Whoever is late finds the whole file, and tries again.
        let stopped = eventually("a stop in time", async || {
            let child = place.command(command).stderr(Stdio::piped()).spawn().unwrap();
            eventually("a file", async || (names(folder) != before).then_some(())).await;
            let output = stop(child, signal);
            let is_late = output.status.success();
            if is_late {
                assert!(out.exists());
                fs::remove_file(&out).unwrap();
            }
            (!is_late).then_some(output)
        });
        assert!(complaint(&stopped.await, 1).contains("stopped"), "{command:?}");
        assert_eq!(names(folder), before, "{command:?}");
    }
}

#[tokio::test]
async fn a_stopped_import_leaves_nothing() {
    let (_place, whole) = exported().await;
    let lines = [whole.as_bytes(), &more_lines(&whole)].concat();
    for signal in [Signal::TERM, Signal::INT] {
        let copy = Place::fresh();
        let mut child = import_from_pipe(&copy);
        let mut pipe = child.stdin.take().unwrap();
        // It waits for the end of the last line.
        pipe.write_all(&lines[..lines.len() - 10]).unwrap();
        // Beside the data, or in the folder for what is temporary.
        let begun = || match copy.database() {
            Some(_) => !names(copy.folder()).is_empty(),
            None => copy.data().join("import.partial").exists(),
        };
        eventually("the import has begun", async || begun().then_some(())).await;
        assert!(complaint(&stop(child, signal), 1).contains("stopped"));
        assert!(!begun() && copy.has_no_log());
        drop(pipe);
    }
}
