//! The conventions, put on a router in the one right order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use daybook_projections::panic_message;
use tower::Layer as _;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::access::Access;
use super::body::BodyLimit;
use super::cors::{self, CorsHeaders};
use super::identify::{Identity, Till};
use super::rate_limit::{RateLimit, Who};
use super::request_id::{CURRENT, CurrentRequest, RequestId, X_REQUEST_ID};
use super::unread::terminals_unread;
use super::{Problem, paths, security_headers};
use crate::auth::{TerminalRefused, Terminals, TokenVerifier};
use crate::settings::Settings;

/// What the conventions need. A clone is a reference to the same limits and keys.
#[derive(Clone)]
pub struct Conventions(Arc<Shared>);

struct Shared {
    verifier: TokenVerifier,
    rate_limit: RateLimit,
    terminals: Option<Terminals>,
    body_limit: BodyLimit,
    cors_origins: Vec<HeaderValue>,
    cors_headers: CorsHeaders,
}

impl Conventions {
    /// The conventions that the settings ask for. `terminals` are recognised on the tills' surface.
    pub fn new(
        settings: &Settings,
        verifier: TokenVerifier,
        terminals: Option<Terminals>,
        cors_headers: CorsHeaders,
    ) -> Self {
        Self(Arc::new(Shared {
            verifier,
            rate_limit: RateLimit::new(settings.rate_limit),
            terminals,
            body_limit: BodyLimit(settings.body_limit),
            cors_origins: settings.cors_origins.clone(),
            cors_headers,
        }))
    }
}

/// Puts the conventions on a router whose routes are all there. From the outside in:
///
/// 1. The trailing slash goes, before routing.
/// 2. `announce`: request id, span, metrics, security headers. Outermost, so that every answer has them.
/// 3. CORS, when origins are configured: refusals need its headers too, or a page cannot read them.
/// 4. Panics become problems; further out they would have no request id.
/// 5. `admit`: who calls, and how often. A request is counted before anything is read for it. Inside CORS, so that
///    preflights are neither counted nor refused.
/// 6. The routes; what none of them takes is 404 or 405.
///
/// Serve the result with `into_make_service_with_connect_info::<SocketAddr>()`: callers without a token are counted
/// by address.
pub fn conventions(routes: Router, shared: &Conventions) -> Router {
    let mut router = routes
        .fallback(paths::not_found)
        .method_not_allowed_fallback(paths::method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), admit))
        .layer(CatchPanicLayer::custom(panicked as fn(Box<dyn std::any::Any + Send>) -> Response));
    if !shared.0.cors_origins.is_empty() {
        router = router.layer(cors::layer(&shared.0.cors_origins, &shared.0.cors_headers));
    }
    let router = router.layer(from_fn(announce));
    // A layer of the router itself would come after routing, too late to change the path.
    let trim = MapRequestLayer::new(paths::without_trailing_slash as fn(Request<Body>) -> Request<Body>);
    Router::new().fallback_service(trim.layer(router))
}

async fn announce(mut request: Request, next: Next) -> Response {
    let id = RequestId::take_or_make(request.headers());
    let over_tls = security_headers::came_over_tls(request.headers());
    let access = Access::begin(request.method(), request.extensions());
    let current = CurrentRequest { id: id.clone(), uri: request.uri().clone() };
    let span = access.span(&id, current.path());
    request.extensions_mut().insert(id.clone());

    let answered = async move {
        let response = CURRENT.scope(current.clone(), next.run(request)).await;
        access.end(response.status());
        (response, current)
    };
    let (mut response, current) = answered.instrument(span).await;

    response.headers_mut().insert(X_REQUEST_ID, id.header_value());
    security_headers::add(response.headers_mut(), current.path(), over_tls);
    response
}

async fn admit(State(Conventions(shared)): State<Conventions>, mut request: Request, next: Next) -> Response {
    let identity = Identity::of(request.headers(), &shared.verifier).await;
    if !paths::is_for_operators(request.uri().path()) {
        // In memory: nothing is read for a request that has not been counted.
        let terminals = shared.terminals.as_ref().filter(|_| paths::is_for_tills(request.uri().path()));
        let mut till = terminals.map(|terminals| (terminals, Till::of(request.headers(), terminals)));
        let who = match (&till, &identity.0) {
            (Some((_, Till(Ok(terminal)))), _) => Who::Terminal(&terminal.serial),
            // Whoever shows a serial number without its key does not use up what that till may ask.
            (_, Ok(caller)) => Who::Subject(&caller.subject),
            (_, Err(_)) => Who::address(peer(&request)),
        };
        if let Err(problem) = shared.rate_limit.check(&who) {
            return problem.into_response();
        }
        if let Some((terminals, Till(Err(TerminalRefused::NotActive | TerminalRefused::WrongKey)))) = till {
            // Another node may have answered a moment ago that the terminal may work.
            if let Err(error) = terminals.catch_up().await {
                return terminals_unread(error).into_response();
            }
            till = Some((terminals, Till::of(request.headers(), terminals)));
        }
        if let Some((_, till)) = till {
            request.extensions_mut().insert(till);
        }
    }
    request.extensions_mut().insert(identity);
    request.extensions_mut().insert(shared.body_limit);
    next.run(request).await
}

// Forwarded addresses are not believed: anyone can write them.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(address)| address.ip())
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked: {0}")]
struct Panicked(String);

fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    Problem::internal(&Panicked(panic_message(&*payload).to_owned())).into_response()
}

#[cfg(test)]
mod tests;
