//! Precedence, errors and masking.

use std::path::Path;
use std::time::Duration;

use super::{ConfigFile, LogFormat, Settings, Sources, TABLE, as_toml, parse};

fn sources(flags: &[(&'static str, &str)], env: &[(&str, &str)], file: &str) -> Sources {
    Sources {
        flags: flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
        env: env.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect(),
        file: Some(ConfigFile::parse(Path::new("daybook.toml"), file).unwrap()),
    }
}

fn refused(flags: &[(&'static str, &str)], env: &[(&str, &str)], file: &str) -> String {
    Settings::load(&sources(flags, env, file)).unwrap_err().to_string()
}

#[test]
fn every_default_is_valid_and_is_the_documented_one() {
    let settings = Settings::load(&Sources::default()).unwrap();
    assert_eq!(settings.data, Path::new("./daybook-data"));
    assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Text));
    assert_eq!((settings.body_limit, settings.rate_limit), (2 * 1024 * 1024, 1000));
    assert_eq!(settings.session_idle, Duration::from_secs(12 * 3600));
    assert_eq!((settings.session_sweep, settings.lag_max), (Duration::from_secs(30), Duration::from_secs(10)));
    assert!(settings.jwt_secret.is_none() && settings.jwks_url.is_none() && settings.cors_origins.is_empty());
    assert_eq!(settings.describe().len(), TABLE.len());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = "listen = '127.0.0.1:1'\nrate_limit = 7\nbody_limit = 1000";
    let env = [("DAYBOOK_LISTEN", "127.0.0.1:2"), ("DAYBOOK_RATE_LIMIT", "8")];
    let settings = Settings::load(&sources(&[("listen", "127.0.0.1:3")], &env, file)).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!((settings.rate_limit, settings.body_limit), (8, 1000));
    let source = |key| settings.describe().iter().find(|row| row.key == key).unwrap().source.clone();
    assert_eq!(source("listen"), "--listen");
    assert_eq!(source("rate_limit"), "DAYBOOK_RATE_LIMIT");
    assert_eq!(source("body_limit"), "daybook.toml");
    assert_eq!(source("lag_max"), "default");
}

#[test]
fn rust_log_works_but_the_own_variable_wins() {
    let log = |env: &[(&str, &str)]| Settings::load(&sources(&[], env, "log = 'warn'")).unwrap().log;
    assert_eq!(log(&[("RUST_LOG", "debug")]), "debug");
    assert_eq!(log(&[("RUST_LOG", "debug"), ("DAYBOOK_LOG", "error")]), "error");
    assert_eq!(log(&[("RUST_LOG", "")]), "warn", "an empty one says nothing");
}

#[test]
fn what_may_be_secret_in_a_url_is_shown_nowhere() {
    let url = "https://me:hush@keys.example/set?token=hush";
    let settings = Settings::load(&sources(&[], &[("DAYBOOK_JWKS_URL", url)], "")).unwrap();
    assert_eq!(settings.jwks_url.as_ref().unwrap().as_str(), url);
    let shown = format!("{:?} {}", settings.describe(), as_toml(&settings));
    assert!(shown.contains("keys.example/set") && !shown.contains("hush"), "{shown}");
    for wrong in ["ftp://me:hush@keys.example/set", "hush@keys.example?hush"] {
        let message = refused(&[], &[("DAYBOOK_JWKS_URL", wrong)], "");
        assert!(message.contains("allowed: an http:// or https:// URL") && !message.contains("hush"), "{message}");
    }
    let plain = "https://keys.example/set";
    let settings = Settings::load(&sources(&[], &[("DAYBOOK_JWKS_URL", plain)], "")).unwrap();
    assert!(as_toml(&settings).contains(plain), "what is not secret is shown as it is");
}

#[test]
fn an_error_names_every_wrong_setting_with_value_source_and_what_is_allowed() {
    let message = refused(
        &[("listen", "here")],
        &[("DAYBOOK_SESSION_IDLE", "12 parsecs")],
        "body_limit = '3GiB'\nspeed = 1\nlag_max = true",
    );
    assert!(message.starts_with("5 wrong settings:"), "{message}");
    assert!(message.contains("DAYBOOK_LISTEN is \"here\" (from --listen); allowed: an IP address"), "{message}");
    assert!(message.contains("DAYBOOK_SESSION_IDLE is \"12 parsecs\" (from DAYBOOK_SESSION_IDLE)"), "{message}");
    assert!(message.contains("DAYBOOK_BODY_LIMIT is \"3GiB\" (from daybook.toml)"), "{message}");
    assert!(message.contains("speed in daybook.toml is no setting; known are data, database_url"), "{message}");
    assert!(message.contains("lag_max in daybook.toml has a wrong type"), "{message}");
}

#[test]
fn two_secrets_are_refused_and_an_empty_one_too() {
    let message = refused(&[("jwt_secret", "s3cr3t")], &[("DAYBOOK_JWT_SECRET_FILE", "x")], "");
    assert!(message.contains("keep one of them") && !message.contains("s3cr3t"), "{message}");
    assert!(refused(&[], &[("DAYBOOK_JWT_SECRET", "")], "").contains("DAYBOOK_JWT_SECRET is ********"));
}

#[test]
fn a_secret_is_masked_everywhere() {
    let settings = Settings::load(&sources(&[], &[("DAYBOOK_JWT_SECRET", "hush")], "")).unwrap();
    assert_eq!(settings.jwt_secret.as_ref().unwrap().expose(), "hush");
    let shown = format!("{settings:?} {:?} {}", settings.describe(), as_toml(&settings));
    assert!(!shown.contains("hush") && shown.contains("********"), "{shown}");
}

#[test]
fn a_broken_file_is_named_by_its_line_without_quoting_it() {
    let text = "listen = '127.0.0.1:1'\njwt_secret = 'hush\n";
    let message = ConfigFile::parse(Path::new("my.toml"), text).err().unwrap().to_string();
    assert!(message.contains("line 2 of my.toml") && !message.contains("hush"), "{message}");
}

#[test]
fn unknown_variables_are_warnings() {
    let settings = Settings::load(&sources(&[], &[("DAYBOOK_LISTN", "x")], "")).unwrap();
    assert!(matches!(settings.warnings.as_slice(), [one] if one.starts_with("DAYBOOK_LISTN is no setting")));
}

#[test]
fn the_settings_as_toml_give_the_same_settings_again() {
    let env = [("DAYBOOK_CORS_ORIGINS", "https://a.example, http://localhost:5173"), ("DAYBOOK_DATA", "a \"b\" \\c")];
    let first = Settings::load(&sources(&[], &env, "")).unwrap();
    let second = Settings::load(&sources(&[], &[], &as_toml(&first))).unwrap();
    assert_eq!(second.cors_origins, ["https://a.example", "http://localhost:5173"]);
    assert_eq!(second.data, first.data);
    assert!(second.describe().iter().all(|row| row.value.is_none() || row.source == "daybook.toml"));
}

#[test]
fn a_list_in_the_file_may_be_an_array_and_an_empty_variable_takes_it_back() {
    let file = "cors_origins = ['https://a.example', 'https://b.example']\njwks_url = 'https://a.example/keys'";
    let settings = Settings::load(&sources(&[], &[], file)).unwrap();
    assert_eq!(settings.cors_origins.len(), 2);
    let env = [("DAYBOOK_CORS_ORIGINS", ""), ("DAYBOOK_JWKS_URL", "")];
    let settings = Settings::load(&sources(&[], &env, file)).unwrap();
    assert!(settings.cors_origins.is_empty() && settings.jwks_url.is_none());
}

#[test]
fn durations_are_whole_numbers_with_units() {
    let ms = |text| parse::duration(text).map(|duration| duration.as_millis());
    assert_eq!(ms("500ms"), Ok(500));
    assert_eq!(ms("1h30m"), Ok(5_400_000));
    assert_eq!(ms("1d"), Ok(86_400_000));
    for wrong in ["", "0s", "30", "s", "1.5h", "-1s", "30m1h", "1s1s", "367d", "99999999999999999999d", "1 h", "1µs"] {
        assert!(ms(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sizes_origins_and_urls_are_checked() {
    assert_eq!(parse::size("1000"), Ok(1000));
    assert_eq!(parse::size("512KiB"), Ok(524_288));
    for wrong in ["", "0", "2MIB", "1.5MiB", "2GiB", "-1", "99999999999999999999GiB"] {
        assert!(parse::size(wrong).is_err(), "{wrong}");
    }
    for wrong in ["*", "https://a.example/", "a.example", "https://A.example", "https://a.example:443", "null"] {
        assert!(parse::origins(wrong).is_err(), "{wrong}");
    }
    assert!(parse::url("ftp://a.example").is_err() && parse::url("https://a.example/keys").is_ok());
}

#[test]
fn every_setting_has_a_flag_whose_help_names_its_variable() {
    let args = super::args();
    for setting in TABLE {
        let arg = args.iter().find(|arg| arg.get_long() == Some(&setting.flag())).unwrap();
        assert!(arg.get_help().unwrap().to_string().contains(&setting.env()), "{}", setting.key);
    }
    assert!(args.iter().any(|arg| arg.get_long() == Some("config")));
}

#[test]
fn a_database_takes_the_folders_place_and_its_url_is_shown_nowhere() {
    let env = [("DAYBOOK_DATABASE_URL", "postgres://me:hush@db.example/books"), ("DAYBOOK_DATA", "left-over")];
    let settings = Settings::load(&sources(&[], &env, "")).unwrap();
    assert_eq!(settings.database_url.as_ref().unwrap().expose(), "postgres://me:hush@db.example/books");
    let shown = format!("{settings:?} {:?} {}", settings.describe(), as_toml(&settings));
    assert!(!shown.contains("hush") && shown.contains("********"), "{shown}");
    assert!(
        matches!(settings.warnings.as_slice(), [one] if one.starts_with("the data folder of DAYBOOK_DATA is not used"))
    );
    let file = "database_url = 'postgresql://db.example/books'";
    assert!(Settings::load(&sources(&[], &[], file)).unwrap().database_url.is_some());
    assert!(Settings::load(&sources(&[], &[("DAYBOOK_DATABASE_URL", "")], file)).unwrap().database_url.is_none());
}

#[test]
fn another_url_than_that_of_a_postgresql_server_is_refused_without_being_shown() {
    for wrong in ["mysql://me:hush@db/books", "postgres:hush", "hush", "postgres//me:hush@db"] {
        let message = refused(&[("database_url", wrong)], &[], "");
        let expected =
            "DAYBOOK_DATABASE_URL is ******** (from --database-url); allowed: a postgres:// or postgresql://";
        assert!(message.contains(expected) && !message.contains("hush"), "{message}");
    }
}

#[test]
fn the_databases_url_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let named = [("DAYBOOK_DATABASE_URL_FILE", path.to_str().unwrap())];
    let message = refused(&[], &named, "");
    assert!(message.contains("of DAYBOOK_DATABASE_URL_FILE cannot be read"), "{message}");

    std::fs::write(&path, "postgres://me:hush@db.example/books\n").unwrap();
    let settings = Settings::load(&sources(&[], &named, "")).unwrap();
    assert_eq!(settings.database_url.as_ref().unwrap().expose(), "postgres://me:hush@db.example/books");
    assert!(!format!("{settings:?}").contains("hush"));
    let message = refused(&[("database_url", "postgres://db.example/books")], &named, "");
    assert!(message.contains("keep one of them"), "{message}");

    std::fs::write(&path, "hush").unwrap();
    let message = refused(&[], &named, "");
    let expected = format!("DAYBOOK_DATABASE_URL is ******** (from {}); allowed: a postgres://", path.display());
    assert!(message.contains(&expected) && !message.contains("hush"), "{message}");
}
