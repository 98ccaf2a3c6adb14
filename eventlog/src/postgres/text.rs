//! Texts that have a NUL character in them, which PostgreSQL has no room for.

use std::borrow::Cow;

const ESCAPE: char = '\u{10ffff}';

/// What is stored of a request: two that differ stay two.
pub(super) fn of_request(text: &str) -> Cow<'_, str> {
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

/// A name to look for. No name that is written has a NUL: what has one is no name, and finds nothing.
pub(super) fn of_name(name: &str) -> Option<&str> {
    (!name.contains('\0')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_differ_are_stored_as_texts_that_differ_and_have_no_nul() {
        let texts = ["", "a", "\0", "a\0", "\u{10ffff}", "\u{10ffff}0", "\u{10ffff}1", "\0\u{10ffff}", "\u{10ffff}\0"];
        let mut stored = texts.map(of_request).map(Cow::into_owned);
        assert!(stored.iter().all(|text| !text.contains('\0')));
        stored.sort();
        assert!(stored.windows(2).all(|two| two[0] != two[1]), "{stored:?}");
    }
}
