//! The history: pages, cursors, the filter by book.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::sessions::assert_is_session;
use crate::support::{Caller, Server};

const PATH: &str = "/api/v1/reading-sessions/history";

/// Records a session that started at this minute of a day long past.
async fn record(reader: &Caller, book: Uuid, minute: u32) -> String {
    let at = |minute: u32| format!("2025-03-01T{:02}:{:02}:00Z", minute / 60, minute % 60);
    let session = json!({
        "client_id": Uuid::new_v4(), "book_id": book, "started_at": at(minute), "ended_at": at(minute + 1),
        "start_position": 0, "end_position": 1,
    });
    reader.batch(&[session]).await["results"][0]["id"].as_str().unwrap().to_owned()
}

fn ids(history: &Value) -> Vec<String> {
    let sessions = history["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_history_is_newest_first_with_the_active_session_included() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    // Not in the order of their times.
    let mut expected = Vec::new();
    for minute in [7, 3, 9, 1, 5] {
        expected.push((minute, record(&reader, book, minute).await));
    }
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let active = reader.start(book, 4).await;

    let history = reader.get(PATH).await.expect(200);
    let keys: Vec<_> = history.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["has_next", "page", "page_size", "sessions", "total"]);
    for session in history["sessions"].as_array().unwrap() {
        assert_is_session(session);
    }
    assert_eq!(history["sessions"][0], active);
    assert_eq!(ids(&history)[1..], expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    assert_eq!((&history["page"], &history["page_size"]), (&json!(1), &json!(20)));
    assert_eq!((&history["total"], &history["has_next"]), (&json!(6), &json!(false)));
    assert_eq!(server.reader().get(PATH).await.expect(200)["sessions"], json!([]), "others see nothing of it");
}

#[tokio::test]
async fn pages_partition_the_history_and_has_next_is_computed() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for minute in 0..7 {
        record(&reader, book, minute).await;
    }
    let all = ids(&reader.history().await);
    assert_eq!(all.len(), 7);
    for size in 1..=8 {
        let mut seen = Vec::new();
        for page in 1..=8 {
            let shown = reader.get(&format!("{PATH}?page={page}&page_size={size}")).await.expect(200);
            assert_eq!((&shown["total"], &shown["page"], &shown["page_size"]), (&json!(7), &json!(page), &json!(size)));
            assert_eq!(shown["has_next"], page * size < 7, "page {page} of {size}");
            assert_eq!(shown.get("next_cursor").is_some(), page * size < 7, "page {page} of {size}");
            seen.extend(ids(&shown));
        }
        assert_eq!(seen, all, "pages of {size}");
    }
}

#[tokio::test]
async fn past_the_end_is_an_empty_page_with_the_right_total() {
    let server = Server::start().await;
    let reader = server.reader();
    let none = reader.get(PATH).await.expect(200);
    assert_eq!(none, json!({ "sessions": [], "total": 0, "page": 1, "page_size": 20, "has_next": false }));
    record(&reader, reader.add_book().await, 1).await;
    for page in [2, 3, 1_000_000_000, 2_147_483_647, 2_147_483_648, u32::MAX] {
        let past = reader.get(&format!("{PATH}?page={page}&page_size=100")).await.expect(200);
        assert_eq!(past, json!({ "sessions": [], "total": 1, "page": page, "page_size": 100, "has_next": false }));
        let books = reader.get(&format!("/api/v1/books?page={page}&page_size=100")).await.expect(200);
        assert_eq!((&books["books"], &books["total"], &books["has_next"]), (&json!([]), &json!(1), &json!(false)));
    }
}

#[tokio::test]
async fn a_cursor_continues_where_it_stood_whatever_is_added_meanwhile() {
    let server = Server::start().await;
    let reader = server.reader();
    let book = reader.add_book().await;
    for minute in (0..100).step_by(10) {
        record(&reader, book, minute).await;
    }
    // Sessions of one moment are told apart by their ids.
    for _ in 0..3 {
        record(&reader, book, 50).await;
    }
    let before = ids(&reader.history().await);
    assert_eq!(before.len(), 13);

    let mut page = reader.get(&format!("{PATH}?page_size=2")).await.expect(200);
    let mut seen = ids(&page);
    let mut added = 0;
    while let Some(cursor) = page["next_cursor"].as_str() {
        // Newer than all that was shown: page numbers would show some sessions twice now.
        record(&reader, book, 200 + added).await;
        reader.start(book, 1).await;
        added += 1;
        page = reader.get(&format!("{PATH}?page_size=2&cursor={cursor}")).await.expect(200);
        assert_eq!(page["total"], 13 + 2 * added);
        seen.extend(ids(&page));
    }
    assert_eq!(seen, before);
    assert_eq!(page["has_next"], false);
}

#[tokio::test]
async fn the_filter_shows_one_book_and_nothing_of_a_book_the_reader_does_not_have() {
    let server = Server::start().await;
    let (reader, other) = (server.reader(), server.reader());
    let (first, second) = (reader.add_book().await, reader.add_book().await);
    for minute in 0..5 {
        record(&reader, if minute % 2 == 0 { first } else { second }, minute).await;
    }
    let filtered = async |caller: &Caller, book: Uuid| caller.get(&format!("{PATH}?book_id={book}")).await.expect(200);
    let of_first = filtered(&reader, first).await;
    assert_eq!((&of_first["total"], ids(&of_first).len()), (&json!(3), 3));
    assert!(of_first["sessions"].as_array().unwrap().iter().all(|session| session["book_id"] == json!(first)));
    assert_eq!(filtered(&reader, second).await["total"], 2);

    let page = reader.get(&format!("{PATH}?book_id={first}&page_size=2")).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = reader.get(&format!("{PATH}?book_id={first}&page_size=2&cursor={cursor}")).await.expect(200);
    assert_eq!(ids(&of_first), [ids(&page), ids(&rest)].concat());

    for book in [other.add_book().await, Uuid::new_v4()] {
        let nothing = filtered(&reader, book).await;
        assert_eq!((&nothing["total"], &nothing["sessions"]), (&json!(0), &json!([])));
    }
    assert_eq!(filtered(&other, first).await["total"], 0);
}

#[tokio::test]
async fn wrong_parameters_are_400_and_named() {
    let server = Server::start().await;
    let reader = server.reader();
    for (query, field) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.5", "page"),
        ("page=x", "page"),
        ("page=", "page"),
        ("page=%2B1", "page"),
        ("page=99999999999999999999", "page"),
        ("page=1&page=2", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=-5", "page_size"),
        ("page_size=ten", "page_size"),
        ("book_id=1", "book_id"),
        ("book_id=", "book_id"),
        ("book_id=123e4567e89b12d3a456426614174000", "book_id"),
        ("cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("cursor=AAAA", "cursor"),
    ] {
        assert_eq!(reader.get(&format!("{PATH}?{query}")).await.wrong_fields(), [field], "{query}");
    }
    let all = reader.get(&format!("{PATH}?page=0&page_size=101&book_id=x&cursor=y")).await.wrong_fields();
    assert_eq!(all, ["page", "page_size", "book_id", "cursor"]);
}
