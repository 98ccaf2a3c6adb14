//! What an import leaves in the file.

use daybook_eventlog::{LOG_FILE, Log, verify};
use rusqlite::Connection;

use super::tampering::Written;

#[tokio::test]
async fn an_imported_log_is_sound_and_takes_no_more_room() {
    let written = Written::new().await;
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path()).await.unwrap();
    for part in written.events.chunks(1_000) {
        log.import(part.to_vec()).await.unwrap();
    }
    log.close().await;
    let verified = verify(folder.path(), Some(written.anchor), |_, _| ()).await.unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
    assert_eq!(verified.anchor(), written.anchor);

    let rows = |folder: &std::path::Path| {
        let raw = Connection::open(folder.join(LOG_FILE)).unwrap();
        let count = |rows: &str| raw.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)).unwrap();
        ["events WHERE metadata IS NOT NULL", "stream_runs", "id_runs", "kind_blocks", "streams", "kinds"]
            .map(|rows| -> i64 { count(rows) })
    };
    let (original, imported) = (rows(written.folder()), rows(folder.path()));
    // Where a call ended, a run and the metadata it shares end as well.
    for (original, imported) in original.into_iter().zip(imported) {
        assert!(imported <= original + 1, "{imported} rows instead of {original}");
    }
    assert_eq!(original[3..], imported[3..]);
}
