//! What a route asks of its caller.

use super::{Caller, Role};
use crate::http::Problem;

impl Caller {
    /// 403 unless the caller has one of `roles`.
    pub fn must_be(&self, roles: &[Role]) -> Result<(), Problem> {
        if self.roles.any(roles) {
            return Ok(());
        }
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        Err(Problem::forbidden(format!("This needs a token with the role {}.", names.join(" or "))))
    }
}

impl AsRef<Self> for Caller {
    fn as_ref(&self) -> &Self {
        self
    }
}
