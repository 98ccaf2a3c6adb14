//! Read models changed, locked and spoilt behind the server's back, as only somebody with the files or with the database
//! in their hands can.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use daybook_eventlog::LOG_FILE;
use daybook_projections::READ_MODELS_FOLDER;
use rusqlite::Connection;

use super::Place;
use super::database::Database;

/// Read models that cannot be written, until they are let go.
pub enum Held {
    File(Connection),
    Tables(Child),
}

impl Place {
    /// The copies that there are of a read model: numbers that are never used again.
    pub fn copies(&self, model: &str) -> Vec<i64> {
        let mut copies: Vec<i64> = match self.database() {
            Some(database) => {
                let sql = format!("SELECT generation FROM daybook_models.copies WHERE name = '{model}'");
                database.sql(&sql).lines().map(|generation| generation.parse().unwrap()).collect()
            }
            None => std::fs::read_dir(self.data().join(READ_MODELS_FOLDER))
                .unwrap()
                .filter_map(|file| {
                    let file = file.unwrap().file_name().into_string().unwrap();
                    file.strip_prefix(&format!("{model}."))?.strip_suffix(".sqlite3")?.parse().ok()
                })
                .collect(),
        };
        copies.sort_unstable();
        copies
    }

    /// Changes rows of the only copy of a read model, by an `INSERT`, `UPDATE` or `DELETE`; it has to be some.
    #[track_caller]
    pub fn tamper(&self, model: &str, sql: &str) {
        let changed = match self.database() {
            Some(database) => database.count(sql),
            None => self.open_read_model(model).execute(sql, []).unwrap(),
        };
        assert!(changed > 0, "{sql}");
    }

    /// Puts this status and this body in the place of every answer kept for a repeated request; there has to be one.
    #[track_caller]
    pub fn rewrite_kept_answers(&self, status: u16, body: &str) {
        let changed = match self.database() {
            Some(database) => database.count(&format!(
                "UPDATE daybook.idempotency_keys SET status = {status}, body = convert_to('{body}', 'UTF8')"
            )),
            None => Connection::open(self.data().join(LOG_FILE))
                .unwrap()
                .execute("UPDATE idempotency_keys SET status = ?1, body = ?2", (status, body.as_bytes()))
                .unwrap(),
        };
        assert!(changed > 0);
    }

    /// Changes rows of the catalog; it has to be some.
    #[track_caller]
    pub fn tamper_catalog(&self, sql: &str) {
        let changed = match self.database() {
            Some(database) => database.count(sql),
            None => self.open_catalog().execute(sql, []).unwrap(),
        };
        assert!(changed > 0, "{sql}");
    }

    /// As if somebody had begun to build a copy of a read model, and had gone away before there was anything in it.
    pub fn begin_copy(&self, model: &str) {
        self.tamper_catalog(&match self.database() {
            Some(_) => format!(
                "INSERT INTO copies (name, state, version, tables)
                 SELECT name, 'building', version, tables FROM copies WHERE name = '{model}'"
            ),
            None => format!(
                "INSERT INTO copies SELECT name, generation + 1, version, 'building' FROM copies WHERE name = '{model}'"
            ),
        });
    }

    /// Changes the log as somebody would who may write to where it stands, and knows the engine.
    pub fn tamper_log(&self, sql: &str) {
        match self.database() {
            Some(database) => drop(database.sql(&format!(
                "SET search_path TO daybook; ALTER TABLE events DISABLE TRIGGER events_are_append_only; {sql}"
            ))),
            None => {
                let log = open(self.data().join("log.sqlite3"));
                for trigger in ["events_are_never_changed", "events_are_never_deleted"] {
                    log.execute_batch(&format!("DROP TRIGGER IF EXISTS {trigger}")).unwrap();
                }
                log.execute_batch(sql).unwrap();
            }
        }
    }

    /// Takes the log in a database away from below its read models.
    pub fn delete_log(&self) {
        let database = self.database().unwrap();
        drop(database.sql("DROP SCHEMA daybook CASCADE"));
    }

    /// Makes a table of a read model take no more rows.
    pub fn spoil(&self, model: &str, table: &str) {
        match self.database() {
            Some(database) => drop(database.sql(&format!(
                "SET search_path TO daybook_models;
                 CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
                 CREATE TRIGGER no BEFORE INSERT ON {table} EXECUTE FUNCTION no()"
            ))),
            None => {
                let no = format!("CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END");
                self.open_read_model(model).execute_batch(&no).unwrap();
            }
        }
    }

    /// Takes that back.
    pub fn mend(&self, model: &str) {
        match self.database() {
            Some(database) => drop(database.sql("DROP FUNCTION daybook_models.no CASCADE")),
            None => self.open_read_model(model).execute_batch("DROP TRIGGER no").unwrap(),
        }
    }

    /// Takes the only copy of a read model away.
    pub fn delete_read_model(&self, model: &str) {
        match self.database() {
            Some(database) => {
                let tables = self.tables_of(model);
                let forget = format!("DELETE FROM daybook_models.copies WHERE name = '{model}'");
                drop(database.sql(&format!("BEGIN; DROP TABLE {tables}; {forget}; COMMIT")));
            }
            None => std::fs::remove_file(self.read_model_file(model)).unwrap(),
        }
    }

    /// Takes a table out of a read model.
    pub fn drop_table(&self, model: &str, table: &str) {
        match self.database() {
            Some(database) => drop(database.sql(&format!("DROP TABLE daybook_models.{table}"))),
            None => self.open_read_model(model).execute_batch(&format!("DROP TABLE {table}")).unwrap(),
        }
    }

    /// Keeps everybody else from writing a read model, and nobody from reading it.
    pub fn hold(&self, model: &str) -> Held {
        match self.database() {
            Some(_) => self.hold_tables(&self.tables_of(model)),
            None => hold_file(self.open_read_model(model)),
        }
    }

    /// Keeps everybody else from noting anything in the catalog of the read models.
    pub fn hold_catalog(&self) -> Held {
        match self.database() {
            Some(_) => self.hold_tables("daybook_models.copies"),
            None => hold_file(self.open_catalog()),
        }
    }

    fn hold_tables(&self, tables: &str) -> Held {
        let mut psql = self.database().unwrap().program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        let lock = format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE;\n\\echo held\n");
        psql.stdin.as_mut().unwrap().write_all(lock.as_bytes()).unwrap();
        let mut said = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Held::Tables(psql)
    }

    fn tables_of(&self, model: &str) -> String {
        self.database().unwrap().sql(&format!(
            "SELECT string_agg('daybook_models.' || \"table\", ', ')
             FROM daybook_models.copies, unnest(tables) \"table\" WHERE name = '{model}' AND state = 'served'"
        ))
    }

    fn read_model_file(&self, model: &str) -> PathBuf {
        let [generation] = self.copies(model)[..] else { panic!("there are {:?} of {model}", self.copies(model)) };
        self.data().join(READ_MODELS_FOLDER).join(format!("{model}.{generation}.sqlite3"))
    }

    fn open_catalog(&self) -> Connection {
        open(self.data().join(READ_MODELS_FOLDER).join("catalog.sqlite3"))
    }

    fn open_read_model(&self, model: &str) -> Connection {
        open(self.read_model_file(model))
    }
}

impl Database {
    /// How many rows of the read models an `INSERT`, `UPDATE` or `DELETE` changes.
    #[track_caller]
    fn count(&self, sql: &str) -> usize {
        let counted = format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed");
        self.sql(&format!("SET search_path TO daybook_models; {counted}")).parse().unwrap()
    }
}

impl Held {
    pub fn let_go(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::File(file) => file.execute_batch("ROLLBACK").unwrap(),
            Self::Tables(psql) => {
                // The end of what it reads is the end of its session.
                drop(psql.stdin.take());
                psql.wait().unwrap();
            }
        }
    }
}

fn open(file: PathBuf) -> Connection {
    let file = Connection::open(file).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    file
}

fn hold_file(file: Connection) -> Held {
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    Held::File(file)
}
