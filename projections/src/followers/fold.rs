//! What batches of events change in each copy.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use daybook_eventlog::Position;

use crate::{Changes, Decoded, FoldError, Projection, models::Checkpoint, projection::Undecodable};

/// What a projection makes of a batch: its rows, and where it stands then.
pub(super) struct Folded {
    pub(super) name: &'static str,
    pub(super) changes: Changes,
    pub(super) checkpoint: Checkpoint,
}

/// What the events change in each of `working`: a projection, after where, and up to where.
pub(super) fn fold_all(
    working: &[(Arc<dyn Projection>, Position, Position)],
    events: Vec<Result<Decoded, Undecodable>>,
) -> Vec<Folded> {
    let mut decoded = Vec::with_capacity(events.len());
    let mut broken = Vec::new();
    for event in events {
        match event {
            Ok(event) => decoded.push(event),
            Err(event) => broken.push(event),
        }
    }
    let fold = |(projection, after, reached): &(Arc<dyn Projection>, Position, Position)| {
        let broken = broken
            .iter()
            .find(|event| event.position > *after && event.position <= *reached && projection.takes(&event.event_type));
        let fault = broken.map(|event| FoldError { position: event.position, reason: event.reason.clone() });
        fold_one(&**projection, *after, &decoded, *reached, fault)
    };
    working.iter().map(fold).collect()
}

/// A fold that panics stops its projection like one that says no.
fn folded(projection: &dyn Projection, events: &[Decoded]) -> Result<Changes, FoldError> {
    catch_unwind(AssertUnwindSafe(|| projection.fold(events))).unwrap_or_else(|_| {
        let position = events.first().map_or(Position::START, |event| event.position);
        Err(FoldError { position, reason: "the fold of the batch that begins here panicked".to_owned() })
    })
}

/// Folds what comes after `after`, up to `reached` or the first event that the projection cannot take.
fn fold_one(
    projection: &dyn Projection,
    after: Position,
    decoded: &[Decoded],
    reached: Position,
    fault: Option<FoldError>,
) -> Folded {
    let name = projection.name();
    let from = decoded.partition_point(|event| event.position <= after);
    let mut fault = fault;
    loop {
        let end = fault.as_ref().map_or(reached.plus(1), |fault| fault.position.min(reached.plus(1)));
        let to = decoded.partition_point(|event| event.position < end);
        match folded(projection, &decoded[from..to.max(from)]) {
            Ok(changes) => {
                let position =
                    fault.as_ref().map_or(reached, |fault| Position::new(fault.position.get() - 1).max(after));
                let fault = fault.map(|fault| (fault.position, fault.reason));
                return Folded { name, changes, checkpoint: Checkpoint { position, fault } };
            }
            // An error at an event that was not part of the fold would come again for ever: stop at the start.
            Err(error) if to <= from || error.position <= after => {
                let stopped = Checkpoint { position: after, fault: Some((error.position, error.reason)) };
                return Folded { name, changes: Changes::default(), checkpoint: stopped };
            }
            Err(error) => fault = Some(error),
        }
    }
}
