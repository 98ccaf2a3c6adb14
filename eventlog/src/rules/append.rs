//! What becomes of an append.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Content, Facts, Stop};
use crate::{
    AppendError, Appended, KeyLookup, NewEvent, Position, RequestKey, StoredAnswer, StreamAppend, StreamId, Version,
};

/// The first positions of those events of a part that are there already. Usually none is, and nothing is allocated.
pub(crate) type Known = HashMap<Uuid, Position>;

/// What becomes of an append that is not refused.
pub(crate) enum Decision {
    /// Its request was answered before: nothing is written, this is the first answer.
    Remembered(StoredAnswer),
    /// The events of each part that are not known are written.
    Write(Vec<Known>),
}

/// Decides on one append. Everything that could refuse it is looked at before anything of it is written.
pub(crate) fn decide<F: Facts>(
    facts: &mut F,
    key: Option<&RequestKey>,
    parts: &[StreamAppend],
) -> Result<Decision, Stop<AppendError, F::Failure>> {
    if let Some(key) = key {
        match facts.kept(key).map_err(Stop::Failed)? {
            KeyLookup::Unknown => {}
            KeyLookup::Answered(stored) => return Ok(Decision::Remembered(stored)),
            KeyLookup::OtherBody => return Err(Stop::Refused(AppendError::KeyReused)),
        }
    }
    // The versions that the streams will have after the parts before, as far as this append changes them.
    let mut ahead: HashMap<&StreamId, Version> = HashMap::new();
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let next = match ahead.get(&part.stream) {
            Some(next) => *next,
            None => facts.next_version(&part.stream).map_err(Stop::Failed)?,
        };
        let known = known_events(facts, part)?;
        let fresh = part.events.len() - known.len();
        // What is there already is answered in every mode; the expectation is about what is to be written.
        if (fresh > 0 || part.events.is_empty()) && !part.expected.holds_for(next) {
            let (stream, expected) = (part.stream.clone(), part.expected);
            return Err(Stop::Refused(AppendError::Conflict { stream, expected, next }));
        }
        if parts.len() > 1 {
            ahead.insert(&part.stream, next + fresh as u64);
        }
        all.push(known);
    }
    Ok(Decision::Write(all))
}

fn known_events<F: Facts>(facts: &mut F, part: &StreamAppend) -> Result<Known, Stop<AppendError, F::Failure>> {
    let mut known = Known::new();
    if !facts.may_be_taken(&part.events).map_err(Stop::Failed)? {
        return Ok(known);
    }
    for event in &part.events {
        let Some(position) = facts.position_of(event.id).map_err(Stop::Failed)? else { continue };
        let is_same = |stored: &Content<'_>| is_same(stored, &part.stream, event);
        if !facts.holds(event.id, position, is_same).map_err(Stop::Failed)? {
            return Err(Stop::Refused(AppendError::IdReused { id: event.id, position }));
        }
        known.insert(event.id, position);
    }
    Ok(known)
}

/// The same event is the same fact in the same stream; who sent it, and when, may differ.
fn is_same(stored: &Content<'_>, stream: &StreamId, event: &NewEvent) -> bool {
    stored.stream == stream.as_str()
        && stored.event_type == event.event_type
        && stored.schema_version == i64::from(event.schema_version)
        && same_json(stored.data, &event.data)
}

/// Equal as text or, for JSON that another writer spelt otherwise, by value.
fn same_json(a: &str, b: &str) -> bool {
    let parse = serde_json::from_str::<serde_json::Value>;
    a == b || matches!((parse(a), parse(b)), (Ok(a), Ok(b)) if a == b)
}

/// Those events of a part that are to be written.
pub(crate) fn fresh<'p>(part: &'p StreamAppend, known: &Known) -> impl Iterator<Item = &'p NewEvent> {
    part.events.iter().filter(|event| !known.contains_key(&event.id))
}

/// Where the events of an append stand once it is written to a log that ends at `head`: the known ones where they are,
/// the others after the head, in the order of the parts.
pub(crate) fn appended(parts: &[StreamAppend], known: &[Known], head: Position) -> Appended {
    let mut next = head;
    let mut positions = Vec::with_capacity(parts.iter().map(|part| part.events.len()).sum());
    for (part, known) in parts.iter().zip(known) {
        positions.extend(part.events.iter().map(|event| match known.get(&event.id) {
            Some(position) => *position,
            None => {
                next = next.plus(1);
                next
            }
        }));
    }
    let repeated = !positions.is_empty() && next == head;
    let last = positions.iter().copied().max().unwrap_or(head);
    Appended { positions, last, repeated }
}
