//! A little of everything, written over HTTP.

use serde_json::json;
use uuid::Uuid;

use super::Server;
use super::till::{EARPHONES, PHONE, SYNC, usual_shop};

/// Readers with books and sessions, a shop with sales: texts of many scripts, prices with cents.
pub async fn populate(server: &Server) {
    for title in
        ["Анна Каренина", "line\u{2028}paragraph\u{2029}\u{85}", "\"quoted\" \\ back\tslash \u{1}", "🦀 e\u{301}"]
    {
        let reader = server.reader();
        let book = reader.put_book(&json!({ "title": title, "total_pages": 300 })).await;
        reader.put("/api/v1/users/profile", &json!({ "timezone": "Asia/Omsk", "display_name": title })).await;
        let session = reader.start(book, 10).await;
        reader.update(&session, 20).await.expect(200);
        reader.end(&session, 31).await.expect(200);
        reader.start(book, 31).await;
        let offline = json!({
            "client_id": Uuid::new_v4(), "book_id": book, "started_at": "2025-10-28T10:30:00.123456Z",
            "ended_at": "2025-10-28T11:00:00Z", "start_position": 10, "end_position": 20,
        });
        assert_eq!(reader.batch(&[offline]).await["results"][0]["success"], true);
    }
    let (shop, till) = usual_shop(server).await;
    shop.add_article(&json!({ "id": 8, "name": "Crêpe", "price": "1.50" })).await;
    shop.receive(8, 10).await;
    let sales: Vec<_> = (0..20)
        .map(|number| {
            let lines = json!([{ "article_id": PHONE, "quantite": 1 }, { "article_id": EARPHONES, "quantite": 2 }]);
            json!({ "numero_facture": format!("V-{number}"), "lignes": lines })
        })
        .collect();
    till.post(SYNC, &json!(sales)).await.expect(201);
    let cheap = json!([{ "numero_facture": "V-crêpe", "lignes": [{ "article_id": 8, "quantite": 3 }] }]);
    till.post(SYNC, &cheap).await.expect(201);
}

/// Goes on in a world that has everything.
pub async fn populate_more(server: &Server) {
    let reader = server.reader();
    let session = reader.start(reader.add_book().await, 1).await;
    reader.end(&session, 2).await.expect(200);
}
