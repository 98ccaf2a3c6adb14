//! For whoever watches the server: is it up, is it ready, what does it measure.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use daybook_eventlog::{Log, ReadError};
use daybook_projections::ProjectionState;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::observability::Metrics;

/// How long the log may take to say whether it is there: whoever asks does not wait for long either.
const PATIENCE: Duration = Duration::from_secs(2);

/// What these routes look at.
#[derive(Clone)]
pub struct Ops {
    app: App,
    metrics: Metrics,
    lag_max: Duration,
}

impl Ops {
    /// Looks at `app`; read models further behind than `lag_max` are not ready.
    pub fn new(app: App, metrics: Metrics, lag_max: Duration) -> Self {
        Self { app, metrics, lag_max }
    }
}

/// The route table.
pub fn routes() -> OpenApiRouter<Ops> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The same routes, for a router of their own state.
pub fn router(ops: Ops) -> Router {
    Router::from(routes().with_state(ops))
}

/// The process is up.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process is up
#[utoipa::path(get, path = "/healthz", tag = "Operations", security(()), responses((status = 200, description = "It is", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be served, and what is in the way.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// `ready` or `not ready`
    status: &'static str,
    log: LogReadiness,
    read_models: Vec<ReadModelReadiness>,
}

/// The log's part.
#[derive(Serialize, ToSchema)]
pub struct LogReadiness {
    writable: bool,
    /// What is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The last position.
    head: u64,
    /// Appends waiting to be written.
    queued: usize,
}

impl LogReadiness {
    async fn of(log: &Log) -> Self {
        let looked = tokio::time::timeout(PATIENCE, Self::obstacle(log)).await;
        let reason = looked.unwrap_or(Some("the log does not answer in time"));
        Self { writable: reason.is_none(), reason, head: log.head().get(), queued: log.queued() }
    }

    async fn obstacle(log: &Log) -> Option<&'static str> {
        // A database that nobody has asked for anything may be away without anybody's knowing.
        match log.stored_head().await {
            Ok(_) if log.is_writable().await => None,
            Ok(_) => Some("the log cannot be written"),
            Err(ReadError::Unavailable(_)) => Some("the database is not reachable"),
            Err(_) => Some("the log cannot be read"),
        }
    }
}

/// A read model's part.
#[derive(Serialize, ToSchema)]
pub struct ReadModelReadiness {
    name: &'static str,
    ready: bool,
    /// The last position applied.
    checkpoint: u64,
    lag_events: u64,
    lag_seconds: f64,
    /// `live`, `catching up`, or at which event it stopped and why.
    state: String,
}

/// Whether requests can be served
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Operations",
    security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready: the parts say why", body = Readiness)
    )
)]
pub async fn readyz(State(ops): State<Ops>) -> Response {
    let log = LogReadiness::of(&ops.app.log).await;
    let read_models: Vec<ReadModelReadiness> = ops
        .app
        .progress
        .status()
        .into_iter()
        .map(|status| {
            let (state, working) = match status.state {
                ProjectionState::Live => ("live".to_owned(), true),
                ProjectionState::CatchingUp => ("catching up".to_owned(), true),
                ProjectionState::Faulted { position, reason } => {
                    (format!("stopped at the event at position {position}: {reason}"), false)
                }
            };
            ReadModelReadiness {
                name: status.name,
                ready: working && status.is_known && status.lag <= ops.lag_max,
                checkpoint: status.checkpoint.get(),
                lag_events: status.lag_events,
                lag_seconds: status.lag.as_secs_f64(),
                state,
            }
        })
        .collect();
    let ready = log.writable && read_models.iter().all(|model| model.ready);
    let (status, word) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (status, Json(Readiness { status: word, log, read_models })).into_response()
}

/// Measurements in Prometheus' text format
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operations",
    security(()),
    responses((status = 200, description = "Measurements", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(ops): State<Ops>) -> Response {
    ops.app.progress.publish_metrics();
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^52 positions are enough")]
    {
        ::metrics::gauge!("daybook_log_head_position").set(ops.app.log.head().get() as f64);
        ::metrics::gauge!("daybook_log_queued_appends").set(ops.app.log.queued() as f64);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render()).into_response()
}
