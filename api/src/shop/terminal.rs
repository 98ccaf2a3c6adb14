//! Tills: known by their serial number, and by a key where they were registered with one.

use axum::http::{HeaderMap, Method, Uri};
use daybook_domain::registry;
use daybook_domain::shop::{self, Shop, ShopId};
use daybook_eventlog::{Cause, Metadata, RequestKey, StreamId};

use super::refusal::Refusal;
use crate::app::App;
use crate::auth::terminal_key;
use crate::http::idempotency::{self, BodyFingerprint};
use crate::http::write::problem;
use crate::http::{Problem, RequestId};

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

    /// What the events of this terminal's request tell about where they come from.
    pub fn cause(&self, sent: &Sent, body: &[u8]) -> Result<Cause, Problem> {
        let actor = format!("terminal:{}", self.serial);
        let scope = idempotency::scope(&sent.headers, &actor, &sent.method, sent.uri.path())?;
        let request = scope.map(|scope| RequestKey {
            caller: scope.caller,
            route: scope.route,
            key: scope.key,
            fingerprint: BodyFingerprint::of(body).0,
        });
        let id = sent.request_id.clone();
        let metadata = Metadata { actor: Some(actor), correlation_id: id.clone(), causation_id: id };
        Ok(Cause { metadata, request })
    }
}

/// The shop that the terminal is active in.
pub async fn shop_of(app: &App, serial: &str) -> Result<Option<ShopId>, Problem> {
    let register = StreamId::new(registry::STREAM);
    let shop_id = app.registry.view(&register, |register| register.terminals.get(serial).copied()).await;
    shop_id.map_err(|error| problem(error, |refused| Problem::internal(&refused)))
}

/// What a request carried besides its body.
pub struct Sent {
    headers: HeaderMap,
    method: Method,
    uri: Uri,
    request_id: Option<String>,
}

impl Sent {
    pub fn of(parts: axum::http::request::Parts) -> Self {
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned());
        Self { headers: parts.headers, method: parts.method, uri: parts.uri, request_id }
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// The shop's stream.
pub fn stream(shop_id: ShopId) -> StreamId {
    StreamId::from(shop::stream(shop_id))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}
