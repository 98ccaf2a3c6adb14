//! A log worth verifying, and ways to spoil copies of it.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use daybook_eventlog::{
    Anchor, Append, ExpectedVersion, LOG_FILE, Log, RecordedEvent, StreamAppend, Verified, VerifyError, verify_file,
};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::conformance::{Dice, event_with_id, everything, stream, try_append};

/// A closed log of some hundred events in a few streams, and what it holds.
pub struct Written {
    folder: TempDir,
    pub events: Vec<RecordedEvent>,
    pub anchor: Anchor,
}

impl Written {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).await.unwrap();
        write_some(&log, 7, 1_400).await;
        let (events, anchor) = (everything(&log).await, log.anchor().await.unwrap());
        log.close().await;
        Self { folder, events, anchor }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn copy(&self) -> Copied {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.folder.path().join(LOG_FILE), folder.path().join(LOG_FILE)).unwrap();
        Copied(folder)
    }

    /// A copy on which `sql` was run behind the triggers' back.
    pub fn tampered(&self, sql: &str) -> Copied {
        let copy = self.copy();
        copy.tamper(|raw| raw.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}")));
        copy
    }

    /// Positions of events that are as `wanted`.
    pub fn positions(&self, wanted: impl Fn(&RecordedEvent) -> bool) -> Vec<u64> {
        self.events.iter().filter(|event| wanted(event)).map(|event| event.position.get()).collect()
    }
}

/// Appends of one or several streams, of events alone and in runs, with metadata of their own and shared ones.
pub async fn write_some(log: &Log, seed: u64, events: u64) {
    let mut dice = Dice(seed);
    let types = ["Started", "Updated", "Ended", "Renamed"];
    let end = log.head().get() + events;
    while log.head().get() < end {
        let parts = (0..=dice.below(2)).map(|_| {
            let first = u128::from(dice.next()) << 40;
            let name = format!("{}-{}", dice.pick(&["reader", "book"]), dice.below(5));
            let metadata: Arc<str> = format!(r#"{{"actor":"{}"}}"#, dice.below(3)).into();
            let events = (0..=dice.below(4) * dice.below(4)).map(|n| {
                let id = Uuid::from_u128(first + u128::from(n));
                let mut event = event_with_id(id, dice.pick::<&'static str>(&types), dice.below(1_000_000));
                event.metadata = if dice.below(6) == 0 { "{}".into() } else { Arc::clone(&metadata) };
                event
            });
            StreamAppend { stream: stream(&name), expected: ExpectedVersion::Any, events: events.collect() }
        });
        try_append(log, Append { parts: parts.collect(), remember: None }).await.unwrap();
    }
}

/// A copy of a log; what is done to it is done to nothing else.
pub struct Copied(TempDir);

impl Deref for Copied {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

impl Copied {
    pub fn file(&self) -> PathBuf {
        self.join(LOG_FILE)
    }

    /// Without the triggers and the checks, which are as they were afterwards.
    pub fn tamper(&self, with: impl FnOnce(&Connection)) {
        let raw = Connection::open(self.file()).unwrap();
        raw.execute_batch("PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        let mut select =
            raw.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name").unwrap();
        let triggers: Vec<(String, String)> =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        for (name, _) in &triggers {
            raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        with(&raw);
        for (_, sql) in &triggers {
            raw.execute_batch(sql).unwrap();
        }
    }

    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        verify_file(&self.file(), None, |_, _| ()).await
    }

    pub async fn verify_against(&self, anchor: Anchor) -> Verified {
        verify_file(&self.file(), Some(anchor), |_, _| ()).await.unwrap()
    }
}

/// Makes all checksums fit again, as somebody could who knows how.
pub fn recompute_checksums(raw: &Connection) {
    type Row = (i64, i64, i64, i64, i64, Vec<u8>, [String; 4]);
    let mut select = raw
        .prepare(
            "SELECT e.position, version, schema_version, occurred_at, recorded_at, id, s.name, event_type,
             coalesce(e.metadata, (SELECT m.metadata FROM events m WHERE m.position = e.metadata_at)), data
             FROM events e JOIN streams s USING (stream_id) JOIN kinds USING (kind_id) ORDER BY position",
        )
        .unwrap();
    let rows = select.query_map([], |row| {
        let texts = [row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?];
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, texts))
    });
    let rows: Vec<Row> = rows.unwrap().map(Result::unwrap).collect();
    let (mut checksum, mut last) = (0_u64, 0);
    raw.execute_batch("BEGIN").unwrap();
    for (position, version, schema_version, occurred_at, recorded_at, id, texts) in rows {
        let mut bytes = checksum.to_le_bytes().to_vec();
        for number in [position, version, schema_version, occurred_at, recorded_at] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(id);
        for text in texts {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        checksum = xxh3_64(&bytes);
        last = position;
        let signed = checksum.cast_signed();
        raw.execute("UPDATE events SET checksum = ?1 WHERE position = ?2", (signed, position)).unwrap();
    }
    raw.execute("UPDATE head SET position = ?1, checksum = ?2", (last, checksum.cast_signed())).unwrap();
    raw.execute_batch("COMMIT").unwrap();
}
