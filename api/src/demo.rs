//! A small world to try the server on, made of ordinary events.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::Utc;
use daybook_domain::book::{self, Book, BookDecider, PutBook};
use daybook_eventlog::{Answer, Cause, Decided, Metadata, StreamId};
use uuid::{Uuid, uuid};

use crate::app::App;
use crate::auth::{KeyError, Roles, TokenVerifier};

/// The reader that the printed token is for.
const READER: Uuid = uuid!("456e7890-e12b-34c5-d678-901234567890");
/// Who shares the books.
const LIBRARIAN: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
const BOOKS: [(Uuid, &str, u32); 2] = [
    (uuid!("123e4567-e89b-12d3-a456-426614174000"), "Братья Карамазовы", 824),
    (uuid!("123e4567-e89b-12d3-a456-426614174001"), "Bhagavad-gītā As It Is", 868),
];
const TOKEN_VALID: Duration = Duration::from_hours(12);

/// Adds what is not there yet; a second start adds nothing.
pub async fn provision(app: &App) -> Result<(), Box<dyn Error + Send + Sync>> {
    let metadata = Metadata { actor: Some("system:demo".to_owned()), ..Metadata::default() };
    let cause = Cause { metadata, request: None };
    for (book_id, title, pages) in BOOKS {
        let stream = StreamId::from(book::stream(book_id));
        if app.books.view(&stream, |book| *book != Book::Unknown).await? {
            continue;
        }
        let command = PutBook {
            book_id,
            caller: LIBRARIAN,
            caller_is_admin: true,
            title: title.to_owned(),
            total_pages: Some(Some(pages)),
            shared: Some(true),
            now: Utc::now(),
        };
        let nothing_to_say = |_: Decided<'_, BookDecider>| Answer { status: 200, body: Vec::new() };
        app.books.execute(&stream, &command, &cause, nothing_to_say).await?;
    }
    Ok(())
}

/// Prints requests that work as they are.
pub fn show(verifier: &TokenVerifier, address: SocketAddr) -> Result<(), KeyError> {
    let token = verifier.mint(&READER.to_string(), Roles::default(), &[], TOKEN_VALID)?;
    let (book, base) = (BOOKS[0].0, format!("http://{address}"));
    let text = format!(
        r#"
A reader's token, good for 12 hours, and requests to paste into another terminal:

export TOKEN={token}
curl -s -X POST {base}/api/v1/reading-sessions/start -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"book_id": "{book}", "start_position": 25, "device_type": "mobile"}}'
curl -s {base}/api/v1/reading-sessions/active -H "Authorization: Bearer $TOKEN"
curl -s {base}/api/v1/users/stats/weekly -H "Authorization: Bearer $TOKEN" -H 'X-Timezone: Europe/Moscow'
curl -s {base}/api/v1/books -H "Authorization: Bearer $TOKEN"

All routes, to try in a browser: {base}/docs

"#
    );
    // Nobody reads it when standard output is closed; the server serves all the same.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}
