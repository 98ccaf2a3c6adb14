//! Errors as tills know them: a French text and a code.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use daybook_domain::shop::ShopRejection;
use daybook_eventlog::ExecuteError;
use daybook_projections::ReadModelsError;
use serde::Serialize;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema as _, ToSchema};

use crate::caught_up::NotCaughtUp;
use crate::http::Problem;
use crate::http::unread::models_unread;
use crate::http::write::problem;

/// Why a till's request failed as a whole.
#[derive(Debug)]
pub enum Refusal {
    /// In this surface's own words.
    Own(StatusCode, Text),
    /// What every surface answers alike: too many requests, a full disk, a failure.
    Common(Problem),
}

/// An error of this surface.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Erreur)]
pub struct Text {
    /// In French.
    error: &'static str,
    /// For programs.
    #[schema(example = "INVALID_FORMAT")]
    code: &'static str,
    /// The header that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    header_required: Option<&'static str>,
}

impl Refusal {
    fn own(status: StatusCode, code: &'static str, error: &'static str) -> Self {
        Self::Own(status, Text { error, code, header_required: None })
    }

    pub fn missing_serial() -> Self {
        let error = "Numéro de série du terminal requis dans les headers";
        let text = Text { error, code: "MISSING_SERIAL", header_required: Some("X-Device-Serial") };
        Self::Own(StatusCode::BAD_REQUEST, text)
    }

    pub fn terminal_not_found() -> Self {
        Self::own(StatusCode::NOT_FOUND, "TERMINAL_NOT_FOUND", "Terminal non trouvé ou inactif")
    }

    pub fn invalid_key() -> Self {
        Self::own(StatusCode::UNAUTHORIZED, "INVALID_KEY", "Clé du terminal manquante ou incorrecte")
    }

    pub fn invalid_format() -> Self {
        Self::own(StatusCode::BAD_REQUEST, "INVALID_FORMAT", "Format invalide: un tableau de ventes est attendu")
    }

    pub fn empty_data() -> Self {
        Self::own(StatusCode::BAD_REQUEST, "EMPTY_DATA", "Aucune vente à synchroniser")
    }

    pub fn too_many() -> Self {
        Self::own(StatusCode::PAYLOAD_TOO_LARGE, "TOO_MANY", "Trop de ventes: 1000 au plus par requête")
    }

    pub fn invalid_cancel() -> Self {
        let error = "Format invalide: numero_facture et motif sont attendus";
        Self::own(StatusCode::BAD_REQUEST, "INVALID_FORMAT", error)
    }

    pub fn vente_not_found() -> Self {
        Self::own(StatusCode::NOT_FOUND, "VENTE_NOT_FOUND", "Vente non trouvée")
    }

    pub fn already_cancelled() -> Self {
        Self::own(StatusCode::CONFLICT, "ALREADY_CANCELLED", "Vente déjà annulée")
    }

    pub fn invalid_parameter(error: &'static str) -> Self {
        Self::own(StatusCode::BAD_REQUEST, "INVALID_PARAMETER", error)
    }

    pub fn other_shop() -> Self {
        Self::own(StatusCode::FORBIDDEN, "FORBIDDEN_SHOP", "Cette boutique n'est pas celle du terminal")
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Common(problem)
    }
}

impl From<ExecuteError<ShopRejection>> for Refusal {
    fn from(error: ExecuteError<ShopRejection>) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => match rejection {
                ShopRejection::AlreadyCancelled { .. } => Self::already_cancelled(),
                ShopRejection::NotOpen | ShopRejection::TerminalNotActive { .. } => Self::terminal_not_found(),
                other => Problem::conflict(format!("La vente ne peut pas être annulée: {other}")).into(),
            },
            ExecuteError::Conflict => Problem::conflict("D'autres modifiaient la même boutique: réessayez.").into(),
            other => problem(other, |rejection| Problem::internal(&rejection)).into(),
        }
    }
}

impl From<NotCaughtUp> for Refusal {
    fn from(error: NotCaughtUp) -> Self {
        Self::Common(error.into())
    }
}

impl From<ReadModelsError> for Refusal {
    fn from(error: ReadModelsError) -> Self {
        Self::Common(models_unread(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Own(status, text) => {
                let json = (header::CONTENT_TYPE, "application/json");
                (status, [json], Json(text)).into_response()
            }
            Self::Common(problem) => problem.into_response(),
        }
    }
}

/// The schema that the errors below refer to by name.
pub fn schemas() -> Vec<(String, RefOr<utoipa::openapi::schema::Schema>)> {
    vec![(Text::name().into_owned(), Text::schema())]
}

/// Errors of requests that read, for the document.
pub struct ReadRefusals;

/// Errors of requests that write, for the document.
pub struct WriteRefusals;

const READ: [(&str, &str); 5] = [
    ("400", "The terminal's header is missing, or a parameter is wrong"),
    ("401", "The terminal's key is missing or wrong"),
    ("403", "Another shop than the terminal's"),
    ("404", "Terminal or sale unknown"),
    ("409", "Cancelled already, or others kept changing the shop"),
];
const WRITE: [(&str, &str); 2] = [("413", "Too much at once"), ("415", "The body is no JSON by its content type")];
const COMMON: [(&str, &str); 6] = [
    ("408", "The body stopped coming"),
    ("422", "The Idempotency-Key was used with another body"),
    ("429", "Too many requests: see Retry-After"),
    ("500", "A failure of the server"),
    ("503", "Not now: see Retry-After"),
    ("507", "No room left to store anything"),
];

impl IntoResponses for ReadRefusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        READ.into_iter().chain(COMMON).map(refusal).collect()
    }
}

impl IntoResponses for WriteRefusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        READ.into_iter().chain(WRITE).chain(COMMON).map(refusal).collect()
    }
}

fn refusal((status, description): (&str, &str)) -> (String, RefOr<utoipa::openapi::Response>) {
    let content = |name| ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/json", content("Erreur"))
        .content("application/problem+json", content("Problem"));
    (status.to_owned(), response.build().into())
}
