//! What a token says, on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Number;
use uuid::Uuid;

use super::{AuthError, Caller, Roles};

const SUBJECT_CHARS_MAX: usize = 255;

/// Seconds that an issuer's clock may be ahead of this one. `exp` has no leeway.
const CLOCK_AHEAD_MAX_S: u64 = 30;

/// Claims as they are read. The JWT library has checked `exp`, `iss` and `aud`; `nbf` and `iat`, which have another
/// leeway, are checked here.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    roles: Option<Vec<String>>,
    projects: Option<Vec<i64>>,
    tz: Option<String>,
    // Some issuers write fractions.
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Number>,
}

impl Claims {
    /// `reserved`: what a subject must not begin with, as it would pass for an actor of the server's own.
    pub(super) fn into_caller(self, reserved: &[&str]) -> Result<Caller, AuthError> {
        let latest = jsonwebtoken::get_current_timestamp() + CLOCK_AHEAD_MAX_S;
        if [&self.nbf, &self.iat].into_iter().flatten().any(|moment| seconds(moment) > latest) {
            return Err(AuthError::NotYetValid);
        }
        let subject =
            self.sub.filter(|sub| subject_is_valid(sub, reserved)).map(canonical).ok_or(AuthError::Subject)?;
        Ok(Caller {
            subject,
            roles: Roles::from_names(self.roles.iter().flatten().map(String::as_str)),
            projects: self.projects.unwrap_or_default(),
            timezone: self.tz,
            // There always is one: a token without it is refused before.
            expires_at: self.exp.as_ref().map_or(0, seconds),
        })
    }
}

/// One spelling for each id: a UUID is one caller, however its token writes it.
fn canonical(subject: String) -> String {
    Uuid::try_parse(&subject).map_or(subject, |id| id.to_string())
}

fn seconds(number: &Number) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "out of range it is the nearest end")]
    number.as_u64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as u64)
}

/// Claims as they are written by `daybook token`.
#[derive(Serialize)]
pub(super) struct MintedClaims<'a> {
    pub(super) sub: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[i64]>::is_empty")]
    pub(super) projects: &'a [i64],
    pub(super) iat: u64,
    pub(super) exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<&'a str>,
}

pub(super) fn subject_is_valid(subject: &str, reserved: &[&str]) -> bool {
    !subject.is_empty()
        && subject.chars().count() <= SUBJECT_CHARS_MAX
        && !reserved.iter().any(|prefix| subject.starts_with(prefix))
}
