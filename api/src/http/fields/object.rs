//! A JSON object as its members, their values not yet parsed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members by name, and the names that came twice.
pub(super) struct Object<'a> {
    pub(super) members: HashMap<Cow<'a, str>, &'a RawValue>,
    pub(super) repeated: Vec<Cow<'a, str>>,
}

pub(super) fn parse(body: &[u8]) -> Result<Object<'_>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "must be UTF-8".to_owned())?;
    if text.trim().is_empty() {
        return Err("is empty: send a JSON object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            return "must be a JSON object".to_owned();
        }
        format!("is not valid JSON (line {}, column {})", error.line(), error.column())
    })
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object { members: HashMap::new(), repeated: Vec::new() };
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
            if object.members.insert(name.clone(), value).is_some() {
                object.repeated.push(name);
            }
        }
        Ok(object)
    }
}

/// A member's name, borrowed unless it has escapes (`Cow` itself would always copy).
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
