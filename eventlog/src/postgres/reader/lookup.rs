//! Questions with one answer.

use std::time::Instant;

use sqlx::{
    Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    super::{connection::rows, error::StatementError},
    pool::{Lease, ReadPool, Trouble},
};
use crate::{
    Anchor, Answer, Filter, KeyLookup, Position, ReadError, RequestKey, Snapshot, StoredAnswer, StreamId, Version,
    database::{escape_nul, late, of_name},
    rules::compare,
};

/// Positions of a stream rise with its versions: halves the versions until the first one above $2 is left.
const FIRST_VERSION_AFTER: &str = "
WITH RECURSIVE halved (low, high) AS (
    SELECT 0::bigint, coalesce((SELECT version + 1 FROM events WHERE stream_id = $1 ORDER BY version DESC LIMIT 1), 0)
    UNION ALL
    SELECT CASE WHEN middle.position > $2 THEN low ELSE middle.version + 1 END,
           CASE WHEN middle.position > $2 THEN middle.version ELSE high END
    FROM halved CROSS JOIN LATERAL (
        SELECT version, position FROM events WHERE stream_id = $1 AND version = (low + high) / 2) middle
    WHERE low < high
)
SELECT low FROM halved WHERE low = high";

/// Recorded times rise with positions: halves the log until one position is left. $2: the last one.
const LAST_BEFORE: &str = "
WITH RECURSIVE halved (low, high) AS (
    SELECT 0::bigint, $2::bigint
    UNION ALL
    SELECT CASE WHEN middle.recorded_at < $1 THEN middle.position ELSE low END,
           CASE WHEN middle.recorded_at < $1 THEN high ELSE middle.position - 1 END
    FROM halved CROSS JOIN LATERAL (
        SELECT position, recorded_at FROM events WHERE position = (low + high + 1) / 2) middle
    WHERE low < high
)
SELECT low FROM halved WHERE low = high";

/// A version stands once in a stream, by an index: as many as the last one tells, from 0 on, are all of them.
const BROKEN_STREAMS: &str = "
SELECT coalesce(s.name, 'stream number ' || v.stream_id) FROM (
    SELECT stream_id FROM events GROUP BY stream_id HAVING min(version) <> 0 OR max(version) + 1 <> count(*) LIMIT $1
) v LEFT JOIN streams s USING (stream_id)";

impl ReadPool {
    /// Many may ask at the same time, at each request: who comes while a question is on its way shares the next one.
    pub(crate) async fn stored_head(&self) -> Result<Position, ReadError> {
        let (came, patience) = (Instant::now(), self.connector.patience);
        let mut last = match tokio::time::timeout(patience, self.last_head.lock()).await {
            Ok(last) => last,
            Err(_) => return Err(StatementError::from(late(patience)).into_read()),
        };
        if let Some((asked, head)) = &*last
            && *asked >= came
        {
            return head.clone();
        }
        let asked = Instant::now();
        let head = self.ask_head().await;
        *last = Some((asked, head.clone()));
        head
    }

    async fn ask_head(&self) -> Result<Position, ReadError> {
        let position = self.ask(|| sqlx::query("SELECT position FROM head"), |row| row.try_get(0)).await?;
        let head = Position::from_sql(position.ok_or_else(|| ReadError::Corrupt("the log has no head".to_owned()))?);
        self.seen(head);
        Ok(head)
    }

    pub(crate) async fn anchor(&self) -> Result<Anchor, ReadError> {
        let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?));
        let head = self.ask(|| sqlx::query("SELECT position, checksum FROM head"), read).await?;
        let (position, checksum) = head.ok_or_else(|| ReadError::Corrupt("the log has no head".to_owned()))?;
        let anchor = Anchor { position: Position::from_sql(position), checksum: checksum.cast_unsigned() };
        self.seen(anchor.position);
        Ok(anchor)
    }

    /// The checksum of the event at `position`.
    pub(crate) async fn anchor_at(&self, position: Position) -> Result<Option<Anchor>, ReadError> {
        let sql = "SELECT checksum FROM events WHERE position = $1";
        let checksum = self.ask(|| sqlx::query(sql).bind(position.to_sql()), |row| row.try_get::<i64, _>(0)).await?;
        Ok(checksum.map(|checksum| Anchor { position, checksum: checksum.cast_unsigned() }))
    }

    /// Streams whose versions are not those from 0 on without a gap. Reads an index from end to end, so it is given all
    /// the time that it takes, on a connection of its own.
    pub(crate) async fn broken_streams(&self, limit: u32) -> Result<Vec<StreamId>, ReadError> {
        let ask = async {
            let mut connection = self.connector.connect("verify").await?;
            sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
            let found = sqlx::query_scalar::<_, String>(BROKEN_STREAMS).bind(i64::from(limit));
            Ok::<_, StatementError>(found.fetch_all(&mut connection).await?)
        };
        let names = ask.await.map_err(StatementError::into_read)?;
        Ok(names.into_iter().map(StreamId::from).collect())
    }

    /// The last position that was recorded before `micros`.
    pub(crate) async fn last_before(&self, micros: i64) -> Result<Position, ReadError> {
        let head = self.head()?.to_sql();
        let position = self.ask(|| sqlx::query(LAST_BEFORE).bind(micros).bind(head), |row| row.try_get(0)).await?;
        position.map(Position::from_sql).ok_or_else(|| ReadError::Corrupt("the log has a gap".to_owned()))
    }

    /// The version that the stream's next event will have; `None` when it has no event.
    pub(crate) async fn stream_head(&self, stream: &StreamId) -> Result<Option<Version>, ReadError> {
        let sql = "SELECT version + 1 FROM events WHERE stream_id = (SELECT stream_id FROM streams WHERE name = $1)
                   ORDER BY version DESC LIMIT 1";
        let next = self.ask(|| sqlx::query(sql).bind(of_name(stream.as_str())), |row| row.try_get::<i64, _>(0)).await?;
        Ok(next.map(i64::cast_unsigned))
    }

    /// The kept copy of a stream's state.
    pub(crate) async fn snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, ReadError> {
        let sql = "SELECT shape, next, state FROM snapshots
                   WHERE stream_id = (SELECT stream_id FROM streams WHERE name = $1)";
        let read = |row: &PgRow| {
            let next = row.try_get::<i64, _>(1)?.cast_unsigned();
            Ok(Snapshot { stream: stream.clone(), shape: row.try_get(0)?, next, state: row.try_get(2)? })
        };
        self.ask(|| sqlx::query(sql).bind(of_name(stream.as_str())), read).await
    }

    /// The answer kept for a request, unless its body was another one.
    pub(crate) async fn remembered(&self, request: &RequestKey) -> Result<KeyLookup, ReadError> {
        let RequestKey { caller, route, key, fingerprint } = request;
        let sql = "SELECT fingerprint, status, body, position FROM idempotency_keys
                   WHERE caller = $1 AND route = $2 AND key = $3";
        let read = |row: &PgRow| {
            let answer = Answer::of_columns(row.try_get(1)?, row.try_get(2)?);
            let stored = StoredAnswer { answer, position: Position::from_sql(row.try_get(3)?) };
            Ok((row.try_get::<Vec<u8>, _>(0)?, stored))
        };
        let bound = |query: Query<'static, Postgres, PgArguments>| {
            [caller, route, key].into_iter().fold(query, |query, text| query.bind(escape_nul(text).into_owned()))
        };
        let found = self.ask(|| bound(sqlx::query(sql)), read).await?;
        let found = compare(fingerprint, found);
        if let KeyLookup::Answered(stored) = &found {
            self.seen(stored.position);
        }
        Ok(found)
    }

    pub(super) async fn stream_number(
        &self,
        lease: &mut Lease<'_>,
        stream: &StreamId,
    ) -> Result<Option<i64>, ReadError> {
        loop {
            match self.names.stream_number(stream, lease.connection().await?, &self.connector).await {
                Ok(number) => return Ok(number),
                Err(error) => lease.failed(error.into())?,
            }
        }
    }

    /// The kinds that `filter` takes of events up to `high`.
    pub(super) async fn kinds_of(
        &self,
        lease: &mut Lease<'_>,
        (filter, high): (&Filter, Position),
    ) -> Result<Vec<i64>, ReadError> {
        let head = self.head()?;
        loop {
            match self.names.kinds_of((filter, high, head), lease.connection().await?, &self.connector).await {
                Ok(kinds) => return Ok(kinds),
                Err(error) => lease.failed(error.into())?,
            }
        }
    }

    /// The first version of a stream that stands after `position`; its next version when there is none.
    pub(super) async fn first_version_after(
        &self,
        lease: &mut Lease<'_>,
        stream: i64,
        position: Position,
    ) -> Result<Version, ReadError> {
        let query = || sqlx::query(FIRST_VERSION_AFTER).bind(stream).bind(position.to_sql());
        let version = self.ask_on(lease, query, |row| row.try_get::<i64, _>(0)).await?;
        version.map(i64::cast_unsigned).ok_or_else(|| ReadError::Corrupt(format!("stream {stream} has a gap")))
    }

    /// The first row of an answer.
    async fn ask<T>(
        &self,
        query: impl Fn() -> Query<'static, Postgres, PgArguments>,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Option<T>, ReadError> {
        let mut lease = self.lease().await?;
        let answer = self.ask_on(&mut lease, query, read).await?;
        lease.done();
        Ok(answer)
    }

    async fn ask_on<T>(
        &self,
        lease: &mut Lease<'_>,
        query: impl Fn() -> Query<'static, Postgres, PgArguments>,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Option<T>, ReadError> {
        loop {
            let connection = lease.connection().await?;
            let answer = rows(connection, self.connector.patience, query()).await.map_err(Trouble::from);
            match answer.and_then(|rows| Ok(rows.first().map(&read).transpose()?)) {
                Ok(answer) => {
                    lease.worked();
                    return Ok(answer);
                }
                Err(trouble) => lease.failed(trouble)?,
            }
        }
    }
}
