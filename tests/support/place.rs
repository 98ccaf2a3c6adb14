//! Where a server stands: its data, its settings file, the command line on both.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use daybook_eventlog::{Log, PostgresOptions};
use daybook_projections::{PostgresModelsOptions, ReadModels};
use tempfile::TempDir;

use super::database::{Database, KEY};
use super::engine::Engine;
use super::{Server, eventually};

/// A log with its read models, and the folder that servers run in. Clones are the same place. In a database any number
/// of servers may run on it at the same time.
#[derive(Clone)]
pub struct Place {
    folder: Arc<TempDir>,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Folder(PathBuf),
    Database { url: String, owned: Option<Database> },
}

impl Place {
    /// An empty one, on the engine of this run.
    pub fn fresh() -> Self {
        match Engine::of_this_run() {
            Engine::Embedded => Self::embedded(),
            Engine::Postgres => Self::in_database().unwrap(),
        }
    }

    /// An empty data folder, whichever engine the run is about.
    pub fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Folder(folder.path().join("data"));
        Self { folder: Arc::new(folder), store }
    }

    /// An empty database, whichever engine the run is about; `None` where PostgreSQL is not installed.
    pub fn in_database() -> Option<Self> {
        Database::fresh().map(Self::in_this)
    }

    /// A database of the test's own.
    pub fn in_this(database: Database) -> Self {
        Self::storing(Store::Database { url: database.url(), owned: Some(database) })
    }

    /// What a URL names, which may be nothing.
    pub fn on_database(url: &str) -> Self {
        Self::storing(Store::Database { url: url.to_owned(), owned: None })
    }

    /// A place whose data lies on a disk that the test has made.
    pub fn with_data(data: &Path) -> Self {
        Self::storing(Store::Folder(data.to_owned()))
    }

    fn storing(store: Store) -> Self {
        Self { folder: Arc::new(tempfile::tempdir().unwrap()), store }
    }

    /// The data folder, of which only the embedded engine has one.
    #[track_caller]
    pub fn data(&self) -> &Path {
        match &self.store {
            Store::Folder(data) => data,
            Store::Database { .. } => panic!("a database has no data folder: the fact is about the embedded engine"),
        }
    }

    /// The database, if this is one.
    pub fn database(&self) -> Option<&Database> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Database { owned, .. } => owned.as_ref(),
        }
    }

    /// The key that servers here sign with.
    pub fn key(&self) -> Vec<u8> {
        match &self.store {
            Store::Folder(data) => std::fs::read(data.join("jwt.key")).unwrap(),
            Store::Database { .. } => KEY.into(),
        }
    }

    /// The log, past the server. The embedded engine opens it for one at a time.
    pub async fn log(&self) -> Log {
        match &self.store {
            Store::Folder(data) => Log::open(data).await.unwrap(),
            Store::Database { url, .. } => Log::connect(&PostgresOptions::new(url)).await.unwrap(),
        }
    }

    /// The read models, past the server.
    pub async fn read_models(&self) -> ReadModels {
        match &self.store {
            Store::Folder(data) => ReadModels::open(data).await.unwrap(),
            Store::Database { url, .. } => ReadModels::connect(&PostgresModelsOptions::new(url)).await.unwrap(),
        }
    }

    /// The folder that commands run in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file beside the data, in the folder that the server runs in.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `daybook` with these arguments, on this place.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        match &self.store {
            Store::Folder(data) => command.arg("--data").arg(data),
            Store::Database { url, .. } => command.env("DAYBOOK_DATABASE_URL", url).env("DAYBOOK_JWT_SECRET", KEY),
        };
        command
    }

    /// `daybook` with these arguments, which say themselves where anything is, and with nothing of the test's own
    /// environment that it would read.
    pub fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybook"));
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.to_string_lossy().starts_with("DAYBOOK_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").current_dir(self.folder.path()).args(args);
        // Sales in these facts have dates of their own, which grow older.
        command.env("DAYBOOK_TILL_PAST_MAX", "36500d").stdin(Stdio::null());
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
        let server = self.start(command);
        let anybody = server.stranger();
        eventually("the server is ready", async || (anybody.get("/readyz").await.status == 200).then_some(())).await;
        server
    }

    /// A server that listens, and may never be ready.
    pub fn serve_unready(&self) -> Server {
        self.start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// The server that `command` is, once it listens.
    pub fn start(&self, command: Command) -> Server {
        Server::run(self, command)
    }
}
