//! What a server stands on: the log and its read models, in the data folder or in a database.

use std::error::Error;
use std::time::{Duration, Instant};

use daybook_eventlog::{Log, PostgresOptions, ServerError, check_folder, database::Meaning, migrate};
use daybook_projections::{PostgresModelsOptions, ReadModels, ReadModelsError};

use crate::settings::Settings;

/// How long a start waits for a database that is away: it may be starting as well.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries, and between two lines about it.
const TRY_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(5);

type Failed = Box<dyn Error + Send + Sync>;

/// The database stayed away.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {seconds} s: check that the server runs, and what DAYBOOK_DATABASE_URL names")]
struct Away {
    seconds: u64,
    #[source]
    source: Failed,
}

/// Why something in a database could not be opened.
pub(crate) trait OpenFailure: Error + Send + Sync + 'static {
    /// The database cannot be reached, or cannot answer now.
    fn is_away(&self) -> bool;
}

impl OpenFailure for ServerError {
    fn is_away(&self) -> bool {
        Self::is_away(self)
    }
}

impl OpenFailure for ReadModelsError {
    fn is_away(&self) -> bool {
        matches!(self, Self::Storage(error) if Meaning::of_connecting(error).is_away())
    }
}

/// The log and its read models, open.
pub(crate) struct Store {
    pub(crate) log: Log,
    pub(crate) models: ReadModels,
}

impl Store {
    /// Opens both where the settings say; makes what is missing, and brings what is old to this build's format.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failed> {
        let Some(url) = &settings.database_url else {
            let log = Log::open(&settings.data).await?;
            let models = ReadModels::open(&settings.data).await?;
            return Ok(Self { log, models });
        };
        let options = PostgresOptions::new(url.expose());
        let log = once_there(async || Log::connect(&options).await).await?;
        let models = PostgresModelsOptions::new(url.expose());
        let models = once_there(async || ReadModels::connect(&models).await).await?;
        Ok(Self { log, models })
    }

    /// Opens both beside whoever writes them, and makes nothing. On a server that is also how rebuilds are asked for.
    pub(crate) async fn open_beside(settings: &Settings) -> Result<Self, Failed> {
        let Some(url) = &settings.database_url else {
            let log = Log::open_to_read(&settings.data).await?;
            let models = ReadModels::open_to_read(&settings.data).await?;
            return Ok(Self { log, models });
        };
        let log = Log::connect(&PostgresOptions { migrate: false, ..PostgresOptions::new(url.expose()) }).await?;
        let models = PostgresModelsOptions { make: false, ..PostgresModelsOptions::new(url.expose()) };
        Ok(Self { log, models: ReadModels::connect(&models).await? })
    }

    /// Whether [`open`](Self::open) would go through. A database is only looked at, and not waited for.
    pub(crate) async fn check(settings: &Settings) -> Result<(), Failed> {
        let Some(url) = &settings.database_url else {
            if !check_folder(&settings.data)? {
                tracing::info!("there is no log in {} yet; the start makes one", settings.data.display());
            }
            return Ok(());
        };
        match migrate(&PostgresOptions { migrate: false, ..PostgresOptions::new(url.expose()) }).await {
            Ok(checked) => tracing::info!(place = checked.place, "reached the log's database"),
            Err(error @ ServerError::NotMigrated { .. }) => {
                tracing::info!("{error}; the start does that");
            }
            Err(error) => return Err(error.into()),
        }
        let models = PostgresModelsOptions { make: false, ..PostgresModelsOptions::new(url.expose()) };
        match ReadModels::connect(&models).await {
            Ok(models) => models.close().await,
            Err(ReadModelsError::Missing(_)) => tracing::info!("there are no read models yet; the start makes them"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.models.close().await;
        self.log.close().await;
    }
}

/// Tries until the database is there, for as long as a start waits.
pub(crate) async fn once_there<T, E: OpenFailure>(open: impl AsyncFn() -> Result<T, E>) -> Result<T, Failed> {
    let (began, mut told) = (Instant::now(), None::<Instant>);
    loop {
        let away = match open().await {
            Err(error) if error.is_away() => error,
            opened => return Ok(opened?),
        };
        if began.elapsed() >= START_PATIENCE {
            return Err(Away { seconds: began.elapsed().as_secs(), source: away.into() }.into());
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            tracing::warn!(error = &away as &dyn Error, "the database is away: trying again for {START_PATIENCE:?}");
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}
