//! Tills: known by their serial number, and by a key where they were registered with one.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use daybook_domain::shop::{self, OpenShop, ShopId};
use daybook_eventlog::{Cause, StreamId};

use super::refusal::Refusal;
pub use crate::auth::Terminal;
use crate::auth::TerminalRefused;
use crate::http::body::{self, BodyLimit};
use crate::http::identify::Till;
use crate::http::write::cause;
use crate::http::{RequestId, idempotency};

/// The terminal that the headers name: 400 without a serial number, 404 when it is not active anywhere, 401 when its
/// key is missing or wrong.
impl<S: Sync> FromRequestParts<S> for Terminal {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::of(parts)
    }
}

impl Terminal {
    fn of(parts: &Parts) -> Result<Self, Refusal> {
        // A router without the conventions knows no terminal.
        let till = parts.extensions.get().map_or(Err(TerminalRefused::NotActive), |Till(verdict)| verdict.clone());
        till.map_err(|refused| match refused {
            TerminalRefused::NoSerial => Refusal::missing_serial(),
            TerminalRefused::NotActive => Refusal::terminal_not_found(),
            TerminalRefused::WrongKey => Refusal::invalid_key(),
        })
    }

    /// The terminal of a request that writes, the request's body, and the cause of what it will write.
    pub async fn asks(request: Request) -> Result<(Self, Bytes, Cause), Refusal> {
        let (parts, body) = request.into_parts();
        let limit = parts.extensions.get().map_or(BodyLimit::DEFAULT, |limit: &BodyLimit| *limit);
        let terminal = Self::of(&parts)?;
        let bytes = body::read(&parts.headers, body, limit.0).await?;
        let actor = format!("{}{}", super::ACTOR_PREFIX, terminal.serial);
        let scope = idempotency::scope(&parts.headers, &actor, &parts.method, parts.uri.path())?;
        let cause = cause(actor, parts.extensions.get::<RequestId>(), scope, &bytes);
        Ok((terminal, bytes, cause))
    }

    /// The terminal as its locked shop knows it. It may have been deactivated, or have got another key, while the
    /// request waited, or on another node a moment before it came.
    pub fn still_in<'a>(&self, shop: &'a OpenShop) -> Result<&'a shop::Terminal, Refusal> {
        let known = shop.active_terminal(&self.serial).ok_or_else(Refusal::terminal_not_found)?;
        if known.key == self.key { Ok(known) } else { Err(Refusal::invalid_key()) }
    }
}

/// The shop's stream.
pub fn stream(shop_id: ShopId) -> StreamId {
    StreamId::from(shop::stream(shop_id))
}
