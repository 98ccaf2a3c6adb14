//! What is around the events: the tables and triggers, kept copies and answers, and the file's own structure.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;

use super::{is_damage, row::stream_name};
use crate::{
    StreamId,
    finding::{Damage, Finding, Findings, Part},
    sqlite::{checksum, schema},
};

/// Lines of SQLite's own check that are taken over.
const LINES_MAX: usize = 20;

/// Checks everything that the events and their indexes do not show.
pub(super) fn check(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let checks: [fn(&Connection, &mut Findings) -> rusqlite::Result<()>; 3] = [objects, snapshots, answers];
    findings.begin(Part::Around);
    for check in checks {
        match check(connection, findings) {
            Ok(()) => {}
            Err(error) if is_damage(&error) => findings.add(Finding::of(Damage::Structure(error.to_string()))),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Everything this build makes has to be there as this build makes it, the triggers above all; and no other triggers.
fn objects(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let expected = objects_of(&schema::blank()?)?;
    let mut found = objects_of(connection)?;
    for ((kind, name), sql) in &expected {
        let why = match found.remove(&(kind.clone(), name.clone())) {
            None => format!("the {kind} {name} is missing"),
            Some(other) if other != *sql => format!("the {kind} {name} is not the one that this build makes"),
            Some(_) => continue,
        };
        findings.add(Finding::of(Damage::Schema(why)));
    }
    for (kind, name) in found.into_keys().filter(|(kind, _)| kind == "trigger") {
        findings.add(Finding::of(Damage::Schema(format!("there is a {kind} {name}, which this build does not make"))));
    }
    Ok(())
}

type Objects = BTreeMap<(String, String), Option<String>>;

fn objects_of(connection: &Connection) -> rusqlite::Result<Objects> {
    let mut select = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let rows = select.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    rows.collect()
}

fn snapshots(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT stream_id, shape, next, state, checksum FROM snapshots")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let fits = match (row.get_ref(1)?.as_str(), row.get_ref(3)?.as_blob()) {
            (Ok(shape), Ok(state)) => {
                checksum::of_snapshot(shape, row.get(2)?, state) == row.get::<_, i64>(4)?.cast_unsigned()
            }
            _ => false,
        };
        let stream_id: i64 = row.get(0)?;
        let stream = stream_name(connection, stream_id)?;
        if !fits || stream.is_none() {
            findings.add(Finding::of(Damage::Snapshot).in_stream(stream.map(StreamId::new), None));
        }
    }
    Ok(())
}

fn answers(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let wrong: i64 = connection.query_row(
        "SELECT count(*) FROM idempotency_keys
         WHERE length(fingerprint) <> 32 OR position < 0 OR position > (SELECT coalesce(max(position), 0) FROM events)",
        [],
        |row| row.get(0),
    )?;
    if wrong > 0 {
        let why = format!("{wrong} kept answers are of positions that the log does not have, or of no request");
        findings.add(Finding::of(Damage::Structure(why)));
    }
    Ok(())
}

/// The trees of pages, their order, the lists of free pages, and SQLite's own indexes, in SQLite's words. It has a
/// connection of its own and so another snapshot, which is no matter: it compares nothing with the events.
pub(super) fn of_pages(path: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = schema::open_for_reading(path)?;
    let mut select = connection.prepare(&format!("PRAGMA integrity_check({LINES_MAX})"))?;
    let mut rows = select.query([])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let line = row.get_ref(0)?.as_str().map_or_else(|_| "it cannot say what".to_owned(), str::to_owned);
        if line != "ok" {
            lines.push(line);
        }
    }
    Ok(lines)
}
