//! Whether events that another log recorded can stand in this one, exactly as they are.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Facts, Stop, check_recorded};
use crate::{ImportError, ImportRefusal, Position, RecordedEvent, StreamId, Version, from_micros};

/// Refuses events that do not go on exactly where the log ends: after position `head`, whose event was recorded at
/// `recorded_at`. The first event that cannot stand where it says is the one that is told.
pub(crate) fn check_import<F: Facts>(
    facts: &mut F,
    events: &[RecordedEvent],
    head: Position,
    mut recorded_at: i64,
) -> Result<(), Stop<ImportError, F::Failure>> {
    let mut ahead: HashMap<&StreamId, Version> = HashMap::new();
    let mut ids = FreshIds { highest: facts.highest_id().map_err(Stop::Failed)?, before: None };
    let mut next = head.plus(1);
    for event in events {
        let refused = |refusal| Err(Stop::Refused(ImportError::Refused { position: event.position, refusal }));
        if event.position != next {
            return refused(ImportRefusal::Position { next });
        }
        if let Err(bound) = check_recorded(event) {
            return refused(ImportRefusal::Bound(bound));
        }
        for (time, at) in [("occurred_at", event.occurred_at), ("recorded_at", event.recorded_at)] {
            if from_micros(at.timestamp_micros()) != at {
                return refused(ImportRefusal::Time { time });
            }
        }
        if event.recorded_at.timestamp_micros() < recorded_at {
            return refused(ImportRefusal::RecordedAt);
        }
        let version = match ahead.get(&event.stream) {
            Some(version) => *version,
            None => facts.next_version(&event.stream).map_err(Stop::Failed)?,
        };
        if event.version != version {
            let (stream, next) = (event.stream.clone(), version);
            return refused(ImportRefusal::Version { stream, version: event.version, next });
        }
        if !ids.is_above_all(event.id.as_u128()) {
            let taken = facts.position_of(event.id).map_err(Stop::Failed)?;
            if let Some(position) = taken.or_else(|| ids.earlier(event, events)) {
                return refused(ImportRefusal::IdTaken { id: event.id, position });
            }
        }
        ahead.insert(&event.stream, version + 1);
        recorded_at = event.recorded_at.timestamp_micros();
        next = next.plus(1);
    }
    Ok(())
}

/// The ids of the log and of the events looked at. Ids mostly rise, and one above all others needs no look-up.
struct FreshIds {
    highest: Option<u128>,
    /// Where the ids of the events stand, once it was necessary to know.
    before: Option<HashMap<Uuid, Position>>,
}

impl FreshIds {
    /// Whether `id` is higher than all before it; it is one of them from now on.
    fn is_above_all(&mut self, id: u128) -> bool {
        let is_above = self.highest.is_none_or(|highest| id > highest);
        self.highest = self.highest.max(Some(id));
        is_above
    }

    /// Where an event before this one among `events` has its id.
    fn earlier(&mut self, event: &RecordedEvent, events: &[RecordedEvent]) -> Option<Position> {
        let before =
            self.before.get_or_insert_with(|| events.iter().rev().map(|event| (event.id, event.position)).collect());
        // The first of those with the same id is what the map holds.
        before.get(&event.id).copied().filter(|first| *first != event.position)
    }
}
