//! What becomes of a group of appends, worked out in memory: who is refused, who is answered from what is there, and
//! which rows are written. The rules are those of every engine.

use std::{
    collections::HashMap,
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
    AppendError, AppendOutcome, Appended, NewEvent, Position, RequestKey, StoredAnswer, StreamAppend, Version,
    append::same_json,
    checksum::{Checksums, Content},
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
    // Never earlier than what is there: recorded times rise with positions, also when a clock is put back.
    let recorded_at = facts.now.max(facts.recorded_at);
    let mut planner = Planner::new(facts, kinds, recorded_at);
    let outcomes = group.iter().zip(promises).map(|(waiting, promise)| planner.take(waiting, promise)).collect();
    let Planner { rows, mut head, streams, .. } = planner;
    if head.to == head.from {
        head.recorded_at = facts.recorded_at;
    }
    Plan { outcomes, rows, head, streams }
}

/// Plans what another log recorded and what was found to go on where this one ends: each part with its recorded time.
pub(super) fn plan_import<'g>(parts: &'g [(StreamAppend, i64)], facts: &Facts, kinds: &Kinds) -> (Rows<'g>, Move) {
    let mut planner = Planner::new(facts, kinds, facts.recorded_at);
    for (part, recorded_at) in parts {
        planner.head.recorded_at = *recorded_at;
        planner.write(part, &Known::new());
    }
    (planner.rows, planner.head)
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

/// The first positions of those of a part's events that are there already.
type Known = HashMap<Uuid, Position>;

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

    /// One append: everything that could refuse it is looked at before anything of it is written.
    fn take(&mut self, waiting: &'g Waiting, promise: &mut Promise) -> Outcome {
        if let Some(key) = &waiting.key
            && let Some(stored) = self.answered(key)?
        {
            return Ok(AppendOutcome::Remembered(stored));
        }
        let known = self.known(&waiting.parts)?;
        let appended = self.positions(&waiting.parts, &known);
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

    fn answered(&self, key: &RequestKey) -> Result<Option<StoredAnswer>, AppendError> {
        let request = request_of(key);
        let of_group = self.answers.get(&request).map(|(fingerprint, stored)| (&fingerprint[..], stored));
        let found = self.facts.answers.get(&request).map(|(fingerprint, stored)| (&fingerprint[..], stored));
        match of_group.or(found) {
            None => Ok(None),
            Some((fingerprint, stored)) if fingerprint == key.fingerprint => Ok(Some(stored.clone())),
            Some(_) => Err(AppendError::KeyReused),
        }
    }

    fn known(&self, parts: &'g [StreamAppend]) -> Result<Vec<Known>, AppendError> {
        // The versions the streams will have after the parts before, as far as this append changes them.
        let mut ahead: HashMap<&str, Version> = HashMap::new();
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            let name = part.stream.as_str();
            let next = ahead.get(name).copied().unwrap_or_else(|| self.stream(name).map_or(0, |stream| stream.next));
            let known = self.known_events(part)?;
            let fresh = part.events.len() - known.len();
            // What is there already is answered in every mode; the expectation is about what is to be written.
            if (fresh > 0 || part.events.is_empty()) && !part.expected.holds_for(next) {
                return Err(AppendError::Conflict { stream: part.stream.clone(), expected: part.expected, next });
            }
            ahead.insert(name, next + fresh as u64);
            all.push(known);
        }
        Ok(all)
    }

    fn stream(&self, name: &str) -> Option<FoundStream> {
        self.streams.get(name).or_else(|| self.facts.streams.get(name)).copied()
    }

    fn known_events(&self, part: &StreamAppend) -> Result<Known, AppendError> {
        let mut known = Known::new();
        if self.facts.events.is_empty() && self.written.is_empty() {
            return Ok(known);
        }
        for event in &part.events {
            let (position, is_same) = if let Some((position, stream, written)) = self.written.get(&event.id) {
                let is_same = *stream == part.stream.as_str()
                    && written.event_type == event.event_type
                    && written.schema_version == event.schema_version
                    && same_json(&written.data, &event.data);
                (*position, is_same)
            } else if let Some(found) = self.facts.events.get(&event.id) {
                let is_same = found.stream == part.stream.as_str()
                    && found.event_type == event.event_type
                    && found.schema_version == i32::from(event.schema_version)
                    && same_json(&found.data, &event.data);
                (found.position, is_same)
            } else {
                continue;
            };
            if !is_same {
                return Err(AppendError::IdReused { id: event.id, position });
            }
            known.insert(event.id, position);
        }
        Ok(known)
    }

    /// Where the events stand, or will.
    fn positions(&self, parts: &[StreamAppend], known: &[Known]) -> Appended {
        let mut next = self.head.to;
        let mut positions = Vec::new();
        for (part, known) in parts.iter().zip(known) {
            positions.extend(part.events.iter().map(|event| match known.get(&event.id) {
                Some(position) => *position,
                None => {
                    next = next.plus(1);
                    next
                }
            }));
        }
        let repeated = !positions.is_empty() && next == self.head.to;
        let last = positions.iter().copied().max().unwrap_or(self.head.to);
        Appended { positions, last, repeated }
    }

    fn write(&mut self, part: &'g StreamAppend, known: &Known) {
        let name = part.stream.as_str();
        let category = part.stream.category();
        let mut stream = self.stream(name);
        for event in &part.events {
            if known.contains_key(&event.id) {
                continue;
            }
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
