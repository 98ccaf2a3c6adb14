//! Amounts of money: whole hundredths of the shop's currency, never negative, never a float.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The greatest amount: 10¹³ units of a currency.
pub const AMOUNT_MAX: Money = Money(1_000_000_000_000_000);

/// More digits than [`AMOUNT_MAX`] has in hundredths.
const DIGITS_MAX: usize = 17;

/// The longest text: `10000000000000.00`, with room to spare.
const TEXT_BYTES_MAX: usize = 24;

/// An amount from zero to [`AMOUNT_MAX`], in hundredths; written and stored as `"40000.00"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is no number of JSON.
    #[error("an amount is a number")]
    NotANumber,
    /// The number is below zero.
    #[error("an amount is not negative")]
    Negative,
    /// The number is no whole number of hundredths.
    #[error("an amount has two decimals at most")]
    TooPrecise,
    /// The number is above [`AMOUNT_MAX`].
    #[error("an amount is at most {AMOUNT_MAX}")]
    TooLarge,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many hundredths; `None` below zero and above [`AMOUNT_MAX`].
    #[must_use]
    pub const fn from_hundredths(hundredths: i64) -> Option<Self> {
        if hundredths >= 0 && hundredths <= AMOUNT_MAX.0 { Some(Self(hundredths)) } else { None }
    }

    /// Reads the exact text of a JSON number by its value: `4e4` and `40000.000` are `40000`.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse_json(text: &str) -> Result<Self, MoneyError> {
        let number = Number::parse(text).ok_or(MoneyError::NotANumber)?;
        let digits = [number.whole, number.fraction].concat();
        let first = digits.iter().position(|digit| *digit != b'0');
        let last = digits.iter().rposition(|digit| *digit != b'0');
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Self::ZERO);
        };
        if number.negative {
            return Err(MoneyError::Negative);
        }
        // The power of ten of the last digit that counts, in hundredths.
        let zeros = number.exponent.saturating_add(length(number.whole)).saturating_sub(length(&digits[..=last]));
        let zeros = zeros.saturating_add(2);
        let zeros = u32::try_from(zeros).map_err(|_| match zeros {
            ..0 => MoneyError::TooPrecise,
            _ => MoneyError::TooLarge,
        })?;
        if last - first >= DIGITS_MAX {
            return Err(MoneyError::TooLarge);
        }
        let counted = digits[first..=last].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        10_i64
            .checked_pow(zeros)
            .and_then(|scale| counted.checked_mul(scale))
            .and_then(Self::from_hundredths)
            .ok_or(MoneyError::TooLarge)
    }

    /// The amount in hundredths.
    #[must_use]
    pub const fn hundredths(self) -> i64 {
        self.0
    }

    /// The amount so many times; `None` above [`AMOUNT_MAX`] and for a negative `quantity`.
    #[must_use]
    pub const fn times(self, quantity: i64) -> Option<Self> {
        match self.0.checked_mul(quantity) {
            Some(hundredths) => Self::from_hundredths(hundredths),
            None => None,
        }
    }

    /// Both amounts together; `None` above [`AMOUNT_MAX`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Option<Self> {
        Self::from_hundredths(self.0 + other.0)
    }

    /// The text, right-aligned in `buffer`: formatting it in general would be a good part of writing an event.
    fn write(self, buffer: &mut [u8; TEXT_BYTES_MAX]) -> &str {
        let mut rest = self.0.unsigned_abs();
        let mut at = TEXT_BYTES_MAX;
        let mut written = 0;
        while written < 3 || rest > 0 {
            if written == 2 {
                at -= 1;
                buffer[at] = b'.';
            }
            at -= 1;
            buffer[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            written += 1;
        }
        std::str::from_utf8(&buffer[at..]).unwrap_or_default()
    }

    /// Reads what [`write`](Self::write) wrote; `None` for any other text.
    fn read(text: &str) -> Option<Self> {
        let (whole, [b'.', tenths, hundredths]) = text.as_bytes().split_last_chunk::<3>()? else {
            return None;
        };
        if whole.is_empty() || whole.len() >= DIGITS_MAX {
            return None;
        }
        let mut digits = whole.iter().chain([tenths, hundredths]);
        digits
            .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
            .and_then(Self::from_hundredths)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.write(&mut [0; TEXT_BYTES_MAX]))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; TEXT_BYTES_MAX]))
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl de::Visitor<'_> for AmountVisitor {
            type Value = Money;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an amount with two decimals, as a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
                Money::read(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(AmountVisitor)
    }
}

/// The parts of a JSON number.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Self::parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_whole = is_digits(whole) && (whole.len() == 1 || !whole.starts_with('0'));
        (is_whole && (fraction.is_empty() || is_digits(fraction))).then_some(Self {
            negative,
            whole: whole.as_bytes(),
            fraction: fraction.as_bytes(),
            exponent,
        })
    }

    /// An exponent too long to be counted is as good as the longest that can be.
    fn parse_exponent(text: &str) -> Option<i64> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        is_digits(digits).then(|| sign * digits.parse::<i64>().unwrap_or(i64::MAX))
    }
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
