//! The server, from its settings to its end.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use daybook_projections::Runner;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::auth::{KeyError, MissingKey, TokenVerifier};
use crate::http::{Conventions, conventions};
use crate::log::Streams;
use crate::observability::Metrics;
use crate::ops::{self, Ops};
use crate::settings::Settings;
use crate::signals::asked_to_stop;
use crate::store::Store;
use crate::{demo, openapi, surfaces};

/// How long requests in flight may take once the server is asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How long answers may take to go out then, once nothing is being worked on: a peer that does not read must not hold
/// the stop up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// How often a stop looks whether anything is still being worked on.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a peer may take nothing of what is sent to it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What `daybook serve` was asked besides its settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Provision the demo world, once.
    pub demo: bool,
    /// Check everything and stop before serving.
    pub check: bool,
}

/// Serves until a signal ends it.
pub async fn run(settings: Settings, options: ServeOptions) -> Result<(), Box<dyn Error + Send + Sync>> {
    if options.check {
        return check(&settings).await;
    }
    // Before a database is waited for. In a data folder a key is made, but only beside a log.
    let keys_known = match settings.database_url {
        Some(_) => Some(keys(&settings, options)?),
        None => None,
    };
    // From here on: a start may wait for its database.
    let mut asked = Box::pin(asked_to_stop()?);
    let Store { log, models } = tokio::select! {
        opened = Store::open(&settings) => opened?,
        signal = &mut asked => {
            tracing::info!("stopped by {signal} before the start was over");
            return Ok(());
        }
    };
    tracing::info!(place = log.place(), head = %log.head(), "opened the log");
    let verifier = match keys_known {
        Some(verifier) => verifier,
        None => keys(&settings, options)?,
    };
    if let Err(error) = verifier.check().await {
        // Tokens of that key set are answered 503 until it can be fetched; all others are served.
        tracing::warn!(
            error = &error as &dyn Error,
            "the key set cannot be fetched now: trying again when it is needed"
        );
    }
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another address with --listen", settings.listen)
    })?;
    let address = listener.local_addr()?;
    let metrics = Metrics::start()?;
    let runner = Runner::start(log.clone(), models.clone(), daybook_projections::all()).await?;
    let app = App::new(&settings, log.clone(), models.clone(), runner.control());
    if options.demo {
        demo::provision(&app).await?;
        demo::show(&verifier, address)?;
    }
    // From the first request on, a till is recognised without a look at the log.
    app.terminals.catch_up().await?;
    let jobs = app.jobs.clone();
    jobs.start(surfaces::jobs(&app, &settings), &models, &runner.leads());
    let streams = app.streams.clone();
    let router = router(&settings, verifier, app, metrics);

    tracing::info!("listening on http://{address}, API at /docs, stop with Ctrl-C");
    serve(listener, router, streams, asked).await?;

    jobs.stop().await;
    runner.stop().await;
    Store { log, models }.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What tokens are verified with; for the demo, which prints tokens, also what they are signed with.
fn keys(settings: &Settings, options: ServeOptions) -> Result<TokenVerifier, KeyError> {
    let verifier = TokenVerifier::open(settings, surfaces::reserved_prefixes())?;
    if options.demo {
        verifier.can_mint()?;
    }
    Ok(verifier)
}

/// Looks whether a start would succeed; makes and changes nothing.
async fn check(settings: &Settings) -> Result<(), Box<dyn Error + Send + Sync>> {
    Store::check(settings).await?;
    match TokenVerifier::open_with(settings, surfaces::reserved_prefixes(), MissingKey::Refuse) {
        Ok(verifier) => verifier.check().await?,
        Err(KeyError::NotMade { .. }) => tracing::info!("there is no key for tokens yet; the start makes one"),
        Err(error) => return Err(error.into()),
    }
    tracing::info!("everything that is needed to serve is there");
    Ok(())
}

/// Everything the server answers.
pub fn router(settings: &Settings, verifier: TokenVerifier, app: App, metrics: Metrics) -> Router {
    let ops = ops::router(Ops::new(app.clone(), metrics, settings.lag_max));
    let terminals = app.terminals.clone();
    let routes = Router::from(surfaces::routes().with_state(app))
        .merge(ops)
        .merge(SwaggerUi::new("/docs").url("/api/openapi.json", openapi::document()));
    conventions(routes, &Conventions::new(settings, verifier, Some(terminals), surfaces::headers()))
}

/// The OpenAPI document as JSON.
pub fn openapi() -> Result<String, Box<dyn Error + Send + Sync>> {
    Ok(openapi::document().to_pretty_json()?)
}

/// Lets the system close the connection of a peer that takes nothing of what is sent to it for so long: nobody else
/// would notice, as long as the peer's machine says that it is there.
fn limit_silence(connection: &TcpStream, silence: Duration) -> std::io::Result<()> {
    SockRef::from(connection).set_tcp_user_timeout(Some(silence))
}

/// How many requests are being worked on. Their answers may still be on the way afterwards.
#[derive(Clone, Default)]
struct UnderWay(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct One(UnderWay);

impl UnderWay {
    async fn count(State(under_way): State<Self>, request: Request, next: Next) -> Response {
        under_way.0.fetch_add(1, Ordering::Relaxed);
        let _one = One(under_way);
        next.run(request).await
    }

    /// Waits until there is none.
    async fn over(&self) {
        while self.0.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers until `signal`, then finishes what is in flight.
async fn serve(
    listener: TcpListener,
    router: Router,
    streams: Streams,
    signal: impl Future<Output = &'static str> + Send + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (stopping, mut stopped) = watch::channel(false);
    let asked = async move {
        signal.await;
        tracing::info!("asked to stop: finishing what is in flight");
        stopping.send_replace(true);
        streams.stop();
    };
    let listener = listener.tap_io(|connection| {
        // Answers are small and whole: waiting to fill a packet would only delay them.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays without TCP_NODELAY");
        }
        if let Err(error) = limit_silence(connection, SILENCE_MAX) {
            tracing::debug!(%error, "a connection stays without TCP_USER_TIMEOUT");
        }
    });
    let under_way = UnderWay::default();
    let router = router.layer(from_fn_with_state(under_way.clone(), UnderWay::count));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(asked);
    let too_late = async {
        // The sender is dropped only when serving has ended.
        let _ = stopped.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(ANSWER_PATIENCE).await;
        let _ = tokio::time::timeout(STOP_PATIENCE - ANSWER_PATIENCE, under_way.over()).await;
    };
    tokio::select! {
        served = serving => served?,
        () = too_late => tracing::warn!("requests in flight did not finish in time: stopping without them"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_loses_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // It is there, and its system goes on saying that it has no room.
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut connection, _) = listener.accept().await.unwrap();
        limit_silence(&connection, Duration::from_secs(1)).unwrap();
        let began = std::time::Instant::now();
        let error = loop {
            if let Err(error) = connection.write_all(&[0; 64 * 1024]).await {
                break error;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it is written to for ever");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
