//! Books.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daybook_domain::{
    book::{BookAdded, BookChanged, BookEvent},
    event::{Event, Stored},
};
use daybook_eventlog::from_micros;
use uuid::Uuid;

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    models::StoredText,
    table::{Column, Table, Value},
};

/// `books`.
pub struct Library;

/// The projection's name.
pub const NAME: &str = "library";

const BOOKS: Table = Table {
    name: "books",
    key: 1,
    columns: &[
        Column::new("book_id"),
        Column::new("owner"),
        Column::new("title"),
        Column::new("total_pages"),
        Column::new("shared"),
        Column::new("created_at"),
    ],
};

impl Projection for Library {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&BOOKS]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../migrations/read_models/library.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [BookAdded::TYPE, BookChanged::TYPE].contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut added: BTreeMap<Uuid, BookAdded> = BTreeMap::new();
        let mut changed: BTreeMap<Uuid, &BookChanged> = BTreeMap::new();
        for decoded in events {
            match &decoded.event {
                Some(Event::Book(BookEvent::BookAdded(book))) => {
                    added.insert(book.book_id, book.clone());
                }
                Some(Event::Book(BookEvent::BookChanged(change))) => match added.get_mut(&change.book_id) {
                    Some(book) => {
                        book.title.clone_from(&change.title);
                        book.total_pages = change.total_pages;
                        book.shared = change.shared;
                    }
                    None => {
                        changed.insert(change.book_id, change);
                    }
                },
                _ => {}
            }
        }
        let mut changes = Changes::default();
        let book = |(id, book): (Uuid, BookAdded)| {
            let created_at = Value::Int(book.added_at.timestamp_micros());
            let [title, pages, shared] = told(&book.title, book.total_pages, book.shared);
            [Value::Id(id), Value::Id(book.owner), title, pages, shared, created_at]
        };
        changes.upsert(&BOOKS, added.into_iter().map(book));
        let change = |(id, book): (Uuid, &BookChanged)| {
            let [title, pages, shared] = told(&book.title, book.total_pages, book.shared);
            [Value::Id(id), title, pages, shared]
        };
        changes.update(&BOOKS, &["title", "total_pages", "shared"], changed.into_iter().map(change));
        Ok(changes)
    }
}

fn told(title: &str, total_pages: Option<u32>, shared: bool) -> [Value; 3] {
    let pages = total_pages.map(|pages| Value::Int(i64::from(pages)));
    [Value::Text(title.to_owned()), pages.into(), Value::Int(i64::from(shared))]
}

/// A book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// Its id.
    pub id: Uuid,
    /// Who added it.
    pub owner: Uuid,
    /// Its title.
    pub title: String,
    /// Its pages, when known.
    pub total_pages: Option<u32>,
    /// Everybody may read it.
    pub shared: bool,
    /// When it was added.
    pub created_at: DateTime<Utc>,
}

type BookRow = (Uuid, Uuid, StoredText, Option<i64>, i64, i64);

impl From<BookRow> for Book {
    fn from((id, owner, title, total_pages, shared, created_at): BookRow) -> Self {
        let total_pages = total_pages.and_then(|pages| u32::try_from(pages).ok());
        Self { id, owner, title: title.0, total_pages, shared: shared != 0, created_at: from_micros(created_at) }
    }
}

/// The books a reader may read, own and shared, oldest first, and how many there are.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn readable(
    models: &ReadModels,
    reader: Uuid,
    skip: u64,
    limit: u32,
) -> Result<(Vec<Book>, u64), ReadModelsError> {
    let sql = "SELECT book_id, owner, title, total_pages, shared, created_at FROM books \
               WHERE owner = $1 OR shared = 1 ORDER BY created_at, book_id LIMIT $2 OFFSET $3";
    let all = "SELECT count(*) FROM books WHERE owner = $1 OR shared = 1";
    let page = models.query(sql).bind(reader).bind(limit).bind(i64::try_from(skip).unwrap_or(i64::MAX));
    let (rows, total) = page.fetch_page::<BookRow>(all).await?;
    Ok((rows.into_iter().map(Book::from).collect(), total))
}

/// A book that a reader may read.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn book(models: &ReadModels, id: Uuid, reader: Uuid) -> Result<Option<Book>, ReadModelsError> {
    let sql = "SELECT book_id, owner, title, total_pages, shared, created_at FROM books \
               WHERE book_id = $1 AND (owner = $2 OR shared = 1)";
    let row: Option<BookRow> = models.query(sql).bind(id).bind(reader).fetch_optional().await?;
    Ok(row.map(Book::from))
}
