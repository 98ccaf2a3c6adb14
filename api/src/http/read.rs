//! Requests that read: how fresh the answer has to be.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use daybook_eventlog::Position;

use super::Problem;
use super::fields::Fields;

/// `Daybook-After`: the position that the answer has to know of, when the caller names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After(pub Option<Position>);

impl<S: Sync> FromRequestParts<S> for After {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut sent = parts.headers.get_all("daybook-after").iter();
        let Some(value) = sent.next() else { return Ok(Self(None)) };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (digits.and_then(|text| text.parse().ok()), sent.next()) {
            (Some(position), None) => Ok(Self(Some(Position::new(position)))),
            _ => Err(Problem::bad_field("Daybook-After", "must be one position: a whole number")),
        }
    }
}

/// A request without a query: 400 for whatever parameter there is.
#[derive(Clone, Copy, Debug)]
pub struct NoQuery;

impl NoQuery {
    /// Looks at the query of a request.
    ///
    /// # Errors
    /// 400 that names each parameter.
    pub fn of(parts: &Parts) -> Result<Self, Problem> {
        Fields::from_query(parts.uri.query().unwrap_or_default()).finish().map(|()| Self)
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts)
    }
}

/// The query as it was sent; empty when there is none.
#[derive(Clone, Debug)]
pub struct Query(pub String);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}
