//! Fields that only this surface has.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use daybook_domain::reading::{DeviceType, Percent};
use serde_json::Value;
use uuid::Uuid;

use super::reader::Reader;
use crate::http::Problem;
use crate::http::fields::FieldValue;

impl FieldValue for Percent {
    fn placeholder() -> Self {
        Self::default()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let percent = value.as_u64().and_then(|number| u8::try_from(number).ok()).and_then(Self::new);
        percent.ok_or_else(|| "must be a whole number from 0 to 100".to_owned())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_json(&text.parse().map_or(Value::Null, |number: u64| Value::from(number)))
    }
}

impl FieldValue for DeviceType {
    fn placeholder() -> Self {
        Self::Mobile
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be mobile, tablet or desktop".to_owned())
    }
}

/// An id in the path, under the parameter's own name. A stranger is told 401 before anything about it.
pub struct PathId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let (name, text) = parameters.ok().and_then(|Path(all)| all.into_iter().next()).unwrap_or_default();
        match Uuid::from_text(&text) {
            Ok(id) => Ok(Self(id)),
            Err(message) => {
                Reader::from_request_parts(parts, state).await?;
                Err(Problem::bad_field(name, message))
            }
        }
    }
}
