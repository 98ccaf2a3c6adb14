//! The one task of this node that writes: it takes whatever is waiting into one transaction.
//!
//! There are two ways for a group. The quick one, when no answer has to be made inside the transaction: ask for what the
//! group touches, plan it in memory, and write it with one statement that goes through only if the head is still where
//! it was; the head's row is locked for no longer than that statement. The careful one locks the row first, so that
//! nothing can move any more. It is taken when answers are to be kept (they are made once, and tell positions), when
//! another node was faster on the quick one, and when it has to be found out what became of a commit.

mod facts;
mod import;
mod plan;
mod rows;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::{
    facts::{Kinds, Question},
    plan::{Outcome, Plan, plan},
    rows::{Move, Rows},
};
use super::{
    connection::{Connector, answered},
    error::{Failure, StatementError},
    head::Head,
};
use crate::{
    Answer, Append, AppendError, AppendOutcome, Appended, ImportError, Position, RecordedEvent, RequestKey, Snapshot,
    StreamAppend,
    queue::{GROUP_BYTES_MAX, GROUP_EVENTS_MAX, Room},
};

/// Answers to repeated requests are kept at least this long.
const ANSWERS_KEPT: Duration = Duration::from_hours(48);
/// How often old answers are looked for, and how many go at once.
const PURGE_EVERY: Duration = Duration::from_mins(5);
const PURGE_ROWS_MAX: i64 = 5_000;
/// Groups that go the careful way after another node was faster.
const CAREFUL_GROUPS: u32 = 16;
/// Between two tries.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(super) enum Job {
    Append {
        append: Append,
        reply: Reply,
        room: Room,
    },
    Import {
        events: Vec<RecordedEvent>,
        reply: oneshot::Sender<Result<Position, ImportError>>,
        _room: Room,
    },
    /// Keeps a copy of a state.
    Snapshot(Snapshot),
    /// Tries a small write; answers whether it went through.
    Probe {
        reply: oneshot::Sender<bool>,
    },
}

type Reply = oneshot::Sender<Result<AppendOutcome, AppendError>>;

/// An append of a group, without its answers.
struct Waiting {
    parts: Vec<StreamAppend>,
    key: Option<RequestKey>,
}

/// The answer to be kept with an append: to be made, or made for what was appended so.
#[derive(Default)]
struct Promise {
    make: Option<Make>,
    made: Option<(Appended, Answer)>,
}

type Make = Box<dyn FnOnce(&Appended) -> Answer + Send>;

/// What is written together.
#[derive(Default)]
struct Group {
    appends: Vec<Waiting>,
    promises: Vec<Promise>,
    replies: Vec<(Reply, Room)>,
    events: usize,
    bytes: usize,
}

/// A commit without an answer: these outcomes are true if this event stands in the log. Whether it does is looked up with
/// the head locked. A commit of answers without events has nothing to look for: its answers are found by their keys, as
/// those of any repeated request.
///
/// A statement that is still on its way to the server while we look does no harm: the group is written again, at the same
/// positions or, if the head has moved, at others; either way that statement then finds the head elsewhere than it
/// expects it, and writes nothing.
struct Doubt {
    first: Option<(Position, Uuid)>,
    outcomes: Vec<Outcome>,
    head: Position,
}

/// A try that failed.
struct Failed {
    error: StatementError,
    doubt: Option<Doubt>,
}

impl From<StatementError> for Failed {
    fn from(error: StatementError) -> Self {
        Self { error, doubt: None }
    }
}

pub(super) struct Writer {
    connector: Connector,
    /// Gone after any failure: what a connection was in the middle of is not to be trusted.
    connection: Option<PgConnection>,
    head: Arc<Head>,
    writable: Arc<AtomicBool>,
    kinds: Kinds,
    careful_groups: u32,
    /// Until when nothing is tried, after a failure.
    rest: Option<(Instant, Duration)>,
    purged: Instant,
    purge_after: Duration,
}

impl Writer {
    pub(super) fn new(connector: Connector, head: Arc<Head>, writable: Arc<AtomicBool>) -> Self {
        Self {
            connector,
            connection: None,
            head,
            writable,
            kinds: Kinds::new(),
            careful_groups: 0,
            rest: None,
            purged: Instant::now(),
            purge_after: PURGE_EVERY,
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
        let may_pass = is_patient && matches!(error.failure(), Failure::Lost | Failure::Busy);
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
        let written = if is_quick { self.write_quickly(&mut connection, appends, promises).await? } else { None };
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
            None => self.connector.connect_to_write().await,
        }
    }

    /// Nothing when another node has moved the head meanwhile.
    async fn write_quickly(
        &mut self,
        connection: &mut PgConnection,
        appends: &[Waiting],
        promises: &mut [Promise],
    ) -> Result<Option<Vec<Outcome>>, Failed> {
        let facts = Question::of(appends, &self.kinds).ask(connection, &self.connector).await?;
        self.learn(&facts.kinds);
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
                self.committed(&plan.rows, &plan.head);
                Ok(Some(plan.outcomes))
            }
            Ok(false) => {
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
        let facts = Question::of(appends, &self.kinds).ask(connection, &self.connector).await?;
        self.learn(&facts.kinds);
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
                self.committed(&plan.rows, &plan.head);
                Ok(plan.outcomes)
            }
            Err(error) => Err(in_doubt(error, plan)),
        }
    }

    fn committed(&mut self, rows: &Rows<'_>, head: &Move) {
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

    /// A small statement beside the appends, on the writer's connection.
    async fn aside(&mut self, query: Query<'_>) -> Result<u64, StatementError> {
        let mut connection = self.take_connection().await?;
        let done = answered(self.connector.patience, query.execute(&mut connection)).await?;
        self.connection = Some(connection);
        Ok(done.rows_affected())
    }

    async fn keep(&mut self, snapshot: &Snapshot) {
        let query = sqlx::query(
            "INSERT INTO snapshots AS kept (stream_id, shape, next, state)
             SELECT stream_id, $2, $3, $4 FROM streams WHERE name = $1
             ON CONFLICT (stream_id) DO UPDATE SET shape = excluded.shape, next = excluded.next, state = excluded.state
             WHERE kept.shape <> excluded.shape OR kept.next < excluded.next",
        );
        let query = query.bind(snapshot.stream.as_str()).bind(&snapshot.shape).bind(snapshot.next.cast_signed());
        if let Err(error) = self.aside(query.bind(&snapshot.state)).await {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(stream = %snapshot.stream, error, "a state's copy could not be kept");
        }
    }

    /// A write that changes nothing, to see whether one goes through again.
    async fn probe(&mut self) -> bool {
        self.rest().await;
        let goes_through = self.aside(sqlx::query("UPDATE head SET position = position")).await.is_ok();
        self.writable.store(goes_through, Ordering::Release);
        if goes_through {
            self.rest = None;
        }
        goes_through
    }

    async fn purge_old_answers(&mut self) {
        if self.purged.elapsed() < self.purge_after {
            return;
        }
        self.purged = Instant::now();
        let query = sqlx::query(
            "DELETE FROM idempotency_keys WHERE (caller, route, key) IN
             (SELECT caller, route, key FROM idempotency_keys
              WHERE created_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1
              ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        );
        let kept = i64::try_from(ANSWERS_KEPT.as_micros()).unwrap_or(i64::MAX);
        match self.aside(query.bind(kept).bind(PURGE_ROWS_MAX)).await {
            // There may be more: go on soon.
            Ok(rows) if rows >= PURGE_ROWS_MAX.unsigned_abs() => self.purge_after = Duration::from_secs(1),
            Ok(_) => self.purge_after = PURGE_EVERY,
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error, "old answers to repeated requests could not be removed");
            }
        }
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// A failure to hear of a commit's end. What the server refused in so many words did not come to be.
fn in_doubt(error: StatementError, plan: Plan<'_>) -> Failed {
    let doubt = (error.failure() == Failure::Lost).then(|| Doubt {
        first: plan.rows.first_event(),
        outcomes: plan.outcomes,
        head: plan.head.to,
    });
    Failed { error, doubt }
}

impl Group {
    fn take(&mut self, append: Append, reply: Reply, room: Room) {
        self.events += append.events();
        self.bytes += append.bytes();
        let Append { parts, remember } = append;
        let (key, make) = remember.map(|remember| (remember.key, remember.answer)).unzip();
        self.appends.push(Waiting { parts, key });
        self.promises.push(Promise { make, made: None });
        self.replies.push((reply, room));
    }
}
