//! Given these events, when this is asked for, then that follows.

use std::fmt::Debug;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use daybook_domain::decider::Decider;
use daybook_domain::reading::Percent;
use uuid::Uuid;

/// A stream with a past.
pub struct Given<D: Decider>(D::State);

/// What came of a command.
pub struct Decided<D: Decider>(Result<Vec<D::Event>, D::Rejection>);

impl<D: Decider> Given<D> {
    pub fn new(events: impl IntoIterator<Item = D::Event>) -> Self {
        let mut state = D::State::default();
        for event in events {
            D::evolve(&mut state, &event);
        }
        Self(state)
    }

    pub fn when(&self, command: D::Command) -> Decided<D> {
        Decided(D::decide(&self.0, &command))
    }
}

impl<D: Decider> Decided<D>
where
    D::Event: PartialEq + Debug,
    D::Rejection: PartialEq,
{
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = D::Event>) {
        assert_eq!(self.0.ok(), Some(events.into_iter().collect()));
    }

    #[track_caller]
    pub fn then_rejected(self, rejection: D::Rejection) {
        assert_eq!(self.0.err(), Some(rejection));
    }
}

/// An id that is easy to tell from others.
pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn percent(percent: u8) -> Percent {
    Percent::new(percent).unwrap_or_else(|| panic!("{percent} is no percentage"))
}

/// The given moment of RFC 3339.
pub fn at(text: &str) -> DateTime<Utc> {
    DateTime::from_str(text).unwrap_or_else(|_| panic!("{text} is no moment"))
}

/// So many minutes after half past ten.
pub fn minute(minutes: i64) -> DateTime<Utc> {
    at("2025-10-28T10:30:00Z") + TimeDelta::minutes(minutes)
}
