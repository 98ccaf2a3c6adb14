//! Events that another log recorded: taken over as they stand, or not at all.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use uuid::Uuid;

use super::{Writer, insert::Inserter};
use crate::{
    APPEND_EVENTS_MAX, AppendError, ImportError, ImportRefusal, NewEvent, Position, RecordedEvent, StreamId, Version,
    append::check_recorded, from_micros,
};

impl Writer {
    /// Writes `events` in one transaction; answers the head after it.
    pub(super) fn import(&mut self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
        if events.len() > APPEND_EVENTS_MAX {
            return Err(ImportError::TooMany { events: events.len() });
        }
        let before = *self.head.borrow();
        match self.write_import(events) {
            Ok(()) => {
                let written = self.state.position.get() - before.get();
                if written > 0 {
                    self.writable.store(true, Ordering::Release);
                }
                metrics::counter!("daybook_log_events_total").increment(written);
                self.versions.committed(self.state.written.drain(..));
                self.head.send_replace(self.state.position);
                Ok(self.state.position)
            }
            // Nothing was written yet: ending the transaction takes nothing back.
            Err(ImportFailed::Refused(refusal)) => match self.run_cached("ROLLBACK") {
                Ok(()) => Err(refusal),
                Err(error) => Err(self.give_up_import(error)),
            },
            Err(ImportFailed::Engine(error)) => Err(self.give_up_import(error)),
        }
    }

    fn give_up_import(&mut self, error: rusqlite::Error) -> ImportError {
        match self.give_up(error) {
            AppendError::StorageFull(source) => ImportError::StorageFull(source),
            AppendError::Storage(source) => ImportError::Storage(source),
            other => ImportError::Storage(Arc::new(other)),
        }
    }

    fn write_import(&mut self, events: Vec<RecordedEvent>) -> Result<(), ImportFailed> {
        self.begin()?;
        self.check_import(&events)?;
        if events.is_empty() {
            return Ok(self.run_cached("COMMIT")?);
        }
        let mut inserter = Inserter::new(&self.connection, &mut self.state, 0);
        let mut positions = Vec::with_capacity(events.len());
        let mut recorded_at = 0;
        let mut events = events.into_iter().peekable();
        let mut run: Vec<NewEvent> = Vec::new();
        while let Some(first) = events.next() {
            // As an append would have written them: events of one stream, taken at the same time.
            let (stream, at) = (first.stream.clone(), first.recorded_at);
            recorded_at = at.timestamp_micros();
            run.push(new_event(first, None));
            while let Some(event) = events.next_if(|event| event.stream == stream && event.recorded_at == at) {
                let metadata = run.last().map(|last| &last.metadata);
                let event = new_event(event, metadata);
                run.push(event);
            }
            inserter.recorded_at(recorded_at);
            inserter.insert(&stream, run.iter(), &mut positions)?;
            run.clear();
        }
        self.state.recorded_at = recorded_at;
        self.state.save(&self.connection)?;
        Ok(self.run_cached("COMMIT")?)
    }

    fn highest_id(&self) -> rusqlite::Result<Option<u128>> {
        let highest = self.id_holder(u128::MAX)?;
        Ok(highest.map(|(first, _, count)| first.saturating_add(u128::from(count) - u128::from(count > 0))))
    }

    /// Everything that could refuse the events is looked at before anything is written.
    fn check_import(&mut self, events: &[RecordedEvent]) -> Result<(), ImportFailed> {
        let mut ahead: HashMap<&StreamId, Version> = HashMap::new();
        let mut ids = FreshIds { highest: self.highest_id()?, before: None };
        let mut next = self.state.position.plus(1);
        let mut recorded_at = self.state.recorded_at;
        for event in events {
            let refused = |refusal| ImportError::Refused { position: event.position, refusal };
            if event.position != next {
                return Err(refused(ImportRefusal::Position { next }).into());
            }
            check_recorded(event).map_err(|bound| refused(ImportRefusal::Bound(bound)))?;
            for (name, time) in [("occurred_at", event.occurred_at), ("recorded_at", event.recorded_at)] {
                if from_micros(time.timestamp_micros()) != time {
                    return Err(refused(ImportRefusal::Time { time: name }).into());
                }
            }
            if event.recorded_at.timestamp_micros() < recorded_at {
                return Err(refused(ImportRefusal::RecordedAt).into());
            }
            let version = match ahead.get(&event.stream) {
                Some(version) => *version,
                None => self.state.stream(&self.connection, &event.stream)?.map_or(0, |head| head.next),
            };
            if event.version != version {
                let (stream, next) = (event.stream.clone(), version);
                return Err(refused(ImportRefusal::Version { stream, version: event.version, next }).into());
            }
            let taken = match event.id.as_u128() {
                id if ids.is_above_all(id) => None,
                id => match self.id_holder(id)? {
                    Some((first, at, count)) if id - first < u128::from(count) => {
                        Some(at.plus(u64::try_from(id - first).unwrap_or(u64::MAX)))
                    }
                    _ => ids.earlier(event, events),
                },
            };
            if let Some(position) = taken {
                return Err(refused(ImportRefusal::IdTaken { id: event.id, position }).into());
            }
            ahead.insert(&event.stream, version + 1);
            recorded_at = event.recorded_at.timestamp_micros();
            next = next.plus(1);
        }
        Ok(())
    }
}

/// The ids of the log and of the events looked at. Ids mostly rise, and one above all others is in no need of a look-up.
struct FreshIds {
    highest: Option<u128>,
    /// Where the ids of the events looked at stand, once it was necessary to know.
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

enum ImportFailed {
    /// The events are refused; nothing was written.
    Refused(ImportError),
    /// SQLite failed: the transaction is lost.
    Engine(rusqlite::Error),
}

impl From<ImportError> for ImportFailed {
    fn from(error: ImportError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for ImportFailed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// Shares the metadata of the event before when they read alike, so that they are stored once.
fn new_event(event: RecordedEvent, before: Option<&Arc<str>>) -> NewEvent {
    let metadata = match before {
        Some(before) if **before == *event.metadata => Arc::clone(before),
        _ => event.metadata.into(),
    };
    NewEvent {
        id: event.id,
        event_type: event.event_type.to_string().into(),
        schema_version: event.schema_version,
        data: event.data,
        metadata,
        occurred_at: event.occurred_at,
    }
}
