//! What the writer remembers of the log from group to group. It is true for as long as the head has not moved, which the
//! statement that writes makes sure of: then nothing has to be asked for, and a group costs one round trip.

use std::{collections::HashMap, time::Instant};

use quick_cache::unsync::Cache;

use super::{
    facts::{Facts, FoundStream, Kinds},
    group::Waiting,
    rows::Move,
};
use crate::Position;

/// Streams whose next versions are remembered.
const STREAMS_MAX: usize = 65_536;

pub(super) struct Memory {
    head: Position,
    checksum: u64,
    recorded_at: i64,
    /// The database's clock, and when it was looked at.
    clock: (i64, Instant),
    streams: Cache<String, FoundStream>,
}

impl Memory {
    /// Takes over what was asked for. What was remembered of an older head is forgotten.
    pub(super) fn learn(memory: &mut Option<Self>, facts: &Facts) {
        let clock = (facts.now, Instant::now());
        let mut remembered = match memory.take() {
            Some(remembered) if remembered.head == facts.head && remembered.checksum == facts.checksum => {
                Self { clock, ..remembered }
            }
            _ => Self {
                head: facts.head,
                checksum: facts.checksum,
                recorded_at: facts.recorded_at,
                clock,
                streams: Cache::new(STREAMS_MAX),
            },
        };
        for (name, stream) in &facts.streams {
            remembered.streams.insert(name.clone(), *stream);
        }
        *memory = Some(remembered);
    }

    /// Takes over what was written.
    pub(super) fn wrote<'s>(&mut self, head: &Move, streams: impl Iterator<Item = (&'s str, FoundStream)>) {
        self.head = head.to;
        self.checksum = head.checksum;
        self.recorded_at = head.recorded_at;
        for (name, stream) in streams {
            self.streams.insert(name.to_owned(), stream);
        }
    }

    /// What would be answered if `group` were asked for, all its event ids being new; nothing when it is not known.
    pub(super) fn facts(&self, group: &[Waiting], kinds: &Kinds) -> Option<Facts> {
        let mut streams: HashMap<String, FoundStream> = HashMap::new();
        for part in group.iter().flat_map(|waiting| &waiting.parts) {
            let name = part.stream.as_str();
            if !streams.contains_key(name) {
                streams.insert(name.to_owned(), *self.streams.get(name)?);
            }
            let types = kinds.get(part.stream.category())?;
            if !part.events.iter().all(|event| types.contains_key(&*event.event_type)) {
                return None;
            }
        }
        let (told, at) = self.clock;
        let now = told.saturating_add(i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX));
        Some(Facts {
            head: self.head,
            checksum: self.checksum,
            recorded_at: self.recorded_at,
            now,
            streams,
            events: HashMap::new(),
            kinds: Vec::new(),
            answers: HashMap::new(),
        })
    }
}
