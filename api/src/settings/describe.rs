//! The effective settings, for people and for pasting back.

use std::fmt::Write as _;

use super::sources::Found;
use super::{Setting, Settings};

pub(super) const MASK: &str = "********";

/// One line of `daybook config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The environment variable's name, which names the setting everywhere.
    pub name: String,
    /// The key in `daybook.toml`.
    pub key: &'static str,
    /// The text in force, masked when secret; none when nothing is set.
    pub value: Option<String>,
    /// The flag, variable or file that the value came from, `default`, or `not set`.
    pub source: String,
    /// Whether the value is masked.
    pub secret: bool,
}

impl Row {
    pub(super) fn new(setting: &Setting, found: Option<Found>) -> Self {
        let (value, source) = match found {
            Some(found) if setting.secret && !found.text.is_empty() => (Some(MASK.to_owned()), found.source),
            Some(found) => (Some(found.text), found.source),
            None => (None, "not set".to_owned()),
        };
        Self { name: setting.env(), key: setting.key, value, source, secret: setting.secret }
    }
}

/// The settings as a `daybook.toml`. Secrets and settings without a value are comments.
pub fn as_toml(settings: &Settings) -> String {
    let mut out = String::new();
    for row in settings.describe() {
        let written = match &row.value {
            Some(_) if row.secret => writeln!(out, "# {} is set by {} and is not shown", row.key, row.source),
            Some(value) => writeln!(out, "{} = {} # {}", row.key, quoted(value), row.source.escape_debug()),
            None => writeln!(out, "# {} is not set", row.key),
        };
        debug_assert!(written.is_ok(), "writing into a String does not fail");
    }
    out
}

// A TOML basic string takes JSON's escapes; DEL is the one character JSON leaves alone and TOML refuses.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
