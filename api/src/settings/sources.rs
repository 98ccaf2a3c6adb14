//! Where the texts of the settings come from: flags, environment, file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::WrongSetting;
use super::{Setting, SettingsError, TABLE};

const FILE_NAME: &str = "daybook.toml";

/// Everything that may say something about a setting, read once.
#[derive(Default)]
pub struct Sources {
    /// Texts of the flags that were given, by key.
    pub flags: BTreeMap<&'static str, String>,
    /// Environment variables, by name.
    pub env: BTreeMap<String, OsString>,
    /// The settings file, when there is one.
    pub file: Option<ConfigFile>,
}

/// A parsed `daybook.toml`.
pub struct ConfigFile {
    path: PathBuf,
    table: toml::Table,
}

/// A text and where it was found, in words: `--listen`, `DAYBOOK_LISTEN`, `daybook.toml`, `default`.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) source: String,
}

impl Sources {
    /// The process's environment, the flags, and `--config FILE` or else `daybook.toml` of the working folder.
    pub fn read(flags: BTreeMap<&'static str, String>, config: Option<&Path>) -> Result<Self, SettingsError> {
        let file = match config {
            Some(path) => Some(ConfigFile::read(path)?),
            None if Path::new(FILE_NAME).exists() => Some(ConfigFile::read(Path::new(FILE_NAME))?),
            None => None,
        };
        let env = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().map(|name| (name, value)))
            .filter(|(name, _)| name.starts_with("DAYBOOK_") || TABLE.iter().any(|s| s.also_env == Some(name)))
            .collect();
        Ok(Self { flags, env, file })
    }

    pub(super) fn find(&self, setting: &Setting) -> Result<Option<Found>, WrongSetting> {
        if let Some(text) = self.flags.get(setting.key) {
            return Ok(Some(Found { text: text.clone(), source: format!("--{}", setting.flag()) }));
        }
        let names = [Some(setting.env()), setting.also_env.map(str::to_owned)];
        for name in names.into_iter().flatten() {
            if let Some(value) = self.env.get(&name) {
                // Another program's variable, set to nothing, says nothing about Daybook.
                if value.is_empty() && setting.also_env == Some(name.as_str()) {
                    continue;
                }
                let text = value.to_str().ok_or_else(|| WrongSetting::rule(format!("{name} is not UTF-8")))?;
                return Ok(Some(Found { text: text.to_owned(), source: name }));
            }
        }
        if let Some(file) = &self.file
            && let Some(value) = file.table.get(setting.key)
        {
            return file.text(setting, value).map(Some);
        }
        Ok(setting.default.map(|text| Found { text: text.to_owned(), source: "default".to_owned() }))
    }

    pub(super) fn unknown_file_keys(&self) -> Vec<WrongSetting> {
        let Some(file) = &self.file else { return Vec::new() };
        let known: Vec<_> = TABLE.iter().map(|setting| setting.key).collect();
        file.table
            .keys()
            .filter(|key| !known.contains(&key.as_str()))
            .map(|key| {
                let path = file.path.display();
                WrongSetting::rule(format!("{key} in {path} is no setting; known are {}", known.join(", ")))
            })
            .collect()
    }

    /// Variables that look like settings and are none: most often a typing error, so they are worth a line.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.env
            .keys()
            .filter(|name| name.starts_with("DAYBOOK_") && !TABLE.iter().any(|s| s.env() == **name))
            .map(|name| format!("{name} is no setting of this version and is ignored; `daybook config` lists them"))
            .collect()
    }
}

impl ConfigFile {
    /// Reads and parses the file at `path`.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            SettingsError::one(format!("the settings file {} cannot be read: {error}", path.display()))
        })?;
        Self::parse(path, &text)
    }

    /// Parses `text`; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        // The error's own display quotes the line, which may hold a secret: say its number instead.
        let table = text.parse::<toml::Table>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            SettingsError::one(format!("line {line} of {} is not valid TOML", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), table })
    }

    fn text(&self, setting: &Setting, value: &toml::Value) -> Result<Found, WrongSetting> {
        let text = match value {
            toml::Value::String(text) => Some(text.clone()),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Array(items) => {
                items.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>().map(|items| items.join(","))
            }
            _ => None,
        };
        let source = self.path.display().to_string();
        let key = setting.key;
        match text {
            Some(text) => Ok(Found { text, source }),
            None => Err(WrongSetting::rule(format!(
                "{key} in {source} has a wrong type: write a text, a whole number or a list of texts"
            ))),
        }
    }
}
