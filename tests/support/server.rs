//! The binary as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use super::caller::Caller;
use super::{PATIENCE, Place, eventually};

/// A running server. Dropping it kills the process.
pub struct Server {
    child: Child,
    place: Place,
    address: SocketAddr,
    said: Said,
    client: reqwest::Client,
}

/// What is left of a server that was asked to stop.
pub struct Stopped {
    pub status: ExitStatus,
    pub log: String,
    pub place: Place,
}

impl Server {
    /// On a fresh place, with the defaults.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(args: &[&str]) -> Self {
        Place::fresh().serve(args).await
    }

    /// Runs `command`, which serves `place`.
    pub(super) fn run(place: &Place, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, addresses) = Said::listen(&mut child);
        let address = addresses.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the server did not start: {}", said.text())
        });
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap();
        Self { child, place: place.clone(), address, said, client }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of memory that the process has in use.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Everything that it has written to standard error and standard output.
    pub fn said(&self) -> String {
        self.said.text()
    }

    /// A caller without a token.
    pub fn stranger(&self) -> Caller {
        Caller::new(self.client.clone(), self.address, Uuid::nil())
    }

    /// A new reader.
    pub fn reader(&self) -> Caller {
        self.reader_called(Uuid::new_v4())
    }

    pub fn reader_called(&self, id: Uuid) -> Caller {
        self.caller_claiming(id, &serde_json::json!({ "sub": id }))
    }

    pub fn admin(&self) -> Caller {
        let id = Uuid::new_v4();
        self.caller_claiming(id, &serde_json::json!({ "sub": id, "roles": ["admin"] }))
    }

    /// Somebody with one role.
    pub fn with_role(&self, role: &str) -> Caller {
        let id = Uuid::new_v4();
        self.caller_claiming(id, &serde_json::json!({ "sub": id, "roles": [role] }))
    }

    /// A caller with these claims; `exp` is an hour ahead unless they say otherwise.
    pub fn caller_claiming(&self, id: Uuid, claims: &serde_json::Value) -> Caller {
        let mut claims = claims.clone();
        let in_an_hour = jsonwebtoken::get_current_timestamp() + 3_600;
        claims.as_object_mut().unwrap().entry("exp").or_insert_with(|| in_an_hour.into());
        let token = jsonwebtoken::encode(
            &jsonwebtoken::Header::default(),
            &claims,
            &jsonwebtoken::EncodingKey::from_secret(&self.key()),
        );
        Caller::new(self.client.clone(), self.address, id).with_token(&token.unwrap())
    }

    /// The key that the server signs with.
    pub fn key(&self) -> Vec<u8> {
        self.place.key()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.stopped().await
    }

    /// Waits until it has stopped by itself.
    pub async fn stopped(mut self) -> Stopped {
        let status = eventually("the server stops", async || self.child.try_wait().unwrap()).await;
        self.said.finish();
        Stopped { status, log: self.said.text(), place: self.place.clone() }
    }

    /// SIGKILL: no goodbye.
    pub fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.place.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server of the failing test said:\n{}---", self.said.text());
        }
    }
}

/// What the process writes, collected while it runs so that it never waits for a reader.
struct Said {
    text: Arc<Mutex<String>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Said {
    fn listen(child: &mut Child) -> (Self, Receiver<SocketAddr>) {
        let text = Arc::new(Mutex::new(String::new()));
        let (found, addresses) = mpsc::channel();
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stderr.take().unwrap()), Box::new(child.stdout.take().unwrap())];
        let threads = pipes.map(|pipe| {
            let (text, found) = (Arc::clone(&text), found.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line);
                    if let Some(address) = address_in(&line) {
                        let _ = found.send(address);
                    }
                    let mut text = text.lock().unwrap();
                    text.push_str(&line);
                    text.push('\n');
                }
            })
        });
        (Self { text, threads: threads.into() }, addresses)
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the last lines of a process that has ended.
    fn finish(&mut self) {
        let began = Instant::now();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

/// The address in a line like `… listening on http://127.0.0.1:40011, API at /docs`, in text or JSON.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("listening on http://")?;
    let end = after.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c))).unwrap_or(after.len());
    after[..end].parse().ok()
}
