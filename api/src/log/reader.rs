//! Who may read the log.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;

use crate::app::App;
use crate::auth::{AuthError, Caller, Role};
use crate::http::Problem;
use crate::shop;

const READERS: [Role; 3] = [Role::Analyst, Role::Auditor, Role::Admin];

/// A caller who may read all of the log.
pub struct LogReader(pub Caller);

impl FromRequestParts<App> for LogReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match <Caller as OptionalFromRequestParts<App>>::from_request_parts(parts, app).await? {
            Some(caller) => caller.must_be(&READERS).map(|()| Self(caller)),
            // A till is known, and has no business here.
            None if shop::is_terminal(app, &parts.headers).await => {
                Err(Problem::forbidden("A terminal may not read the log."))
            }
            None => Err(AuthError::Missing.into()),
        }
    }
}
