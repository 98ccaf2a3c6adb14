//! Where a server stands: its data, its settings file, the command line on both.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use daybook_eventlog::{Log, PostgresOptions};
use daybook_projections::{PostgresModelsOptions, ReadModels};
use tempfile::TempDir;

use super::engine::{Database, Engine};
use super::{Server, eventually};

/// A log with its read models, on the engine of this run, and the folder that servers run in. Clones are the same
/// place. On PostgreSQL any number of servers may run on it at the same time.
#[derive(Clone)]
pub struct Place {
    folder: Arc<TempDir>,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Folder(PathBuf),
    Database(Arc<Database>),
}

impl Place {
    /// An empty one.
    pub fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = match Engine::of_this_run() {
            Engine::Embedded => Store::Folder(folder.path().join("data")),
            Engine::Postgres => {
                let key = format!("{0}{0}", uuid::Uuid::new_v4().simple());
                std::fs::write(folder.path().join("jwt.key"), key).unwrap();
                Store::Database(Arc::new(Database::create()))
            }
        };
        Self { folder: Arc::new(folder), store }
    }

    /// A place whose data lies on a disk that the test has made.
    pub fn with_data(data: &Path) -> Self {
        Self { folder: Arc::new(tempfile::tempdir().unwrap()), store: Store::Folder(data.to_owned()) }
    }

    /// The data folder, of which only the embedded engine has one.
    #[track_caller]
    pub fn data(&self) -> &Path {
        match &self.store {
            Store::Folder(data) => data,
            Store::Database(_) => {
                panic!("there is no data folder on PostgreSQL: the fact is about the embedded engine")
            }
        }
    }

    /// The database, where that is the engine.
    pub fn database(&self) -> Option<&Database> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Database(database) => Some(database),
        }
    }

    /// Where the key is that tokens are signed with.
    pub fn key_file(&self) -> PathBuf {
        match &self.store {
            Store::Folder(data) => data.join("jwt.key"),
            Store::Database(_) => self.folder.path().join("jwt.key"),
        }
    }

    /// The log, past the server. The embedded engine opens it for one at a time.
    pub async fn log(&self) -> Log {
        match &self.store {
            Store::Folder(data) => Log::open(data).await.unwrap(),
            Store::Database(database) => Log::connect(&PostgresOptions::new(database.url())).await.unwrap(),
        }
    }

    /// The read models, past the server.
    pub async fn read_models(&self) -> ReadModels {
        match &self.store {
            Store::Folder(data) => ReadModels::open(data).await.unwrap(),
            Store::Database(database) => {
                ReadModels::connect(&PostgresModelsOptions::new(database.url())).await.unwrap()
            }
        }
    }

    /// A file beside the data, in the folder that the server runs in.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `daybook` with these arguments, on this place, with nothing of the test's own environment that it would read.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybook"));
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.to_string_lossy().starts_with("DAYBOOK_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").current_dir(self.folder.path()).args(args);
        match &self.store {
            Store::Folder(data) => command.arg("--data").arg(data),
            Store::Database(database) => {
                command.env("DAYBOOK_DATABASE_URL", database.url()).env("DAYBOOK_JWT_SECRET_FILE", self.key_file())
            }
        };
        command.stdin(Stdio::null());
        command
    }

    /// Runs `daybook` to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub async fn serve(&self, args: &[&str]) -> Server {
        self.serve_command(self.command(&[&["serve", "--listen", "127.0.0.1:0"], args].concat())).await
    }

    pub async fn serve_command(&self, command: Command) -> Server {
        let server = Server::run(self, command);
        let anybody = server.stranger();
        eventually("the server is ready", async || (anybody.get("/readyz").await.status == 200).then_some(())).await;
        server
    }

    /// A server that listens, and may never be ready.
    pub fn serve_unready(&self) -> Server {
        Server::run(self, self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }
}
