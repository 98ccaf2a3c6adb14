//! The server, from its settings to its end.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use daybook_eventlog::Log;
use daybook_projections::{ReadModels, Runner};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::auth::TokenVerifier;
use crate::http::{Conventions, conventions};
use crate::observability::Metrics;
use crate::ops::{self, Ops};
use crate::reading::{self, sweep};
use crate::settings::Settings;
use crate::shop;
use crate::{admin, demo, openapi};

/// How long requests in flight may take once the server is asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

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
    let verifier = TokenVerifier::open(&settings)?;
    match verifier.check().await {
        Ok(()) => {}
        Err(error) if options.check => return Err(error.into()),
        // Whoever shows a token of that key set is answered 503 until it can be fetched; everybody else is served.
        Err(error) => tracing::warn!(
            error = &error as &dyn Error,
            "the key set cannot be fetched now: trying again when it is needed"
        ),
    }
    let log = Log::open(&settings.data).await?;
    tracing::info!(place = log.place(), head = %log.head(), "opened the log");
    let models = ReadModels::open(&settings.data).await?;
    if options.check {
        log.close().await;
        tracing::info!("everything that is needed to serve is there");
        return Ok(());
    }
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another address with --listen", settings.listen)
    })?;
    let address = listener.local_addr()?;
    let metrics = Metrics::start()?;
    let runner = Runner::start(log.clone(), models.clone(), daybook_projections::all()).await?;
    let app = App::new(log.clone(), models.clone(), runner.progress());
    if options.demo {
        demo::provision(&app).await?;
        demo::show(&verifier, address)?;
    }
    let sweeper = sweep::start(app.clone(), settings.session_idle, settings.session_sweep);
    let router = router(&settings, verifier, app, metrics);

    tracing::info!("listening on http://{address}, API at /docs, stop with Ctrl-C");
    serve(listener, router).await?;

    sweeper.abort();
    runner.stop().await;
    models.close().await;
    log.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Every surface of the product; a new one is a line here.
pub fn surfaces() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(reading::routes()).merge(shop::routes()).merge(admin::routes())
}

/// Everything the server answers.
pub fn router(settings: &Settings, verifier: TokenVerifier, app: App, metrics: Metrics) -> Router {
    let ops = ops::router(Ops::new(app.clone(), metrics, settings.lag_max));
    let knows_terminal = shop::knows_terminal(app.clone());
    let routes = Router::from(surfaces().with_state(app))
        .merge(ops)
        .merge(SwaggerUi::new("/docs").url("/api/openapi.json", openapi::document()));
    conventions(routes, &Conventions::new(settings, verifier, Some(knows_terminal)))
}

/// The OpenAPI document as JSON.
pub fn openapi() -> Result<String, Box<dyn Error + Send + Sync>> {
    Ok(openapi::document().to_pretty_json()?)
}

/// Answers until SIGTERM or SIGINT, then finishes what is in flight.
async fn serve(listener: TcpListener, router: Router) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (stopping, mut stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop: finishing what is in flight");
        stopping.send_replace(true);
    };
    let listener = listener.tap_io(|connection| {
        // Answers are small and whole: waiting to fill a packet would only delay them.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays without TCP_NODELAY");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(asked);
    let too_late = async {
        // The sender is dropped only when serving has ended.
        let _ = stopped.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(STOP_PATIENCE).await;
    };
    tokio::select! {
        served = serving => served?,
        () = too_late => tracing::warn!("requests in flight did not finish in time: stopping without them"),
    }
    Ok(())
}
