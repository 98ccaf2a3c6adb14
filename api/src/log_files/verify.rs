//! Whether the log holds what was once written to it.

use std::path::PathBuf;

use clap::Args;
use daybook_eventlog::{Anchor, Position, verify, verify_file};

use super::{Failed, Place, print};
use crate::progress::{Progress, Unit, count};
use crate::settings::SettingsArgs;

const KEEP_FILE: &str = "keep the file, and restore a backup into another folder";
const KEEP_DATABASE: &str = "keep the database as it is, and restore a backup beside it";

/// Checks the log.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log verify\n  daybook log verify --expect 12345:0f3a9c0d5be17a42\n  daybook log verify --file backup.sqlite3\n\nChecks that positions and versions have no gaps, every event's checksum, which covers all of its columns and the\nevent before it, and that nothing is missing at the end. It works while a server runs. Of a file, indexes and tables are checked too;\na database (DAYBOOK_DATABASE_URL) checks its own.\n\nSomebody who may write the file can write all checksums anew. So write the printed anchor down where they cannot\nreach it: --expect tells whether the log still has that event, and so everything before it.\n\nExit code: 0 nothing is wrong, 1 there are findings or it could not be checked, 2 wrong use."
)]
pub struct VerifyArgs {
    /// An anchor that was written down earlier: the log must still have it
    #[arg(long, value_name = "POSITION:CHECKSUM")]
    expect: Option<Anchor>,
    /// Check this file, a backup for instance, instead of the data folder's log
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl VerifyArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let mut progress = Progress::new("verifying", Unit::Events, 0);
        let told = move |checked: Position, head: Position| progress.at_of(checked.get(), head.get());
        let (verified, keep) = match &self.file {
            Some(file) => (verify_file(file, self.expect, told).await?, KEEP_FILE),
            None => match Place::of(&self.settings)? {
                Place::Folder(folder) => (verify(&folder, self.expect, told).await?, KEEP_FILE),
                place @ Place::Database(_) => {
                    let log = place.open_to_read().await?;
                    let verified = log.verify(self.expect, told).await;
                    log.close().await;
                    (verified?, KEEP_DATABASE)
                }
            },
        };
        for finding in &verified.findings {
            print(&finding.to_string())?;
        }
        let events = count(verified.events);
        if verified.is_sound() {
            let expected = self.expect.map(|expected| format!(", {expected} among them")).unwrap_or_default();
            print(&format!("verified {events} events{expected}: nothing is wrong"))?;
            return Ok(print(&format!("anchor {}", verified.anchor()))?);
        }
        let findings = verified.findings.len() as u64 + verified.more_findings;
        if verified.more_findings > 0 {
            print(&format!("and {} more", count(verified.more_findings)))?;
        }
        let findings = if findings == 1 { "1 finding".to_owned() } else { format!("{} findings", count(findings)) };
        Err(format!("the log is damaged: {findings} in {events} events; {keep}").into())
    }
}
