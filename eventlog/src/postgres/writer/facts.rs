//! What a group of appends needs to know of the log: asked for with one statement, so that it is of one moment.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    super::{connection::rows, error::StatementError},
    group::Waiting,
};
use crate::{
    Answer, Position, RequestKey, StoredAnswer, StreamAppend, Version,
    database::{Connector, escape_nul},
};

/// $1 names of streams; $2, $3 first and last of runs of event ids; $4, $5 categories and types of events; $6, $7, $8
/// callers, routes and keys of requests. One row, whatever is found.
const SQL: &str = "
SELECT h.position, h.checksum, h.recorded_at, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       s.places, s.ids, s.nexts, e.ids, e.positions, e.streams, e.types, e.schema_versions, e.datas,
       k.places, k.ids, a.places, a.fingerprints, a.statuses, a.bodies, a.positions
FROM head h
CROSS JOIN LATERAL (
    SELECT array_agg(asked.place) AS places, array_agg(found.stream_id) AS ids, array_agg(last.version + 1) AS nexts
    FROM UNNEST($1::text[]) WITH ORDINALITY AS asked (name, place)
    JOIN streams found ON found.name = asked.name
    CROSS JOIN LATERAL (
        SELECT version FROM events WHERE stream_id = found.stream_id ORDER BY version DESC LIMIT 1) last
) s
CROSS JOIN LATERAL (
    SELECT array_agg(found.id) AS ids, array_agg(found.position) AS positions, array_agg(stream.name) AS streams,
           array_agg(kind.event_type) AS types, array_agg(found.schema_version) AS schema_versions,
           array_agg(found.data) AS datas
    FROM UNNEST($2::uuid[], $3::uuid[]) AS run (first, last)
    JOIN events found ON found.id >= run.first AND found.id <= run.last
    JOIN streams stream USING (stream_id) JOIN kinds kind USING (kind_id)
) e
CROSS JOIN LATERAL (
    SELECT array_agg(asked.place) AS places, array_agg(found.kind_id) AS ids
    FROM UNNEST($4::text[], $5::text[]) WITH ORDINALITY AS asked (category, event_type, place)
    JOIN kinds found ON found.category = asked.category AND found.event_type = asked.event_type
) k
CROSS JOIN LATERAL (
    SELECT array_agg(asked.place) AS places, array_agg(found.fingerprint) AS fingerprints,
           array_agg(found.status) AS statuses, array_agg(found.body) AS bodies, array_agg(found.position) AS positions
    FROM UNNEST($6::text[], $7::text[], $8::text[]) WITH ORDINALITY AS asked (caller, route, key, place)
    JOIN idempotency_keys found
      ON found.caller = asked.caller AND found.route = asked.route AND found.key = asked.key
) a";

/// What a group asks for. Made once, whatever becomes of the first try.
#[derive(Default)]
pub(super) struct Question<'g> {
    streams: Vec<&'g str>,
    first_ids: Vec<Uuid>,
    last_ids: Vec<Uuid>,
    kinds: Vec<(&'g str, &'g str)>,
    requests: Vec<&'g RequestKey>,
    bytes: usize,
}

/// A kind of event, by the category of its stream and its type, to its number.
pub(super) type Kinds = HashMap<String, HashMap<String, i64>>;

impl<'g> Question<'g> {
    /// Everything that these appends touch, but for the kinds that are known already.
    pub(super) fn of(group: &'g [Waiting], known: &Kinds) -> Self {
        let mut question = Self::of_parts(group.iter().flat_map(|waiting| &waiting.parts), known);
        let mut requests = HashSet::new();
        for waiting in group {
            if let Some(key) = &waiting.key
                && requests.insert((&key.caller, &key.route, &key.key))
            {
                question.requests.push(key);
            }
        }
        question
    }

    pub(super) fn of_parts(parts: impl IntoIterator<Item = &'g StreamAppend>, known: &Kinds) -> Self {
        let mut question = Self::default();
        let (mut streams, mut kinds) = (HashSet::new(), HashSet::new());
        for part in parts {
            if streams.insert(part.stream.as_str()) {
                question.streams.push(part.stream.as_str());
            }
            let category = part.stream.category();
            let of_category = known.get(category);
            for event in &part.events {
                question.bytes += event.bytes();
                question.ask_for_id(event.id);
                let is_known = of_category.is_some_and(|types| types.contains_key(&*event.event_type));
                if !is_known && kinds.insert((category, &*event.event_type)) {
                    question.kinds.push((category, &event.event_type));
                }
            }
        }
        question
    }

    fn ask_for_id(&mut self, id: Uuid) {
        match self.last_ids.last_mut() {
            Some(last) if last.as_u128().checked_add(1) == Some(id.as_u128()) => *last = id,
            _ => {
                self.first_ids.push(id);
                self.last_ids.push(id);
            }
        }
    }

    pub(super) async fn ask(
        &self,
        connection: &mut PgConnection,
        connector: &Connector,
    ) -> Result<Facts, StatementError> {
        let (categories, types): (Vec<&str>, Vec<&str>) = self.kinds.iter().copied().unzip();
        let texts = |text: fn(&'g RequestKey) -> &'g str| -> Vec<Cow<'g, str>> {
            self.requests.iter().map(|request| escape_nul(text(request))).collect()
        };
        let query = sqlx::query(SQL)
            .bind(&self.streams)
            .bind(&self.first_ids)
            .bind(&self.last_ids)
            .bind(categories)
            .bind(types)
            .bind(texts(|request| &request.caller))
            .bind(texts(|request| &request.route))
            .bind(texts(|request| &request.key));
        let found = rows(connection, connector.patience_for(self.bytes), query).await?;
        let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(self.read(row)?)
    }

    fn read(&self, row: &PgRow) -> Result<Facts, sqlx::Error> {
        let mut facts = Facts {
            head: Position::from_sql(row.try_get(0)?),
            checksum: row.try_get::<i64, _>(1)?.cast_unsigned(),
            recorded_at: row.try_get(2)?,
            now: row.try_get(3)?,
            streams: HashMap::new(),
            events: HashMap::new(),
            kinds: Vec::new(),
            answers: HashMap::new(),
        };
        for ((place, id), next) in numbers(row, 4)?.zip(numbers(row, 5)?).zip(numbers(row, 6)?) {
            if let Some(name) = asked(&self.streams, place) {
                facts.streams.insert((*name).to_owned(), FoundStream { id, next: next.cast_unsigned() });
            }
        }
        let ids: Vec<Uuid> = list(row, 7)?;
        let (streams, types, datas): (Vec<String>, Vec<String>, Vec<String>) =
            (list(row, 9)?, list(row, 10)?, list(row, 12)?);
        let known = ids.into_iter().zip(numbers(row, 8)?).zip(list::<i32>(row, 11)?);
        for ((((id, position), schema_version), (stream, event_type)), data) in
            known.zip(streams.into_iter().zip(types)).zip(datas)
        {
            let position = Position::from_sql(position);
            facts.events.insert(id, FoundEvent { position, stream, event_type, schema_version, data });
        }
        for (place, id) in numbers(row, 13)?.zip(numbers(row, 14)?) {
            if let Some((category, event_type)) = asked(&self.kinds, place) {
                facts.kinds.push(((*category).to_owned(), (*event_type).to_owned(), id));
            }
        }
        let bodies: Vec<Vec<u8>> = list(row, 18)?;
        let answers = numbers(row, 15)?.zip(list::<Vec<u8>>(row, 16)?).zip(list::<i32>(row, 17)?).zip(bodies);
        for ((((place, fingerprint), status), body), position) in answers.zip(numbers(row, 19)?) {
            if let Some(request) = asked(&self.requests, place) {
                let answer = Answer::of_columns(status, body);
                let stored = StoredAnswer { answer, position: Position::from_sql(position) };
                facts.answers.insert(request_of(request), (fingerprint, stored));
            }
        }
        Ok(facts)
    }
}

/// A request without its body: caller, route and key.
pub(super) fn request_of(key: &RequestKey) -> (String, String, String) {
    (key.caller.clone(), key.route.clone(), key.key.clone())
}

fn asked<T>(of: &[T], place: i64) -> Option<&T> {
    usize::try_from(place - 1).ok().and_then(|place| of.get(place))
}

/// A column of a list that is NULL when it is empty.
fn list<T>(row: &PgRow, column: usize) -> Result<Vec<T>, sqlx::Error>
where
    Vec<T>: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(row.try_get::<Option<Vec<T>>, _>(column)?.unwrap_or_default())
}

fn numbers(row: &PgRow, column: usize) -> Result<std::vec::IntoIter<i64>, sqlx::Error> {
    Ok(list::<i64>(row, column)?.into_iter())
}

/// The log at one moment, as far as a group touches it.
pub(super) struct Facts {
    pub(super) head: Position,
    pub(super) checksum: u64,
    /// Of the last event.
    pub(super) recorded_at: i64,
    /// By the database's clock, which is the same for all nodes.
    pub(super) now: i64,
    pub(super) streams: HashMap<String, FoundStream>,
    pub(super) events: HashMap<Uuid, FoundEvent>,
    pub(super) kinds: Vec<(String, String, i64)>,
    /// With the fingerprint of the request's body.
    pub(super) answers: HashMap<(String, String, String), (Vec<u8>, StoredAnswer)>,
}

#[derive(Clone, Copy)]
pub(super) struct FoundStream {
    pub(super) id: i64,
    pub(super) next: Version,
}

pub(super) struct FoundEvent {
    pub(super) position: Position,
    pub(super) stream: String,
    pub(super) event_type: String,
    pub(super) schema_version: i32,
    pub(super) data: String,
}
