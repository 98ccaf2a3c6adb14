//! A reader who goes on, whatever happens to the servers.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::support::{Caller, Reply};

/// A write that was answered, and what its last event has to say.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub position: u64,
    pub request: String,
    pub kind: &'static str,
    pub fields: Vec<(&'static str, Value)>,
}

/// A write to send; with an idempotency key it is sent again when the server did not answer.
#[derive(Clone)]
struct Request {
    id: String,
    keyed: bool,
    method: Method,
    path: String,
    body: Value,
    kind: &'static str,
    fields: Vec<(&'static str, Value)>,
}

pub struct Client {
    pub id: Uuid,
    chance: Chance,
    book: Option<Uuid>,
    session: Option<Value>,
    unanswered: Option<Request>,
    /// What has been written is not known for certain.
    is_unsure: bool,
}

impl Client {
    pub fn new(chance: Chance) -> Self {
        Self { id: Uuid::new_v4(), chance, book: None, session: None, unanswered: None, is_unsure: true }
    }

    /// Sends one write after the other until the server is gone; each answer adds a permit.
    pub async fn work_until_the_end(mut self, reader: Caller, answered: Arc<Semaphore>) -> (Self, Vec<Acknowledged>) {
        let mut seen = Vec::new();
        while let Some(acknowledged) = self.step(&reader).await {
            seen.push(acknowledged);
            answered.add_permits(1);
        }
        (self, seen)
    }

    /// Sends the next write, or the last one once more when it was not answered; `None` when there was no answer, or
    /// one that says to try again later.
    pub async fn step(&mut self, reader: &Caller) -> Option<Acknowledged> {
        if self.is_unsure {
            // What was left open is looked up; whether it counts yet is up to whoever wrote it.
            let active = send(reader, Method::GET, "/api/v1/reading-sessions/active", "").await?.expect(200);
            self.session = (!active.is_null()).then_some(active);
        }
        let request = self.unanswered.take().filter(|request| request.keyed).unwrap_or_else(|| self.next());
        let mut caller = reader.with("x-request-id", &request.id);
        if request.keyed {
            caller = caller.with("idempotency-key", &request.id);
        }
        let sent = send(&caller, request.method.clone(), &request.path, &request.body.to_string()).await;
        let Some(reply) = sent else {
            (self.unanswered, self.is_unsure) = (Some(request), true);
            return None;
        };
        if self.is_unsure && [400, 404, 409].contains(&reply.status) {
            // It was meant for what was there before the unanswered write.
            return None;
        }
        self.learn(&request, &reply);
        self.is_unsure = false;
        let position = reply.position();
        Some(Acknowledged { position, request: request.id, kind: request.kind, fields: request.fields })
    }

    fn next(&mut self) -> Request {
        let id = Uuid::new_v4();
        let position = self.chance.below(50);
        let keyed = self.chance.below(2) == 0;
        let id_of = |session: &Value| session["id"].as_str().unwrap().to_owned();
        let choice = self.chance.below(6);
        let book = self.book.filter(|_| choice != 0);
        let (method, path, body, kind, fields) = match (choice, &self.session) {
            _ if book.is_none() => {
                let (title, path) = (json!(id.to_string()), format!("/api/v1/books/{id}"));
                let fields = vec![("book_id", json!(id)), ("title", title.clone())];
                (Method::PUT, path, json!({ "title": title }), "BookAdded", fields)
            }
            (1, _) => {
                let session = json!({
                    "client_id": id, "book_id": book, "started_at": "2025-01-01T10:00:00Z",
                    "ended_at": "2025-01-01T10:30:00Z", "start_position": position, "end_position": position + 1,
                });
                let fields = vec![("client_id", json!(id)), ("reason", json!("offline"))];
                let path = "/api/v1/reading-sessions/batch".to_owned();
                (Method::POST, path, json!({ "sessions": [session] }), "ReadingSessionEnded", fields)
            }
            (2 | 3, Some(session)) => {
                let (position, session) = (position + 50, id_of(session));
                let fields = vec![("session_id", json!(session)), ("position", json!(position))];
                let path = format!("/api/v1/reading-sessions/{session}/update");
                (Method::PUT, path, json!({ "current_position": position }), "ReadingSessionUpdated", fields)
            }
            (4, Some(session)) => {
                let (position, session) = (position + 50, id_of(session));
                let fields = vec![("session_id", json!(session)), ("end_position", json!(position))];
                let path = format!("/api/v1/reading-sessions/{session}/end");
                (Method::PUT, path, json!({ "end_position": position }), "ReadingSessionEnded", fields)
            }
            _ => {
                let body = json!({ "book_id": book, "start_position": position });
                let fields = vec![("book_id", json!(book)), ("start_position", json!(position))];
                let path = "/api/v1/reading-sessions/start".to_owned();
                (Method::POST, path, body, "ReadingSessionStarted", fields)
            }
        };
        Request { id: id.to_string(), keyed, method, path, body, kind, fields }
    }

    /// What the answer says about the session; it has to be a success.
    fn learn(&mut self, request: &Request, reply: &Reply) {
        assert!([200, 201].contains(&reply.status), "{} {}: {reply:?}", request.path, request.body);
        let answer = reply.json();
        match request.kind {
            "BookAdded" => self.book = Some(answer["id"].as_str().unwrap().parse().unwrap()),
            "ReadingSessionStarted" => self.session = Some(answer),
            "ReadingSessionEnded" if request.path.ends_with("/end") => self.session = None,
            "ReadingSessionEnded" => assert_eq!(answer["results"][0]["success"], true, "{answer}"),
            _ => {}
        }
    }
}

/// An answer, unless the server is gone, or says that it cannot answer now.
async fn send(caller: &Caller, method: Method, path: &str, body: &str) -> Option<Reply> {
    let content_type = (method != Method::GET).then_some("application/json");
    let reply = caller.try_send(method, path, content_type, body).await.ok()?;
    if reply.status == 503 {
        reply.problem(503);
        assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0, "{reply:?}");
        return None;
    }
    Some(reply)
}
