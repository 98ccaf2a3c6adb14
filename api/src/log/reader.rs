//! Who may read the log.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::Problem;

const READERS: [Role; 3] = [Role::Analyst, Role::Auditor, Role::Admin];

/// A caller who may read all of the log. A terminal's serial number is nothing here, as everywhere but at the tills.
pub struct LogReader(pub Caller);

impl FromRequestParts<App> for LogReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        caller.must_be(&READERS)?;
        Ok(Self(caller))
    }
}
