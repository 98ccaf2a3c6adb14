//! Which of two forms a caller wants.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// The media type of lines.
pub const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// How the answer is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// One object with a page in it.
    Json,
    /// One event a line, to the end.
    Lines,
}

impl<S: Sync> FromRequestParts<S> for Accept {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(wanted(&parts.headers))
    }
}

/// How much a media type is wanted: by its weight in thousandths, then by how exactly it was named.
type Wish = (u16, u8);

/// JSON, unless lines are wanted more.
fn wanted(headers: &HeaderMap) -> Accept {
    let sent = headers.get_all(header::ACCEPT);
    let ranges: Vec<(String, u16)> = sent
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(range)
        .collect();
    let wish = |media_type: &str| ranges.iter().filter_map(|range| wish(range, media_type)).max_by_key(|wish| wish.1);
    match (wish(NDJSON), wish(JSON)) {
        (Some((0, _)), _) => Accept::Json,
        (Some(lines), json) if json.is_none_or(|json: Wish| lines > json) => Accept::Lines,
        _ => Accept::Json,
    }
}

/// A media range and its weight.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|media_type| !media_type.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    Some((media_type, weight.map_or(Some(1_000), thousandths)?))
}

fn thousandths(weight: &str) -> Option<u16> {
    let weight: f32 = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    Some((weight * 1_000.0).round() as u16)
}

fn wish((range, weight): &(String, u16), media_type: &str) -> Option<Wish> {
    let exactness = match range.as_str() {
        range if range == media_type => 2,
        "application/*" => 1,
        "*/*" => 0,
        _ => return None,
    };
    Some((*weight, exactness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&'static str]) -> Accept {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        wanted(&headers)
    }

    #[test]
    fn lines_are_answered_to_whoever_prefers_them() {
        for lines in [
            "application/x-ndjson",
            "Application/X-NDJSON",
            "application/x-ndjson, */*",
            "application/x-ndjson;q=0.5",
            "application/json;q=0.8, application/x-ndjson;q=0.9",
            "text/html, application/x-ndjson ; q=0.2, application/json;q=0.1",
            "application/x-ndjson; charset=utf-8",
        ] {
            assert_eq!(of(&[lines]), Accept::Lines, "{lines}");
        }
        assert_eq!(of(&["text/html", "application/x-ndjson"]), Accept::Lines);
    }

    #[test]
    fn everybody_else_gets_json() {
        for json in [
            "",
            "*/*",
            "application/*",
            "text/html",
            "application/json",
            "application/json, application/x-ndjson",
            "application/x-ndjson, application/json",
            "application/x-ndjson;q=0",
            "application/x-ndjson;q=0, application/json;q=0",
            "application/x-ndjson;q=0.1, */*;q=0.9",
            "application/x-ndjson;q=nonsense",
            "application/x-ndjson;q=2",
        ] {
            assert_eq!(of(&[json]), Accept::Json, "{json}");
        }
        assert_eq!(of(&[]), Accept::Json);
    }
}
