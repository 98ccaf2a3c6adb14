//! Readers: callers whose token's subject is a UUID.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;

use crate::auth::{AuthError, Caller};
use crate::http::Problem;

/// A caller of the reading surface.
pub struct Reader {
    /// The reader's id: the token's subject.
    pub id: Uuid,
    caller: Caller,
}

impl Deref for Reader {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl AsRef<Caller> for Reader {
    fn as_ref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let id = Uuid::try_parse(&caller.subject).map_err(|_| Problem::unauthorized(AuthError::NoReader))?;
        Ok(Self { id, caller })
    }
}
