//! Whose calendar holds: `X-Timezone`, else the token's `tz`, else what the reader stored, else UTC.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono_tz::Tz;
use daybook_projections::reading::profiles::Profile;

use super::reader::Reader;
use crate::http::Problem;

/// The zone that the request itself names, by header or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedZone(Option<Tz>);

impl<S: Send + Sync> FromRequestParts<S> for AskedZone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // First of all: a stranger is told 401, whatever else is wrong.
        let reader = Reader::from_request_parts(parts, state).await?;
        let mut sent = parts.headers.get_all("x-timezone").iter();
        match (sent.next(), sent.next()) {
            (Some(name), None) => named("X-Timezone", name.to_str().unwrap_or_default()),
            (Some(_), Some(_)) => Err(Problem::bad_field("X-Timezone", "must be sent once")),
            (None, _) => reader.timezone.as_deref().map_or(Ok(Self(None)), |name| named("tz", name)),
        }
    }
}

fn named(field: &'static str, name: &str) -> Result<AskedZone, Problem> {
    let zone = name.parse().map_err(|_| Problem::bad_field(field, "must be an IANA time zone like Europe/Paris"))?;
    Ok(AskedZone(Some(zone)))
}

impl AskedZone {
    /// The zone, if the request names one; a decision falls back on what the reader stored.
    pub fn asked(self) -> Option<Tz> {
        self.0
    }

    /// The zone to show statistics in.
    pub fn or_stored(self, profile: &Profile) -> Tz {
        let stored = || profile.timezone.as_deref().and_then(|name| name.parse().ok());
        self.0.or_else(stored).unwrap_or(Tz::UTC)
    }
}
