//! The rows of a group, column by column, and the one statement that writes them.

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::super::{
    connection::{answered, rows},
    error::StatementError,
    head::CHANNEL,
};
use crate::{
    NewEvent, Position, RequestKey, StoredAnswer,
    database::{Connector, escape_nul},
};

/// Bytes of events of one statement; PostgreSQL takes a gigabyte at most.
const STATEMENT_BYTES_MAX: usize = 64 << 20;

/// Takes the head from $1 to $2 unless somebody else has moved it, and writes all that goes with it. An update waits for
/// whoever has locked the row, and looks again at what it finds then. Returns no row when the head was not at $1, or had
/// another checksum: then this is not the log that it was, but one restored from a backup.
const WRITE: &str = "
WITH moved AS (
    UPDATE head SET position = $2, checksum = $3, recorded_at = $4 WHERE one AND position = $1 AND checksum = $29
    RETURNING position
), new_streams AS (
    INSERT INTO streams (stream_id, name)
    SELECT * FROM UNNEST($5::bigint[], $6::text[]) WHERE EXISTS (SELECT FROM moved)
), new_kinds AS (
    INSERT INTO kinds (kind_id, category, event_type)
    SELECT * FROM UNNEST($7::bigint[], $8::text[], $9::text[]) WHERE EXISTS (SELECT FROM moved)
), new_answers AS (
    INSERT INTO idempotency_keys (caller, route, key, fingerprint, status, body, position, created_at)
    SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM UNNEST($10::text[], $11::text[], $12::text[], $13::bytea[], $14::integer[], $15::bytea[], $16::bigint[])
    WHERE EXISTS (SELECT FROM moved)
), new_events AS (
    INSERT INTO events (position, stream_id, version, kind_id, schema_version, id, occurred_at, checksum, metadata,
                        data, recorded_at)
    SELECT * FROM UNNEST($17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::integer[], $22::uuid[],
                             $23::bigint[], $24::bigint[], $25::text[], $26::text[], $27::bigint[])
    WHERE EXISTS (SELECT FROM moved)
)
SELECT CASE WHEN $2 > $1 THEN pg_notify(current_schema() || $28, $2::text) END IS NULL FROM moved";

/// The first events of what is too large for one statement, written while the head is locked.
const WRITE_SOME: &str = "
INSERT INTO events (position, stream_id, version, kind_id, schema_version, id, occurred_at, checksum, metadata, data,
                    recorded_at)
SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::uuid[],
                     $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::bigint[])";

/// All that a group writes.
#[derive(Default)]
pub(super) struct Rows<'g> {
    events: Vec<EventRow<'g>>,
    bytes: usize,
    stream_ids: Vec<i64>,
    stream_names: Vec<&'g str>,
    kind_ids: Vec<i64>,
    categories: Vec<&'g str>,
    types: Vec<&'g str>,
    answers: Vec<(&'g RequestKey, StoredAnswer)>,
}

pub(super) struct EventRow<'g> {
    pub(super) position: Position,
    pub(super) stream_id: i64,
    pub(super) version: u64,
    pub(super) kind_id: i64,
    pub(super) checksum: u64,
    pub(super) recorded_at: i64,
    pub(super) event: &'g NewEvent,
}

/// What the head is taken from and to.
pub(super) struct Move {
    pub(super) from: Position,
    pub(super) from_checksum: u64,
    pub(super) to: Position,
    pub(super) checksum: u64,
    pub(super) recorded_at: i64,
}

impl<'g> Rows<'g> {
    pub(super) fn event(&mut self, row: EventRow<'g>) {
        self.bytes += row.event.bytes();
        self.events.push(row);
    }

    pub(super) fn stream(&mut self, id: i64, name: &'g str) {
        self.stream_ids.push(id);
        self.stream_names.push(name);
    }

    pub(super) fn kind(&mut self, id: i64, category: &'g str, event_type: &'g str) {
        self.kind_ids.push(id);
        self.categories.push(category);
        self.types.push(event_type);
    }

    pub(super) fn answer(&mut self, key: &'g RequestKey, stored: StoredAnswer) {
        self.answers.push((key, stored));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.answers.is_empty()
    }

    pub(super) fn fit_one_statement(&self) -> bool {
        self.bytes <= STATEMENT_BYTES_MAX
    }

    /// The first event: when it stands in the log, everything of this group does.
    pub(super) fn first_event(&self) -> Option<(Position, Uuid)> {
        self.events.first().map(|row| (row.position, row.event.id))
    }

    /// Kinds that come to be with these rows.
    pub(super) fn new_kinds(&self) -> impl Iterator<Item = (&'g str, &'g str, i64)> {
        self.categories
            .iter()
            .zip(&self.types)
            .zip(&self.kind_ids)
            .map(|((category, kind), id)| (*category, *kind, *id))
    }

    /// Writes everything; false when somebody else has moved the head.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        connector: &Connector,
        head: &Move,
    ) -> Result<bool, StatementError> {
        let mut rest = &self.events[..];
        while let Some(first) = self.statement_full(rest) {
            let (some, others) = rest.split_at(first);
            self.write_some(connection, connector, some).await?;
            rest = others;
        }
        let columns = Columns::of(rest);
        let texts = |text: fn(&RequestKey) -> &str| -> Vec<_> {
            self.answers.iter().map(|(key, _)| escape_nul(text(key))).collect()
        };
        let of_answers = self.answers.iter();
        let query = sqlx::query(WRITE)
            .bind(head.from.to_sql())
            .bind(head.to.to_sql())
            .bind(head.checksum.cast_signed())
            .bind(head.recorded_at)
            .bind(&self.stream_ids)
            .bind(&self.stream_names)
            .bind(&self.kind_ids)
            .bind(&self.categories)
            .bind(&self.types)
            .bind(texts(|key| &key.caller))
            .bind(texts(|key| &key.route))
            .bind(texts(|key| &key.key))
            .bind(of_answers.clone().map(|(key, _)| &key.fingerprint[..]).collect::<Vec<_>>())
            .bind(of_answers.clone().map(|(_, stored)| stored.answer.columns().0).collect::<Vec<_>>())
            .bind(of_answers.clone().map(|(_, stored)| stored.answer.columns().1).collect::<Vec<_>>())
            .bind(of_answers.map(|(_, stored)| stored.position.to_sql()).collect::<Vec<_>>());
        let query = columns.bind(query).bind(CHANNEL).bind(head.from_checksum.cast_signed());
        let moved = rows(connection, connector.patience_for(self.bytes), query).await?;
        Ok(!moved.is_empty())
    }

    /// How many of the first of `events` fill a statement, when not all of them fit into one.
    fn statement_full(&self, events: &[EventRow<'_>]) -> Option<usize> {
        if self.fit_one_statement() {
            return None;
        }
        let mut bytes = 0;
        let full = events.iter().position(|row| {
            bytes += row.event.bytes();
            bytes > STATEMENT_BYTES_MAX
        });
        full.map(|full| full.max(1))
    }

    async fn write_some(
        &self,
        connection: &mut PgConnection,
        connector: &Connector,
        events: &[EventRow<'_>],
    ) -> Result<(), StatementError> {
        let query = Columns::of(events).bind(sqlx::query(WRITE_SOME));
        answered(connector.patience_for(self.bytes), query.execute(connection)).await.map(drop)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Events as the columns of an UNNEST.
struct Columns<'r, 'g>(&'r [EventRow<'g>]);

impl<'r, 'g> Columns<'r, 'g> {
    fn of(events: &'r [EventRow<'g>]) -> Self {
        Self(events)
    }

    fn column<T>(&self, of: impl Fn(&EventRow<'g>) -> T) -> Vec<T> {
        self.0.iter().map(of).collect()
    }

    fn bind<'q>(&self, query: Query<'q>) -> Query<'q> {
        query
            .bind(self.column(|row| row.position.to_sql()))
            .bind(self.column(|row| row.stream_id))
            .bind(self.column(|row| row.version.cast_signed()))
            .bind(self.column(|row| row.kind_id))
            .bind(self.column(|row| i32::from(row.event.schema_version)))
            .bind(self.column(|row| row.event.id))
            .bind(self.column(|row| row.event.occurred_at.timestamp_micros()))
            .bind(self.column(|row| row.checksum.cast_signed()))
            .bind(self.column(|row| &*row.event.metadata))
            .bind(self.column(|row| &*row.event.data))
            .bind(self.column(|row| row.recorded_at))
    }
}

/// Whether the event with this id stands at this position.
pub(super) async fn stands(
    connection: &mut PgConnection,
    connector: &Connector,
    (position, id): (Position, Uuid),
) -> Result<bool, StatementError> {
    let query = sqlx::query("SELECT id = $2 FROM events WHERE position = $1").bind(position.to_sql()).bind(id);
    let found = rows(connection, connector.patience, query).await?;
    Ok(match found.first() {
        Some(row) => row.try_get(0)?,
        None => false,
    })
}
