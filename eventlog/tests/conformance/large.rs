//! Large events: whatever is read comes whole, and never much of it at once.

use daybook_eventlog::{
    Append, Direction, EVENT_BYTES_MAX, EventRef, ExpectedVersion::Any, Filter, Log, NewEvent, Position,
    READ_BYTES_MAX, Scan,
};
use futures::{StreamExt, TryStreamExt};

use super::{
    Dice, Engine, event,
    model::{Fact, Model, facts},
    opened, pages, run_of_events, stream, try_append,
};

/// No value holds more.
const VALUE_BYTES_MAX: usize = READ_BYTES_MAX + EVENT_BYTES_MAX;

/// What a read has put together.
#[derive(Debug, Default)]
struct Value {
    facts: Vec<Fact>,
    bytes: usize,
}

impl Value {
    fn add(&mut self, event: &EventRef<'_>) {
        self.facts.push(event.to_recorded().into());
        self.bytes += event.data.len() + event.metadata.len();
    }
}

fn of_bytes(event_type: &'static str, bytes: usize) -> NewEvent {
    let mut large = event(event_type, 1);
    large.data = format!("\"{}\"", "x".repeat(bytes - large.metadata.len() - 2));
    large
}

async fn write(log: &Log, model: &mut Model, name: &str, events: Vec<NewEvent>) {
    let append = Append::to(stream(name), Any, events);
    model.take(&append);
    try_append(log, append).await.unwrap();
}

/// Some 100 MiB, most of them in a few of many events.
async fn written(log: &Log) -> Model {
    let mut model = Model::default();
    let mut dice = Dice(7);
    for _ in 0..20 {
        let name = *dice.pick(&["reader-1", "book-1"]);
        let small = run_of_events("Updated", 1 + dice.below(150));
        write(log, &mut model, name, small).await;
        let bytes = *dice.pick(&[EVENT_BYTES_MAX, 3 << 20, 1 << 20, 1 << 19]);
        let large = (0..=dice.below(4)).map(|_| of_bytes("Corrected", bytes)).collect::<Vec<_>>();
        for event in large {
            write(log, &mut model, name, vec![event]).await;
        }
    }
    model
}

/// All that a scan wants, value by value.
async fn scanned(log: &Log, mut scan: Scan) -> Vec<Fact> {
    let mut found = Vec::new();
    while !scan.is_over() {
        let (value, after) = log.fold(scan.clone(), Value::default(), Value::add).await.unwrap();
        assert!(value.bytes <= VALUE_BYTES_MAX, "{} bytes from {scan:?}", value.bytes);
        assert_ne!(after, scan.after, "a scan that does not move on: {scan:?}");
        found.extend(value.facts);
        scan.after = after;
    }
    found
}

fn filters() -> [Filter; 4] {
    let by_stream = Filter { stream: Some(stream("book-1")), ..Filter::all() };
    [Filter::all(), Filter::types(["Corrected"]), Filter::category("reader"), by_stream]
}

pub async fn pages_of_large_events_equal_the_model<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let model = written(&log).await;
    for filter in filters() {
        let mut wanted = model.wanted(&filter, Position::START);
        assert!(facts(pages(&log, &filter, 20_000).await) == wanted, "{filter:?}");
        assert!(scanned(&log, Scan::forward(Position::START, log.head(), filter.clone())).await == wanted);
        wanted.reverse();
        assert!(scanned(&log, Scan::backward(log.head().plus(1), filter.clone())).await == wanted);
    }
}

pub async fn parts_with_large_events_come_as_several_values<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let model = written(&log).await;
    let head = log.head();
    for filter in filters() {
        for (after, last) in [(0, head.get()), (500, head.get() - 3)] {
            let (mut found, mut reached, mut values) = (Vec::new(), Position::new(after), 0);
            let parts = log.parts(reached, Position::new(last), filter.clone(), Value::default, Value::add);
            let mut parts = std::pin::pin!(parts);
            while let Some(part) = parts.next().await {
                let (until, value) = part.unwrap();
                assert!(value.bytes <= VALUE_BYTES_MAX, "{} bytes up to {until}", value.bytes);
                assert!(until > reached, "a value that does not move on at {until}");
                let within = |fact: &Fact| fact.position > reached && fact.position <= until;
                assert!(value.facts.iter().all(within), "between {reached} and {until}");
                found.extend(value.facts);
                (reached, values) = (until, values + 1);
            }
            let mut wanted = model.wanted(&filter, Position::new(after));
            wanted.retain(|fact| fact.position.get() <= last);
            assert!(found == wanted, "{filter:?} after {after} up to {last}");
            assert_eq!(reached, Position::new(last));
            assert!(values > last.div_ceil(1_024), "{values} values");
        }
    }
    let replayed = log.replay(Position::START, head, |event| event.to_recorded()).try_concat().await.unwrap();
    assert!(facts(replayed) == model.facts);
}

/// The index of kinds knows blocks of 1,024 positions: a read that is full at the end of one must not go on.
pub async fn large_events_that_end_their_blocks_are_bounded_too<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut model = Model::default();
    for _ in 0..5 {
        let left = 1_023 - model.facts.len() as u64 % 1_024;
        write(&log, &mut model, "reader-1", run_of_events("Updated", left)).await;
        write(&log, &mut model, "reader-1", vec![of_bytes("Corrected", EVENT_BYTES_MAX)]).await;
    }
    let filter = Filter::types(["Corrected"]);
    let wanted = model.wanted(&filter, Position::START);
    assert!(wanted.iter().all(|fact| fact.position.get().is_multiple_of(1_024)) && wanted.len() == 5);
    for direction in [Direction::Forward, Direction::Backward] {
        let mut wanted = wanted.clone();
        let scan = match direction {
            Direction::Forward => Scan::forward(Position::START, log.head(), filter.clone()),
            Direction::Backward => Scan::backward(log.head().plus(1), filter.clone()),
        };
        if direction == Direction::Backward {
            wanted.reverse();
        }
        assert!(scanned(&log, scan).await == wanted, "{direction:?}");
    }
}
