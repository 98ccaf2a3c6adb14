//! Books: the reader's own and the shared ones.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use daybook_domain::book::{self, Book, BookDecider, BookEvent, BookRejection, KnownBook, PutBook};
use daybook_eventlog::{Decided, StreamId};
use daybook_projections::library;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::reader::Reader;
use super::values::PathId;
use crate::app::App;
use crate::auth::Role;
use crate::http::fields::Fields;
use crate::http::openapi::{ReadProblems, WriteProblems};
use crate::http::paging::Paging;
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, problem, respond};
use crate::http::{Problem, instant};

const TITLE_CHARS_MAX: usize = 500;
const PAGES_MAX: i64 = 1_000_000;

/// A book to add or change.
#[derive(ToSchema)]
#[schema(as = PutBook)]
pub struct BookToPut {
    #[schema(min_length = 1, max_length = 500)]
    title: String,
    /// Left out: stays as it is. Null: not known.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    total_pages: Option<Option<u32>>,
    /// Everybody may read it; setting it needs the role admin.
    shared: Option<bool>,
}

impl Body for BookToPut {
    fn read(fields: &mut Fields<'_>) -> Self {
        let pages = fields.nullable_integer("total_pages", 1..=PAGES_MAX);
        Self {
            title: fields.string("title", 1..=TITLE_CHARS_MAX),
            total_pages: pages.map(|pages| pages.and_then(|pages| u32::try_from(pages).ok())),
            shared: fields.optional("shared"),
        }
    }
}

/// A book.
#[derive(Serialize, ToSchema)]
#[schema(as = Book)]
pub struct BookBody {
    id: Uuid,
    title: String,
    #[schema(required)]
    total_pages: Option<u32>,
    /// Everybody may read it.
    shared: bool,
    #[serde(with = "instant")]
    created_at: DateTime<Utc>,
}

impl From<&KnownBook> for BookBody {
    fn from(book: &KnownBook) -> Self {
        Self {
            id: book.book_id,
            title: book.title.clone(),
            total_pages: book.total_pages,
            shared: book.shared,
            created_at: book.created_at,
        }
    }
}

impl From<library::Book> for BookBody {
    fn from(book: library::Book) -> Self {
        Self {
            id: book.id,
            title: book.title,
            total_pages: book.total_pages,
            shared: book.shared,
            created_at: book.created_at,
        }
    }
}

/// A page of books.
#[derive(Serialize, ToSchema)]
pub struct Books {
    books: Vec<BookBody>,
    total: u64,
    page: u32,
    page_size: u32,
    has_next: bool,
}

/// Which page of books.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `Paging` reads it")]
pub struct BooksQuery {
    /// From 1.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 4_294_967_295_u32, default = 1)]
    page: Option<u32>,
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: Option<u32>,
}

/// The books the reader may read, oldest first
#[utoipa::path(
    get,
    operation_id = "list_books",
    path = "/api/v1/books",
    tag = "Books",
    params(BooksQuery),
    responses((status = 200, description = "A page of books", body = Books), ReadProblems)
)]
pub async fn list(
    State(app): State<App>,
    reader: Reader,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Books>, Problem> {
    let mut fields = Fields::from_query(&query);
    let paging = Paging::read(&mut fields);
    fields.finish()?;
    app.caught_up(&[library::NAME], after).await?;
    let page = library::readable(&app.models, reader.id, paging.skip(), paging.page_size).await;
    let (books, total) = page.map_err(models_unread)?;
    Ok(Json(Books {
        books: books.into_iter().map(BookBody::from).collect(),
        total,
        page: paging.page,
        page_size: paging.page_size,
        has_next: paging.has_next(total),
    }))
}

/// One book
#[utoipa::path(
    get,
    operation_id = "get_book",
    path = "/api/v1/books/{book_id}",
    tag = "Books",
    params(("book_id" = Uuid, Path)),
    responses((status = 200, description = "The book", body = BookBody), ReadProblems)
)]
pub async fn get(
    State(app): State<App>,
    PathId(book_id): PathId,
    reader: Reader,
    _: NoQuery,
    After(after): After,
) -> Result<Json<BookBody>, Problem> {
    app.caught_up(&[library::NAME], after).await?;
    let book = library::book(&app.models, book_id, reader.id).await.map_err(models_unread)?;
    book.map(|book| Json(book.into())).ok_or_else(unknown)
}

/// Add a book, or change it
#[utoipa::path(
    put,
    operation_id = "put_book",
    path = "/api/v1/books/{book_id}",
    tag = "Books",
    params(("book_id" = Uuid, Path)),
    request_body = BookToPut,
    responses(
        (status = 200, description = "The book, changed", body = BookBody),
        (status = 201, description = "The book, new", body = BookBody),
        WriteProblems
    )
)]
pub async fn put(
    State(app): State<App>,
    PathId(book_id): PathId,
    request: Write<Reader, BookToPut>,
) -> Result<Response, Problem> {
    let (reader, body) = (&request.caller, request.body);
    let command = PutBook {
        book_id,
        caller: reader.id,
        caller_is_admin: reader.roles.contains(Role::Admin),
        title: body.title,
        total_pages: body.total_pages,
        shared: body.shared,
        now: Utc::now(),
    };
    let render = |decided: Decided<'_, BookDecider>| {
        let added = decided.events.iter().any(|event| matches!(event, BookEvent::BookAdded(_)));
        let book = match decided.state {
            Book::Known(book) => Some(BookBody::from(book)),
            Book::Unknown => None,
        };
        answer(if added { StatusCode::CREATED } else { StatusCode::OK }, &book)
    };
    let executed = app.books.execute(&StreamId::from(book::stream(book_id)), &command, &request.cause, render).await;
    executed.map(respond).map_err(|error| problem(error, refusal))
}

fn refusal(rejection: BookRejection) -> Problem {
    match rejection {
        BookRejection::NotYours => unknown(),
        BookRejection::SharingNeedsAdmin => Problem::forbidden("Only an admin may share a book with everybody."),
    }
}

fn unknown() -> Problem {
    Problem::not_found("There is no such book, or it is not yours.")
}
