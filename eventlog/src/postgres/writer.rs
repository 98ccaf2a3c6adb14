//! The one task of this node that writes: it takes whatever is waiting into one transaction.
//!
//! There are three ways for a group, all planned in memory by the rules of every engine.
//! - From memory: with one statement, which goes through only if nobody has moved the head since the last group of this
//!   node. When the head is the same, so is all that is remembered. That no event id is known is left to the database.
//! - Quickly, when not all is remembered, somebody would be refused, or an id is known: ask for what the group touches,
//!   and write it with the same statement. The head's row is locked for that statement alone.
//! - Carefully: lock the head's row first, so that nothing can move any more. When answers are to be kept (they are made
//!   once, and tell positions), when another node was faster on the other ways, and when it has to be found out what
//!   became of a commit.

mod doubt;
mod facts;
mod group;
mod import;
mod memory;
mod plan;
mod rows;
mod upkeep;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::mpsc;

use self::{
    doubt::{Doubt, Failed, in_doubt},
    facts::{Facts, Kinds, Question},
    group::{Group, Promise, Waiting},
    memory::Memory,
    plan::{Outcome, Plan, plan},
    rows::{Move, Rows},
    upkeep::Purge,
};
use super::{
    connection::{answered, connect_to_write},
    error::StatementError,
    head::Head,
};
use crate::{
    AppendError,
    database::{Connector, Meaning},
    queue::{GROUP_BYTES_MAX, GROUP_EVENTS_MAX, Job},
};

/// Groups that go the careful way after another node was faster.
const CAREFUL_GROUPS: u32 = 16;
/// Between two tries.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    connector: Connector,
    /// Gone after any failure: what a connection was in the middle of is not to be trusted.
    connection: Option<PgConnection>,
    head: Arc<Head>,
    writable: Arc<AtomicBool>,
    kinds: Kinds,
    memory: Option<Memory>,
    careful_groups: u32,
    /// Until when nothing is tried, after a failure.
    rest: Option<(Instant, Duration)>,
    purge: Purge,
}

impl Writer {
    pub(super) fn new(connector: Connector, head: Arc<Head>, writable: Arc<AtomicBool>) -> Self {
        Self {
            connector,
            connection: None,
            head,
            writable,
            kinds: Kinds::new(),
            memory: None,
            careful_groups: 0,
            rest: None,
            purge: Purge::new(),
        }
    }

    /// Works until every sender is gone and nothing waits.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(job) => job,
                None => match waiting.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut group = Group::default();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    // What was handed in before goes first.
                    Job::Import { .. } if !group.appends.is_empty() => {
                        left_over = Some(job);
                        break;
                    }
                    Job::Import { events, reply, _room } => {
                        // Nobody waits for the answer any more when the receiver is gone.
                        let _ = reply.send(self.import(events).await);
                    }
                    Job::Append { append, reply, room } => group.take(append, reply, room),
                    Job::Snapshot(snapshot) => self.keep(&snapshot).await,
                    Job::Probe { reply } => {
                        let _ = reply.send(self.probe().await);
                    }
                }
                if group.events < GROUP_EVENTS_MAX && group.bytes < GROUP_BYTES_MAX {
                    next = waiting.try_recv().ok();
                }
            }
            if !group.appends.is_empty() {
                self.write_group(group).await;
            }
            self.purge_old_answers().await;
        }
    }

    async fn write_group(&mut self, mut group: Group) {
        let started = Instant::now();
        let patience = self.patience();
        let mut doubt = None;
        let error = loop {
            self.rest().await;
            match self.attempt(&group.appends, &mut group.promises, doubt.take()).await {
                Ok(outcomes) => {
                    metrics::histogram!("daybook_log_commit_seconds").record(started.elapsed().as_secs_f64());
                    self.is_well();
                    for ((reply, _room), outcome) in group.replies.into_iter().zip(outcomes) {
                        // A caller that has gone away does not need its answer; the events stay.
                        let _ = reply.send(outcome);
                    }
                    return;
                }
                Err(failed) => {
                    doubt = failed.doubt;
                    // What is in doubt is looked up, also when the statement itself has used up all patience.
                    let patience = if doubt.is_some() { self.connector.patience * 2 } else { patience };
                    if !self.may_try_again(&failed.error, started.elapsed() < patience) {
                        break failed.error;
                    }
                }
            }
        };
        let in_doubt = doubt.is_some();
        tracing::error!(error = &error as &dyn std::error::Error, in_doubt, "a group of appends could not be written");
        let error = if in_doubt { AppendError::InDoubt(Arc::new(error)) } else { error.into_append() };
        for (reply, _room) in group.replies {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// While the database is known to be away, everybody is told after one try.
    fn patience(&self) -> Duration {
        if self.writable.load(Ordering::Acquire) { self.connector.patience } else { Duration::ZERO }
    }

    fn is_well(&mut self) {
        self.writable.store(true, Ordering::Release);
        self.rest = None;
    }

    /// After a failure: whether it may pass, and there is time left to see.
    fn may_try_again(&mut self, error: &StatementError, is_patient: bool) -> bool {
        self.connection = None;
        let pause = self.rest.map_or(RETRY_FIRST, |(_, pause)| (pause * 2).min(RETRY_MAX));
        self.rest = Some((Instant::now() + pause, pause));
        let may_pass = is_patient && error.meaning().is_away();
        if may_pass {
            tracing::debug!(error = error as &dyn std::error::Error, "a write to the log is tried again");
        } else {
            self.writable.store(false, Ordering::Release);
        }
        may_pass
    }

    /// Lets a database that failed come to itself.
    async fn rest(&self) {
        if let Some((until, _)) = self.rest {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// One try, on a connection that is kept only when all went well.
    async fn attempt(
        &mut self,
        appends: &[Waiting],
        promises: &mut [Promise],
        mut doubt: Option<Doubt>,
    ) -> Result<Vec<Outcome>, Failed> {
        let mut connection = match self.take_connection().await {
            Ok(connection) => connection,
            // Whatever was in doubt stays so.
            Err(error) => return Err(Failed { error, doubt }),
        };
        let is_quick = self.careful_groups == 0 && doubt.is_none() && appends.iter().all(|append| append.key.is_none());
        let mut written = None;
        if is_quick {
            written = self.write_from_memory(&mut connection, appends, promises).await?;
            if written.is_none() {
                written = self.write_quickly(&mut connection, appends, promises).await?;
            }
        }
        let outcomes = match written {
            Some(outcomes) => outcomes,
            None => {
                self.careful_groups = self.careful_groups.saturating_sub(1);
                let written = self.write_carefully(&mut connection, appends, promises, &mut doubt).await;
                // What was in doubt before stays so until a try has come to its end: a statement that was sent and not
                // heard of may still be on its way.
                written.map_err(|failed| Failed { doubt: failed.doubt.or(doubt), ..failed })?
            }
        };
        self.connection = Some(connection);
        Ok(outcomes)
    }

    /// Put back by whoever has seen it work.
    async fn take_connection(&mut self) -> Result<PgConnection, StatementError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => connect_to_write(&self.connector).await,
        }
    }

    /// Without asking, when all that the group touches is remembered. Nothing when it is not, when the head has moved
    /// since, or when somebody would be refused or has sent an event again: that is looked at properly.
    async fn write_from_memory(
        &mut self,
        connection: &mut PgConnection,
        appends: &[Waiting],
        promises: &mut [Promise],
    ) -> Result<Option<Vec<Outcome>>, Failed> {
        let Some(memory) = &self.memory else { return Ok(None) };
        let Some(facts) = memory.facts(appends, &self.kinds) else { return Ok(None) };
        let plan = plan(appends, promises, &facts, &self.kinds);
        if plan.rows.is_empty() || !plan.rows.fit_one_statement() || plan.outcomes.iter().any(Result::is_err) {
            return Ok(None);
        }
        match plan.rows.write(connection, &self.connector, &plan.head).await {
            Ok(true) => {
                self.committed(&plan);
                Ok(Some(plan.outcomes))
            }
            Ok(false) => {
                self.memory = None;
                Ok(None)
            }
            Err(error) if error.meaning() == Meaning::Taken => Ok(None),
            // The statement commits by itself.
            Err(error) => Err(in_doubt(error, plan)),
        }
    }

    /// Nothing when another node has moved the head meanwhile.
    async fn write_quickly(
        &mut self,
        connection: &mut PgConnection,
        appends: &[Waiting],
        promises: &mut [Promise],
    ) -> Result<Option<Vec<Outcome>>, Failed> {
        let facts = self.ask(connection, appends).await?;
        let plan = plan(appends, promises, &facts, &self.kinds);
        if plan.rows.is_empty() {
            // Refusals and repetitions, true at the moment the facts are of.
            self.head.advance(facts.head);
            return Ok(Some(plan.outcomes));
        }
        if !plan.rows.fit_one_statement() {
            return Ok(None);
        }
        match plan.rows.write(connection, &self.connector, &plan.head).await {
            Ok(true) => {
                self.committed(&plan);
                Ok(Some(plan.outcomes))
            }
            Ok(false) => {
                self.memory = None;
                self.careful_groups = CAREFUL_GROUPS;
                Ok(None)
            }
            // The statement commits by itself.
            Err(error) => Err(in_doubt(error, plan)),
        }
    }

    async fn write_carefully(
        &mut self,
        connection: &mut PgConnection,
        appends: &[Waiting],
        promises: &mut [Promise],
        doubt: &mut Option<Doubt>,
    ) -> Result<Vec<Outcome>, Failed> {
        let patience = self.connector.patience;
        // Waits for whoever has the row: also for a transaction of our own whose end we have not heard of.
        let lock = sqlx::raw_sql("BEGIN; SELECT FROM head FOR UPDATE");
        answered(patience, lock.execute(&mut *connection)).await?;
        if let Some(first) = doubt.as_ref().and_then(|doubt| doubt.first)
            && rows::stands(connection, &self.connector, first).await?
            && let Some(doubt) = doubt.take()
        {
            // The commit whose answer got lost went through: a failure from here on changes nothing of that, and the next
            // group finds it.
            let _ = answered(patience, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await;
            self.head.advance(doubt.head);
            return Ok(doubt.outcomes);
        }
        let facts = self.ask(connection, appends).await?;
        let plan = plan(appends, promises, &facts, &self.kinds);
        if plan.rows.is_empty() {
            answered(patience, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await?;
            self.head.advance(facts.head);
            return Ok(plan.outcomes);
        }
        if !plan.rows.write(connection, &self.connector, &plan.head).await? {
            return Err(StatementError::from(sqlx::Error::Protocol("the head moved under its lock".to_owned())).into());
        }
        match answered(patience, sqlx::raw_sql("COMMIT").execute(&mut *connection)).await {
            Ok(_) => {
                self.committed(&plan);
                Ok(plan.outcomes)
            }
            Err(error) => Err(in_doubt(error, plan)),
        }
    }

    /// What the log has of all that the group touches.
    async fn ask(&mut self, connection: &mut PgConnection, appends: &[Waiting]) -> Result<Facts, StatementError> {
        let facts = Question::of(appends, &self.kinds).ask(connection, &self.connector).await?;
        self.learn(&facts.kinds);
        Memory::learn(&mut self.memory, &facts);
        Ok(facts)
    }

    fn committed(&mut self, plan: &Plan<'_>) {
        if let Some(memory) = &mut self.memory {
            memory.wrote(&plan.head, plan.streams.iter().map(|(name, stream)| (*name, *stream)));
        }
        self.count(&plan.rows, &plan.head);
    }

    fn count(&mut self, rows: &Rows<'_>, head: &Move) {
        let learned: Vec<_> =
            rows.new_kinds().map(|(category, kind, id)| (category.to_owned(), kind.to_owned(), id)).collect();
        self.learn(&learned);
        let events = head.to.get() - head.from.get();
        metrics::counter!("daybook_log_events_total").increment(events);
        #[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^52 events")]
        metrics::histogram!("daybook_log_commit_events").record(events as f64);
        self.head.advance(head.to);
    }

    /// Kinds are never renamed, so that what is known of them stays true.
    fn learn(&mut self, kinds: &[(String, String, i64)]) {
        for (category, event_type, id) in kinds {
            self.kinds.entry(category.clone()).or_default().insert(event_type.clone(), *id);
        }
    }
}
