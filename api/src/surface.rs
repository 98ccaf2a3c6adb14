//! A surface: a part of the product as callers see it, with everything that comes with it.

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::jobs::Job;
use crate::settings::Settings;

/// What a surface does with fields of a body, and parameters of a query, that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are errors.
    Refused,
    /// They are passed over: its clients send more than is needed.
    Ignored,
}

/// A part of the product, as one value. A new one is a line in the list `surfaces::ALL`.
pub struct Surface {
    /// What it is called. Its operations have tags of their own.
    pub name: &'static str,
    /// The route table.
    pub routes: fn() -> OpenApiRouter<App>,
    /// What it does by itself.
    pub jobs: fn(&App, &Settings) -> Vec<Job>,
    /// What the actors of its events begin with, when they are not the subjects of tokens. No token may have a subject
    /// that begins like that.
    pub actor_prefix: Option<&'static str>,
    /// What it does with fields and parameters that it does not know.
    pub unknown_fields: UnknownFields,
    /// Headers, in lower case, that its routes read and its OpenAPI operations do not list as parameters.
    pub request_headers: &'static [&'static str],
    /// Describes its metrics.
    pub describe_metrics: fn(),
}

impl Surface {
    /// A surface of routes alone, which refuses what it does not know.
    #[must_use]
    pub const fn new(name: &'static str, routes: fn() -> OpenApiRouter<App>) -> Self {
        Self {
            name,
            routes,
            jobs: |_, _| Vec::new(),
            actor_prefix: None,
            unknown_fields: UnknownFields::Refused,
            request_headers: &[],
            describe_metrics: || {},
        }
    }
}
