//! Errors of other modules as problems: only here do they get a status.

use super::Problem;
use super::unread::log_unread;
use crate::auth::MissingRole;
use crate::caught_up::NotCaughtUp;

impl From<MissingRole> for Problem {
    fn from(MissingRole(roles): MissingRole) -> Self {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        Self::forbidden(format!("This needs a token with the role {}.", names.join(" or ")))
    }
}

impl From<NotCaughtUp> for Problem {
    fn from(error: NotCaughtUp) -> Self {
        match error {
            NotCaughtUp::Head(error) => log_unread(error),
            NotCaughtUp::Behind(lagging) => {
                tracing::warn!(%lagging, "a read was not answered in time");
                Self::unavailable("What was asked for cannot be shown yet: try again shortly.", 1)
            }
            NotCaughtUp::LogBehind => {
                Self::unavailable("The log has not come to that position yet: try again shortly.", 1)
            }
        }
    }
}
