//! The reader's sessions, page by page.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use daybook_projections::library;
use daybook_projections::reading::history::{self, Cursor, Place};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::reader::Reader;
use super::session::SessionBody;
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::{FieldValue, Fields};
use crate::http::left_out::left_out;
use crate::http::openapi::ReadProblems;
use crate::http::paging::Paging;
use crate::http::read::{After, Query};
use crate::http::unread::models_unread;

/// Which part of the history is shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `asked` reads it")]
pub struct HistoryQuery {
    /// From 1.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 4_294_967_295_u32, default = 1)]
    page: Option<u32>,
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: Option<u32>,
    /// Only sessions of this book.
    book_id: Option<Uuid>,
    /// A `next_cursor`: goes on there, whatever has been added since; `page` is not looked at then.
    cursor: Option<String>,
}

/// A page of the history.
#[derive(Serialize, ToSchema)]
pub struct History {
    /// Newest start first, the active one included.
    sessions: Vec<SessionBody>,
    /// Of the whole filter.
    total: u64,
    page: u32,
    page_size: u32,
    has_next: bool,
    /// Where the next page begins; there when `has_next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The history of sessions
#[utoipa::path(
    get,
    operation_id = "reading_history",
    path = "/api/v1/reading-sessions/history",
    tag = "Reading sessions",
    params(HistoryQuery),
    responses((status = 200, description = "A page, newest first", body = History), ReadProblems)
)]
pub async fn history(
    State(app): State<App>,
    reader: Reader,
    After(after): After,
    Query(query): Query,
) -> Result<(HeaderMap, Json<History>), Problem> {
    let mut fields = Fields::from_query(&query);
    let paging = Paging::read(&mut fields);
    let book: Option<Uuid> = fields.optional("book_id");
    let cursor: Option<CursorText> = fields.optional("cursor");
    fields.finish()?;
    let with_pages = app.can_show(library::NAME, after).await?;
    app.caught_up(&[history::NAME], after).await?;

    let place = cursor.map_or(Place::Skip(paging.skip()), |CursorText(cursor)| Place::Below(cursor));
    let page = history::page(&app.models, reader.id, book, place, paging.page_size + 1, with_pages).await;
    let (mut sessions, total) = page.map_err(models_unread)?;
    let has_next = sessions.len() > paging.page_size as usize;
    sessions.truncate(paging.page_size as usize);
    let last = sessions.last().filter(|_| has_next);
    let next_cursor =
        last.map(|last| CursorText(Cursor { started_at: last.started_at.timestamp_micros(), id: last.id }).encode());
    let sessions = sessions.into_iter().map(SessionBody::from).collect();
    let history = History { sessions, total, page: paging.page, page_size: paging.page_size, has_next, next_cursor };
    Ok((left_out(library::NAME, with_pages), Json(history)))
}

/// A cursor as callers carry it: opaque to them.
struct CursorText(Cursor);

impl CursorText {
    fn encode(&self) -> String {
        let mut bytes = self.0.started_at.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.0.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Option<Cursor> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (started_at, id) = bytes.split_first_chunk::<8>()?;
        Some(Cursor { started_at: i64::from_be_bytes(*started_at), id: Uuid::from_slice(id).ok()? })
    }
}

impl FieldValue for CursorText {
    fn placeholder() -> Self {
        Self(Cursor { started_at: 0, id: Uuid::nil() })
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::decode(text).map(Self).ok_or_else(|| "must be the next_cursor of an answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_way_through_the_client() {
        let cursor = Cursor { started_at: 1_761_647_400_000_001, id: Uuid::from_u128(7) };
        assert_eq!(CursorText::decode(&CursorText(cursor).encode()), Some(cursor));
        assert_eq!(CursorText::decode("nonsense"), None);
        assert_eq!(CursorText::decode(""), None);
    }
}
