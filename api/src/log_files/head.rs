//! Where the log stands.

use clap::Args;

use super::{Failed, Place, print};
use crate::settings::SettingsArgs;

/// Prints the log's last position, its anchor, and when it was recorded.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  daybook log head\n  daybook log head --data /var/lib/daybook >> anchors.txt     kept on another machine\n\nPrints one line: the last position, its anchor (POSITION:CHECKSUM, for `daybook log verify --expect`), and the time\nat which it was recorded, or - for a log without events."
)]
pub struct HeadArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl HeadArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let log = Place::of(&self.settings)?.open_to_read().await?;
        let anchor = log.anchor().await?;
        let last = log.event_at(anchor.position).await?;
        let recorded = last.map_or_else(
            || "-".to_owned(),
            |event| event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        );
        log.close().await;
        Ok(print(&format!("{} {anchor} {recorded}", anchor.position))?)
    }
}
