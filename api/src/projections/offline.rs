//! Projections from the command line, on a data folder or a database.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Subcommand;
use daybook_eventlog::{Log, OpenError, Position};
use daybook_projections::{Projection, ProjectionState, ReadModels, Standing, Told};

use crate::log_files::WrongUse;
use crate::progress::{Progress, Unit};
use crate::settings::{Settings, SettingsArgs};
use crate::store::Store;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// What to do with the read models of a data folder or a database.
#[derive(Subcommand)]
pub enum ProjectionsCommand {
    /// Print how far each read model is; a server may be running
    List {
        /// Where they are.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Build read models anew from the log, beside the old ones, which stay until the new ones have everything
    #[command(
        after_help = "Examples:\n  daybook projections rebuild                all of them, with one pass over the log\n  daybook projections rebuild sales shops\n\nOn a data folder the server must not be running: ask a running one by POST /api/v1/projections/NAME/rebuild. In a\ndatabase (DAYBOOK_DATABASE_URL) the node that keeps the read models does it, or this process where none runs.\nWhat is interrupted goes on where it was, here or at the server's next start."
    )]
    Rebuild {
        /// Only these
        #[arg(value_name = "NAME", value_parser = known())]
        names: Vec<String>,
        /// Where they are.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Throw away what an interrupted rebuild has built; the read models in place stay
    Cancel {
        /// Only these
        #[arg(value_name = "NAME", value_parser = known())]
        names: Vec<String>,
        /// Where they are.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Go on where projections stopped, after what was in the way is mended, and bring all up to the log's end
    #[command(
        after_help = "The server must not be running: it tries again at each start, and by POST /api/v1/projections/NAME/resume.\nEnds with 1 when one stops again, and says where."
    )]
    Resume {
        /// Where they are.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Build read models aside and compare them with the ones in place, row by row; a server may be running
    #[command(
        after_help = "Examples:\n  daybook projections verify\n  daybook projections verify stock_ledger\n\nEnds with 1 when something differs, and says what. The fresh build needs room in the data folder, or with\na database in a temporary folder (TMPDIR)."
    )]
    Verify {
        /// Only these
        #[arg(value_name = "NAME", value_parser = known())]
        names: Vec<String>,
        /// Where they are.
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

fn known() -> clap::builder::PossibleValuesParser {
    daybook_projections::all().iter().map(|projection| projection.name()).collect::<Vec<_>>().into()
}

impl ProjectionsCommand {
    /// Does it.
    ///
    /// # Errors
    /// They could not be used, or something was found.
    pub async fn run(self) -> Outcome {
        match self {
            Self::List { settings } => list(&settings).await,
            Self::Rebuild { names, settings } => rebuild(&settings, &names).await,
            Self::Cancel { names, settings } => cancel(&settings, &names).await,
            Self::Resume { settings } => resume(&settings).await,
            Self::Verify { names, settings } => verify(&settings, &names).await,
        }
    }
}

async fn list(settings: &SettingsArgs) -> Outcome {
    let Store { log, models } = Store::open_beside(&settings.load()?).await?;
    let head = log.head();
    let standings = models.standings(&daybook_projections::all()).await?;
    Store { log, models }.close().await;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<20} {:>7} {:>12} {:>12}  state", "name", "version", "checkpoint", "behind")?;
    for Standing { name, version, served, building } in standings {
        let (checkpoint, state) = match served {
            None => (Position::START, "not built by this version yet".to_owned()),
            Some((checkpoint, Some((position, reason)))) => {
                (checkpoint, format!("stopped at the event at position {position}: {reason}"))
            }
            Some((checkpoint, None)) => (checkpoint, "follows the log".to_owned()),
        };
        let behind = head.get().saturating_sub(checkpoint.get());
        let beside = building.map(|at| format!("; a new copy beside it is at {at}")).unwrap_or_default();
        writeln!(out, "{name:<20} {version:>7} {:>12} {behind:>12}  {state}{beside}", checkpoint.get())?;
    }
    writeln!(out, "the log's head is {head}")?;
    Ok(())
}

async fn rebuild(settings: &SettingsArgs, names: &[String]) -> Outcome {
    let Store { log, models } = open_alone(&settings.load()?).await?;
    let (told, progress) = slowest("rebuilding", log.head(), &wanted(names));
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let rebuilt = daybook_projections::rebuild(&log, &models, daybook_projections::all(), is_wanted, told).await?;
    progress.end();
    Store { log, models }.close().await;
    let mut out = io::stdout().lock();
    let mut stopped = 0;
    for one in rebuilt {
        match one.failure {
            None => writeln!(out, "{}: rebuilt", one.name)?,
            Some(reason) => {
                stopped += 1;
                writeln!(out, "{}: stays as it was; {reason}", one.name)?;
            }
        }
    }
    if stopped > 0 { Err(format!("{stopped} read models could not be rebuilt").into()) } else { Ok(()) }
}

async fn cancel(settings: &SettingsArgs, names: &[String]) -> Outcome {
    let Store { log, models } = open_alone(&settings.load()?).await?;
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let given_up = daybook_projections::cancel(&models, &daybook_projections::all(), is_wanted).await?;
    Store { log, models }.close().await;
    let mut out = io::stdout().lock();
    for name in &given_up {
        writeln!(out, "{name}: its rebuild is given up")?;
    }
    if given_up.is_empty() {
        writeln!(out, "nothing is being rebuilt")?;
    }
    Ok(())
}

async fn resume(settings: &SettingsArgs) -> Outcome {
    let settings = settings.load()?;
    if settings.database_url.is_some() {
        let message = "ask a node: POST /api/v1/projections/NAME/resume";
        return Err(WrongUse(message.to_owned()).into());
    }
    let Store { log, models } = open_alone(&settings).await?;
    let all = daybook_projections::all();
    let (told, progress) = slowest("catching up", log.head(), &all);
    let reached = daybook_projections::catch_up(&log, &models, all, told).await?;
    progress.end();
    Store { log, models }.close().await;
    let mut out = io::stdout().lock();
    let mut stopped = 0;
    for status in reached.status() {
        match status.state {
            ProjectionState::Faulted { position, reason } => {
                stopped += 1;
                writeln!(out, "{}: stops at the event at position {position}: {reason}", status.name)?;
            }
            _ => writeln!(out, "{}: at position {}", status.name, status.checkpoint)?,
        }
    }
    if stopped > 0 { Err(format!("{stopped} projections cannot go on").into()) } else { Ok(()) }
}

/// What is in the data folder, for this process alone. What is in a database is shared: whichever node keeps the read
/// models does what is asked, and this process where none does.
async fn open_alone(settings: &Settings) -> Result<Store, Box<dyn Error + Send + Sync>> {
    if settings.database_url.is_some() {
        return Store::open_beside(settings).await;
    }
    match Log::open(&settings.data).await {
        Ok(log) => Ok(Store { log, models: ReadModels::open(&settings.data).await? }),
        Err(error @ OpenError::InUse(_)) => Err(format!(
            "{error}; ask the running server: POST /api/v1/projections/NAME/rebuild, rebuild/cancel or resume"
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

async fn verify(settings: &SettingsArgs, names: &[String]) -> Outcome {
    let settings = settings.load()?;
    let Store { log, models } = Store::open_beside(&settings).await?;
    let scratch = match settings.database_url {
        Some(_) => tempfile::tempdir()?,
        None => tempfile::Builder::new().prefix(".verify-").tempdir_in(&settings.data)?,
    };
    let (told, progress) = slowest("verifying", log.head(), &wanted(names));
    let verdicts = daybook_projections::verify(&log, &models, wanted(names), scratch.path(), told).await?;
    progress.end();
    let mut out = io::stdout().lock();
    let mut bad = 0;
    for verdict in verdicts {
        bad += u32::from(!verdict.is_good());
        let name = verdict.name;
        match (verdict.checkpoint, verdict.fault) {
            (None, _) => writeln!(out, "{name}: there is no read model of this version yet")?,
            (Some(_), Some((position, reason))) => {
                writeln!(out, "{name}: stopped at the event at position {position}: {reason}")?;
            }
            (Some(at), None) if verdict.differences.different == 0 => {
                writeln!(out, "{name}: {} rows are what the log says at position {at}", verdict.differences.same)?;
            }
            (Some(at), None) => {
                let (same, different) = (verdict.differences.same, verdict.differences.different);
                writeln!(
                    out,
                    "{name}: {different} rows differ from what the log says at position {at}, {same} do not"
                )?;
            }
        }
        for line in verdict.differences.told {
            writeln!(out, "  {line}")?;
        }
    }
    if bad > 0 {
        return Err(format!("{bad} read models are not what the log says: daybook projections rebuild").into());
    }
    Ok(())
}

/// Shows where the slowest of `projections` is.
fn slowest(doing: &'static str, head: Position, projections: &[Arc<dyn Projection>]) -> (Told, Arc<Progress>) {
    let progress = Arc::new(Progress::new(doing, Unit::Events, head.get()));
    let reached = projections.iter().map(|projection| (projection.name(), 0)).collect::<HashMap<_, _>>();
    let (reached, shown) = (Mutex::new(reached), Arc::clone(&progress));
    let told = move |name: &'static str, position: Position| {
        let mut reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.insert(name, position.get());
        shown.at(reached.values().copied().min().unwrap_or_default());
    };
    (Arc::new(told), progress)
}

fn wanted(names: &[String]) -> Vec<Arc<dyn Projection>> {
    let mut projections = daybook_projections::all();
    projections.retain(|projection| names.is_empty() || names.iter().any(|name| name == projection.name()));
    projections
}
