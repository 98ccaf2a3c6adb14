//! Who may add, change and share a book.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::events::{BookAdded, BookChanged, BookEvent};
use crate::decider::Decider;
use crate::instant;

/// What is known of a book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Book {
    /// Nobody has added it.
    #[default]
    Unknown,
    /// It was added.
    Known(KnownBook),
}

/// A book that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBook {
    /// The book.
    pub book_id: Uuid,
    /// The reader who added it.
    pub owner: Uuid,
    /// Its title.
    pub title: String,
    /// How many pages it has, when known.
    pub total_pages: Option<u32>,
    /// Whether every reader may read it.
    pub shared: bool,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

impl KnownBook {
    /// Whether `reader` sees the book: it is theirs, or shared.
    #[must_use]
    pub fn is_readable_by(&self, reader: Uuid) -> bool {
        self.shared || self.owner == reader
    }

    /// Whether `put`'s caller may change it: its owner, and an admin when it is shared.
    fn is_changeable_by(&self, put: &PutBook) -> bool {
        self.owner == put.caller || (self.shared && put.caller_is_admin)
    }
}

/// Adds a book or changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBook {
    /// The book; the caller chooses the id.
    pub book_id: Uuid,
    /// Who asks.
    pub caller: Uuid,
    /// Whether the caller is an admin.
    pub caller_is_admin: bool,
    /// The title from now on.
    pub title: String,
    /// The number of pages: `None` leaves it as it is, `Some(None)` clears it.
    pub total_pages: Option<Option<u32>>,
    /// Whether every reader may read it: `None` leaves it as it is.
    pub shared: Option<bool>,
    /// The time of the command.
    pub now: DateTime<Utc>,
}

/// Why a book cannot be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookRejection {
    /// The book belongs to another reader.
    #[error("the book belongs to another reader")]
    NotYours,
    /// Only an admin shares a book with every reader.
    #[error("only an admin shares a book with every reader")]
    SharingNeedsAdmin,
}

/// The rules of one book.
#[derive(Debug, Clone, Copy)]
pub struct BookDecider;

impl Decider for BookDecider {
    type Command = PutBook;
    type Event = BookEvent;
    type State = Book;
    type Rejection = BookRejection;

    fn decide(book: &Book, put: &PutBook) -> Result<Vec<BookEvent>, BookRejection> {
        match book {
            Book::Known(known) if !known.is_changeable_by(put) => Err(BookRejection::NotYours),
            Book::Known(KnownBook { shared: false, .. }) | Book::Unknown
                if put.shared == Some(true) && !put.caller_is_admin =>
            {
                Err(BookRejection::SharingNeedsAdmin)
            }
            Book::Known(known) => Ok(change(known, put)),
            Book::Unknown => Ok(vec![add(put)]),
        }
    }

    fn evolve(book: &mut Book, event: &BookEvent) {
        match event {
            BookEvent::BookAdded(added) => {
                *book = Book::Known(KnownBook {
                    book_id: added.book_id,
                    owner: added.owner,
                    title: added.title.clone(),
                    total_pages: added.total_pages,
                    shared: added.shared,
                    created_at: added.added_at,
                });
            }
            BookEvent::BookChanged(changed) => {
                if let Book::Known(known) = book {
                    known.title.clone_from(&changed.title);
                    known.total_pages = changed.total_pages;
                    known.shared = changed.shared;
                }
            }
        }
    }
}

fn add(put: &PutBook) -> BookEvent {
    BookEvent::BookAdded(BookAdded {
        book_id: put.book_id,
        owner: put.caller,
        title: put.title.clone(),
        total_pages: put.total_pages.flatten(),
        shared: put.shared.unwrap_or(false),
        added_at: instant::to_micros(put.now),
    })
}

/// The change from `known` to what `put` asks for; none when it is that already.
fn change(known: &KnownBook, put: &PutBook) -> Vec<BookEvent> {
    let total_pages = put.total_pages.unwrap_or(known.total_pages);
    let shared = put.shared.unwrap_or(known.shared);
    if (&put.title, total_pages, shared) == (&known.title, known.total_pages, known.shared) {
        return Vec::new();
    }
    vec![BookEvent::BookChanged(BookChanged {
        book_id: known.book_id,
        title: put.title.clone(),
        total_pages,
        shared,
        changed_at: instant::to_micros(put.now),
    })]
}
