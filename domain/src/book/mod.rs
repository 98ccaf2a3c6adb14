//! Books: a register of titles, each owned by a reader and perhaps shared with all.

mod decider;
mod events;

use uuid::Uuid;

pub use decider::{Book, BookDecider, BookRejection, KnownBook, PutBook};
pub use events::{BookAdded, BookChanged, BookEvent};

/// The stream of one book: `book-{uuid}`.
#[must_use]
pub fn stream(book_id: Uuid) -> String {
    format!("book-{book_id}")
}
