//! Settings that stop the start, all of them named at once.

use std::fmt;

use super::Setting;
use super::describe::{MASK, shown};
use super::sources::Found;

/// One sentence about one wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSetting(String);

impl WrongSetting {
    /// A text that is not allowed, masked when the setting is secret.
    pub(super) fn value(setting: &Setting, found: &Found, allowed: String) -> Self {
        let shown = match shown(setting, &found.text) {
            _ if setting.secret => MASK.to_owned(),
            masked if masked != found.text => masked,
            text => format!("{text:?}"),
        };
        Self(format!("{} is {shown} (from {}); allowed: {allowed}", setting.env(), found.source))
    }

    pub(super) fn rule(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Every wrong setting of one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    wrong: Vec<WrongSetting>,
}

impl SettingsError {
    pub(super) fn new(wrong: Vec<WrongSetting>) -> Self {
        Self { wrong }
    }

    pub(super) fn one(message: String) -> Self {
        Self { wrong: vec![WrongSetting(message)] }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wrong.as_slice() {
            [one] => write!(f, "wrong setting: {}", one.0),
            many => {
                write!(f, "{} wrong settings:", many.len())?;
                many.iter().try_for_each(|wrong| write!(f, "\n  {}", wrong.0))
            }
        }
    }
}

impl std::error::Error for SettingsError {}
