//! Who sent the request: verified once, before any handler.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use super::Problem;
use crate::auth::{AuthError, Caller, Terminal, TerminalRefused, Terminals, TokenVerifier};

const X_DEVICE_SERIAL: HeaderName = HeaderName::from_static("x-device-serial");
const X_DEVICE_KEY: HeaderName = HeaderName::from_static("x-device-key");

/// The verdict on the request's token: a request extension that the conventions set.
#[derive(Clone, Debug)]
pub struct Identity(pub Result<Arc<Caller>, AuthError>);

impl Identity {
    pub(super) async fn of(headers: &HeaderMap, verifier: &TokenVerifier) -> Self {
        let verdict = match bearer(headers) {
            Ok(token) => verifier.verify(token).await.map(Arc::new),
            Err(error) => Err(error),
        };
        Self(verdict)
    }
}

/// The verdict on the terminal that a request names: a request extension that the conventions set on the tills' surface.
#[derive(Clone, Debug)]
pub struct Till(pub Result<Terminal, TerminalRefused>);

impl Till {
    pub(super) fn of(headers: &HeaderMap, terminals: &Terminals) -> Self {
        Self(terminals.check(text(headers, &X_DEVICE_SERIAL), text(headers, &X_DEVICE_KEY)))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = sent.next() else { return Err(AuthError::Missing) };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(AuthError::Malformed)?;
    // Two credentials leave open which one holds.
    if sent.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Malformed);
    }
    Ok(token.trim())
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        verdict(parts).map(|caller| Self::clone(&caller)).map_err(Problem::from)
    }
}

/// For routes that others than bearers may call: no token is `None`, a bad one is still refused.
impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        match verdict(parts) {
            Ok(caller) => Ok(Some(Self::clone(&caller))),
            Err(AuthError::Missing) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn verdict(parts: &Parts) -> Result<Arc<Caller>, AuthError> {
    // A router without the conventions knows nobody.
    parts.extensions.get::<Identity>().map_or(Err(AuthError::Missing), |identity| identity.0.clone())
}
