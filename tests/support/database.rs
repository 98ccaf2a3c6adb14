//! A database of a test's own, and nodes on it.

use super::Place;
use super::postgres::Server;

/// The key that all nodes on a database share.
pub const KEY: &str = "a key that all nodes of a test share";

/// An empty database, on the server that all tests share or on one that only this test has.
pub struct Database {
    own: Option<Server>,
    name: String,
}

impl Database {
    /// `None` where PostgreSQL is not installed.
    pub fn fresh() -> Option<Self> {
        super::postgres::missing().is_none().then(|| Self { own: None, name: Server::shared().create_database() })
    }

    /// On a server of its own, which can crash and come back.
    pub fn on_its_own_server() -> Option<Self> {
        if super::postgres::missing().is_some() {
            return None;
        }
        let server = Server::start();
        Some(Self { name: server.create_database(), own: Some(server) })
    }

    pub fn server(&self) -> &Server {
        self.own.as_ref().unwrap_or_else(|| Server::shared())
    }

    pub fn url(&self) -> String {
        self.server().url(&self.name)
    }

    /// What these statements return, run in the log's schema.
    pub fn sql(&self, sql: &str) -> Result<String, String> {
        self.server().sql(&self.name, &format!("SET search_path = daybook; {sql}"))
    }

    /// A folder without data, where commands and nodes run on this database.
    pub fn place(&self) -> Place {
        Place::on_database(&self.url())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.own.is_none() {
            Server::shared().drop_database(&self.name);
        }
    }
}
