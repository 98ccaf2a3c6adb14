//! Requests and their answers.

use std::net::SocketAddr;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

/// Somebody who sends requests, with the headers that all of them carry.
#[derive(Clone)]
pub struct Caller {
    pub id: Uuid,
    client: reqwest::Client,
    address: SocketAddr,
    headers: HeaderMap,
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Caller {
    pub(super) fn new(client: reqwest::Client, address: SocketAddr, id: Uuid) -> Self {
        Self { id, client, address, headers: HeaderMap::new() }
    }

    /// The same caller, with one more header on every request.
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.with_bytes(name, value.as_bytes())
    }

    pub fn with_bytes(&self, name: &str, value: &[u8]) -> Self {
        let mut caller = self.clone();
        let name: HeaderName = name.parse().unwrap();
        caller.headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        caller
    }

    pub fn with_token(&self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// The `Authorization` header's value.
    pub fn authorization(&self) -> &str {
        self.headers["authorization"].to_str().unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.put_text(path, &body.to_string()).await
    }

    /// A body that `serde_json` would not write.
    pub async fn post_text(&self, path: &str, body: &str) -> Reply {
        self.send(Method::POST, path, Some("application/json"), body).await
    }

    pub async fn put_text(&self, path: &str, body: &str) -> Reply {
        self.send(Method::PUT, path, Some("application/json"), body).await
    }

    pub async fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: &str) -> Reply {
        self.try_send(method, path, content_type, body).await.unwrap()
    }

    /// For requests whose server may go away meanwhile.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: &str,
    ) -> reqwest::Result<Reply> {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        request = request.headers(self.headers.clone());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type).body(body.to_owned());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, text: response.text().await? })
    }

    /// Adds a book of this caller.
    pub async fn add_book(&self) -> Uuid {
        self.put_book(&json!({ "title": "Анна Каренина" })).await
    }

    pub async fn put_book(&self, book: &Value) -> Uuid {
        let id = Uuid::new_v4();
        self.put(&format!("/api/v1/books/{id}"), book).await.expect(201);
        id
    }

    pub async fn start(&self, book: Uuid, position: u8) -> Value {
        self.post("/api/v1/reading-sessions/start", &json!({ "book_id": book, "start_position": position }))
            .await
            .expect(201)
    }

    pub async fn update(&self, session: &Value, position: u8) -> Reply {
        let path = format!("/api/v1/reading-sessions/{}/update", session["id"].as_str().unwrap());
        self.put(&path, &json!({ "current_position": position })).await
    }

    pub async fn end(&self, session: &Value, position: u8) -> Reply {
        let path = format!("/api/v1/reading-sessions/{}/end", session["id"].as_str().unwrap());
        self.put(&path, &json!({ "end_position": position })).await
    }

    pub async fn batch(&self, sessions: &[Value]) -> Value {
        self.post("/api/v1/reading-sessions/batch", &json!({ "sessions": sessions })).await.expect(200)
    }

    pub async fn active(&self) -> Value {
        self.get("/api/v1/reading-sessions/active").await.expect(200)
    }

    pub async fn history(&self) -> Value {
        self.get("/api/v1/reading-sessions/history?page_size=100").await.expect(200)
    }
}

impl Reply {
    /// The body, of an answer that has to have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// `Daybook-Position`
    #[track_caller]
    pub fn position(&self) -> u64 {
        self.header("daybook-position").parse().unwrap()
    }

    /// The problem of an answer that has to be one of this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{self:?}");
        assert!(problem["detail"].is_string() && problem["instance"].is_string(), "{self:?}");
        problem
    }

    /// The names of the fields that a 400 complains about.
    #[track_caller]
    pub fn wrong_fields(&self) -> Vec<String> {
        let problem = self.problem(400);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        errors
            .iter()
            .map(|error| {
                assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
                error["field"].as_str().unwrap().to_owned()
            })
            .collect()
    }
}
