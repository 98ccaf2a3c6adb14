//! A disk with no room left. Only root may mount the small disk that this needs.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::engine::is_embedded_only;
use crate::support::stored::assert_gapless;
use crate::support::{Caller, Place, Reply, eventually};

const START: &str = "/api/v1/reading-sessions/start";

/// A disk of sixteen megabytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder.path()).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        let reason = format!("a small disk could not be mounted: {mounted:?}");
        assert!(std::env::var_os("DAYBOOK_TEST_REQUIRE_ALL").is_none(), "{reason}");
        eprintln!("SKIPPED: {reason}");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Leaves no more room than so many bytes.
    fn fill_up(&self, room: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 4_096]).is_ok() {}
        let full = filler.metadata().unwrap().len();
        filler.set_len(full - room).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}

#[track_caller]
fn assert_no_room(reply: &Reply) {
    assert!([503, 507].contains(&reply.status), "{reply:?}");
    reply.problem(reply.status);
    assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(!reply.text.contains("sqlite") && !reply.text.contains("database"), "{reply:?}");
}

async fn title(caller: &Caller, bytes: usize) -> Reply {
    caller.put(&format!("/api/v1/books/{}", Uuid::new_v4()), &json!({ "title": "x".repeat(bytes) })).await
}

#[tokio::test]
async fn on_a_full_disk_writes_are_refused_whole_and_everything_goes_on_when_there_is_room() {
    if is_embedded_only("the disk of a database is its server's") {
        return;
    }
    let Some(disk) = SmallDisk::mount() else { return };
    let place = Place::with_data(&disk.0.path().join("data"));
    let server = place.serve(&[]).await;
    let reader = server.reader();
    let book = reader.add_book().await;
    let session = reader.start(book, 10).await;
    reader.update(&session, 20).await.expect(200);
    let history = reader.history().await;

    // First with no room at all, then with a little, which is used up by writing.
    for room in [0, 10_000, 100_000, 200_000] {
        disk.fill_up(room);
        let before = place.events();
        let mut acknowledged = 0;
        let refused = loop {
            let reply = title(&reader, 500).await;
            if reply.status != 201 {
                break reply;
            }
            acknowledged += 1;
            assert!(acknowledged < 5_000, "the disk does not fill up");
        };
        assert!(acknowledged > 0 || room < 200_000, "nothing was written into the room that there was");
        assert_no_room(&refused);
        let keyed = reader.with("idempotency-key", &format!("room-{room}"));
        assert_no_room(&keyed.post(START, &json!({ "book_id": book })).await);
        let events = place.events();
        assert_eq!(events.len(), before.len() + acknowledged, "nothing is half written");

        let read = reader.get("/api/v1/reading-sessions/history?page_size=100").await;
        match read.status {
            200 => assert_eq!(read.json(), history, "reading goes on"),
            // The last room went to the log: what it took cannot be shown yet, and nothing older is shown instead.
            _ => assert!(room > 0 && read.problem(503).is_object()),
        }
        server.stranger().get("/healthz").await.expect(200);
        if room == 0 {
            assert_eq!(server.stranger().get("/readyz").await.status, 503);
        }

        disk.make_room();
        eventually("it goes on without a restart", async || {
            let read = reader.get("/api/v1/reading-sessions/history?page_size=100").await;
            (read.status == 200 && server.stranger().get("/readyz").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(reader.history().await, history);
        let books = events.iter().filter(|event| event.kind == "BookAdded").count();
        assert_eq!(reader.get("/api/v1/books").await.expect(200)["total"], books);
        // The refused key was not remembered.
        keyed.put("/api/v1/users/profile", &json!({ "display_name": format!("{room}") })).await.expect(200);
    }
    let ended = reader.end(&session, 30).await.expect(200);
    assert_eq!(reader.history().await["sessions"], json!([ended]));

    assert!(server.stop().await.status.success());
    assert_gapless(&place.events());
    place.assert_read_models_equal_a_rebuild().await;
}

#[tokio::test]
async fn a_server_starts_on_a_full_disk_and_serves_what_is_there() {
    if is_embedded_only("the disk of a database is its server's") {
        return;
    }
    let Some(disk) = SmallDisk::mount() else { return };
    let place = Place::with_data(&disk.0.path().join("data"));
    let server = place.serve(&[]).await;
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 10).await;
    let place = server.kill();
    disk.fill_up(64 * 1024);
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("DAYBOOK_LOG", "info");
    let server = place.serve_command(command).await;
    assert_eq!(server.reader_called(reader.id).active().await, session);
    disk.make_room();
    title(&server.reader_called(reader.id), 5).await.expect(201);
}
