//! How bodies and queries are read: field by field, and every wrong one is named in one answer.
//!
//! ```
//! use daybook::http::fields::Fields;
//!
//! # fn main() -> Result<(), daybook::http::Problem> {
//! let mut fields = Fields::from_json(br#"{"title": "Dune", "pages": 412}"#)?;
//! let title = fields.string("title", 1..=500);
//! let pages: Option<i64> = fields.optional_integer("pages", 1..=100_000);
//! fields.finish()?;
//! assert_eq!((title.as_str(), pages), ("Dune", Some(412)));
//! # Ok(())
//! # }
//! ```
//!
//! A wrong field gives a placeholder and is remembered; the values mean something only after [`Fields::finish`].

mod nested;
mod object;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{FieldError, Problem};
pub use value::{FieldValue, Integer, Text};

const ERRORS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 100;

/// The fields of one body or one query.
pub struct Fields<'a> {
    input: Input<'a>,
    repeated: Vec<Cow<'a, str>>,
    errors: Vec<FieldError>,
    unknown_is_an_error: bool,
}

enum Input<'a> {
    // Values stay unparsed until they are asked for, so that 1e400 is one field's fault, not the whole body's.
    Json(HashMap<Cow<'a, str>, &'a RawValue>),
    Query(HashMap<Cow<'a, str>, Cow<'a, str>>),
}

/// A field as it came.
enum Given<'a> {
    Absent,
    Null,
    Json(Value),
    Text(Cow<'a, str>),
    Unreadable,
}

impl<'a> Fields<'a> {
    /// The fields of a JSON object; anything else is 400 for the field `body`.
    pub fn from_json(body: &'a [u8]) -> Result<Self, Problem> {
        let object = object::parse(body).map_err(|message| Problem::bad_field("body", message))?;
        let mut fields = Self::new(Input::Json(object.members));
        fields.repeated = object.repeated;
        Ok(fields)
    }

    /// The parameters of a query, as in `uri.query().unwrap_or_default()`. As in a body, what nobody asked for is an
    /// error.
    pub fn from_query(query: &'a str) -> Self {
        let mut parameters = HashMap::new();
        let mut repeated = Vec::new();
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            if parameters.insert(name.clone(), text).is_some() {
                repeated.push(name);
            }
        }
        let mut fields = Self::new(Input::Query(parameters));
        fields.repeated = repeated;
        fields
    }

    /// Lets fields pass that nobody asked for: some clients send more than is needed.
    pub fn ignoring_unknown(self) -> Self {
        Self { unknown_is_an_error: false, ..self }
    }

    /// A field that must be there and not be null.
    pub fn required<T: FieldValue>(&mut self, name: &'static str) -> T {
        self.required_as(name, T::from_json, T::from_text)
    }

    /// A field that may be absent or null.
    pub fn optional<T: FieldValue>(&mut self, name: &'static str) -> Option<T> {
        self.nullable(name).flatten()
    }

    /// A field that may be absent (`None`), null (`Some(None)`) or a value.
    pub fn nullable<T: FieldValue>(&mut self, name: &'static str) -> Option<Option<T>> {
        self.nullable_as(name, T::from_json, T::from_text)
    }

    /// A required whole number in `range`.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> i64 {
        let (min, max) = range.into_inner();
        let (json, text) = (|v: &Value| value::integer(v, min, max), |t: &str| value::integer_text(t, min, max));
        self.required_as(name, json, text)
    }

    /// A whole number in `range` that may be absent or null.
    pub fn optional_integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        self.nullable_integer(name, range).flatten()
    }

    /// A whole number in `range` that may be absent, null or a value.
    pub fn nullable_integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<Option<i64>> {
        let (min, max) = range.into_inner();
        self.nullable_as(name, |v| value::integer(v, min, max), |t| value::integer_text(t, min, max))
    }

    /// A required text whose number of characters is in `chars`.
    pub fn string(&mut self, name: &'static str, chars: RangeInclusive<usize>) -> String {
        let (min, max) = chars.into_inner();
        self.required_as(name, |v| value::string(v, min, max), |t| value::string_text(t, min, max))
    }

    /// A text with that many characters that may be absent or null.
    pub fn optional_string(&mut self, name: &'static str, chars: RangeInclusive<usize>) -> Option<String> {
        self.nullable_string(name, chars).flatten()
    }

    /// A text with that many characters that may be absent, null or a value.
    pub fn nullable_string(&mut self, name: &'static str, chars: RangeInclusive<usize>) -> Option<Option<String>> {
        let (min, max) = chars.into_inner();
        self.nullable_as(name, |v| value::string(v, min, max), |t| value::string_text(t, min, max))
    }

    /// A required list with that many items, each left as it came: one that cannot be read spoils no other.
    pub fn items(&mut self, name: &'static str, count: RangeInclusive<usize>) -> Vec<Box<RawValue>> {
        let given = match &mut self.input {
            Input::Json(members) => members.remove(name),
            Input::Query(_) => None,
        };
        let Some(given) = given else {
            self.invalid(name, "is missing");
            return Vec::new();
        };
        if self.repeated.iter().any(|repeated| repeated == name) {
            self.invalid(name, "is given more than once");
            return Vec::new();
        }
        match serde_json::from_str::<Vec<Box<RawValue>>>(given.get()) {
            Ok(items) if count.contains(&items.len()) => items,
            _ => {
                self.invalid(name, format!("must be a list of {} to {} items", count.start(), count.end()));
                Vec::new()
            }
        }
    }

    /// Remembers an error that only the handler can see, like an end before its start.
    pub fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// 400 with every wrong field, or nothing. Call it before any value is used.
    pub fn finish(self) -> Result<(), Problem> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(Problem::bad_request(errors)) }
    }

    /// What is wrong, unknown fields included.
    fn into_errors(mut self) -> Vec<FieldError> {
        if self.unknown_is_an_error {
            let mut unknown = self.input.names();
            // In one order, whatever the map's: the same body always gets the same answer.
            unknown.sort_unstable();
            let message = "is not a field here: leave it out";
            self.errors
                .extend(unknown.into_iter().take(ERRORS_MAX).map(|name| FieldError::new(shortened(&name), message)));
        }
        self.errors.truncate(ERRORS_MAX);
        self.errors
    }

    fn new(input: Input<'a>) -> Self {
        Self { input, repeated: Vec::new(), errors: Vec::new(), unknown_is_an_error: true }
    }

    fn required_as<T: FieldValue>(
        &mut self,
        name: &'static str,
        json: impl FnOnce(&Value) -> Result<T, String>,
        text: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let errors_before = self.errors.len();
        match self.nullable_as(name, json, text) {
            Some(Some(value)) => return value,
            Some(None) => self.invalid(name, "must not be null"),
            None if self.errors.len() == errors_before => self.invalid(name, "is missing"),
            None => {}
        }
        T::placeholder()
    }

    fn nullable_as<T>(
        &mut self,
        name: &'static str,
        json: impl FnOnce(&Value) -> Result<T, String>,
        text: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let given = self.input.take(name);
        if self.repeated.iter().any(|repeated| repeated == name) {
            self.invalid(name, "is given more than once");
            return None;
        }
        let parsed = match given {
            Given::Absent => return None,
            Given::Null => return Some(None),
            Given::Json(value) => json(&value),
            Given::Text(value) => text(&value),
            Given::Unreadable => Err("holds a number or a text that cannot be read".to_owned()),
        };
        match parsed {
            Ok(value) => Some(Some(value)),
            Err(message) => {
                self.invalid(name, message);
                None
            }
        }
    }
}

impl<'a> Input<'a> {
    fn take(&mut self, name: &str) -> Given<'a> {
        match self {
            Self::Json(members) => match members.remove(name).map(|raw| serde_json::from_str(raw.get())) {
                None => Given::Absent,
                Some(Ok(Value::Null)) => Given::Null,
                Some(Ok(value)) => Given::Json(value),
                Some(Err(_)) => Given::Unreadable,
            },
            Self::Query(parameters) => parameters.remove(name).map_or(Given::Absent, Given::Text),
        }
    }

    fn names(&self) -> Vec<Cow<'a, str>> {
        match self {
            Self::Json(members) => members.keys().cloned().collect(),
            Self::Query(parameters) => parameters.keys().cloned().collect(),
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}
