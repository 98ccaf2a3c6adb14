//! `daybook migrate`: the database's tables, brought to this build's format before a node starts.

use std::error::Error;
use std::io::{self, Write as _};

use clap::Args;
use daybook_eventlog::{Migrated, PostgresOptions, migrate};
use daybook_projections::{PostgresModelsOptions, ReadModels, ReadModelsError};

use crate::log_files::WrongUse;
use crate::progress::tell;
use crate::settings::SettingsArgs;
use crate::store::once_there;

/// Brings the database to this build's format.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  DAYBOOK_DATABASE_URL=postgres://daybook@db/daybook daybook migrate\n  daybook migrate --check     changes nothing; exits with 1 when there is something to do\n\nMakes what is missing. Any number of nodes may run it at once, and `daybook serve` does the same at its start. There\nis no way back: a database that a newer build has migrated is refused by this one. A data folder needs none of this."
)]
pub struct MigrateArgs {
    /// Only say whether there is something to do
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl MigrateArgs {
    pub(crate) async fn run(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let settings = self.settings.load()?;
        settings.warnings.iter().for_each(|warning| tell(warning));
        let Some(url) = &settings.database_url else {
            let message = "there is no database to migrate: name it with DAYBOOK_DATABASE_URL. A data folder is \
                           migrated by the command that opens it";
            return Err(WrongUse(message.to_owned()).into());
        };
        let options = PostgresOptions { migrate: !self.check, ..PostgresOptions::new(url.expose()) };
        let log =
            if self.check { migrate(&options).await? } else { once_there(async || migrate(&options).await).await? };
        say(&done(&log))?;
        // The catalog alone: tables are made, and made anew, by the node that keeps the read models.
        let there = PostgresModelsOptions { make: false, ..PostgresModelsOptions::new(url.expose()) };
        let (models, told) = match ReadModels::connect(&there).await {
            Err(ReadModelsError::Missing(_)) if !self.check => {
                let made = PostgresModelsOptions { make: true, ..there };
                (ReadModels::connect(&made).await?, "made")
            }
            Err(error @ ReadModelsError::Missing(_)) => return Err(format!("{error}: run `daybook migrate`").into()),
            models => (models?, "nothing to do"),
        };
        models.close().await;
        say(&format!("the catalog of the read models: {told}"))
    }
}

fn done(log: &Migrated) -> String {
    let Migrated { place, from, to } = log;
    match from {
        from if from == to => format!("the log in {place} has format {to}: nothing to do"),
        0 => format!("made the log in {place}, format {to}"),
        from => format!("brought the log in {place} from format {from} to {to}"),
    }
}

fn say(line: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
