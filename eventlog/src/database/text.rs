//! Texts with a NUL character, which PostgreSQL cannot store.
//!
//! They are stored with an escape that begins with the last character of Unicode, and read back unchanged.

use std::borrow::Cow;

const ESCAPE: char = '\u{10ffff}';

/// What is stored for `text`. Different texts are stored differently.
#[must_use]
pub fn escape_nul(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c {
        '\0' => [Some(ESCAPE), Some('0')],
        ESCAPE => [Some(ESCAPE), Some('1')],
        other => [Some(other), None],
    };
    Cow::Owned(text.chars().flat_map(escape).flatten().collect())
}

/// The text that `stored` stands for.
#[must_use]
pub fn unescape_nul(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut left = stored.chars();
    let next = || {
        Some(match left.next()? {
            ESCAPE if left.next() == Some('0') => '\0',
            other => other,
        })
    };
    std::iter::from_fn(next).collect()
}

/// A name to look for. No stored name has a NUL, so a name with one finds nothing.
pub(crate) fn of_name(name: &str) -> Option<&str> {
    (!name.contains('\0')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{escape_nul, unescape_nul};

    #[test]
    fn every_text_comes_back_as_it_was_and_holds_no_nul() {
        let all = [
            "",
            "plain",
            "\0",
            "a\0",
            "a\0b",
            "\u{10ffff}",
            "\u{10ffff}0",
            "\u{10ffff}1",
            "\0\u{10ffff}",
            "\u{10ffff}\0",
            "\0\u{10ffff}1\0",
            "日本\u{10ffff}",
        ];
        let mut stored: Vec<String> = all.iter().map(|text| escape_nul(text).into_owned()).collect();
        for (text, stored) in all.iter().zip(&stored) {
            assert!(!stored.contains('\0'));
            assert_eq!(unescape_nul(stored.clone()), *text);
        }
        stored.sort();
        stored.dedup();
        assert_eq!(stored.len(), all.len(), "texts that differ stay apart");
    }
}
