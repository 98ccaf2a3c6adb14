//! Tills: known by their serial number, and by a key where they were registered with one.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use daybook_domain::registry;
use daybook_domain::shop::{self, Shop, ShopId};
use daybook_eventlog::{Cause, StreamId};

use super::refusal::Refusal;
use crate::app::App;
use crate::auth::terminal_key;
use crate::http::body::{self, BodyLimit};
use crate::http::write::{cause, problem};
use crate::http::{Problem, RequestId, idempotency};

const SERIAL: &str = "x-device-serial";
const KEY: &str = "x-device-key";

/// A terminal that may work, and its shop.
pub struct Terminal {
    pub serial: String,
    pub shop_id: i64,
}

impl Terminal {
    /// The terminal that the headers name: 400 without a serial number, 404 when it is not active anywhere, 401 when
    /// its key is missing or wrong.
    pub async fn of(app: &App, headers: &HeaderMap) -> Result<Self, Refusal> {
        let serial = header(headers, SERIAL).ok_or_else(Refusal::missing_serial)?;
        let shop_id = shop_of(app, serial).await?.ok_or_else(Refusal::terminal_not_found)?;
        let sent = header(headers, KEY);
        let look = |shop: &Shop| {
            let terminal = shop.open()?.active_terminal(serial)?;
            Some(terminal.key.as_ref().is_none_or(|key| sent.is_some_and(|sent| terminal_key::matches(key, sent))))
        };
        let admitted = app.shops.view(&stream(shop_id), look).await;
        match admitted.map_err(|error| problem(error, |refused| Problem::internal(&refused)))? {
            None => Err(Refusal::terminal_not_found()),
            Some(false) => Err(Refusal::invalid_key()),
            Some(true) => Ok(Self { serial: serial.to_owned(), shop_id }),
        }
    }

    /// The terminal of a request that writes, the request's body, and the cause of what it will write.
    pub async fn asks(app: &App, request: Request) -> Result<(Self, Bytes, Cause), Refusal> {
        let (parts, body) = request.into_parts();
        let limit = parts.extensions.get().map_or(BodyLimit::DEFAULT, |limit: &BodyLimit| *limit);
        let terminal = Self::of(app, &parts.headers).await?;
        let bytes = body::read(&parts.headers, body, limit.0).await?;
        let actor = format!("{}{}", super::ACTOR_PREFIX, terminal.serial);
        let scope = idempotency::scope(&parts.headers, &actor, &parts.method, parts.uri.path())?;
        let cause = cause(actor, parts.extensions.get::<RequestId>(), scope, &bytes);
        Ok((terminal, bytes, cause))
    }
}

/// The shop that the terminal is active in.
pub async fn shop_of(app: &App, serial: &str) -> Result<Option<ShopId>, Problem> {
    let register = StreamId::new(registry::STREAM);
    let shop_id = app.registry.view(&register, |register| register.terminals.get(serial).copied()).await;
    shop_id.map_err(|error| problem(error, |refused| Problem::internal(&refused)))
}

/// The shop's stream.
pub fn stream(shop_id: ShopId) -> StreamId {
    StreamId::from(shop::stream(shop_id))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}
