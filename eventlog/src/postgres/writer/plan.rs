//! What becomes of a group of appends, worked out in memory from what was asked for beforehand: who is refused or
//! answered from what is there, by the rules of all engines, and which rows are written.

use std::{
    collections::HashMap,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    facts::{Facts, FoundStream, Kinds, request_of},
    group::{Promise, Waiting},
    rows::{EventRow, Move, Rows},
};
use crate::{
    AppendError, AppendOutcome, Appended, ImportError, KeyLookup, NewEvent, Position, RecordedEvent, RequestKey,
    StoredAnswer, StreamAppend, StreamId, Version,
    checksum::{Checksums, Content},
    rules::{self, Decision, Known, Stop},
};

pub(super) type Outcome = Result<AppendOutcome, AppendError>;

/// What is to be written, and what everybody is answered once it is.
pub(super) struct Plan<'g> {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) rows: Rows<'g>,
    pub(super) head: Move,
    /// The streams that are written, as they are then.
    pub(super) streams: HashMap<&'g str, FoundStream>,
}

/// Plans the appends one after the other; each sees what those before it write. `promises` are the answers to be kept,
/// made here, where the positions are certain.
pub(super) fn plan<'g>(group: &'g [Waiting], promises: &mut [Promise], facts: &Facts, kinds: &Kinds) -> Plan<'g> {
    let recorded_at = rules::recorded_at(facts.now, facts.recorded_at);
    let mut planner = Planner::new(facts, kinds, recorded_at);
    let outcomes = group.iter().zip(promises).map(|(waiting, promise)| planner.take(waiting, promise)).collect();
    let Planner { rows, mut head, streams, .. } = planner;
    if head.to == head.from {
        head.recorded_at = facts.recorded_at;
    }
    Plan { outcomes, rows, head, streams }
}

/// Plans what another log recorded, unless it cannot stand here. `parts` are the same events, with their recorded times.
pub(super) fn plan_import<'g>(
    events: &[RecordedEvent],
    parts: &'g [(StreamAppend, i64)],
    facts: &Facts,
    kinds: &Kinds,
) -> Result<(Rows<'g>, Move), ImportError> {
    let mut planner = Planner::new(facts, kinds, facts.recorded_at);
    match rules::check_import(&mut planner, events, facts.head, facts.recorded_at) {
        Ok(()) => {}
        Err(Stop::Refused(refusal)) => return Err(refusal),
    }
    for (part, recorded_at) in parts {
        planner.head.recorded_at = *recorded_at;
        planner.write(part, &Known::new());
    }
    Ok((planner.rows, planner.head))
}

struct Planner<'g, 'f> {
    facts: &'f Facts,
    kinds: &'f Kinds,
    head: Move,
    /// The streams that the group has written.
    streams: HashMap<&'g str, FoundStream>,
    /// The events that the group has written.
    written: HashMap<Uuid, (Position, &'g str, &'g NewEvent)>,
    new_kinds: HashMap<(&'g str, &'g str), i64>,
    /// The answers that the group has given, with their requests' fingerprints.
    answers: HashMap<(String, String, String), ([u8; 32], StoredAnswer)>,
    rows: Rows<'g>,
    checksums: Checksums,
}

impl<'g, 'f> Planner<'g, 'f> {
    fn new(facts: &'f Facts, kinds: &'f Kinds, recorded_at: i64) -> Self {
        Self {
            facts,
            kinds,
            head: Move {
                from: facts.head,
                from_checksum: facts.checksum,
                to: facts.head,
                checksum: facts.checksum,
                recorded_at,
            },
            streams: HashMap::new(),
            written: HashMap::new(),
            new_kinds: HashMap::new(),
            answers: HashMap::new(),
            rows: Rows::default(),
            checksums: Checksums::new(),
        }
    }

    fn take(&mut self, waiting: &'g Waiting, promise: &mut Promise) -> Outcome {
        let known = match rules::decide(self, waiting.key.as_ref(), &waiting.parts) {
            Ok(Decision::Remembered(stored)) => return Ok(AppendOutcome::Remembered(stored)),
            Ok(Decision::Write(known)) => known,
            Err(Stop::Refused(refusal)) => return Err(refusal),
        };
        let appended = rules::appended(&waiting.parts, &known, self.head.to);
        if let Some(key) = &waiting.key {
            let answer = promise.keep(&appended)?;
            let stored = StoredAnswer { answer, position: appended.last };
            self.answers.insert(request_of(key), (key.fingerprint, stored.clone()));
            self.rows.answer(key, stored);
        }
        for (part, known) in waiting.parts.iter().zip(&known) {
            self.write(part, known);
        }
        Ok(AppendOutcome::Appended(appended))
    }

    fn stream(&self, name: &str) -> Option<FoundStream> {
        self.streams.get(name).or_else(|| self.facts.streams.get(name)).copied()
    }

    fn write(&mut self, part: &'g StreamAppend, known: &Known) {
        let name = part.stream.as_str();
        let category = part.stream.category();
        let mut stream = self.stream(name);
        for event in rules::fresh(part, known) {
            let position = self.head.to.plus(1);
            let of_stream = stream.get_or_insert_with(|| {
                self.rows.stream(position.to_sql(), name);
                FoundStream { id: position.to_sql(), next: 0 }
            });
            let checksum = self.checksums.of(&Content {
                before: self.head.checksum,
                position: position.get(),
                version: of_stream.next,
                schema_version: event.schema_version,
                occurred_at: event.occurred_at.timestamp_micros(),
                recorded_at: self.head.recorded_at,
                id: event.id.as_bytes(),
                stream: name.as_bytes(),
                event_type: event.event_type.as_bytes(),
                metadata: event.metadata.as_bytes(),
                data: event.data.as_bytes(),
            });
            let (stream_id, version) = (of_stream.id, of_stream.next);
            of_stream.next += 1;
            let kind_id = self.kind(category, &event.event_type, position);
            self.rows.event(EventRow {
                position,
                stream_id,
                version,
                kind_id,
                checksum,
                recorded_at: self.head.recorded_at,
                event,
            });
            self.written.insert(event.id, (position, name, event));
            self.head.to = position;
            self.head.checksum = checksum;
        }
        if let Some(stream) = stream {
            self.streams.insert(name, stream);
        }
    }

    fn kind(&mut self, category: &'g str, event_type: &'g str, position: Position) -> i64 {
        if let Some(id) = self.kinds.get(category).and_then(|types| types.get(event_type)) {
            return *id;
        }
        *self.new_kinds.entry((category, event_type)).or_insert_with(|| {
            self.rows.kind(position.to_sql(), category, event_type);
            position.to_sql()
        })
    }
}

/// What was asked for, with what the group has written since. It is all in memory, so a fact can always be had.
impl rules::Facts for Planner<'_, '_> {
    type Failure = Infallible;

    fn kept(&mut self, key: &RequestKey) -> Result<KeyLookup, Infallible> {
        let request = request_of(key);
        let of_group = self.answers.get(&request).map(|(fingerprint, stored)| (&fingerprint[..], stored));
        let found = self.facts.answers.get(&request).map(|(fingerprint, stored)| (&fingerprint[..], stored));
        let kept = of_group.or(found).map(|(fingerprint, stored)| (fingerprint, stored.clone()));
        Ok(rules::compare(&key.fingerprint, kept))
    }

    fn next_version(&mut self, stream: &StreamId) -> Result<Version, Infallible> {
        Ok(self.stream(stream.as_str()).map_or(0, |stream| stream.next))
    }

    fn may_be_taken(&mut self, _events: &[NewEvent]) -> Result<bool, Infallible> {
        Ok(!self.facts.events.is_empty() || !self.written.is_empty())
    }

    fn position_of(&mut self, id: Uuid) -> Result<Option<Position>, Infallible> {
        let written = self.written.get(&id).map(|(position, ..)| *position);
        Ok(written.or_else(|| self.facts.events.get(&id).map(|found| found.position)))
    }

    fn holds(
        &mut self,
        id: Uuid,
        _position: Position,
        is_same: impl FnOnce(&rules::Content<'_>) -> bool,
    ) -> Result<bool, Infallible> {
        let written = self.written.get(&id).map(|(_, stream, event)| rules::Content {
            stream,
            event_type: &event.event_type,
            schema_version: event.schema_version.into(),
            data: &event.data,
        });
        let found = || {
            self.facts.events.get(&id).map(|found| rules::Content {
                stream: &found.stream,
                event_type: &found.event_type,
                schema_version: found.schema_version.into(),
                data: &found.data,
            })
        };
        Ok(written.or_else(found).is_some_and(|content| is_same(&content)))
    }

    fn highest_id(&mut self) -> Result<Option<u128>, Infallible> {
        Ok(self.facts.events.keys().chain(self.written.keys()).max().map(Uuid::as_u128))
    }
}

impl Promise {
    /// The answer for what was appended so: made once, and used again as long as it still tells the truth.
    fn keep(&mut self, appended: &Appended) -> Result<crate::Answer, AppendError> {
        if let Some(make) = self.make.take() {
            // A panic here would take the writer with it, and so every write to come. An answer may take its time.
            let made = tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(|| make(appended))));
            let answer = made.map_err(|_| AppendError::Storage(Arc::from(Box::from("making an answer panicked"))))?;
            self.made = Some((appended.clone(), answer));
        }
        match &self.made {
            Some((of, answer)) if of == appended => Ok(answer.clone()),
            _ => {
                // The first try did not come to be, and now the events would stand elsewhere.
                let lost: Box<dyn std::error::Error + Send + Sync> = "the answer was made for other positions".into();
                Err(AppendError::Unavailable(Arc::from(lost)))
            }
        }
    }
}
