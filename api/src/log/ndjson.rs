//! Answers that are streamed, a line an event.
//!
//! A body that cannot be brought to its end is broken off, so that it never looks whole.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use daybook_eventlog::{ReadError, Scan};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::accept::NDJSON;
use super::encode::Format;
use super::open::{Ends, Place, Streams};
use crate::auth::Caller;
use crate::http::Problem;

/// Lines as they are read: nothing is read that the client makes no room for.
pub type Lines = BoxStream<'static, Result<Bytes, ReadError>>;

/// Everything that `scan` wants.
pub fn events(streams: &Streams, caller: &Caller, scan: Scan) -> Result<Response, Problem> {
    let chunks = streams.reader().chunks(scan, Format::Lines);
    answer(streams, caller, chunks.map(|chunk| chunk.map(|chunk| chunk.bytes)).boxed())
}

/// These lines, as long as the caller may read them.
pub fn answer(streams: &Streams, caller: &Caller, lines: Lines) -> Result<Response, Problem> {
    let download =
        Download { lines, ends: streams.ends(caller), subject: caller.subject.clone(), _place: streams.lines()? };
    let body = Body::from_stream(stream::try_unfold(download, Download::next));
    let content_type = HeaderValue::from_static(NDJSON);
    Ok(([(header::CONTENT_TYPE, content_type), (header::VARY, HeaderValue::from_static("accept"))], body)
        .into_response())
}

struct Download {
    lines: Lines,
    ends: Ends,
    subject: String,
    _place: Place,
}

impl Download {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            let lines = tokio::select! {
                biased;
                ended = self.ends.reached() => {
                    let reason = ended.reason();
                    tracing::info!(subject = self.subject, reason, "broke off a download of the log");
                    return Err(io::Error::other(reason));
                }
                lines = self.lines.next() => lines,
            };
            match lines {
                None => return Ok(None),
                // Chunks of nothing wanted are passed over.
                Some(Ok(lines)) if lines.is_empty() => {}
                Some(Ok(lines)) => return Ok(Some((lines, self))),
                Some(Err(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "broke off a download of the log");
                    return Err(io::Error::other(error));
                }
            }
        }
    }
}
