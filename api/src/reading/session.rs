//! A session as this surface shows it.

use chrono::{DateTime, Utc};
use daybook_domain::reading::{ActiveSession, ReadingSessionEnded};
use daybook_projections::reading::history::Session;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::instant;

/// A reading session.
#[derive(Serialize, ToSchema)]
#[schema(as = ReadingSession)]
pub struct SessionBody {
    id: Uuid,
    /// The reader.
    user_id: Uuid,
    book_id: Uuid,
    #[serde(with = "instant")]
    started_at: DateTime<Utc>,
    /// Null while the session is active.
    #[serde(with = "instant::option")]
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
    /// Whole minutes from start to end; 0 while active.
    #[schema(minimum = 0)]
    duration_minutes: i64,
    /// Percent of the book.
    #[schema(minimum = 0, maximum = 100)]
    start_position: u8,
    /// Percent of the book: the last position reported.
    #[schema(minimum = 0, maximum = 100)]
    end_position: u8,
    /// The progress in pages, where the book's pages are known; else 0.
    #[schema(minimum = 0)]
    pages_read: i64,
    #[schema(required, value_type = Option<Device>)]
    device_type: Option<String>,
    is_active: bool,
    /// `end_position - start_position`: negative after paging back.
    #[schema(minimum = -100, maximum = 100)]
    progress_delta: i64,
}

/// What a book is read on.
#[derive(ToSchema)]
#[schema(as = DeviceType, rename_all = "lowercase")]
#[expect(dead_code, reason = "the document's name for the domain's DeviceType")]
pub enum Device {
    Mobile,
    Tablet,
    Desktop,
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        let delta = i64::from(session.end_position) - i64::from(session.start_position);
        let duration = session.ended_at.map_or(0, |ended_at| (ended_at - session.started_at).num_minutes());
        Self {
            id: session.id,
            user_id: session.user_id,
            book_id: session.book_id,
            started_at: session.started_at,
            ended_at: session.ended_at,
            duration_minutes: duration,
            start_position: session.start_position,
            end_position: session.end_position,
            pages_read: pages_read(delta, session.total_pages),
            device_type: session.device_type,
            is_active: session.ended_at.is_none(),
            progress_delta: delta,
        }
    }
}

impl SessionBody {
    /// A session that is active in the reader's state.
    pub fn active(session: &ActiveSession, total_pages: Option<u32>) -> Self {
        Session {
            id: session.session_id,
            user_id: session.user_id,
            book_id: session.book_id,
            started_at: session.started_at,
            ended_at: None,
            start_position: session.start_position.get(),
            end_position: session.position.get(),
            device_type: session.device_type.map(|device| device.as_str().to_owned()),
            timezone: session.timezone.name().to_owned(),
            total_pages,
        }
        .into()
    }

    /// A session that has just ended.
    pub fn ended(session: &ReadingSessionEnded, total_pages: Option<u32>) -> Self {
        Session {
            id: session.session_id,
            user_id: session.user_id,
            book_id: session.book_id,
            started_at: session.started_at,
            ended_at: Some(session.ended_at),
            start_position: session.start_position.get(),
            end_position: session.end_position.get(),
            device_type: session.device_type.map(|device| device.as_str().to_owned()),
            timezone: session.timezone.name().to_owned(),
            total_pages,
        }
        .into()
    }
}

/// `round(delta × pages / 100)`, half a page up.
fn pages_read(delta: i64, total_pages: Option<u32>) -> i64 {
    total_pages.map_or(0, |pages| (delta.max(0) * i64::from(pages) + 50) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_rounded_half_up_and_never_negative() {
        assert_eq!(pages_read(20, Some(300)), 60);
        assert_eq!(pages_read(1, Some(50)), 1);
        assert_eq!(pages_read(1, Some(49)), 0);
        assert_eq!(pages_read(-5, Some(300)), 0);
        assert_eq!(pages_read(20, None), 0);
    }
}
