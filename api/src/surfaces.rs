//! The list of surfaces, and what follows from all of them.

use axum::http::HeaderName;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::http::CorsHeaders;
use crate::jobs::Job;
use crate::settings::Settings;
use crate::surface::Surface;
use crate::{admin, log, operations, projections, reading, shop};

/// Every surface of the product; a new one is a line here.
pub const ALL: [Surface; 7] = [
    reading::SURFACE,
    shop::TILLS,
    shop::LEDGER,
    admin::SURFACE,
    log::SURFACE,
    projections::SURFACE,
    operations::SURFACE,
];

/// The routes of all surfaces.
pub fn routes() -> OpenApiRouter<App> {
    ALL.iter().fold(OpenApiRouter::new(), |router, surface| router.merge((surface.routes)()))
}

/// The jobs of all surfaces.
pub fn jobs(app: &App, settings: &Settings) -> Vec<Job> {
    ALL.iter().flat_map(|surface| (surface.jobs)(app, settings)).collect()
}

/// What the subject of a token must not begin with: it would pass for an actor of the server's own.
#[must_use]
pub fn reserved_prefixes() -> Vec<&'static str> {
    ALL.iter().filter_map(|surface| surface.actor_prefix).collect()
}

/// Describes the metrics of all surfaces.
pub fn describe_metrics() {
    ALL.iter().for_each(|surface| (surface.describe_metrics)());
}

/// The headers that the routes read and answer, for browsers: those that the OpenAPI operations list, and those that
/// the surfaces add.
#[must_use]
pub fn headers() -> CorsHeaders {
    let mut headers = CorsHeaders::default();
    for surface in &ALL {
        headers.read.extend(surface.request_headers.iter().copied().map(HeaderName::from_static));
        let document = (surface.routes)().to_openapi();
        for operation in operations(&document) {
            let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Header => Some(&parameter.name),
                _ => None,
            });
            headers.read.extend(parameters.filter_map(|name| name.parse().ok()));
            headers.answered.extend(answered(operation));
        }
    }
    headers
}

fn operations(document: &OpenApi) -> impl Iterator<Item = &Operation> {
    document.paths.paths.values().flat_map(|item| {
        [&item.get, &item.post, &item.put, &item.delete, &item.patch, &item.head].into_iter().flatten()
    })
}

fn answered(operation: &Operation) -> impl Iterator<Item = HeaderName> {
    let responses = operation.responses.responses.values().filter_map(|response| match response {
        RefOr::T(response) => Some(response),
        RefOr::Ref(_) => None,
    });
    responses.flat_map(|response| response.headers.keys()).filter_map(|name| name.parse().ok())
}
