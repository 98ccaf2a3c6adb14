//! What callers ask of the log, read from their queries.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use daybook_eventlog::{Anchor, Direction, Filter, STREAM_NAME_BYTES_MAX, StreamId};
use utoipa::ToSchema;

use super::lineage::anchor;
use crate::http::Problem;
use crate::http::fields::{FieldValue, Fields};

/// Events of one page.
pub const LIMIT: RangeInclusive<i64> = 1..=5_000;
/// Events of a page that nobody gave a limit for.
pub const LIMIT_DEFAULT: usize = 500;
/// Names in one list.
const NAMES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 255;
const NAMES_ALLOWED: &str = "must be 1 to 100 names with commas between them, each of 1 to 255 bytes";

/// A part of the log, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsAsked {
    /// 0 for "from the beginning", whichever way that is.
    pub after: u64,
    pub limit: usize,
    pub direction: Direction,
    pub filter: Filter,
    /// Recorded at or after this.
    pub from: Option<DateTime<Utc>>,
    /// Recorded before this.
    pub to: Option<DateTime<Utc>>,
    /// How the log has to begin.
    pub anchor: Option<Anchor>,
}

impl EventsAsked {
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut fields = Fields::from_query(query);
        let asked = Self {
            after: number(&mut fields, "after").unwrap_or(0),
            limit: limit(&mut fields),
            direction: direction(&mut fields),
            filter: filter(&mut fields),
            from: moment(&mut fields, "from"),
            to: moment(&mut fields, "to"),
            anchor: anchor(&mut fields),
        };
        fields.finish().map(|()| asked)
    }
}

/// A part of one stream, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAsked {
    /// A version.
    pub after: Option<u64>,
    pub limit: usize,
    pub direction: Direction,
    pub filter: Filter,
    /// How the log has to begin.
    pub anchor: Option<Anchor>,
}

impl StreamAsked {
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut fields = Fields::from_query(query);
        let asked = Self {
            after: number(&mut fields, "after"),
            limit: limit(&mut fields),
            direction: direction(&mut fields),
            filter: Filter::types(names(&mut fields, "types")),
            anchor: anchor(&mut fields),
        };
        fields.finish().map(|()| asked)
    }
}

/// What a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionAsked {
    pub after: u64,
    pub filter: Filter,
    /// How the log has to begin.
    pub anchor: Option<Anchor>,
}

impl SubscriptionAsked {
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut fields = Fields::from_query(query);
        let asked = Self {
            after: number(&mut fields, "after").unwrap_or(0),
            filter: filter(&mut fields),
            anchor: anchor(&mut fields),
        };
        fields.finish().map(|()| asked)
    }
}

fn number(fields: &mut Fields<'_>, name: &'static str) -> Option<u64> {
    fields.optional_integer(name, 0..=i64::MAX).map(i64::cast_unsigned)
}

fn limit(fields: &mut Fields<'_>) -> usize {
    fields.optional_integer("limit", LIMIT).and_then(|limit| limit.try_into().ok()).unwrap_or(LIMIT_DEFAULT)
}

fn direction(fields: &mut Fields<'_>) -> Direction {
    fields.optional::<OrderField>("order").map_or(Direction::Forward, |OrderField(direction)| direction)
}

fn filter(fields: &mut Fields<'_>) -> Filter {
    let (types, categories) = (names(fields, "types"), names(fields, "category"));
    let stream = fields.optional::<StreamName>("stream").map(|StreamName(name)| StreamId::from(name));
    Filter { types, categories, stream }
}

fn names(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    fields.optional::<Names>(name).map_or_else(Vec::new, |Names(names)| names)
}

/// The log's times have microseconds: whatever is between two of them is as good as the later one, for a bound that is
/// included from below as for one that is excluded from above.
fn moment(fields: &mut Fields<'_>, name: &'static str) -> Option<DateTime<Utc>> {
    let moment: DateTime<Utc> = fields.optional(name)?;
    let beyond = moment.nanosecond() % 1_000;
    let up = if beyond == 0 { 0 } else { 1_000 - beyond };
    Some(moment.checked_add_signed(TimeDelta::nanoseconds(up.into())).unwrap_or(moment))
}

struct OrderField(Direction);

impl FieldValue for OrderField {
    fn placeholder() -> Self {
        Self(Direction::Forward)
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "asc" => Ok(Self(Direction::Forward)),
            "desc" => Ok(Self(Direction::Backward)),
            _ => Err("must be asc or desc".to_owned()),
        }
    }
}

struct Names(Vec<String>);

impl FieldValue for Names {
    fn placeholder() -> Self {
        Self(Vec::new())
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let names: Vec<_> = text.split(',').take(NAMES_MAX + 1).map(str::to_owned).collect();
        let fits = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
        if names.len() <= NAMES_MAX && names.iter().all(fits) { Ok(Self(names)) } else { Err(NAMES_ALLOWED.to_owned()) }
    }
}

struct StreamName(String);

impl FieldValue for StreamName {
    fn placeholder() -> Self {
        Self(String::new())
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = (1..=STREAM_NAME_BYTES_MAX).contains(&text.len());
        if fits { Ok(Self(text.to_owned())) } else { Err("must be the name of a stream, 1 to 255 bytes".to_owned()) }
    }
}

/// Which way events are listed.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the document's name for a direction")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(query: &str) -> Vec<String> {
        let problem = EventsAsked::parse(query).unwrap_err();
        problem.errors().iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn nothing_asked_is_the_first_page_of_everything() {
        let asked = EventsAsked::parse("").unwrap();
        assert_eq!((asked.after, asked.limit, asked.direction), (0, 500, Direction::Forward));
        assert_eq!((asked.filter, asked.from, asked.to), (Filter::all(), None, None));
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        for (query, field) in [
            ("after=-1", "after"),
            ("after=9223372036854775808", "after"),
            ("after=", "after"),
            ("after=1&after=1", "after"),
            ("limit=0", "limit"),
            ("limit=5001", "limit"),
            ("order=up", "order"),
            ("types=", "types"),
            ("types=A,,B", "types"),
            ("category=shop,", "category"),
            ("stream=", "stream"),
            ("from=yesterday", "from"),
            ("to=2026-01-01", "to"),
            ("page=1", "page"),
            ("anchor=", "anchor"),
            ("anchor=7", "anchor"),
            ("anchor=7:abc", "anchor"),
            ("anchor=%207:0000000000000abc", "anchor"),
        ] {
            assert_eq!(wrong(query), [field], "{query}");
        }
        assert_eq!(wrong(&format!("types={}", vec!["A"; 101].join(","))), ["types"]);
        assert_eq!(wrong(&format!("category={}", "a".repeat(256))), ["category"]);
        assert_eq!(wrong("limit=x&order=x&after=x"), ["after", "limit", "order"]);
    }

    #[test]
    fn a_moment_between_two_microseconds_is_the_later_one() {
        let asked = EventsAsked::parse("from=2026-01-01T00:00:00.0000001Z&to=2026-01-01T00:00:00.999999999Z").unwrap();
        assert_eq!(asked.from, Some("2026-01-01T00:00:00.000001Z".parse().unwrap()));
        assert_eq!(asked.to, Some("2026-01-01T00:00:01Z".parse().unwrap()));
        let exact = EventsAsked::parse("from=2026-01-01T01:00:00.000001%2B01:00").unwrap();
        assert_eq!(exact.from, Some("2026-01-01T00:00:00.000001Z".parse().unwrap()));
    }
}
