//! The request's id: taken from the caller or made, and known to everything that happens for the request.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use uuid::Uuid;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CHARS_MAX: usize = 128;

/// 1 to 128 visible ASCII characters. It is a request extension, the answer's `X-Request-Id`, and the correlation id
/// of the events that the request causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The caller's id when it is well formed, else a new one: a bad id is no reason to refuse a request.
    pub(super) fn take_or_make(headers: &HeaderMap) -> Self {
        let taken = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_well_formed(id));
        match taken {
            Some(id) => Self(id.into()),
            None => Self(Uuid::now_v7().hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned().into()),
        }
    }

    pub(super) fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

fn is_well_formed(id: &str) -> bool {
    (1..=CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a problem says about the request that it answers.
#[derive(Clone)]
pub(super) struct CurrentRequest {
    pub(super) id: RequestId,
    pub(super) uri: Uri,
}

impl CurrentRequest {
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }
}

tokio::task_local! {
    // So that a problem made anywhere below a handler knows its request without being handed one.
    pub(super) static CURRENT: CurrentRequest;
}

pub(super) fn current() -> Option<CurrentRequest> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(sent).unwrap());
        RequestId::take_or_make(&headers)
    }

    #[test]
    fn a_well_formed_id_is_taken() {
        assert_eq!(id_for(b"till-7/42").as_str(), "till-7/42");
        assert_eq!(id_for(&[b'a'; 128]).as_str().len(), 128);
    }

    #[test]
    fn any_other_id_is_replaced_by_a_uuid_v7() {
        let too_long = [b'a'; 129];
        for sent in [b"".as_slice(), b"a b", b"caf\xc3\xa9", b"a\tb", &too_long] {
            let made = Uuid::parse_str(id_for(sent).as_str()).unwrap();
            assert_eq!(made.get_version_num(), 7);
        }
        assert_ne!(RequestId::take_or_make(&HeaderMap::new()), RequestId::take_or_make(&HeaderMap::new()));
    }
}
