//! What a route asks of its caller.

use super::{Caller, Role};

/// The caller has none of the roles that may do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the roles that this needs")]
pub struct MissingRole(pub &'static [Role]);

impl Caller {
    /// Whether the caller has one of `roles`.
    ///
    /// # Errors
    /// [`MissingRole`] when the caller has none of them.
    pub fn must_be(&self, roles: &'static [Role]) -> Result<(), MissingRole> {
        if self.roles.any(roles) { Ok(()) } else { Err(MissingRole(roles)) }
    }
}

impl AsRef<Self> for Caller {
    fn as_ref(&self) -> &Self {
        self
    }
}
