//! What stands in the files of a data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamId};
use daybook_projections::{READ_MODELS_FOLDER, ReadModels, all, catch_up};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

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

/// The whole log, read past the server with the engine's own means.
pub fn events(data: &Path) -> Vec<Logged> {
    let log = Connection::open_with_flags(data.join("log.sqlite3"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
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

/// Writes so many events with so much data into the log of a place that nobody serves: of the type `Filled`, in
/// streams of the category `test`, which no projection looks at.
pub async fn fill(data: &Path, events: usize, bytes: usize) {
    std::fs::create_dir_all(data).unwrap();
    let log = Log::open(data).await.unwrap();
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

/// The read models of a stopped server are, row by row, what the log says. What the server had not come to yet is
/// applied first, from its checkpoints on, as the next start would.
pub async fn assert_read_models_equal_a_rebuild(data: &Path) {
    let log = Log::open(data).await.unwrap();
    let served = ReadModels::open(data).await.unwrap();
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

/// How many rows the read models hold: so that a comparison of nothing with nothing does not pass.
pub async fn read_model_rows(data: &Path) -> usize {
    let models = ReadModels::open(data).await.unwrap();
    let mut rows = 0;
    for projection in all() {
        rows += models.dump(&*projection).await.unwrap().len();
    }
    models.close().await;
    rows
}

/// Throws the read models away, as an operator would.
pub fn delete_read_models(data: &Path) {
    std::fs::remove_dir_all(data.join(READ_MODELS_FOLDER)).unwrap();
}

/// Whether any file of the data folder has these bytes in it.
pub fn any_holds(data: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return any_holds(&path, bytes);
        }
        std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

/// The file of a read model that was never rebuilt.
pub fn read_model(data: &Path, projection: &str) -> PathBuf {
    data.join(READ_MODELS_FOLDER).join(format!("{projection}.1.sqlite3"))
}
