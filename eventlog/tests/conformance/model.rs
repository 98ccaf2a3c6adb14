//! The log as a list in memory, to compare with.

use daybook_eventlog::{Append, Direction, Filter, Position, RecordedEvent, StreamId, Version};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub position: Position,
    pub stream: StreamId,
    pub version: Version,
    pub id: Uuid,
    pub event_type: String,
    pub data: String,
}

impl From<RecordedEvent> for Fact {
    fn from(event: RecordedEvent) -> Self {
        Self {
            position: event.position,
            stream: event.stream,
            version: event.version,
            id: event.id,
            event_type: event.event_type.to_string(),
            data: event.data,
        }
    }
}

pub fn facts(events: Vec<RecordedEvent>) -> Vec<Fact> {
    events.into_iter().map(Fact::from).collect()
}

#[derive(Default)]
pub struct Model {
    pub facts: Vec<Fact>,
}

impl Model {
    /// Takes what an append of new events writes.
    pub fn take(&mut self, append: &Append) {
        for part in &append.parts {
            for event in &part.events {
                self.facts.push(Fact {
                    position: Position::new(self.facts.len() as u64 + 1),
                    stream: part.stream.clone(),
                    version: self.facts.iter().filter(|fact| fact.stream == part.stream).count() as u64,
                    id: event.id,
                    event_type: event.event_type.to_string(),
                    data: event.data.clone(),
                });
            }
        }
    }

    pub fn stream(&self, name: &StreamId, from: Option<Version>, direction: Direction, limit: usize) -> Vec<Fact> {
        let of_stream = self.facts.iter().filter(|fact| fact.stream == *name);
        match direction {
            Direction::Forward => {
                of_stream.filter(|fact| fact.version >= from.unwrap_or(0)).take(limit).cloned().collect()
            }
            Direction::Backward => of_stream
                .rev()
                .filter(|fact| from.is_none_or(|from| fact.version <= from))
                .take(limit)
                .cloned()
                .collect(),
        }
    }

    pub fn wanted(&self, filter: &Filter, after: Position) -> Vec<Fact> {
        let wanted = |fact: &&Fact| {
            fact.position > after
                && filter.takes(fact.stream.category(), &fact.event_type)
                && filter.stream.as_ref().is_none_or(|stream| fact.stream == *stream)
        };
        self.facts.iter().filter(wanted).cloned().collect()
    }
}
