//! Which language a caller wants: `Accept-Language` (RFC 9110), weights and tags read by libraries.

use accept_language::parse_with_quality;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use oxilangtag::LanguageTag;

/// How much a caller wants a language, and the place in the list where that is said.
#[derive(Clone, Copy)]
struct Wish {
    weight: f32,
    place: usize,
}

/// Whether the caller prefers English to Russian, which is what they get otherwise.
///
/// A tag with a region or script (`en-GB`) stands for its language; `*` stands for languages that are not named. Of
/// equal weights the one named first is preferred. A weight of 0, or one that is no number, is a refusal.
pub fn prefers_english(headers: &HeaderMap) -> bool {
    let lists: Vec<&str> = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|list| list.to_str().ok()).collect();
    let lists = lists.join(",");
    // Entry by entry: the library sorts a list by weight, and `nan` has no place in an order.
    let entries: Vec<(String, f32)> = lists.split(',').flat_map(parse_with_quality).collect();
    let wish = |language: &str| wish(&entries, |tag| is_of(tag, language)).or_else(|| wish(&entries, |tag| tag == "*"));
    match (wish("en"), wish("ru")) {
        (Some(english), Some(russian)) => {
            english.weight > 0.0
                && (english.weight > russian.weight
                    || (english.weight >= russian.weight && english.place < russian.place))
        }
        (Some(english), None) => english.weight > 0.0,
        (None, _) => false,
    }
}

/// The strongest wish among the entries that `fits` holds for, the first one of equals.
fn wish(entries: &[(String, f32)], fits: impl Fn(&str) -> bool) -> Option<Wish> {
    let wishes = entries.iter().enumerate().filter(|(_, (tag, _))| fits(tag));
    let weight = |weight: f32| if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 };
    let wishes = wishes.map(|(place, (_, given))| Wish { weight: weight(*given), place });
    wishes.reduce(|best, next| if next.weight > best.weight { next } else { best })
}

/// Whether a tag is of this language, in whichever case it is written.
fn is_of(tag: &str, language: &str) -> bool {
    LanguageTag::parse(tag).is_ok_and(|tag| tag.primary_language().eq_ignore_ascii_case(language))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(accept_language: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, accept_language.parse().unwrap());
        prefers_english(&headers)
    }

    #[test]
    fn english_is_what_prefers_it_to_russian() {
        for preferring in [
            "en",
            "EN",
            "EN, RU",
            "en, ru",
            "en-US,en;q=0.9",
            "en-gb;q=0.8, RU-ru;q=0.2",
            "fr, en;q=0.5, ru;q=0.4",
            "ru;q=0, en;q=0.001",
            "ru;q=0.3, *;q=0.5",
            "en-Latn-US-x-own, ru",
            "en;Q=0.8 , ru ; q=0.2",
            "ru;q=nan, en;q=0.1",
            "*;q=0.1, en;q=0.2",
            "en, *",
            ", ,en",
        ] {
            assert!(english(preferring), "{preferring}");
        }
    }

    #[test]
    fn everything_else_is_russian() {
        assert!(!prefers_english(&HeaderMap::new()));
        for other in [
            "",
            "ru",
            "ru, en",
            "RU, EN",
            "ru,en;q=0.8",
            "en;q=0.5, ru-RU",
            "fr",
            "*",
            "*, en",
            "en;q=0",
            "en;q=0, *",
            "en;q=x",
            "en;q=nan",
            "eng-lish-language-tag-far-too-long",
            "english",
            "fr-en",
            ";q=1",
        ] {
            assert!(!english(other), "{other}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_LANGUAGE, "fr".parse().unwrap());
        headers.append(ACCEPT_LANGUAGE, "en".parse().unwrap());
        assert!(prefers_english(&headers));
    }
}
