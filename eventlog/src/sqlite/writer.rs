//! The one thread that writes: it takes whatever is waiting into one transaction.

mod facts;
mod import;
mod insert;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, watch};

use self::{
    facts::FileFacts,
    insert::{Heads, Inserter},
};
use super::{checksum, place::LogFile, versions::Versions};
use crate::{
    Append, AppendError, AppendOutcome, Appended, Position, Remember, Snapshot,
    queue::{GROUP_BYTES_MAX, GROUP_EVENTS_MAX, Job, Reply, Room},
    rules::{self, ANSWERS_KEPT, Decision, PURGE_AGAIN, PURGE_EVERY, PURGE_ROWS_MAX, Stop},
};

pub(super) struct Writer {
    connection: Connection,
    /// Dropped after the connection.
    file: LogFile,
    state: Heads,
    head: watch::Sender<Position>,
    versions: Arc<Versions>,
    writable: Arc<AtomicBool>,
    /// `state` does not fit the file: the last transaction was given up.
    is_state_lost: bool,
    purged: Instant,
    purge_after: Duration,
}

impl Writer {
    pub(super) fn new(connection: Connection, file: LogFile, writable: Arc<AtomicBool>) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(64);
        let state = Heads::load(&connection)?;
        let (head, _) = watch::channel(state.position);
        let versions = Arc::new(Versions::new());
        Ok(Self {
            connection,
            file,
            state,
            head,
            versions,
            writable,
            is_state_lost: false,
            purged: Instant::now(),
            purge_after: PURGE_EVERY,
        })
    }

    pub(super) fn versions(&self) -> Arc<Versions> {
        Arc::clone(&self.versions)
    }

    pub(super) fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    pub(super) fn head(&self) -> Position {
        self.state.position
    }

    /// The highest position of an event that is really there.
    pub(super) fn last_event(&self) -> rusqlite::Result<Position> {
        let last: Option<i64> = self.connection.query_row("SELECT max(position) FROM events", [], |row| row.get(0))?;
        Ok(Position::from_sql(last.unwrap_or(0)))
    }

    /// Works until every sender is gone and nothing waits.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while let Some(first) = waiting.blocking_recv() {
            let (mut events, mut bytes) = (0, 0);
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Append { append, reply, room } => {
                        events += append.events();
                        bytes += append.bytes();
                        group.push((append, reply, room));
                    }
                    Job::Import { events, reply, _room } => {
                        // What was taken before it is also written before it.
                        self.write_group(&mut group);
                        // A caller that has gone away does not need its answer; the events stay.
                        let _ = reply.send(self.import(events));
                    }
                    Job::Snapshot(snapshot) => self.keep(&snapshot),
                    Job::Probe { reply } => {
                        // Nobody waits for the answer any more when the receiver is gone.
                        let _ = reply.send(self.probe());
                    }
                }
                if events < GROUP_EVENTS_MAX && bytes < GROUP_BYTES_MAX {
                    next = waiting.try_recv().ok();
                }
            }
            self.write_group(&mut group);
            self.purge_old_answers();
        }
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the log's WAL could not be folded into the file; the next start does it");
        }
    }

    fn write_group(&mut self, group: &mut Vec<(Append, Reply, Room)>) {
        if group.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut replies = Vec::with_capacity(group.len());
        let mut rooms = Vec::with_capacity(group.len());
        let before = *self.head.borrow();
        let written = self.write(
            group.drain(..).map(|(append, reply, room)| {
                rooms.push(room);
                (append, reply)
            }),
            &mut replies,
        );
        match written {
            // Also what was committed is lost with a file that nobody can find any more.
            Ok(()) if !self.file.is_in_place() => {
                self.writable.store(false, Ordering::Release);
                self.is_state_lost = true;
                tracing::error!("the log's file was removed or replaced while the server runs: nothing is written");
                for (reply, _) in replies {
                    let _ = reply.send(Err(AppendError::FileGone));
                }
            }
            Ok(()) => {
                metrics::histogram!("daybook_log_commit_seconds").record(started.elapsed().as_secs_f64());
                let events = self.state.position.get() - before.get();
                if events > 0 {
                    self.writable.store(true, Ordering::Release);
                }
                metrics::counter!("daybook_log_events_total").increment(events);
                #[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^52 events")]
                metrics::histogram!("daybook_log_commit_events").record(events as f64);
                self.versions.committed(self.state.written.drain(..));
                self.head.send_replace(self.state.position);
                for (reply, outcome) in replies {
                    // A caller that has gone away does not need its answer; the events stay.
                    let _ = reply.send(outcome);
                }
            }
            Err(error) => {
                let error = self.give_up(error);
                for (reply, _) in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Writes all appends that can be taken in one transaction. Even a refusal is answered only after the commit:
    /// it may rest on an append of the same group.
    fn write(
        &mut self,
        appends: impl Iterator<Item = (Append, Reply)>,
        replies: &mut Vec<(Reply, Result<AppendOutcome, AppendError>)>,
    ) -> rusqlite::Result<()> {
        let mut failed = self.begin().err();
        let before = self.state.position;
        let recorded_at = rules::recorded_at(Utc::now().timestamp_micros(), self.state.recorded_at);
        self.state.recorded_at = recorded_at;
        for (append, reply) in appends {
            if failed.is_some() {
                replies.push((reply, Err(AppendError::Closed)));
                continue;
            }
            match self.take(append, recorded_at) {
                Ok(outcome) => replies.push((reply, Ok(outcome))),
                Err(Stop::Refused(refusal)) => replies.push((reply, Err(refusal))),
                Err(Stop::Failed(error)) => {
                    failed = Some(error);
                    replies.push((reply, Err(AppendError::Closed)));
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => {
                // A group of refusals and repetitions writes nothing, and waits for no disk.
                if self.state.position != before {
                    self.state.save(&self.connection)?;
                }
                self.run_cached("COMMIT")
            }
        }
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.is_state_lost {
            self.state = Heads::load(&self.connection)?;
            self.is_state_lost = false;
        }
        self.run_cached("BEGIN IMMEDIATE")
    }

    fn run_cached(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// One append: nothing of it is written before the rules have taken it.
    fn take(&mut self, append: Append, recorded_at: i64) -> Result<AppendOutcome, Refused> {
        let mut facts = FileFacts { connection: &self.connection, heads: &mut self.state };
        let key = append.remember.as_ref().map(|remember| &remember.key);
        let known = match rules::decide(&mut facts, key, &append.parts)? {
            Decision::Remembered(stored) => return Ok(AppendOutcome::Remembered(stored)),
            Decision::Write(known) => known,
        };
        let appended = rules::appended(&append.parts, &known, self.state.position);
        let mut inserter = Inserter::new(&self.connection, &mut self.state, recorded_at);
        for (part, known) in append.parts.iter().zip(&known) {
            inserter.insert(&part.stream, rules::fresh(part, known))?;
        }
        if let Some(remember) = append.remember {
            self.remember(remember, &appended)?;
        }
        Ok(AppendOutcome::Appended(appended))
    }

    fn remember(&self, remember: Remember, appended: &Appended) -> rusqlite::Result<()> {
        let Remember { key, answer } = remember;
        // A panic here would take the writer with it, and so every write to come.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(appended)));
        let answer = answer.map_err(|_| rusqlite::Error::ToSqlConversionFailure("making an answer panicked".into()))?;
        let (status, body) = answer.columns();
        self.connection
            .prepare_cached("INSERT INTO idempotency_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute((
                key.caller,
                key.route,
                key.key,
                key.fingerprint,
                status,
                body,
                appended.last.to_sql(),
                // Not the log's time, which never goes back: this one is compared with the clock.
                Utc::now().timestamp_micros(),
            ))?;
        Ok(())
    }

    /// Rolls back.
    fn give_up(&mut self, error: rusqlite::Error) -> AppendError {
        self.writable.store(false, Ordering::Release);
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the log's transaction could not be rolled back");
        }
        // What was learned on the way did not come to be. It is read anew before anything else is written.
        self.is_state_lost = true;
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        tracing::error!(%error, "a group of appends could not be written");
        if full { AppendError::StorageFull(Arc::new(error)) } else { AppendError::Storage(Arc::new(error)) }
    }

    fn keep(&self, snapshot: &Snapshot) {
        let kept = self.connection.execute(
            "INSERT OR REPLACE INTO snapshots (stream_id, shape, next, state, checksum)
             SELECT stream_id, ?2, ?3, ?4, ?5 FROM streams WHERE name = ?1",
            (
                snapshot.stream.as_str(),
                &snapshot.shape,
                snapshot.next.cast_signed(),
                &snapshot.state,
                checksum::of_snapshot(&snapshot.shape, snapshot.next.cast_signed(), &snapshot.state).cast_signed(),
            ),
        );
        if let Err(error) = kept {
            tracing::warn!(stream = %snapshot.stream, %error, "a state's copy could not be kept");
        }
    }

    /// A write of one page, to see whether there is room again.
    fn probe(&mut self) -> bool {
        // There and back: what does not change a page is not written.
        let fits = self.connection.execute_batch(
            "BEGIN IMMEDIATE;
             UPDATE head SET position = position + 1;
             UPDATE head SET position = position - 1;
             COMMIT",
        );
        if fits.is_err() && !self.connection.is_autocommit() {
            // What failed to commit is rolled back; a failure here shows in the next write.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        let is_writable = fits.is_ok() && self.file.is_in_place();
        self.writable.store(is_writable, Ordering::Release);
        is_writable
    }

    fn purge_old_answers(&mut self) {
        if self.purged.elapsed() < self.purge_after {
            return;
        }
        self.purged = Instant::now();
        let before = Utc::now() - ANSWERS_KEPT;
        let purged = self.connection.execute(
            "DELETE FROM idempotency_keys WHERE (caller, route, key) IN
             (SELECT caller, route, key FROM idempotency_keys WHERE created_at < ?1 LIMIT ?2)",
            (before.timestamp_micros(), PURGE_ROWS_MAX),
        );
        match purged {
            // There may be more: go on soon.
            Ok(rows) if rows as i64 >= PURGE_ROWS_MAX => self.purge_after = PURGE_AGAIN,
            Ok(_) => self.purge_after = PURGE_EVERY,
            Err(error) => tracing::warn!(%error, "old answers to repeated requests could not be removed"),
        }
    }
}

/// This append alone is refused, or SQLite failed and the whole transaction is lost.
type Refused = Stop<AppendError, rusqlite::Error>;
