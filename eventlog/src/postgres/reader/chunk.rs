//! A piece of a read: fetched whole, then visited, so that a lost connection costs a try and no event is seen twice.

use std::{ops::ControlFlow, sync::atomic::Ordering};

use futures::TryStreamExt;
use sqlx::PgConnection;

use super::{
    super::connection::answered,
    copy::{COLUMNS, Row},
    names::NamesOf,
    pool::{Lease, ReadPool, Trouble},
};
use crate::{Direction, EventRef, Position, READ_BYTES_MAX, ReadError};

/// Rows of a piece, while what an event weighs is not known, and at most.
pub(super) const ROWS_FIRST: usize = 2_048;
const ROWS_MAX: usize = 8_192;
/// Bytes that a piece should have, and bytes after which it is cut off.
const BYTES_WANTED: usize = READ_BYTES_MAX / 2;
const BYTES_MAX: usize = READ_BYTES_MAX;

/// Which events. Numbers only: COPY takes no parameters.
pub(super) enum Wanted {
    /// Those after the first position up to the second.
    Positions(Position, Position),
    /// The same, of these kinds.
    Kinds(Vec<i64>, Position, Position),
    /// Those of a stream from the first version up to, and without, the second.
    Stream(i64, u64, u64),
}

impl Wanted {
    fn copy(&self, direction: Direction, rows: usize) -> String {
        let order = match direction {
            Direction::Forward => "",
            Direction::Backward => " DESC",
        };
        let select = match self {
            Self::Positions(after, last) => format!(
                "SELECT {COLUMNS} FROM events WHERE position > {after} AND position <= {last} \
                 ORDER BY position{order} LIMIT {rows}"
            ),
            // Each kind by its index, no further than all of them together are wanted.
            Self::Kinds(kinds, after, last) => {
                let kinds: Vec<String> = kinds.iter().map(i64::to_string).collect();
                format!(
                    "SELECT {COLUMNS} FROM (SELECT found.at FROM UNNEST('{{{}}}'::bigint[]) AS kind (id) \
                     CROSS JOIN LATERAL (SELECT position AS at FROM events WHERE kind_id = kind.id \
                     AND position > {after} AND position <= {last} ORDER BY position{order} LIMIT {rows}) found \
                     ORDER BY at{order} LIMIT {rows}) wanted JOIN events ON events.position = wanted.at \
                     ORDER BY position{order}",
                    kinds.join(",")
                )
            }
            Self::Stream(id, from, end) => format!(
                "SELECT {COLUMNS} FROM events WHERE stream_id = {id} AND version >= {from} AND version < {end} \
                 ORDER BY version{order} LIMIT {rows}"
            ),
        };
        format!("COPY ({select}) TO STDOUT (FORMAT binary)")
    }
}

/// Events in memory, with the names they need.
pub(super) struct Chunk {
    rows: Vec<Row>,
    names: NamesOf,
    /// Nothing of what was wanted is missing.
    pub(super) is_last: bool,
}

impl ReadPool {
    /// The first events of `wanted`, at most `limit`, and no more than fit in memory comfortably.
    pub(super) async fn chunk(
        &self,
        lease: &mut Lease<'_>,
        (wanted, direction, limit): (&Wanted, Direction, usize),
    ) -> Result<Chunk, ReadError> {
        let asked = limit.min(self.pace.load(Ordering::Relaxed));
        let copy = wanted.copy(direction, asked);
        loop {
            match self.fetch(lease.connection().await?, &copy).await {
                Ok((rows, names, other)) => {
                    lease.worked();
                    let is_last = other.is_none() && rows.len() < asked;
                    if let Some(other) = other {
                        lease.replace(other);
                    }
                    // The next piece, be it of another read, is as large as suits events like these.
                    let bytes: usize = rows.iter().map(Row::bytes).sum();
                    let weight = bytes.checked_div(rows.len()).unwrap_or(0).max(1);
                    if !rows.is_empty() {
                        self.pace.store((BYTES_WANTED / weight).clamp(1, ROWS_MAX), Ordering::Relaxed);
                    }
                    return Ok(Chunk { rows, names, is_last });
                }
                Err(trouble) => lease.failed(trouble)?,
            }
        }
    }

    /// With another connection to go on with, when this one still has the rest of a long answer to give.
    async fn fetch(
        &self,
        connection: &mut PgConnection,
        copy: &str,
    ) -> Result<(Vec<Row>, NamesOf, Option<PgConnection>), Trouble> {
        let patience = self.connector.patience_for(BYTES_MAX);
        let (rows, cut_off) = answered(patience, fetch_rows(connection, copy)).await?;
        let mut other = if cut_off { Some(self.connector.connect("reader").await?) } else { None };
        let names = self.names.of(&rows, other.as_mut().unwrap_or(connection), &self.connector).await?;
        Ok((rows, names, other))
    }
}

async fn fetch_rows(connection: &mut PgConnection, copy: &str) -> Result<(Vec<Row>, bool), sqlx::Error> {
    let mut messages = connection.copy_out_raw(copy).await?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.try_next().await? {
        if let Some(row) = Row::of(message) {
            bytes += row.bytes();
            rows.push(row);
            if bytes > BYTES_MAX {
                return Ok((rows, true));
            }
        }
    }
    Ok((rows, false))
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Where the last event stands.
    pub(super) fn last(&self) -> Option<(Position, u64)> {
        let columns = self.rows.last()?.columns()?;
        Some((Position::from_sql(columns.position), columns.version.cast_unsigned()))
    }

    /// Visits the events until `visit` breaks; says after which one that was.
    pub(super) fn visit(
        &self,
        visit: &mut impl FnMut(&EventRef<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Position>, ReadError> {
        let mut stream = None;
        // The kind of the event before is often that of the next.
        let mut place = 0;
        let NamesOf { streams, kinds } = &self.names;
        for row in &self.rows {
            let columns = row.columns().ok_or_else(|| ReadError::Corrupt("an event could not be read".to_owned()))?;
            let name = match stream {
                Some((id, name)) if id == columns.stream_id => name,
                _ => streams.get(&columns.stream_id).ok_or_else(|| {
                    ReadError::Corrupt(format!("stream {} of an event is not in its table", columns.stream_id))
                })?,
            };
            stream = Some((columns.stream_id, name));
            if kinds.get(place).is_none_or(|kind| kind.id != columns.kind_id) {
                place = kinds.iter().position(|kind| kind.id == columns.kind_id).unwrap_or(usize::MAX);
            }
            let kind = kinds.get(place).ok_or_else(|| {
                ReadError::Corrupt(format!("kind {} of an event is not in its table", columns.kind_id))
            })?;
            let event = EventRef {
                position: Position::from_sql(columns.position),
                stream: name,
                version: columns.version.cast_unsigned(),
                id: columns.id,
                event_type: &kind.event_type,
                schema_version: columns.schema_version,
                data: columns.data,
                metadata: columns.metadata,
                occurred_at: columns.occurred_at,
                recorded_at: columns.recorded_at,
            };
            if visit(&event).is_break() {
                return Ok(Some(event.position));
            }
        }
        Ok(None)
    }
}
