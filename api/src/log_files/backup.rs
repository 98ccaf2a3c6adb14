//! The log copied while it is written, and put back where there is none.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use daybook_eventlog::{Restoring, backup, restore};

use super::{Failed, data_folder, tell};
use crate::progress::{Progress, Unit, bytes, count};
use crate::settings::SettingsArgs;

const IN_DATABASE: &str = "backups are files of a data folder: back a database up with pg_dump, or copy its log into a \
                           folder with `daybook log copy --from env:DAYBOOK_DATABASE_URL --to FOLDER`";

/// Copies the log to a file.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook backup /backups/log-$(date +%F).sqlite3\n  daybook backup /backups/log.sqlite3 --data /var/lib/daybook\n\nThe copy is the log of one moment, with the answers kept for repeated requests. It works while a server runs and\ndoes not stop it. The file must not exist yet, and has its name only when it is whole and on disk. Read models are\nnot in it: they are built from the log. Keys (jwt.key) are not in it either."
)]
pub struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl BackupArgs {
    pub(crate) async fn run(self) -> Result<(), Failed> {
        let folder = data_folder(&self.settings, IN_DATABASE)?;
        let started = Instant::now();
        let mut progress = Progress::new("copying", Unit::Pages, 0);
        let anchor = backup(&folder, &self.file, move |done, total| progress.at_of(done, total)).await?;
        let (size, took) = (bytes(std::fs::metadata(&self.file)?.len()), started.elapsed().as_secs_f64());
        let events = count(anchor.position.get());
        tell(&format!("copied {events} events, {size}, in {took:.2} s; the last one is {anchor}"));
        Ok(())
    }
}

/// Puts a backup into a data folder.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook restore /backups/log-2026-11-01.sqlite3 --data restored\n  daybook serve --check --data restored\n\nThe folder is made when it is missing. It must not hold a log with events, and no server may have it open. The copy\nis verified before it gets its place: a damaged backup is refused. The read models are built at the next start."
)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl RestoreArgs {
    pub(crate) async fn run(self) -> Result<(), Failed> {
        let folder = data_folder(&self.settings, IN_DATABASE)?;
        let started = Instant::now();
        let mut copying = Progress::new("copying", Unit::Pages, 0);
        let mut verifying = None;
        let told = move |restoring| match restoring {
            Restoring::Copying { done, total } => copying.at_of(done, total),
            Restoring::Verifying { checked, head } => {
                copying.end();
                verifying
                    .get_or_insert_with(|| Progress::new("verifying", Unit::Events, head.get()))
                    .at_of(checked.get(), head.get());
            }
        };
        let anchor = restore(&self.file, &folder, told).await?;
        let (events, took) = (count(anchor.position.get()), started.elapsed().as_secs_f64());
        tell(&format!("restored {events} events into {} in {took:.2} s; the last one is {anchor}", folder.display()));
        Ok(())
    }
}
