//! Texts into values. Every error says what is allowed, ready to follow "allowed: ".

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::Secret;

const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const LONG_DURATION_MAX: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);
const SIZE_MAX_BYTES: u64 = 1 << 30;

/// An empty text takes a setting back to "none": the way to undo the file's choice from the environment.
pub(super) fn optional<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.trim().is_empty() { Ok(None) } else { parse(text).map(Some) }
}

pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.trim().is_empty() {
        return Err("a path that is not empty".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and a port, like 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080".to_owned())
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    const ALLOWED: &str = "off, error, warn, info, debug, trace, or a filter like info,daybook=debug";
    if text.trim().is_empty() {
        return Err(ALLOWED.to_owned());
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(ALLOWED.to_owned()),
    }
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "an http:// or https:// URL".to_owned())
}

/// What follows the scheme is looked at by whoever connects.
pub(super) fn database_url(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "postgres" | "postgresql") && url.has_authority())
        // Where a password ends the host's name early, a part of it would be shown as the host's.
        .filter(|url| url.fragment().is_none())
        .map(|_| Secret(text.to_owned()))
        .ok_or_else(|| {
            "a postgres:// or postgresql:// URL, like postgres://user:password@host:5432/database, with %23 for a # and \
             %2F for a / in the password"
                .to_owned()
        })
}

/// Origins are compared byte by byte with what browsers send, so only that spelling is taken.
pub(super) fn origins(text: &str) -> Result<Vec<HeaderValue>, String> {
    text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(origin).collect()
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let origin = url(text).map(|url| url.origin().ascii_serialization());
    match origin {
        Ok(origin) if origin == text => {
            HeaderValue::from_str(text).map_err(|_| format!("{text:?} is no valid header value"))
        }
        Ok(origin) => Err(format!("origins as browsers send them: {origin} instead of {text}")),
        Err(_) => Err(format!("origins by commas, like https://app.example.com; {text:?} is none")),
    }
}

pub(super) fn count(text: &str, max: u32) -> Result<u32, String> {
    text.parse().ok().filter(|count| *count <= max).ok_or_else(|| format!("a whole number from 0 to {max}"))
}

/// `1000`, `512KiB`, `2MiB`, `1.5` is not: bytes stay whole.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = split_number(text.trim());
    let factor: Option<u64> = match unit.trim() {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    digits
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|bytes| (1..=SIZE_MAX_BYTES).contains(bytes))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| "a size from 1 byte to 1GiB, like 1000, 512KiB or 2MiB".to_owned())
}

/// `30s`, `500ms`, `1h30m`: whole numbers with a unit, largest unit first, no unit twice.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "a duration from 1ms to 366d, like 500ms, 30s, 5m, 12h, 1d or 1h30m";
    parts(text.trim())
        .filter(|total| (Duration::from_millis(1)..=DURATION_MAX).contains(total))
        .ok_or_else(|| ALLOWED.to_owned())
}

/// The same, up to a hundred years.
pub(super) fn long_duration(text: &str) -> Result<Duration, String> {
    parts(text.trim())
        .filter(|total| (Duration::from_millis(1)..=LONG_DURATION_MAX).contains(total))
        .ok_or_else(|| "a duration from 1ms to 36525d, like 12h, 30d or 400d".to_owned())
}

fn parts(mut rest: &str) -> Option<Duration> {
    let mut total_ms = 0_u64;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_len);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if unit_ms >= unit_before {
            return None;
        }
        unit_before = unit_ms;
        total_ms = total_ms.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        rest = next;
    }
    Some(Duration::from_millis(total_ms))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}
