//! What a batch of events changes in each copy.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use daybook_eventlog::Position;

use super::read::Events;
use crate::{Changes, Decoded, FoldError, Projection, models::Checkpoint};

/// A projection that takes part, the position after which it goes on, and the one it goes to at most.
pub(super) type Taking = (Arc<dyn Projection>, Position, Position);

/// What a projection makes of a batch: its rows, and where it stands then.
pub(super) struct Folded {
    pub(super) name: &'static str,
    pub(super) changes: Changes,
    pub(super) checkpoint: Checkpoint,
}

pub(super) fn fold_all(taking: &[Taking], events: Events) -> Vec<Folded> {
    let mut decoded = Vec::with_capacity(events.len());
    let mut broken = Vec::new();
    for event in events {
        match event {
            Ok(event) => decoded.push(event),
            Err(event) => broken.push(event),
        }
    }
    let fold = |(projection, after, reached): &Taking| {
        let broken = broken
            .iter()
            .find(|event| event.position > *after && event.position <= *reached && projection.takes(&event.event_type));
        let fault = broken.map(|event| FoldError { position: event.position, reason: event.reason.clone() });
        fold_one(&**projection, *after, &decoded, *reached, fault)
    };
    taking.iter().map(fold).collect()
}

/// Folds what comes after `after`, up to `reached` or the first event that the projection cannot take.
fn fold_one(
    projection: &dyn Projection,
    after: Position,
    decoded: &[Decoded],
    reached: Position,
    mut fault: Option<FoldError>,
) -> Folded {
    let name = projection.name();
    let from = decoded.partition_point(|event| event.position <= after);
    loop {
        let end = fault.as_ref().map_or(reached.plus(1), |fault| fault.position.min(reached.plus(1)));
        let to = decoded.partition_point(|event| event.position < end).max(from);
        let events = decoded.get(from..to).unwrap_or_default();
        match fold(projection, events) {
            Ok(changes) => {
                let position =
                    fault.as_ref().map_or(reached, |fault| Position::new(fault.position.get() - 1).max(after));
                let fault = fault.map(|fault| (fault.position, fault.reason));
                return Folded { name, changes, checkpoint: Checkpoint { position, fault } };
            }
            // An error at an event that was not part of the fold would come again for ever: stop at the start.
            Err(error) if events.is_empty() || error.position <= after || error.position >= end => {
                let stopped = Checkpoint { position: after, fault: Some((error.position, error.reason)) };
                return Folded { name, changes: Changes::default(), checkpoint: stopped };
            }
            Err(error) => fault = Some(error),
        }
    }
}

/// A fold that panics stops its projection like one that says no.
fn fold(projection: &dyn Projection, events: &[Decoded]) -> Result<Changes, FoldError> {
    let fold = |events: &[Decoded]| catch_unwind(AssertUnwindSafe(|| projection.fold(events)));
    fold(events).unwrap_or_else(|_| {
        // The shortest beginning that panics ends with the event to blame.
        let (mut sound, mut panics) = (0, events.len());
        while panics - sound > 1 {
            let middle = sound + (panics - sound) / 2;
            match events.get(..middle).map(fold) {
                Some(Ok(_)) => sound = middle,
                _ => panics = middle,
            }
        }
        let position =
            panics.checked_sub(1).and_then(|last| events.get(last)).map_or(Position::START, |event| event.position);
        Err(FoldError { position, reason: "the fold panicked at it".to_owned() })
    })
}
