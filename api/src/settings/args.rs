//! The flags, made from the table, so that `--help` teaches every setting.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Settings, SettingsError, Sources, TABLE};

const CONFIG: &str = "config";
const HEADING: &str = "Settings (flag, else variable, else daybook.toml, else default)";

/// The flags that were given. Flatten it into a command.
#[derive(Clone, Debug, Default)]
pub struct SettingsArgs {
    flags: BTreeMap<&'static str, String>,
    config: Option<PathBuf>,
}

impl SettingsArgs {
    /// Joins the flags with the environment and the file.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        Settings::load(&Sources::read(self.flags.clone(), self.config.as_deref())?)
    }

    /// Whether the flag of `key` was given.
    pub(crate) fn chose(&self, key: &str) -> bool {
        self.flags.contains_key(key)
    }
}

/// One flag for every row of the table, and `--config`.
pub fn args() -> Vec<Arg> {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help_heading(HEADING)
        .help("Settings file [default: daybook.toml of the working folder, if there]");
    let settings = TABLE.iter().map(|setting| {
        let default = setting.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
        let also = setting.also_env.map(|name| format!(" or {name}")).unwrap_or_default();
        Arg::new(setting.key)
            .long(setting.flag())
            .value_name(setting.value_name)
            // An empty value takes an optional setting back to none.
            .value_parser(clap::builder::StringValueParser::new())
            .help_heading(HEADING)
            .help(format!("{} [env: {}{also}]{default}", setting.meaning, setting.env()))
    });
    settings.chain([config]).collect()
}

impl clap::Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(args())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = TABLE
            .iter()
            .filter_map(|setting| matches.get_one::<String>(setting.key).map(|text| (setting.key, text.clone())))
            .collect();
        Ok(Self { flags, config: matches.get_one::<PathBuf>(CONFIG).cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
