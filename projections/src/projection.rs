//! What a projection is: events in, rows out.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use daybook_domain::event::Event;
use daybook_eventlog::{EventRef, Position, StreamId};
use error_reporter::Report;
use serde::Deserialize;
use uuid::Uuid;

use crate::table::{Changes, Table};

/// A read model in the making. It folds batches of events into rows and touches nothing else: the same events give
/// the same rows, one by one or all at once.
///
/// A new one is a file of its own and a line in [`all`](crate::all).
pub trait Projection: Send + Sync {
    /// Its name, unique and stable.
    fn name(&self) -> &'static str;

    /// Raised when the tables or the fold change: the read model is built anew then.
    fn version(&self) -> u32;

    /// The tables it writes, and nobody else does.
    fn tables(&self) -> &'static [&'static Table];

    /// The SQL that makes the tables.
    fn schema(&self) -> &'static str;

    /// Whether it looks at events of this type.
    fn takes(&self, event_type: &str) -> bool;

    /// What the events change. They are all that happened since the last call, in order.
    ///
    /// # Errors
    /// The first event it cannot take: the projection stops there, the others go on.
    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError>;
}

/// An event of the log, decoded once for all projections.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its id.
    pub id: Uuid,
    /// When it happened, in microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    /// When the log took it, likewise.
    pub recorded_at: i64,
    /// Who asked.
    pub actor: Option<String>,
    /// What happened; `None` for a type this build does not know.
    pub event: Option<Event>,
    /// How many bytes the log has of it.
    pub(crate) weight: usize,
}

/// An event that does not decode.
#[derive(Debug, Clone)]
pub(crate) struct Undecodable {
    pub(crate) position: Position,
    pub(crate) event_type: Arc<str>,
    pub(crate) reason: String,
}

impl Decoded {
    pub(crate) fn read(event: &EventRef<'_>) -> Result<Self, Undecodable> {
        let decode = || Event::decode(event.event_type, event.schema_version, event.data.as_bytes());
        let undecodable =
            |reason| Undecodable { position: event.position, event_type: Arc::clone(event.event_type), reason };
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(Ok(decoded)) => Ok(Self {
                position: event.position,
                stream: event.stream.clone(),
                id: event.id,
                occurred_at: event.occurred_at,
                recorded_at: event.recorded_at,
                actor: actor(event.metadata),
                event: decoded,
                weight: event.data.len() + event.metadata.len(),
            }),
            Ok(Err(error)) => Err(undecodable(Report::new(&error).to_string())),
            Err(_) => Err(undecodable("decoding it panicked".to_owned())),
        }
    }
}

/// Reads nothing but the actor: the other fields are passed over, and nothing is copied for them.
fn actor(metadata: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        actor: Option<Cow<'a, str>>,
    }
    serde_json::from_str::<Asked<'_>>(metadata).ok()?.actor.map(Cow::into_owned)
}

/// The event that a projection cannot take.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event at position {position} cannot be taken: {reason}")]
pub struct FoldError {
    /// Where it stands.
    pub position: Position,
    /// What is wrong with it.
    pub reason: String,
}
