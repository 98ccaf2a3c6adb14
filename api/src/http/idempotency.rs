//! What makes a repeated request the same request. Where first answers are kept is not decided here.

use std::borrow::Cow;

use aws_lc_rs::digest;
use axum::http::{HeaderMap, HeaderName, Method};
use uuid::Uuid;

use super::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CHARS_MAX: usize = 255;

/// Under which a first answer is remembered: a key means something only together with its caller and its route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyScope {
    /// The caller's subject.
    pub caller: String,
    /// Method and path: `POST /books`.
    pub route: String,
    /// The key as it was sent: 1 to 255 visible ASCII characters.
    pub key: String,
}

/// SHA-256 of a body: the same key with another body is another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyFingerprint(pub [u8; 32]);

impl BodyFingerprint {
    /// The fingerprint of `body`.
    pub fn of(body: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, body);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

/// The scope that `Idempotency-Key` opens, none without the header, 400 for a key that is none.
pub fn scope(
    headers: &HeaderMap,
    caller: &str,
    method: &Method,
    path: &str,
) -> Result<Option<IdempotencyScope>, Problem> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = sent.next() else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| is_well_formed(key));
    match (key, sent.next()) {
        (Some(key), None) => Ok(Some(IdempotencyScope {
            caller: caller.to_owned(),
            route: format!("{method} {}", canonical(path)),
            key: key.to_owned(),
        })),
        _ => Err(Problem::bad_field("Idempotency-Key", "must be one text of 1 to 255 visible ASCII characters")),
    }
}

/// The path with one spelling for each id: a UUID means the same thing, however it is written.
fn canonical(path: &str) -> String {
    let segments = path.split('/').map(|segment| match Uuid::try_parse(segment) {
        Ok(id) => Cow::Owned(id.to_string()),
        Err(_) => Cow::Borrowed(segment),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn is_well_formed(key: &str) -> bool {
    (1..=CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_path_names_the_same_thing_however_its_ids_are_spelled() {
        let id = Uuid::from_u128(0xab);
        let lower = format!("/books/{id}/open");
        assert_eq!(canonical(&lower), lower);
        assert_eq!(canonical(&format!("/books/{}/open", id.to_string().to_uppercase())), lower);
        assert_eq!(canonical(&format!("/books/{}/open", id.simple())), lower);
        assert_eq!(canonical("/Books/7"), "/Books/7");
    }

    fn read(keys: &[&[u8]]) -> Result<Option<IdempotencyScope>, Problem> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(key).unwrap());
        }
        scope(&headers, "u1", &Method::POST, "/books")
    }

    #[test]
    fn a_key_opens_a_scope_of_its_caller_and_route() {
        assert_eq!(read(&[]), Ok(None));
        let opened = read(&[b"k-1"]).unwrap().unwrap();
        assert_eq!((opened.caller.as_str(), opened.route.as_str(), opened.key.as_str()), ("u1", "POST /books", "k-1"));
        assert!(read(&[&[b'k'; 255]]).unwrap().is_some());
    }

    #[test]
    fn a_key_that_is_none_is_400_and_named() {
        let too_long = [b'k'; 256];
        for keys in [vec![b"".as_slice()], vec![b"a b"], vec![b"\xff"], vec![too_long.as_slice()], vec![b"a", b"b"]] {
            let problem = read(&keys).unwrap_err();
            assert_eq!(problem.errors()[0].field, "Idempotency-Key");
        }
    }

    #[test]
    fn the_fingerprint_is_sha_256() {
        let empty = BodyFingerprint::of(b"").0;
        assert_eq!(empty[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_ne!(BodyFingerprint::of(b"{}"), BodyFingerprint::of(b"{ }"));
    }
}
