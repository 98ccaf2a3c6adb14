//! The one table of settings.

use super::{LogFormat, Secret, Settings, parse};

/// One setting: how it is called, what it means, and how its text becomes a value.
pub struct Setting {
    /// The key in `daybook.toml`; flag and variable are made from it.
    pub key: &'static str,
    /// The text that holds when nobody says anything, or none.
    pub default: Option<&'static str>,
    /// The value's name in the help: `DIR`, `ADDR`.
    pub value_name: &'static str,
    /// One line for the help.
    pub meaning: &'static str,
    /// Never shown.
    pub secret: bool,
    /// Shown without credentials and query.
    pub is_url: bool,
    /// Another variable that is looked at after the setting's own.
    pub also_env: Option<&'static str>,
    /// Puts the text into the settings, or says what is allowed.
    pub(super) take: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// The environment variable: `DAYBOOK_LISTEN`.
    pub fn env(&self) -> String {
        format!("DAYBOOK_{}", self.key.to_ascii_uppercase())
    }

    /// The flag without its dashes: `cors-origins`.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

const PLAIN: Setting = Setting {
    key: "",
    default: None,
    value_name: "TEXT",
    meaning: "",
    secret: false,
    is_url: false,
    also_env: None,
    take: |_, _| Ok(()),
};

/// All settings, in the order in which help and `daybook config` show them.
pub const TABLE: &[Setting] = &[
    Setting {
        key: "data",
        default: Some("./daybook-data"),
        value_name: "DIR",
        meaning: "Folder of the embedded engine",
        take: |s, text| parse::path(text).map(|path| s.data = path),
        ..PLAIN
    },
    Setting {
        key: "database_url",
        value_name: "URL",
        meaning: "PostgreSQL instead of the data folder: postgres://user:password@host/database",
        secret: true,
        take: |s, text| parse::optional(text, parse::database_url).map(|url| s.database_url = url),
        ..PLAIN
    },
    Setting {
        key: "database_url_file",
        value_name: "FILE",
        meaning: "File with that URL; read at the start",
        take: |s, text| parse::optional(text, parse::path).map(|file| s.database_url_file = file),
        ..PLAIN
    },
    Setting {
        key: "listen",
        default: Some("127.0.0.1:8080"),
        value_name: "ADDR",
        meaning: "Address to listen on",
        take: |s, text| parse::address(text).map(|address| s.listen = address),
        ..PLAIN
    },
    Setting {
        key: "log",
        default: Some("info"),
        value_name: "FILTER",
        meaning: "What is logged: a level or a tracing filter like info,daybook=debug",
        also_env: Some("RUST_LOG"),
        take: |s, text| parse::log_filter(text).map(|filter| s.log = filter),
        ..PLAIN
    },
    Setting {
        key: "log_format",
        default: Some("text"),
        value_name: "FORMAT",
        meaning: "Shape of the log lines: text or json",
        take: |s, text| {
            s.log_format = match text {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err("text or json".to_owned()),
            };
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "jwt_secret",
        value_name: "SECRET",
        meaning: "Key of HS256 tokens; made in the data folder when nothing is set, and none with a database",
        secret: true,
        take: |s, text| {
            if text.is_empty() {
                return Err("a text that is not empty, best 32 random bytes or more".to_owned());
            }
            s.jwt_secret = Some(Secret(text.to_owned()));
            Ok(())
        },
        ..PLAIN
    },
    Setting {
        key: "jwt_secret_file",
        value_name: "FILE",
        meaning: "File with the key of HS256 tokens; read again when it changes",
        take: |s, text| parse::optional(text, parse::path).map(|file| s.jwt_secret_file = file),
        ..PLAIN
    },
    Setting {
        key: "jwt_public_key_file",
        value_name: "FILE",
        meaning: "PEM of the public key of RS256, ES256 or EdDSA tokens; read again when it changes",
        take: |s, text| parse::optional(text, parse::path).map(|file| s.jwt_public_key_file = file),
        ..PLAIN
    },
    Setting {
        key: "jwks_url",
        value_name: "URL",
        meaning: "Key set (JWKS) of RS256, ES256 or EdDSA tokens",
        is_url: true,
        take: |s, text| parse::optional(text, parse::url).map(|url| s.jwks_url = url),
        ..PLAIN
    },
    Setting {
        key: "jwt_issuer",
        meaning: "Required issuer (iss) of tokens",
        take: |s, text| parse::optional(text, parse::text).map(|issuer| s.jwt_issuer = issuer),
        ..PLAIN
    },
    Setting {
        key: "jwt_audience",
        meaning: "Required audience (aud) of tokens",
        take: |s, text| parse::optional(text, parse::text).map(|audience| s.jwt_audience = audience),
        ..PLAIN
    },
    Setting {
        key: "cors_origins",
        value_name: "ORIGINS",
        meaning: "Origins that browsers may call from, by commas",
        take: |s, text| parse::origins(text).map(|origins| s.cors_origins = origins),
        ..PLAIN
    },
    Setting {
        key: "body_limit",
        default: Some("2MiB"),
        value_name: "SIZE",
        meaning: "Largest request body",
        take: |s, text| parse::size(text).map(|bytes| s.body_limit = bytes),
        ..PLAIN
    },
    Setting {
        key: "rate_limit",
        default: Some("1000"),
        value_name: "NUMBER",
        meaning: "Requests a second for each caller, 0 for no limit",
        take: |s, text| parse::count(text, 1_000_000).map(|limit| s.rate_limit = limit),
        ..PLAIN
    },
    Setting {
        key: "session_idle",
        default: Some("12h"),
        value_name: "DURATION",
        meaning: "When an active session counts as left",
        take: |s, text| parse::duration(text).map(|idle| s.session_idle = idle),
        ..PLAIN
    },
    Setting {
        key: "session_sweep",
        default: Some("30s"),
        value_name: "DURATION",
        meaning: "How often sessions that were left are looked for",
        take: |s, text| parse::duration(text).map(|sweep| s.session_sweep = sweep),
        ..PLAIN
    },
    Setting {
        key: "till_past_max",
        default: Some("400d"),
        value_name: "DURATION",
        meaning: "How long ago a till's date_vente may be; an older one becomes the server's time",
        take: |s, text| parse::long_duration(text).map(|past| s.till_past_max = past),
        ..PLAIN
    },
    Setting {
        key: "lag_max",
        default: Some("10s"),
        value_name: "DURATION",
        meaning: "Read-model lag above which /readyz fails",
        take: |s, text| parse::duration(text).map(|lag| s.lag_max = lag),
        ..PLAIN
    },
];
