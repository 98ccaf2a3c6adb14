//! PostgreSQL servers for tests: started in a folder of their own, as the user `postgres` when root runs the tests, on a
//! free port, with everything that makes them durable. They are gone with the test process, however that ends.
//!
//! Included by path from the test files that need it: it uses nothing but the standard library.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Set, it makes a test fail that would be skipped because something is not installed.
pub const REQUIRE_ALL: &str = "DAYBOOK_TEST_REQUIRE_ALL";

const PATIENCE: Duration = Duration::from_secs(60);

/// One server. It stops when it is dropped, and when the process ends.
pub struct Server {
    folder: PathBuf,
    port: u16,
    running: Mutex<Option<Child>>,
    /// A shell that waits for the end of this process, and clears up after it.
    keeper: Child,
    databases: AtomicU64,
}

/// Why there is no server: PostgreSQL is not installed.
pub fn missing() -> Option<String> {
    if bin().is_some() {
        return None;
    }
    let why = "PostgreSQL is not installed: no `initdb` in PATH or /usr/lib/postgresql/*/bin";
    assert!(std::env::var_os(REQUIRE_ALL).is_none_or(|set| set.is_empty() || set == "0"), "{why}");
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    Some(why.to_owned())
}

/// The folder of PostgreSQL's programs.
fn bin() -> Option<PathBuf> {
    folders().into_iter().find(|folder| folder.join("initdb").exists())
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|folders| folders.flatten().map(|folder| folder.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    std::env::split_paths(&path).chain(versions.into_iter().rev()).collect()
}

fn program(name: &str) -> PathBuf {
    // Next to each other by preference, so that they are of one version.
    let found = bin().into_iter().chain(folders()).map(|folder| folder.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("there is no {name} in PATH or /usr/lib/postgresql/*/bin"))
}

/// PostgreSQL refuses to run as root: the user and group to run as then.
fn user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user called postgres");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next().unwrap(), fields.next().unwrap()))
}

/// One of PostgreSQL's programs, run as somebody who may.
pub fn as_user(name: &str) -> Command {
    let mut command = Command::new(program(name));
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

impl Server {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
        &SHARED
    }

    /// A new, empty server.
    pub fn start() -> Self {
        let server = Self::in_new_folder();
        let mut initdb = as_user("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        let made = initdb.arg(server.data()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        server
    }

    fn in_new_folder() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("daybook-pg-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        if let Some((uid, gid)) = user() {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        // Reads until this process is gone, however that comes; then ends the server and removes the folder.
        let keep = "trap '' INT TERM HUP; cat >/dev/null; pid=$(head -n 1 \"$1/data/postmaster.pid\" 2>/dev/null)
            if [ -n \"$pid\" ]; then
              kill -CONT $pid; kill -QUIT $pid; n=0
              while kill -0 $pid 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
            fi
            rm -rf \"$1\"";
        let mut keeper = Command::new("sh");
        keeper.args(["-c", keep, "keeper"]).arg(&folder).process_group(0);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port, running: Mutex::default(), keeper, databases: AtomicU64::new(0) }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts the server, where it is not running, and waits until it takes connections.
    pub fn run(&self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut postgres = as_user("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]).process_group(0);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=500",
            "shared_buffers=64MB",
            "max_wal_size=256MB",
            "fsync=on",
            "log_min_messages=warning",
        ] {
            postgres.args(["-c", setting]);
        }
        let child = postgres.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        *self.running.lock().unwrap() = Some(child);
        let started = Instant::now();
        while let Err(error) = self.sql("postgres", "SELECT 1") {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "the server does not start: {error}\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once, as a crash would: connections break, nothing is tidied up.
    pub fn crash(&self) {
        if let Some(mut child) = self.running.lock().unwrap().take() {
            signal("QUIT", &[child.id()]);
            child.wait().unwrap();
        }
    }

    /// What a client connects to.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The same, for another role, which needs no password.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new, empty database's name. Its texts have the order of a language, as those of most databases, where the
    /// server knows one: nothing may lean on an order of bytes that it did not ask for.
    pub fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name}");
        let of_a_language = format!("{create} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'");
        self.sql("postgres", &of_a_language).or_else(|_| self.sql("postgres", &create)).unwrap();
        name
    }

    /// Also when somebody is connected to it.
    pub fn drop_database(&self, name: &str) {
        if let Err(error) = self.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")) {
            let _ = writeln!(std::io::stderr(), "a test's database stays behind: {error}");
        }
    }

    /// Runs statements as the owner of everything; what they return, or the server's words when it refuses.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = as_user("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql]);
        let done = psql.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// A server on what a hard stop of this one at this moment would leave on its disk. This one goes on.
    pub fn after_a_hard_stop(&self) -> Self {
        let after = Self::in_new_folder();
        {
            let running = self.running.lock().unwrap();
            let postmaster = running.as_ref().expect("the server runs").id();
            // The first one first, so that there are no new ones.
            signal("STOP", &[postmaster]);
            let others = children_of(postmaster);
            signal("STOP", &others);
            let copied = Command::new("cp").arg("-a").arg(self.data()).arg(after.data()).status();
            signal("CONT", &others);
            signal("CONT", &[postmaster]);
            assert!(copied.unwrap().success());
        }
        fs::remove_file(after.data().join("postmaster.pid")).unwrap();
        after.run();
        after
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The keeper waits for the server's end, which is only told to its parent.
        if let Some(mut child) = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            let _ = child.wait();
        }
        let _ = self.keeper.wait();
    }
}

fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let ids = processes.iter().map(u32::to_string);
        // A process that has ended meanwhile needs no signal.
        let _ = Command::new("kill").arg(format!("-{name}")).args(ids).stderr(Stdio::null()).status();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |process: &Path| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string()))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let number = |process: &Path| process.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    processes.filter_map(|process| number(&process).filter(|_| is_child(&process))).collect()
}
