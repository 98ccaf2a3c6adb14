//! A database of a test's own, and nodes on it.

use std::process::Command;
use std::sync::Arc;

use super::Place;
use super::postgres::{self, Server};

/// The key that all nodes on a database share.
pub const KEY: &str = "a key that all nodes of a test share";

/// A database, on the server that all tests share or on one that only this test has. It goes with the last clone.
#[derive(Clone)]
pub struct Database(Arc<Owned>);

struct Owned {
    own: Option<Server>,
    name: String,
}

impl Database {
    /// An empty one; `None` where PostgreSQL is not installed.
    pub fn fresh() -> Option<Self> {
        postgres::missing()
            .is_none()
            .then(|| Self(Arc::new(Owned { own: None, name: Server::shared().create_database() })))
    }

    /// On a server of its own, which can crash and come back.
    pub fn on_its_own_server() -> Option<Self> {
        if postgres::missing().is_some() {
            return None;
        }
        let server = Server::start();
        Some(Self(Arc::new(Owned { name: server.create_database(), own: Some(server) })))
    }

    pub fn server(&self) -> &Server {
        self.0.own.as_ref().unwrap_or_else(|| Server::shared())
    }

    pub fn url(&self) -> String {
        self.server().url(&self.0.name)
    }

    /// What these statements return, run past every node as the owner of everything.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|refused| panic!("{refused}: {sql}"))
    }

    /// For statements that the server may refuse.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        self.server().sql(&self.0.name, sql)
    }

    /// One of PostgreSQL's programs, on this database.
    pub fn program(&self, name: &str) -> Command {
        let mut program = postgres::as_user(name);
        program.args(["-d", &self.url()]);
        program
    }

    /// A folder without data, where commands and nodes run on this database.
    pub fn place(&self) -> Place {
        Place::in_this(self.clone())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.own.is_none() {
            Server::shared().drop_database(&self.name);
        }
    }
}
