//! Given events, then rows: what the tests of folds share.

use daybook_domain::{event::Event, reading::ReaderEvent, shop::ShopEvent};
use daybook_eventlog::{Position, StreamId};
use uuid::Uuid;

use crate::{Decoded, Projection, table::Value};

impl From<ReaderEvent> for Given {
    fn from(event: ReaderEvent) -> Self {
        Self(Event::Reader(event))
    }
}

impl From<ShopEvent> for Given {
    fn from(event: ShopEvent) -> Self {
        Self(Event::Shop(event))
    }
}

/// An event that happened.
pub(crate) struct Given(Event);

/// The rows that `projection` makes of the events at the positions from 1 on, as `table: value | value`.
pub(crate) fn rows(projection: &dyn Projection, events: impl IntoIterator<Item = Given>) -> Vec<String> {
    let decode = |(position, Given(event)): (u64, Given)| Decoded {
        position: Position::new(position),
        stream: StreamId::from("stream-1"),
        id: Uuid::from_u128(u128::from(position)),
        occurred_at: 0,
        recorded_at: 0,
        actor: Some("anna".to_owned()),
        event: Some(event),
        weight: 0,
    };
    let events: Vec<Decoded> = (1..).zip(events).map(decode).collect();
    let changes = projection.fold(&events).unwrap();
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Word(word) => (*word).to_owned(),
        Value::Text(text) => text.clone(),
        Value::Id(id) => format!("#{}", id.as_u128()),
    };
    let line =
        |table: &str, row: &[Value]| format!("{table}: {}", row.iter().map(text).collect::<Vec<_>>().join(" | "));
    let rows = changes.0.iter().flat_map(|change| {
        change.values.chunks(change.columns.len()).map(|row| line(change.table.name, row)).collect::<Vec<_>>()
    });
    rows.collect()
}
