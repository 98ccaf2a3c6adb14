//! Who may administer.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::auth::{Caller, Role};
use crate::http::Problem;

/// A caller with the role admin; others are told 403 before anything they sent is looked at.
pub struct Admin(Caller);

impl AsRef<Caller> for Admin {
    fn as_ref(&self) -> &Caller {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        caller.must_be(&[Role::Admin])?;
        Ok(Self(caller))
    }
}
