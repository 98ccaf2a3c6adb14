//! Fields that only this surface has, and their bounds.

use daybook_domain::shop::{AMOUNT_MAX, KeyDigest, Money};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::auth::terminal_key::{self, NoRandomness};
use crate::http::fields::{FieldValue, Fields, Integer};

/// The largest whole number that every JSON reader keeps exactly: 2^53 - 1.
pub const ID_MAX: i64 = 9_007_199_254_740_991;
pub const NAME_CHARS_MAX: usize = 200;
/// What a document is called on paper.
pub const DOCUMENT_CHARS_MAX: usize = 200;
const SERIAL_CHARS_MAX: usize = 128;
const KEY_CHARS_MAX: usize = 255;

/// The number of a shop, an article or a document.
pub type Id = Integer<1, ID_MAX>;

/// A required amount of money.
pub fn money(fields: &mut Fields<'_>, name: &'static str) -> Money {
    fields.exact(name, amount)
}

/// An amount of money that may be absent or null.
pub fn optional_money(fields: &mut Fields<'_>, name: &'static str) -> Option<Money> {
    fields.nullable_exact(name, amount).flatten()
}

/// A number by its digits as they were sent, or the same as a text.
fn amount(sent: &RawValue) -> Result<Money, String> {
    let text: Option<String> = serde_json::from_str(sent.get()).ok();
    Money::parse_json(text.as_deref().unwrap_or(sent.get()))
        .map_err(|_| format!("must be a number, or a decimal text, from 0 to {AMOUNT_MAX} with at most two decimals"))
}

/// A required amount of money as it may be sent.
pub fn money_schema() -> Schema {
    Schema::OneOf(number_or_text().build())
}

/// An amount of money that may be absent or null.
pub fn optional_money_schema() -> Schema {
    Schema::OneOf(number_or_text().item(ObjectBuilder::new().schema_type(Type::Null)).build())
}

// Two decimals are said in words: `multipleOf` counts in binary floats, where 0.07 is no multiple of 0.01.
fn number_or_text() -> OneOfBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(10_000_000_000_000_i64));
    let text = ObjectBuilder::new().schema_type(Type::String).examples(["40000.00"]);
    OneOfBuilder::new().description(Some("At most two decimals.")).item(number).item(text)
}

/// The code of a currency: three letters, like `CDF`.
pub struct Currency(pub String);

/// The serial number of a terminal, as it fits into a header.
pub struct Serial(pub String);

/// The key of a terminal, as it fits into a header. There is no way to print it.
pub struct TerminalKey(String);

impl TerminalKey {
    /// What is kept of it.
    pub fn digest(&self) -> Result<KeyDigest, NoRandomness> {
        terminal_key::digest(&self.0)
    }
}

impl FieldValue for Currency {
    fn placeholder() -> Self {
        Self(String::new())
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        Err("must be three upper-case letters, like CDF".to_owned())
    }
}

impl FieldValue for Serial {
    fn placeholder() -> Self {
        Self(String::new())
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if (1..=SERIAL_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("must be a text of 1 to {SERIAL_CHARS_MAX} visible ASCII characters"))
    }
}

impl FieldValue for TerminalKey {
    fn placeholder() -> Self {
        Self(String::new())
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && text.trim() == text;
        if (1..=KEY_CHARS_MAX).contains(&text.len()) && fits {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("must be a text of 1 to {KEY_CHARS_MAX} ASCII characters without spaces around it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(sent: &str) -> Option<String> {
        let body = format!(r#"{{"price":{sent}}}"#);
        let mut fields = Fields::from_json(body.as_bytes()).unwrap();
        let price = money(&mut fields, "price");
        fields.finish().ok().map(|()| price.to_string())
    }

    #[test]
    fn money_is_read_by_its_digits_not_as_a_float() {
        for (sent, expected) in [
            ("40000", "40000.00"),
            ("0.1", "0.10"),
            ("\"12.5\"", "12.50"),
            ("4e4", "40000.00"),
            ("0", "0.00"),
            ("9999999999999.99", "9999999999999.99"),
            ("10000000000000.00", "10000000000000.00"),
        ] {
            assert_eq!(price(sent).as_deref(), Some(expected), "{sent}");
        }
        for sent in [
            "-1",
            "0.001",
            "0.30000000000000000001",
            "1e-400",
            "1e400",
            "10000000000000.01",
            "\"12,5\"",
            "\"\"",
            "\" 1\"",
            "true",
            "null",
            "[1]",
            "{}",
        ] {
            assert_eq!(price(sent), None, "{sent}");
        }
    }
}
