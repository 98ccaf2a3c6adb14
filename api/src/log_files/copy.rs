//! `daybook log copy`: a log from one place to another.

use std::time::Instant;

use clap::Args;

use daybook_eventlog::transfer::copy;

use super::{Failed, copy_progress, place::Place, tell};
use crate::progress::summary;

/// Copies a log from one place to another.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  DAYBOOK_DATABASE_URL=postgres://daybook:…@db/daybook \\\n    daybook log copy --from /var/lib/daybook --to env:DAYBOOK_DATABASE_URL\n  daybook log copy --from env:DAYBOOK_DATABASE_URL --to rescued\n  daybook log copy --from old-folder --to new-folder\n\nA place is a data folder, the URL of a database, or env:NAME for a variable that holds either, so that a password\nstands in no list of processes. Every event keeps its position, version, id, times, data and metadata. Answers kept\nfor Idempotency-Key, tokens' keys and read models are not copied; read models are built at the next start.\n\nThe source may be served: what it holds when the command begins is copied. The target must not be: it has to be empty,\nor hold the beginning of the source. What was interrupted, however that came, goes on where it was when the same\ncommand is run again; so does a copy of a source that has grown."
)]
pub struct CopyArgs {
    /// Where the log is: FOLDER, postgres://…, or env:NAME
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Where it is copied to: FOLDER, postgres://…, or env:NAME
    #[arg(long, value_name = "PLACE")]
    to: String,
}

impl CopyArgs {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let (from, to) = (Place::parse(&self.from)?, Place::parse(&self.to)?);
        let started = Instant::now();
        let source = from.open_to_read().await?;
        let target = to.open_to_fill().await?;
        let copied = copy(&source, &target, copy_progress()).await;
        // By now, as the source may be served: a log that was opened to be read beside its writer stays as it was.
        let gone_on = match &copied {
            Ok(copied) => source.beside().await?.stored_head().await?.get().saturating_sub(copied.until.position.get()),
            Err(_) => 0,
        };
        let (origin, place) = (source.place(), target.place());
        target.close().await;
        source.close().await;
        let copied = copied?;
        let events = copied.until.position.get() - copied.from.get();
        let took = started.elapsed();
        if events == 0 {
            tell(&format!("nothing to copy: {place} has all of {origin}"));
        } else {
            tell(&format!("copied {} from {origin} to {place}", summary(events, copied.bytes, took)));
        }
        tell(&format!("compared: both have {} as the last one", copied.until));
        if gone_on > 0 {
            tell(&format!("{origin} has {gone_on} more events by now: run the same command again to copy them too"));
        }
        Ok(())
    }
}
