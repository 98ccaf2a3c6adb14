//! What a token says, on the wire.

use serde::{Deserialize, Serialize};

use super::{AuthError, Caller, Roles};

const SUBJECT_CHARS_MAX: usize = 255;

/// Claims as they are read. `exp`, `nbf`, `iss` and `aud` are checked by the JWT library.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    roles: Option<Vec<String>>,
    projects: Option<Vec<i64>>,
    tz: Option<String>,
}

impl Claims {
    pub(super) fn into_caller(self) -> Result<Caller, AuthError> {
        let subject = self.sub.filter(|sub| subject_is_valid(sub)).ok_or(AuthError::Subject)?;
        Ok(Caller {
            subject,
            roles: Roles::from_names(self.roles.iter().flatten().map(String::as_str)),
            projects: self.projects.unwrap_or_default(),
            timezone: self.tz,
        })
    }
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

pub(super) fn subject_is_valid(subject: &str) -> bool {
    !subject.is_empty() && subject.chars().count() <= SUBJECT_CHARS_MAX
}
