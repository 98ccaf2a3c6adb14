//! Events that another log recorded: taken over as they stand, or not at all.

use std::sync::{Arc, atomic::Ordering};

use super::{Writer, facts::FileFacts, insert::Inserter};
use crate::{
    AppendError, ImportError, NewEvent, Position, RecordedEvent,
    rules::{self, Stop},
};

impl Writer {
    /// Writes `events` in one transaction; answers the head after it.
    pub(super) fn import(&mut self, events: Vec<RecordedEvent>) -> Result<Position, ImportError> {
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
            Err(Stop::Refused(refusal)) => match self.run_cached("ROLLBACK") {
                Ok(()) => Err(refusal),
                Err(error) => Err(self.give_up_import(error)),
            },
            Err(Stop::Failed(error)) => Err(self.give_up_import(error)),
        }
    }

    fn give_up_import(&mut self, error: rusqlite::Error) -> ImportError {
        match self.give_up(error) {
            AppendError::StorageFull(source) => ImportError::StorageFull(source),
            AppendError::Storage(source) => ImportError::Storage(source),
            other => ImportError::Storage(Arc::new(other)),
        }
    }

    fn write_import(&mut self, events: Vec<RecordedEvent>) -> Result<(), Stop<ImportError, rusqlite::Error>> {
        self.begin()?;
        let (head, last) = (self.state.position, self.state.recorded_at);
        let mut facts = FileFacts { connection: &self.connection, heads: &mut self.state };
        rules::check_import(&mut facts, &events, head, last)?;
        if events.is_empty() {
            return Ok(self.run_cached("COMMIT")?);
        }
        let mut inserter = Inserter::new(&self.connection, &mut self.state, 0);
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
            inserter.insert(&stream, run.iter())?;
            run.clear();
        }
        self.state.recorded_at = recorded_at;
        self.state.save(&self.connection)?;
        Ok(self.run_cached("COMMIT")?)
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
