//! A place in the log together with what stands there: what an auditor writes down.

use std::{fmt, str::FromStr};

use crate::Position;

/// A position and the checksum of the event there, which covers every event before it: `12345:0f3a9c0d5be17a42`.
/// A log that once had an anchor must show the same one for that position for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Anchor {
    /// Of the event; 0 for a log without events.
    pub position: Position,
    /// XXH3-64, the link of the chain at that position; 0 before the first event.
    pub checksum: u64,
}

/// A text that is no anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is a position and 16 hexadecimal digits, like 12345:0f3a9c0d5be17a42")]
pub struct NoAnchor;

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.position, self.checksum)
    }
}

impl FromStr for Anchor {
    type Err = NoAnchor;

    fn from_str(text: &str) -> Result<Self, NoAnchor> {
        let (position, checksum) = text.trim().split_once(':').ok_or(NoAnchor)?;
        let is_number =
            |text: &str, is_digit: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(is_digit);
        if checksum.len() != 16
            || !is_number(checksum, u8::is_ascii_hexdigit)
            || !is_number(position, u8::is_ascii_digit)
        {
            return Err(NoAnchor);
        }
        let position = position.parse().ok().filter(|number| i64::try_from(*number).is_ok()).ok_or(NoAnchor)?;
        let checksum = u64::from_str_radix(checksum, 16).map_err(|_| NoAnchor)?;
        Ok(Self { position: Position::new(position), checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_as_it_was_written() {
        for (position, checksum) in [(0, 0), (1, u64::MAX), (12_345, 0x0f3a), (i64::MAX as u64, 1 << 63)] {
            let anchor = Anchor { position: Position::new(position), checksum };
            assert_eq!(anchor.to_string().parse(), Ok(anchor));
        }
        assert_eq!(Anchor { position: Position::new(7), checksum: 0xabc }.to_string(), "7:0000000000000abc");
    }

    #[test]
    fn what_is_no_anchor_is_refused() {
        for text in [
            "",
            "7",
            "7:",
            ":0000000000000abc",
            "7:abc",
            "-7:0000000000000abc",
            "+7:0000000000000abc",
            "7:+000000000000abc",
            "7:0000000000000abcd",
            "9223372036854775808:0000000000000abc",
        ] {
            assert_eq!(text.parse::<Anchor>(), Err(NoAnchor), "{text}");
        }
    }
}
