//! What a field may hold, and how it is read from JSON and from a query.

use std::ops::Deref;

use chrono::{DateTime, Datelike as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use uuid::Uuid;

/// A type that a field may have. Errors finish the sentence "the field …".
pub trait FieldValue: Sized {
    /// What stands in for a wrong value until the fields are finished.
    fn placeholder() -> Self;
    /// From a value of a body that is not null.
    fn from_json(value: &Value) -> Result<Self, String>;
    /// From the text of a query's parameter.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A text of `MIN` to `MAX` characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// The text itself.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> Deref for Text<MIN, MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MIN: usize, const MAX: usize> FieldValue for Text<MIN, MAX> {
    fn placeholder() -> Self {
        Self::default()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        string(value, MIN, MAX).map(Self)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        string_text(text, MIN, MAX).map(Self)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Integer<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Integer<MIN, MAX> {
    /// The number itself.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<const MIN: i64, const MAX: i64> FieldValue for Integer<MIN, MAX> {
    fn placeholder() -> Self {
        Self::default()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        integer(value, MIN, MAX).map(Self)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        integer_text(text, MIN, MAX).map(Self)
    }
}

impl FieldValue for i64 {
    fn placeholder() -> Self {
        0
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        integer(value, Self::MIN, Self::MAX)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        integer_text(text, Self::MIN, Self::MAX)
    }
}

impl FieldValue for String {
    fn placeholder() -> Self {
        Self::new()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        string(value, 0, usize::MAX)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        string_text(text, 0, usize::MAX)
    }
}

impl FieldValue for bool {
    fn placeholder() -> Self {
        false
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "must be true or false".to_owned())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be true or false".to_owned())
    }
}

impl FieldValue for Uuid {
    fn placeholder() -> Self {
        Self::nil()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        as_text(value, UUID_ALLOWED).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        // 36 characters leave only the hyphenated form of the four that the library reads.
        let uuid = if text.len() == 36 { Self::try_parse(text).ok() } else { None };
        uuid.ok_or_else(|| UUID_ALLOWED.to_owned())
    }
}

impl FieldValue for DateTime<Utc> {
    fn placeholder() -> Self {
        Self::UNIX_EPOCH
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        as_text(value, TIME_ALLOWED).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.with_timezone(&Utc))
            // An offset may lead out of the four-digit years, which RFC 3339 could not write again.
            .filter(|time| (1..=9999).contains(&time.year()))
            .ok_or_else(|| TIME_ALLOWED.to_owned())
    }
}

impl FieldValue for Tz {
    fn placeholder() -> Self {
        Self::UTC
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        as_text(value, ZONE_ALLOWED).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| ZONE_ALLOWED.to_owned())
    }
}

/// Anything, for what has a shape of its own. In a query it is the text.
impl FieldValue for Value {
    fn placeholder() -> Self {
        Self::Null
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        Ok(value.clone())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }
}

const UUID_ALLOWED: &str = "must be a UUID with hyphens, like 0190b5a8-7c3e-7d7a-9d0f-1c2b3a4d5e6f";
const TIME_ALLOWED: &str = "must be a date and time of RFC 3339, like 2026-01-31T09:30:00Z";
const ZONE_ALLOWED: &str = "must be an IANA time zone, like Europe/Moscow";

/// A JSON number without fraction or exponent: 5.0 and "5" are no whole numbers.
pub(super) fn integer(value: &Value, min: i64, max: i64) -> Result<i64, String> {
    value.as_i64().filter(|number| (min..=max).contains(number)).ok_or_else(|| integer_allowed(min, max))
}

pub(super) fn integer_text(text: &str, min: i64, max: i64) -> Result<i64, String> {
    // The standard parser also takes a plus sign, which nobody means in a query.
    let number = if text.starts_with('+') { None } else { text.parse().ok() };
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| integer_allowed(min, max))
}

fn integer_allowed(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "must be a whole number".to_owned(),
        (min, i64::MAX) => format!("must be a whole number, at least {min}"),
        (min, max) => format!("must be a whole number from {min} to {max}"),
    }
}

pub(super) fn string(value: &Value, min: usize, max: usize) -> Result<String, String> {
    match value {
        Value::String(text) => string_text(text, min, max),
        _ => Err(string_allowed(min, max)),
    }
}

pub(super) fn string_text(text: &str, min: usize, max: usize) -> Result<String, String> {
    let chars = text.chars().count();
    if (min..=max).contains(&chars) { Ok(text.to_owned()) } else { Err(string_allowed(min, max)) }
}

fn string_allowed(min: usize, max: usize) -> String {
    match (min, max) {
        (0, usize::MAX) => "must be a text".to_owned(),
        (min, usize::MAX) => format!("must be a text of at least {min} characters"),
        (min, max) => format!("must be a text of {min} to {max} characters"),
    }
}

fn as_text<'a>(value: &'a Value, allowed: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| allowed.to_owned())
}
