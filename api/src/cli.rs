//! The command line: what `daybook` can be asked, and how it says no.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use error_reporter::Report;

use crate::auth::{Role, TokenVerifier};
use crate::log_files::{BackupArgs, LogCommand, RestoreArgs, WrongUse};
use crate::migrate::MigrateArgs;
use crate::observability;
use crate::projections::ProjectionsCommand;
use crate::serve::{self, ServeOptions};
use crate::settings::{SettingsArgs, SettingsError, as_toml, duration};
use crate::signals::asked_to_stop;

const FAILURE: u8 = 1;
const WRONG_USE: u8 = 2;
/// How long threads that copy, encode or sync may take to notice that they were stopped, and to remove their file.
const CLEANING_UP_MAX: Duration = Duration::from_secs(3);

/// An event-sourced backend on an append-only log.
#[derive(Parser)]
#[command(
    name = "daybook",
    version,
    after_help = "Start here:\n  daybook serve --demo       a server with a small world in ./daybook-data\n  daybook token --sub me     a token for it\n  daybook config             the settings in force and where each comes from"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM or SIGINT
    #[command(
        after_help = "Examples:\n  daybook serve --demo\n  daybook serve --listen 0.0.0.0:80 --data /var/lib/daybook\n  DAYBOOK_DATABASE_URL=postgres://daybook@db/daybook daybook serve     one of several nodes\n  DAYBOOK_LOG=debug daybook serve\n  daybook serve --check      checks settings, keys and data, and exits"
    )]
    Serve {
        /// Provision a small demo world, once, and print requests to try
        #[arg(long)]
        demo: bool,
        /// Check everything that is needed to serve, then exit
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make the tables of a database, or bring them to this build's format
    Migrate(MigrateArgs),
    /// Print a token signed with the server's key
    #[command(
        after_help = "Examples:\n  daybook token --sub u1\n  daybook token --sub boss --role admin --project 1 --project 2 --ttl 30d\n  curl -H \"Authorization: Bearer $(daybook token --sub u1)\" http://127.0.0.1:8080/healthz"
    )]
    Token {
        /// Who the token is for
        #[arg(long, value_name = "SUBJECT")]
        sub: String,
        /// A role of the caller; may be repeated
        #[arg(long = "role", value_name = "ROLE", value_enum)]
        roles: Vec<Role>,
        /// A tenant that the caller may see; may be repeated
        #[arg(long = "project", value_name = "ID", allow_negative_numbers = true)]
        projects: Vec<i64>,
        /// How long the token is valid
        #[arg(long, default_value = "12h", value_parser = ttl)]
        ttl: Duration,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Print the settings in force, secrets masked
    #[command(
        after_help = "Examples:\n  daybook config\n  daybook config --toml > new.toml   (not > daybook.toml: the shell empties it before it is read)"
    )]
    Config {
        /// As a daybook.toml
        #[arg(long)]
        toml: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Export, import, copy and verify the log of a data folder or of a database
    #[command(
        subcommand,
        after_help = "Examples:\n  daybook log export --format parquet --out log.parquet\n  daybook log copy --from ./daybook-data --to env:DAYBOOK_DATABASE_URL\n  daybook log verify\n  daybook log head"
    )]
    Log(LogCommand),
    /// Copy the log to a file, also while a server runs
    Backup(BackupArgs),
    /// Put a backup into a data folder without events
    Restore(RestoreArgs),
    /// How far read models are; building them anew; comparing them with the log
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  daybook completions bash > /etc/bash_completion.d/daybook")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // clap prints its own errors and leaves with 2; help and version leave with 0.
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_wrong_use = error.is::<SettingsError>() || error.is::<WrongUse>();
            let code = if is_wrong_use { WRONG_USE } else { FAILURE };
            complain(&Report::new(&*error).to_string());
            ExitCode::from(code)
        }
    }
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve { demo, check, settings } => serve(&settings, ServeOptions { demo, check }),
        Command::Migrate(migrate) => {
            observability::start_warnings()?;
            runtime()?.block_on(migrate.run())
        }
        Command::Token { sub, roles, projects, ttl, settings } => {
            let verifier = TokenVerifier::open(&settings.load()?, crate::surfaces::reserved_prefixes())?;
            say(&verifier.mint(&sub, roles.into_iter().collect(), &projects, ttl)?)
        }
        Command::Config { toml, settings } => config(&settings, toml),
        Command::Log(log @ (LogCommand::Export(_) | LogCommand::Import(_) | LogCommand::Copy(_))) => {
            unless_stopped(log.run())
        }
        Command::Log(log) => runtime()?.block_on(log.run()),
        Command::Backup(backup) => unless_stopped(backup.run()),
        Command::Restore(restore) => unless_stopped(restore.run()),
        Command::Projections(command) => {
            observability::start_warnings()?;
            unless_stopped(command.run())
        }
        Command::Openapi => say(&serve::openapi()?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "daybook", &mut script);
            write_out(&script)
        }
    }
}

fn serve(settings: &SettingsArgs, options: ServeOptions) -> Outcome {
    let settings = settings.load()?;
    observability::start_logging(&settings)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(serve::run(settings, options))
}

/// Runs a command that may be making a file. Asked to stop, it is dropped, and the unfinished file goes with it.
fn unless_stopped(command: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let asked = asked_to_stop()?;
        // A task of its own: it may block this thread, on standard input for instance.
        let mut command = tokio::spawn(command);
        tokio::select! {
            done = &mut command => done?,
            signal = asked => {
                command.abort();
                Err(format!("stopped by {signal}").into())
            }
        }
    });
    runtime.shutdown_timeout(CLEANING_UP_MAX);
    outcome
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn config(settings: &SettingsArgs, toml: bool) -> Outcome {
    let settings = settings.load()?;
    for warning in &settings.warnings {
        complain(warning);
    }
    if toml {
        return write_out(as_toml(&settings).as_bytes());
    }
    let rows = settings.describe();
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let value_width = rows.iter().filter_map(|row| row.value.as_ref().map(String::len)).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let value = row.value.as_deref().unwrap_or("-");
        out.push_str(&format!("{:name_width$}  {value:value_width$}  {}\n", row.name, row.source));
    }
    write_out(out.as_bytes())
}

fn ttl(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|allowed| format!("allowed: {allowed}"))
}

fn say(line: &str) -> Outcome {
    write_out(format!("{line}\n").as_bytes())
}

fn write_out(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever reads has seen enough: `daybook config | head -1` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// One paragraph on standard error.
fn complain(text: &str) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "daybook: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_help_teaches_every_setting() {
        let help = Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for setting in crate::settings::TABLE {
            assert!(
                help.contains(&format!("--{}", setting.flag())) && help.contains(&setting.env()),
                "{}",
                setting.key
            );
        }
        assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
    }

    #[test]
    fn a_token_needs_a_subject_known_roles_and_a_duration() {
        let parse = |args: &str| Cli::try_parse_from(args.split(' ')).is_ok();
        assert!(parse("daybook token --sub u1 --role admin --role auditor --project 1 --project -2 --ttl 1h30m"));
        assert!(!parse("daybook token"));
        assert!(!parse("daybook token --sub u1 --role king"));
        assert!(!parse("daybook token --sub u1 --ttl soon"));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = io::Error::other("disk on fire");
        let error = crate::auth::KeyError::Read { path: "k".into(), source: cause };
        assert_eq!(Report::new(&error).to_string(), "the key file k cannot be read: disk on fire");
    }
}
