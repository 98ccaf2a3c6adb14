//! Reading a JSON body: its type, its size and its pace are checked before a byte of it is parsed.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::Problem;

/// A body that stops coming for this long is given up.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A body that trickles is given up after this long, however steady it is.
const TOTAL_MAX: Duration = Duration::from_secs(300);
/// How much of a refused body is taken, and for how long, so that its sender can read the refusal.
const DRAINED_BYTES_MAX: usize = 16 * 1024 * 1024;
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// What is reserved before anything has come: a Content-Length is only a promise.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// The largest body, in bytes: a request extension that the conventions set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl BodyLimit {
    /// What holds where no conventions set a limit.
    pub const DEFAULT: Self = Self(2 << 20);
}

/// The bytes of a JSON body, not yet parsed. As an extractor it takes the limit from the conventions.
#[derive(Clone, Debug)]
pub struct JsonBody(pub Bytes);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // Without the conventions there is no limit to go by; axum's own default is a safe one.
        let limit = request.extensions().get().map_or(BodyLimit::DEFAULT.0, |limit: &BodyLimit| limit.0);
        let (parts, body) = request.into_parts();
        read(&parts.headers, body, limit).await.map(Self)
    }
}

/// Reads a JSON body of at most `limit` bytes: 415, 413 or 408 when it is none.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    if !is_json(headers) {
        drain(headers, &mut chunks).await;
        return Err(Problem::unsupported_media_type());
    }
    let announced = announced_bytes(headers);
    if announced.is_some_and(|bytes| bytes > limit) {
        drain(headers, &mut chunks).await;
        return Err(Problem::too_large(limit));
    }
    let given_up_at = Instant::now() + TOTAL_MAX;
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    loop {
        let pause_ends_at = (Instant::now() + PAUSE_MAX).min(given_up_at);
        let chunk = match timeout_at(pause_ends_at, chunks.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => return Err(Problem::bad_field("body", "ended before it was complete")),
            Ok(None) => break,
            Err(_) => return Err(timed_out()),
        };
        if joined.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len() > limit {
            drain(headers, &mut chunks).await;
            return Err(Problem::too_large(limit));
        }
        // Nearly every body is one chunk, and is then handed on without a copy.
        match first.take() {
            None if joined.is_empty() => first = Some(chunk),
            before => {
                joined.reserve(announced.unwrap_or(0).min(RESERVED_BYTES_MAX).saturating_sub(joined.len()));
                joined.extend_from_slice(&before.unwrap_or_default());
                joined.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| joined.freeze()))
}

/// Takes what is still on its way, within bounds. A connection that is closed with unread bytes is reset, and whoever is
/// still sending then never sees the answer. A client that waits for `100 Continue` has sent nothing yet.
async fn drain(headers: &HeaderMap, chunks: &mut BodyDataStream) {
    if headers.contains_key(header::EXPECT) || announced_bytes(headers).is_some_and(|bytes| bytes > DRAINED_BYTES_MAX) {
        return;
    }
    let mut drained = 0;
    let drain = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            drained += chunk.len();
            if drained > DRAINED_BYTES_MAX {
                return;
            }
        }
    };
    // Only a courtesy: the answer goes out whether or not everything has come.
    let _ = timeout(DRAIN_MAX, drain).await;
}

fn timed_out() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "The body stopped coming. Nothing was written: send it again.")
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `application/json` or `application/…+json`, in UTF-8, not compressed.
fn is_json(headers: &HeaderMap) -> bool {
    let encoded =
        headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(content_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    let json = subtype == "json" || subtype.strip_suffix("+json").is_some_and(|prefix| !prefix.is_empty());
    let other_charset = parts
        .filter_map(|parameter| parameter.strip_prefix("charset=").map(|value| value.trim_matches('"').to_owned()))
        .any(|charset| !matches!(charset.as_str(), "utf-8" | "utf8"));
    json && !encoded && !other_charset
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use futures::stream;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::from_stream(stream::iter(chunks))
    }

    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

    #[tokio::test]
    async fn a_body_of_several_chunks_is_joined() {
        assert_eq!(read(&headers(JSON), chunks(&["{\"a\"", ":", "1}"]), 7).await.unwrap(), "{\"a\":1}");
        assert_eq!(read(&headers(JSON), Body::empty(), 7).await.unwrap(), "");
    }

    #[tokio::test]
    async fn json_types_are_taken_and_others_are_415() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/merge-patch+json",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(read(&headers(&[("content-type", good)]), chunks(&["{}"]), 9).await.is_ok(), "{good}");
        }
        for bad in [
            "text/plain",
            "application/json; charset=utf-16",
            "application/+json",
            "text/json",
            "application/jsonp",
            "",
        ] {
            let problem = read(&headers(&[("content-type", bad)]), chunks(&["{}"]), 9).await.unwrap_err();
            assert_eq!(problem.status(), 415, "{bad}");
        }
        let gzip = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        assert_eq!(read(&gzip, chunks(&["{}"]), 9).await.unwrap_err().status(), 415);
        assert_eq!(read(&HeaderMap::new(), Body::empty(), 9).await.unwrap_err().status(), 415);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_bytes_are_413_by_announcement_and_by_count() {
        let announced = headers(&[("content-type", "application/json"), ("content-length", "8")]);
        assert_eq!(
            read(&announced, Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()), 7)
                .await
                .unwrap_err()
                .status(),
            413
        );
        assert_eq!(read(&headers(JSON), chunks(&["1234", "5678"]), 7).await.unwrap_err().status(), 413);
        assert!(read(&headers(JSON), chunks(&["1234", "567"]), 7).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_or_trickles_is_408() {
        let stopped = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let began = Instant::now();
        assert_eq!(read(&headers(JSON), stopped, 7).await.unwrap_err().status(), 408);
        assert_eq!(began.elapsed().as_secs(), 30);

        let trickle = Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        }));
        let began = Instant::now();
        assert_eq!(read(&headers(JSON), trickle, 1000).await.unwrap_err().status(), 408);
        assert_eq!(began.elapsed().as_secs(), 300);
    }
}
