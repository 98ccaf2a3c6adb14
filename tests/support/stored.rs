//! What is stored, read past the server with the engine's own means, and written past it.

use std::path::Path;
use std::sync::Arc;

use daybook_eventlog::{Append, ExpectedVersion, NewEvent, StreamId};
use daybook_projections::{READ_MODELS_FOLDER, ReadModels, all, catch_up};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::Place;
use super::database::Database;

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub position: u64,
    pub stream: String,
    pub version: u64,
    pub kind: String,
    pub data: Value,
    pub metadata: Value,
}

impl Place {
    /// The whole log.
    #[track_caller]
    pub fn events(&self) -> Vec<Logged> {
        match self.database() {
            Some(database) => events_on_server(database),
            None => events_in_file(&self.data().join("log.sqlite3")),
        }
    }

    /// Whether no command has made anything here.
    pub fn is_untouched(&self) -> bool {
        match self.database() {
            Some(database) => database.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'daybook%'") == "0",
            None => !self.data().exists(),
        }
    }

    /// Whether there is no log here, nor any part of one.
    pub fn has_no_log(&self) -> bool {
        match self.database() {
            Some(_) => self.is_untouched(),
            None => {
                std::fs::read_dir(self.data())
                    .is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == "daybook.lock"))
                    || self.is_untouched()
            }
        }
    }

    /// How a command says that there is no log here.
    pub fn words_for_no_log(&self) -> &'static str {
        if self.database().is_some() { "holds no log" } else { "there is no log in" }
    }

    /// Writes so many events with so much data into a log that nobody serves: of the type `Filled`, in streams of the
    /// category `test`, which no projection looks at.
    pub async fn fill(&self, events: usize, bytes: usize) {
        let log = self.log().await;
        let text = "x".repeat(bytes);
        let event = |n: usize| NewEvent {
            id: uuid::Uuid::now_v7(),
            event_type: "Filled".into(),
            schema_version: 1,
            data: format!("{{\"n\":{n},\"x\":\"{text}\"}}"),
            metadata: "{}".into(),
            occurred_at: chrono::Utc::now(),
        };
        for begin in (0..events).step_by(5_000) {
            let stream = StreamId::from(format!("test-{}", begin / 5_000));
            let some = (begin..events.min(begin + 5_000)).map(event).collect();
            log.append(Append::to(stream, ExpectedVersion::NoStream, some)).await.unwrap();
        }
        log.close().await;
    }

    /// The read models of a stopped server are, row by row, what the log says. What the server had not come to yet is
    /// applied first, from its checkpoints on, as the next start would. The rebuild is always made in files.
    pub async fn assert_read_models_equal_a_rebuild(&self) {
        let (log, served) = (self.log().await, self.read_models().await);
        let fresh_folder = tempfile::tempdir().unwrap();
        let fresh = ReadModels::open(fresh_folder.path()).await.unwrap();
        catch_up(&log, &served, all(), Arc::new(|_, _| {})).await.unwrap();
        catch_up(&log, &fresh, all(), Arc::new(|_, _| {})).await.unwrap();
        for projection in all() {
            let (served, fresh) = (served.dump(&*projection).await.unwrap(), fresh.dump(&*projection).await.unwrap());
            for (served, fresh) in served.iter().zip(&fresh) {
                assert_eq!(served, fresh, "{}", projection.name());
            }
            assert_eq!(served.len(), fresh.len(), "{}", projection.name());
        }
        served.close().await;
        fresh.close().await;
        log.close().await;
    }

    /// Every row of the read models.
    pub async fn read_model_rows(&self) -> Vec<String> {
        let models = self.read_models().await;
        let mut rows = Vec::new();
        for projection in all() {
            rows.extend(models.dump(&*projection).await.unwrap());
        }
        models.close().await;
        rows
    }

    /// Throws the read models away, as an operator would.
    pub fn delete_read_models(&self) {
        match self.database() {
            Some(database) => drop(database.sql("DROP SCHEMA daybook_models CASCADE")),
            None => std::fs::remove_dir_all(self.data().join(READ_MODELS_FOLDER)).unwrap(),
        }
    }

    /// Whether these bytes are stored anywhere: in any file of the data folder, in any value of the database.
    pub fn holds_anywhere(&self, text: &str) -> bool {
        let Some(database) = self.database() else { return any_holds(self.data(), text.as_bytes()) };
        let dump = database.program("pg_dump").output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        // A value of bytes is dumped by its digits.
        let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let is_in_dump = |bytes: &[u8]| dump.stdout.windows(bytes.len()).any(|window| window == bytes);
        is_in_dump(text.as_bytes()) || is_in_dump(digits.as_bytes())
    }
}

fn events_in_file(file: &Path) -> Vec<Logged> {
    let log = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query =
        log.prepare("SELECT position, stream, version, type, data, metadata FROM log ORDER BY position").unwrap();
    let json = |text: String| serde_json::from_str(&text).unwrap();
    let rows = query.query_map([], |row| {
        Ok(Logged {
            position: row.get::<_, i64>(0)?.cast_unsigned(),
            stream: row.get(1)?,
            version: row.get::<_, i64>(2)?.cast_unsigned(),
            kind: row.get(3)?,
            data: json(row.get(4)?),
            metadata: json(row.get(5)?),
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[track_caller]
fn events_on_server(database: &Database) -> Vec<Logged> {
    // What it copies psql leaves as it is; of what it selects it does not show every character. JSON has neither of the
    // characters that would be quotes and delimiters.
    let rows = database.sql(
        "COPY (SELECT json_build_array(position, stream, version, type, data, metadata)
               FROM daybook.log ORDER BY position)
         TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
    );
    let rows = rows.replace('\u{1}', "");
    let rows = serde_json::Deserializer::from_str(&rows).into_iter();
    rows.map(|row| {
        let (position, stream, version, kind, data, metadata) = row.unwrap();
        Logged { position, stream, version, kind, data, metadata }
    })
    .collect()
}

fn any_holds(data: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return any_holds(&path, bytes);
        }
        std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

/// Positions run from 1 without a gap, versions from 0 in each stream.
#[track_caller]
pub fn assert_gapless(events: &[Logged]) {
    let mut next = std::collections::HashMap::<&str, u64>::new();
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, position);
        let version = next.entry(&event.stream).or_default();
        assert_eq!(event.version, *version, "{}", event.stream);
        *version += 1;
    }
}
