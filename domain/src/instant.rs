//! Moments as the log keeps them: UTC, RFC 3339, microseconds at most.
//!
//! For `#[serde(with = "crate::instant")]`. The usual shape is written and read digit by digit, because a pass over
//! the log reads millions of moments and the general parser would be most of that time; every other RFC 3339 shape
//! is left to chrono.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Timelike, Utc};
use serde::{Deserializer, Serializer, de, ser};

/// The longest text of the usual shape: `2025-10-28T10:30:00.123456Z`.
const TEXT_BYTES_MAX: usize = 27;

/// `at` without what is finer than a microsecond; the moment of the log, and of every store behind it.
#[must_use]
pub fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// Writes `at` in UTC with as many decimals as it needs: none, three or six.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let at = to_micros(*at);
    let mut buffer = [0; TEXT_BYTES_MAX];
    match write(at, &mut buffer) {
        Some(text) => serializer.serialize_str(std::str::from_utf8(text).map_err(ser::Error::custom)?),
        None => serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
    }
}

/// Reads any RFC 3339 text, and years beyond 9999 as chrono writes them.
///
/// # Errors
/// The text is not a moment.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    deserializer.deserialize_str(MomentVisitor)
}

/// Moments that may be absent, for `#[serde(with = "crate::instant::option")]`.
pub mod option {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Moment(#[serde(with = "crate::instant")] DateTime<Utc>);

    /// Writes the moment as [`crate::instant`] does, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Moment).serialize(serializer)
    }

    /// Reads a moment, or null.
    ///
    /// # Errors
    /// The text is not a moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        Ok(Option::<Moment>::deserialize(deserializer)?.map(|Moment(at)| at))
    }
}

struct MomentVisitor;

impl de::Visitor<'_> for MomentVisitor {
    type Value = DateTime<Utc>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a moment in RFC 3339")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match read(text.as_bytes()) {
            Some(at) => Ok(at),
            None => text.parse::<DateTime<Utc>>().map(|at| at.to_utc()).map_err(E::custom),
        }
    }
}

/// The usual shape into `buffer`; `None` for years that do not have four digits.
fn write(at: DateTime<Utc>, buffer: &mut [u8; TEXT_BYTES_MAX]) -> Option<&[u8]> {
    let local = at.naive_utc();
    let year = u32::try_from(local.year()).ok().filter(|year| *year <= 9999)?;
    let micros = local.nanosecond() / 1000;

    *buffer = *b"0000-00-00T00:00:00.000000Z";
    put(&mut buffer[0..4], year);
    put(&mut buffer[5..7], local.month());
    put(&mut buffer[8..10], local.day());
    put(&mut buffer[11..13], local.hour());
    put(&mut buffer[14..16], local.minute());
    put(&mut buffer[17..19], local.second());
    let zulu = if micros == 0 {
        19
    } else if micros.is_multiple_of(1000) {
        put(&mut buffer[20..23], micros / 1000);
        23
    } else {
        put(&mut buffer[20..26], micros);
        26
    };
    buffer[zulu] = b'Z';
    Some(&buffer[..=zulu])
}

/// The decimal digits of `value`, right-aligned.
fn put(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The usual shape, with one to six decimals or none; `None` for any other text.
fn read(text: &[u8]) -> Option<DateTime<Utc>> {
    let (b'Z', text) = text.split_last()? else {
        return None;
    };
    let (whole, fraction) = text.split_at_checked(19)?;
    let micros = match fraction {
        [] => 0,
        [b'.', decimals @ ..] if (1..=6).contains(&decimals.len()) => {
            (decimals.len()..6).fold(number(decimals)?, |micros, _| micros * 10)
        }
        _ => return None,
    };
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', clock @ ..] = whole else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else {
        return None;
    };
    let year = i32::try_from(number(&[*y1, *y2, *y3, *y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?
        .and_hms_micro_opt(number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?, micros)
        .map(|at| at.and_utc())
}

/// A few decimal digits as a number.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Moment(#[serde(with = "super")] DateTime<Utc>);

    fn reread(json: &str) -> String {
        let Moment(at) = serde_json::from_str(json).unwrap();
        serde_json::to_string(&Moment(at)).unwrap()
    }

    #[test]
    fn a_moment_has_as_many_decimals_as_it_needs() {
        assert_eq!(reread(r#""2025-10-28T10:30:00Z""#), r#""2025-10-28T10:30:00Z""#);
        assert_eq!(reread(r#""2025-10-28T10:30:00.5Z""#), r#""2025-10-28T10:30:00.500Z""#);
        assert_eq!(reread(r#""2025-10-28T10:30:00.000001Z""#), r#""2025-10-28T10:30:00.000001Z""#);
        assert_eq!(reread(r#""2025-10-28T10:30:00.123456789Z""#), r#""2025-10-28T10:30:00.123456Z""#);
    }

    #[test]
    fn any_offset_is_read_and_written_as_utc() {
        assert_eq!(reread(r#""2025-10-28T10:30:00+05:45""#), r#""2025-10-28T04:45:00Z""#);
    }

    #[test]
    fn a_text_that_is_no_moment_is_refused() {
        for json in [r#""2025-02-29T10:30:00Z""#, r#""2025-10-28""#, r#""2025-10-28T10:3x:00Z""#, r#""""#, "1"] {
            assert!(serde_json::from_str::<Moment>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_leap_second_becomes_the_second_after_it() {
        assert_eq!(reread(r#""2016-12-31T23:59:60Z""#), r#""2017-01-01T00:00:00Z""#);
    }

    proptest! {
        #[test]
        fn the_short_way_and_the_general_one_agree(micros in -80_000_000_000_000_000_i64..300_000_000_000_000_000) {
            let at = DateTime::UNIX_EPOCH + TimeDelta::microseconds(micros);
            let json = serde_json::to_string(&Moment(at)).unwrap();
            prop_assert_eq!(&json, &format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
            prop_assert_eq!(serde_json::from_str::<Moment>(&json).unwrap().0, at);
        }
    }
}
