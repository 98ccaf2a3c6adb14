//! Where a log stands: a data folder, or a database.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
};

use daybook_eventlog::{Log, OpenError, PostgresOptions};

use super::{Failed, WrongUse};
use crate::{
    progress::tell,
    settings::{Secret, SettingsArgs},
};

/// What stands before the name of a variable that holds the place.
const FROM_ENV: &str = "env:";

/// A place that a log is read from, or written to.
pub(super) enum Place {
    Folder(PathBuf),
    Database(Secret),
}

impl Place {
    /// That of the settings in force.
    pub(super) fn of(settings: &SettingsArgs) -> Result<Self, Failed> {
        let chose_folder = settings.chose("data");
        let settings = settings.load()?;
        for warning in &settings.warnings {
            tell(warning);
        }
        match settings.database_url {
            // Either may have been meant, and what is written to the wrong one stays there.
            Some(_) if chose_folder => {
                let message = "--data names a folder and DAYBOOK_DATABASE_URL a database: leave --data away, or take \
                               the database back with --database-url ''";
                Err(WrongUse(message.to_owned()).into())
            }
            Some(url) => Ok(Self::Database(url)),
            None => Ok(Self::Folder(settings.data)),
        }
    }

    /// A folder, a URL, or `env:NAME` for the variable that holds the one or the other.
    pub(super) fn parse(text: &str) -> Result<Self, WrongUse> {
        let Some(name) = text.strip_prefix(FROM_ENV) else { return Self::parse_plain(text) };
        match env::var(name) {
            Ok(text) if !text.trim().is_empty() => Self::parse_plain(text.trim()),
            _ => Err(WrongUse(format!("the variable {name} of {text} is not set: put the place into it"))),
        }
    }

    fn parse_plain(text: &str) -> Result<Self, WrongUse> {
        if let Ok(url) = Secret::database_url(text) {
            return Ok(Self::Database(url));
        }
        // Not shown: what is wrong with it may be anything but the password.
        if text.is_empty() || text.contains("://") || text.starts_with("postgres") && text.contains('@') {
            let message = "a log stands in a folder, or in a database like postgres://user:password@host/database";
            return Err(WrongUse(message.to_owned()));
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }

    /// Opens the log that is there, beside whoever writes it.
    pub(super) async fn open_to_read(&self) -> Result<Log, Failed> {
        match self {
            Self::Folder(folder) => open_folder_to_read(folder).await,
            Self::Database(url) => {
                let options = PostgresOptions { migrate: false, ..PostgresOptions::new(url.expose()) };
                Ok(Log::connect(&options).await?)
            }
        }
    }

    /// Opens the log to be filled; makes it where there is none.
    pub(super) async fn open_to_fill(&self) -> Result<Log, Failed> {
        Ok(match self {
            Self::Folder(folder) => Log::open(folder).await?,
            Self::Database(url) => Log::connect(&PostgresOptions::new(url.expose())).await?,
        })
    }
}

/// Without what a URL keeps secret.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(f),
            Self::Database(url) => url.fmt(f),
        }
    }
}

/// Opens the log in `folder` beside whoever writes it.
pub(super) async fn open_folder_to_read(folder: &Path) -> Result<Log, Failed> {
    match Log::open_to_read(folder).await {
        Err(OpenError::Folder { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(format!("there is no log in {}: say where it is with --data", folder.display()).into())
        }
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_database_and_keeps_its_password() {
        assert!(matches!(Place::parse("some/folder"), Ok(Place::Folder(folder)) if folder == Path::new("some/folder")));
        let database = Place::parse("postgresql://me:hush@db.example/books").unwrap();
        assert!(matches!(&database, Place::Database(url) if url.expose().contains("hush")));
        assert!(!format!("{database:?}").contains("hush"));
    }

    #[test]
    fn what_is_neither_is_refused_without_being_shown() {
        for wrong in ["", "mysql://me:hush@db/books", "postgres//me:hush@db/books", "env:DAYBOOK_TEST_HUSH_IS_NOT_SET"]
        {
            let message = Place::parse(wrong).unwrap_err().to_string();
            assert!(!message.contains("hush"), "{message}");
        }
    }
}
