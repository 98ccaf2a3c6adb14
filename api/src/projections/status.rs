//! How far each projection is.

use axum::Json;
use axum::extract::{Path, State};
use daybook_eventlog::Position;
use daybook_projections::{ProjectionState, ProjectionStatus, RebuildStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::Problem;
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::NoQuery;

const READERS: [Role; 3] = [Role::Analyst, Role::Auditor, Role::Admin];

/// Every projection.
#[derive(Serialize, ToSchema)]
pub struct Projections {
    /// By name.
    projections: Vec<Projection>,
    /// The log's last position.
    head: u64,
}

/// A projection, and how far its read model is.
#[derive(Serialize, ToSchema)]
pub struct Projection {
    #[schema(example = "stock_ledger")]
    name: &'static str,
    /// Of its code: another one means another read model.
    version: u32,
    /// The last position applied.
    checkpoint: u64,
    /// The log's last position.
    head: u64,
    /// Events of the log that are not applied yet.
    lag_events: u64,
    /// For how long something has been waiting to be applied.
    lag_seconds: f64,
    /// Events passed each second, over the last ten seconds.
    rate: f64,
    #[schema(value_type = ProjectionStateName)]
    state: &'static str,
    /// The copy that is being built beside the one that is served.
    #[schema(required)]
    rebuild: Option<Rebuild>,
    /// Where and why it stopped.
    #[schema(required)]
    fault: Option<Fault>,
    /// Why the last rebuild was given up by itself; null once another one began.
    #[schema(required)]
    rebuild_failure: Option<String>,
}

/// What a projection is doing.
#[derive(ToSchema)]
#[schema(as = ProjectionState)]
#[expect(dead_code, reason = "the document's list of states")]
enum ProjectionStateName {
    #[schema(rename = "live")]
    Live,
    #[schema(rename = "catching up")]
    CatchingUp,
    #[schema(rename = "rebuilding")]
    Rebuilding,
    #[schema(rename = "faulted")]
    Faulted,
}

/// A read model that is built from nothing beside the one that is served.
#[derive(Serialize, ToSchema)]
pub struct Rebuild {
    /// It begins when the rebuilds under way have ended.
    waiting: bool,
    /// The last position applied.
    checkpoint: u64,
    /// How much of the log that is: 0 to 100.
    percent: f64,
    /// How long the rest takes; null as long as that cannot be told.
    #[schema(required)]
    eta_seconds: Option<f64>,
    /// Events applied each second, over the last ten seconds.
    rate: f64,
}

/// An event that a projection cannot take.
#[derive(Serialize, ToSchema)]
pub struct Fault {
    /// Where the event stands in the log.
    position: u64,
    reason: String,
}

impl Projection {
    pub(super) fn of(status: ProjectionStatus, head: Position) -> Self {
        let (state, fault) = match status.state {
            ProjectionState::Faulted { position, reason } => {
                ("faulted", Some(Fault { position: position.get(), reason }))
            }
            _ if status.rebuild.is_some() => ("rebuilding", None),
            ProjectionState::CatchingUp => ("catching up", None),
            ProjectionState::Live => ("live", None),
        };
        Self {
            name: status.name,
            version: status.version,
            checkpoint: status.checkpoint.get(),
            head: head.get().max(status.checkpoint.get()),
            lag_events: status.lag_events,
            lag_seconds: status.lag.as_secs_f64(),
            rate: status.per_second,
            state,
            rebuild: status.rebuild.map(Rebuild::from),
            fault,
            rebuild_failure: status.rebuild_failure,
        }
    }
}

impl From<RebuildStatus> for Rebuild {
    fn from(status: RebuildStatus) -> Self {
        Self {
            waiting: status.is_waiting,
            checkpoint: status.checkpoint.get(),
            percent: status.percent,
            eta_seconds: status.eta.map(|eta| eta.as_secs_f64()),
            rate: status.per_second,
        }
    }
}

/// Every projection, and how far it is
#[utoipa::path(
    get,
    operation_id = "list_projections",
    path = "/api/v1/projections",
    tag = "Projections",
    responses((status = 200, description = "All of them, by name", body = Projections), ReadProblems, Forbidden)
)]
pub async fn list(State(app): State<App>, caller: Caller, _: NoQuery) -> Result<Json<Projections>, Problem> {
    caller.must_be(&READERS)?;
    let head = app.log.head();
    let projections = app.progress.status().into_iter().map(|status| Projection::of(status, head)).collect();
    Ok(Json(Projections { projections, head: head.get() }))
}

/// A projection, and how far it is
#[utoipa::path(
    get,
    operation_id = "get_projection",
    path = "/api/v1/projections/{name}",
    tag = "Projections",
    params(("name" = String, Path)),
    responses((status = 200, description = "The projection", body = Projection), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    caller: Caller,
    _: NoQuery,
) -> Result<Json<Projection>, Problem> {
    caller.must_be(&READERS)?;
    find(&app, &name).map(Json)
}

pub(super) fn find(app: &App, name: &str) -> Result<Projection, Problem> {
    let head = app.log.head();
    let status = app.progress.status().into_iter().find(|status| status.name == name);
    let status = status.ok_or_else(|| Problem::not_found("There is no such projection: GET /api/v1/projections."))?;
    Ok(Projection::of(status, head))
}
