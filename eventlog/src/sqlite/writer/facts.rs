//! What the rules ask of the file, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::insert::{Heads, id_runs};
use crate::{
    KeyLookup, NewEvent, Position, RequestKey, StreamId, Version,
    rules::{Content, Facts, Stop},
    sqlite::reader,
};

/// The file as the present transaction has left it.
pub(super) struct FileFacts<'w> {
    pub(super) connection: &'w Connection,
    pub(super) heads: &'w mut Heads,
}

impl Facts for FileFacts<'_> {
    type Failure = rusqlite::Error;

    fn kept(&mut self, key: &RequestKey) -> rusqlite::Result<KeyLookup> {
        reader::lookup_key(self.connection, key)
    }

    fn next_version(&mut self, stream: &StreamId) -> rusqlite::Result<Version> {
        Ok(self.heads.stream(self.connection, stream)?.map_or(0, |head| head.next))
    }

    /// One look-up for each run of ids: those of one append are usually one run.
    fn may_be_taken(&mut self, events: &[NewEvent]) -> rusqlite::Result<bool> {
        let mut any = false;
        for run in id_runs(events) {
            let holder = self.holder(run.last)?;
            any |= holder.is_some_and(|(first, _, count)| run.first.saturating_sub(first) < u128::from(count));
        }
        Ok(any)
    }

    fn position_of(&mut self, id: Uuid) -> rusqlite::Result<Option<Position>> {
        let id = id.as_u128();
        let run = self.holder(id)?.filter(|(first, _, count)| id - first < u128::from(*count));
        Ok(run.map(|(first, position, _)| position.plus(u64::try_from(id - first).unwrap_or(u64::MAX))))
    }

    fn holds(
        &mut self,
        _id: Uuid,
        position: Position,
        is_same: impl FnOnce(&Content<'_>) -> bool,
    ) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT s.name, k.event_type, e.schema_version, e.data FROM events e JOIN streams s USING (stream_id)
                 JOIN kinds k USING (kind_id) WHERE e.position = ?1",
            )?
            .query_row([position.to_sql()], |row| {
                Ok(is_same(&Content {
                    stream: row.get_ref(0)?.as_str().unwrap_or_default(),
                    event_type: row.get_ref(1)?.as_str().unwrap_or_default(),
                    schema_version: row.get(2)?,
                    data: row.get_ref(3)?.as_str().unwrap_or_default(),
                }))
            })
    }

    fn highest_id(&mut self) -> rusqlite::Result<Option<u128>> {
        let highest = self.holder(u128::MAX)?;
        Ok(highest.map(|(first, _, count)| first.saturating_add(u128::from(count) - u128::from(count > 0))))
    }
}

impl FileFacts<'_> {
    /// The last run of ids that begins at or below `id`: its first id, that event's position, how many follow on.
    fn holder(&self, id: u128) -> rusqlite::Result<Option<(u128, Position, u64)>> {
        self.connection
            .prepare_cached("SELECT id, position, count FROM id_runs WHERE id <= ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([&id.to_be_bytes()[..]], |row| {
                let first: [u8; 16] = row.get(0)?;
                Ok((u128::from_be_bytes(first), Position::from_sql(row.get(1)?), row.get::<_, i64>(2)?.cast_unsigned()))
            })
            .optional()
    }
}

impl<R> From<rusqlite::Error> for Stop<R, rusqlite::Error> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}
