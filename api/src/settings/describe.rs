//! The effective settings, for people and for pasting back.

use std::fmt::Write as _;

use reqwest::Url;

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
        let Some(Found { text, source }) = found else {
            let source = "not set".to_owned();
            return Self { name: setting.env(), key: setting.key, value: None, source, secret: setting.secret };
        };
        let shown = shown(setting, &text);
        let secret = setting.secret || shown != text;
        Self { name: setting.env(), key: setting.key, value: Some(shown), source, secret }
    }
}

/// The text of a setting as it may be shown.
pub(super) fn shown(setting: &Setting, text: &str) -> String {
    match text {
        "" => String::new(),
        _ if setting.secret => MASK.to_owned(),
        _ if setting.is_url => masked_url(text),
        _ => text.to_owned(),
    }
}

/// A URL without what may be secret in it: credentials and the query are masked.
pub(crate) fn masked_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return if text.contains(['@', '?']) { MASK.to_owned() } else { text.to_owned() };
    };
    if url.query().is_none() && url.username().is_empty() && url.password().is_none() {
        // As it was written.
        return text.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    // Both fail for URLs that cannot have credentials, which then have none to mask.
    if has_credentials && (url.set_password(None).is_err() || url.set_username(MASK).is_err()) {
        return MASK.to_owned();
    }
    url.into()
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
