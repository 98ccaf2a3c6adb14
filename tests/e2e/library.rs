//! Books and profiles.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;

fn path(book: Uuid) -> String {
    format!("/api/v1/books/{book}")
}

#[tokio::test]
async fn a_book_is_added_with_201_and_changed_with_200() {
    let server = Server::start().await;
    let reader = server.reader();
    let id = Uuid::new_v4();
    let added = reader.put(&path(id), &json!({ "title": "Идиот", "total_pages": 640 })).await.expect(201);
    let expected = json!({
        "id": id, "title": "Идиот", "total_pages": 640, "shared": false, "created_at": added["created_at"],
    });
    assert_eq!(added, expected);
    assert_eq!(reader.get(&path(id)).await.expect(200), added);

    let changed = reader.put(&path(id), &json!({ "title": "The Idiot" })).await.expect(200);
    let mut expected = added.clone();
    expected["title"] = "The Idiot".into();
    assert_eq!(changed, expected, "what is left out stays");
    let cleared = reader.put(&path(id), &json!({ "title": "The Idiot", "total_pages": null })).await.expect(200);
    assert_eq!(cleared["total_pages"], Value::Null);
    assert_eq!(reader.get(&path(id)).await.expect(200), cleared);
}

#[tokio::test]
async fn putting_what_is_there_already_writes_nothing() {
    let server = Server::start().await;
    let reader = server.reader();
    let id = reader.put_book(&json!({ "title": "t", "total_pages": 5 })).await;
    let before = server.place().events().len();
    reader.put(&path(id), &json!({ "title": "t", "total_pages": 5 })).await.expect(200);
    reader.put("/api/v1/users/profile", &json!({})).await.expect(200);
    assert_eq!(server.place().events().len(), before);
}

#[tokio::test]
async fn another_reader_s_book_is_404_and_only_an_admin_shares() {
    let server = Server::start().await;
    let (owner, other, admin) = (server.reader(), server.reader(), server.admin());
    let id = owner.add_book().await;
    for caller in [&other, &admin] {
        caller.get(&path(id)).await.problem(404);
        caller.put(&path(id), &json!({ "title": "mine" })).await.problem(404);
    }
    other.get(&path(Uuid::new_v4())).await.problem(404);
    owner.put(&path(id), &json!({ "title": "t", "shared": true })).await.problem(403);
    owner.put(&path(Uuid::new_v4()), &json!({ "title": "t", "shared": true })).await.problem(403);

    let shared = admin.put_book(&json!({ "title": "Гита", "shared": true, "total_pages": 868 })).await;
    assert_eq!(other.get(&path(shared)).await.expect(200)["title"], "Гита");
    other.put(&path(shared), &json!({ "title": "mine" })).await.problem(404);
    server.admin().put(&path(shared), &json!({ "title": "Gītā" })).await.expect(200);
    assert_eq!(owner.get(&path(shared)).await.expect(200)["title"], "Gītā");
    admin.put(&path(shared), &json!({ "title": "Gītā", "shared": false })).await.expect(200);
    other.get(&path(shared)).await.problem(404);
}

#[tokio::test]
async fn books_are_listed_by_page_own_and_shared_together() {
    let server = Server::start().await;
    let (reader, admin) = (server.reader(), server.admin());
    assert_eq!(
        reader.get("/api/v1/books").await.expect(200),
        json!({ "books": [], "total": 0, "page": 1, "page_size": 20, "has_next": false })
    );
    let mut expected = Vec::new();
    for n in 0..3 {
        expected.push(reader.put_book(&json!({ "title": format!("own {n}") })).await);
        expected.push(admin.put_book(&json!({ "title": format!("shared {n}"), "shared": true })).await);
        admin.put_book(&json!({ "title": "hidden" })).await;
    }
    let mut listed = Vec::new();
    for page in 1..=4 {
        let shown = reader.get(&format!("/api/v1/books?page={page}&page_size=2")).await.expect(200);
        assert_eq!((&shown["total"], &shown["has_next"]), (&json!(6), &json!(page < 3)));
        listed.extend(shown["books"].as_array().unwrap().iter().map(|book| book["id"].clone()));
    }
    assert_eq!(json!(listed), json!(expected));
    for query in ["page=0", "page_size=0", "page_size=101", "page=x"] {
        let field = query.split('=').next().unwrap();
        assert_eq!(reader.get(&format!("/api/v1/books?{query}")).await.wrong_fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn a_wrong_book_is_400_and_its_fields_are_named() {
    let server = Server::start().await;
    let admin = server.admin();
    let id = Uuid::new_v4();
    for (body, field) in [
        (json!({}), "title"),
        (json!({ "title": null }), "title"),
        (json!({ "title": "" }), "title"),
        (json!({ "title": 5 }), "title"),
        (json!({ "title": "x".repeat(501) }), "title"),
        (json!({ "title": "t", "total_pages": 0 }), "total_pages"),
        (json!({ "title": "t", "total_pages": -3 }), "total_pages"),
        (json!({ "title": "t", "total_pages": 2.5 }), "total_pages"),
        (json!({ "title": "t", "total_pages": "5" }), "total_pages"),
        (json!({ "title": "t", "total_pages": 1_000_001 }), "total_pages"),
        (json!({ "title": "t", "shared": "yes" }), "shared"),
        (json!({ "title": "t", "author": "Гоголь" }), "author"),
    ] {
        assert_eq!(admin.put(&path(id), &body).await.wrong_fields(), [field], "{body}");
    }
    admin.get(&path(id)).await.problem(404);
    admin.put(&path(id), &json!({ "title": "ж".repeat(500), "total_pages": 1_000_000 })).await.expect(201);
}

#[tokio::test]
async fn a_profile_keeps_what_is_left_out_and_clears_what_is_null() {
    let server = Server::start().await;
    let reader = server.reader();
    let path = "/api/v1/users/profile";
    let shown =
        |timezone: Value, name: Value| json!({ "user_id": reader.id, "timezone": timezone, "display_name": name });
    assert_eq!(reader.get(path).await.expect(200), shown(Value::Null, Value::Null));
    let steps = [
        (json!({ "timezone": "Asia/Kolkata" }), json!("Asia/Kolkata"), Value::Null),
        (json!({ "display_name": "Анна" }), json!("Asia/Kolkata"), json!("Анна")),
        (json!({}), json!("Asia/Kolkata"), json!("Анна")),
        (json!({ "timezone": null }), Value::Null, json!("Анна")),
        (json!({ "timezone": "UTC", "display_name": null }), json!("UTC"), Value::Null),
    ];
    for (body, timezone, name) in steps {
        assert_eq!(reader.put(path, &body).await.expect(200), shown(timezone.clone(), name.clone()), "{body}");
        assert_eq!(reader.get(path).await.expect(200), shown(timezone, name), "{body}");
    }
    for (body, field) in [
        (json!({ "timezone": "Mars/Olympus" }), "timezone"),
        (json!({ "timezone": "" }), "timezone"),
        (json!({ "timezone": 3 }), "timezone"),
        (json!({ "display_name": "" }), "display_name"),
        (json!({ "display_name": "x".repeat(201) }), "display_name"),
        (json!({ "name": "x" }), "name"),
    ] {
        assert_eq!(reader.put(path, &body).await.wrong_fields(), [field], "{body}");
    }
    assert_eq!(reader.get(path).await.expect(200), shown(json!("UTC"), Value::Null));
    assert_eq!(server.reader().get(path).await.expect(200)["timezone"], Value::Null, "profiles are one's own");
}
