//! The OpenAPI document against the server that serves it. `tests/schemathesis.sh` goes further.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Reply, Server};

const BOOK: &str = "123e4567-e89b-12d3-a456-426614174000";

struct Operation {
    method: Method,
    path: String,
    says: Value,
}

async fn document(server: &Server) -> Value {
    server.stranger().get("/api/openapi.json").await.expect(200)
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, says) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            operations.push(Operation { method, path: path.clone(), says: says.clone() });
        }
    }
    operations
}

/// What `$ref` points at, else the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// Where `value` does not fit `schema`: enough of JSON Schema for this document, and a panic for any more.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    let wrong = |what: &str| vec![format!("{at}: {what}: {value} does not fit {schema}")];
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        found.extend(match keyword.as_str() {
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if types.iter().any(|one| has_type(one.as_str().unwrap(), value)) { vec![] } else { wrong("type") }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => wrong("enum"),
            "oneOf" => {
                let fits = rule.as_array().unwrap().iter().filter(|one| misfits(document, one, value, at).is_empty());
                if fits.count() == 1 { vec![] } else { wrong("oneOf") }
            }
            "anyOf" => {
                let mut all = rule.as_array().unwrap().iter();
                if all.any(|one| misfits(document, one, value, at).is_empty()) { vec![] } else { wrong("anyOf") }
            }
            "allOf" => rule.as_array().unwrap().iter().flat_map(|one| misfits(document, one, value, at)).collect(),
            "required" if value.is_object() => {
                let missing = rule.as_array().unwrap().iter().any(|name| value.get(name.as_str().unwrap()).is_none());
                if missing { wrong("required") } else { vec![] }
            }
            "properties" if value.is_object() => {
                let known = rule.as_object().unwrap();
                let inner = value.as_object().unwrap().iter().flat_map(|(name, value)| match known.get(name) {
                    Some(schema) => misfits(document, schema, value, &format!("{at}.{name}")),
                    None if schema.get("additionalProperties").is_some_and(|more| *more != json!(false)) => vec![],
                    None => vec![format!("{at}.{name} is not documented")],
                });
                inner.collect()
            }
            "items" if value.is_array() => {
                let items = value.as_array().unwrap().iter().enumerate();
                items.flat_map(|(n, item)| misfits(document, rule, item, &format!("{at}[{n}]"))).collect()
            }
            "minItems" if value.is_array() && (value.as_array().unwrap().len() as u64) < rule.as_u64().unwrap() => {
                wrong("minItems")
            }
            "maxItems" if value.is_array() && value.as_array().unwrap().len() as u64 > rule.as_u64().unwrap() => {
                wrong("maxItems")
            }
            "minimum" if value.is_number() && value.as_f64() < rule.as_f64() => wrong("minimum"),
            "maximum" if value.is_number() && value.as_f64() > rule.as_f64() => wrong("maximum"),
            "format" if value.is_string() => {
                let text = value.as_str().unwrap();
                let fits = match rule.as_str().unwrap() {
                    "uuid" => text.parse::<uuid::Uuid>().is_ok(),
                    "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
                    "date" => text.parse::<chrono::NaiveDate>().is_ok(),
                    _ => true,
                };
                if fits { vec![] } else { wrong("format") }
            }
            _ => vec![],
        });
    }
    found
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        unknown => panic!("{unknown} is no type"),
    }
}

/// The answer's status and content type are documented, and its body fits.
#[track_caller]
fn assert_documented(document: &Value, operation: &Operation, reply: &Reply) {
    let name = format!("{} {}", operation.method, operation.path);
    let says = &operation.says["responses"][reply.status.to_string()];
    assert!(!says.is_null(), "{name}: {} is not documented: {reply:?}", reply.status);
    assert!(reply.status < 500, "{name}: {reply:?}");
    let Some(content) = says.get("content").and_then(Value::as_object) else { return };
    let content_type = reply.header("content-type").split(';').next().unwrap();
    let documented = content.get(content_type).unwrap_or_else(|| panic!("{name}: {content_type} is not documented"));
    if content_type == "application/x-ndjson" {
        let event = json!({ "$ref": "#/components/schemas/LogEvent" });
        let lines = reply.text.lines().map(|line| serde_json::from_str(line).unwrap());
        let misfits: Vec<_> = lines.flat_map(|line| misfits(document, &event, &line, "$")).collect();
        assert!(misfits.is_empty(), "{name}: {misfits:#?}");
    } else if content_type.ends_with("json") {
        let misfits = misfits(document, &documented["schema"], &reply.json(), "$");
        assert!(misfits.is_empty(), "{name}: {misfits:#?}");
    }
}

#[tokio::test]
async fn the_document_is_whole_and_the_same_as_the_one_that_is_printed() {
    let server = Server::start().await;
    let document = document(&server).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_daybook")).arg("openapi").output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), document);

    let operations = operations(&document);
    let mut ids = BTreeSet::new();
    for operation in &operations {
        let id = operation.says["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "the operation id {id} is there twice");
        assert!(!operation.says["summary"].as_str().unwrap().is_empty(), "{id}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
    let has = |method: &str, path: &str| {
        operations.iter().any(|operation| operation.method.as_str() == method && operation.path == path)
    };
    for (method, path) in [
        ("POST", "/api/v1/reading-sessions/start"),
        ("PUT", "/api/v1/reading-sessions/{session_id}/update"),
        ("PUT", "/api/v1/reading-sessions/{session_id}/end"),
        ("GET", "/api/v1/reading-sessions/active"),
        ("GET", "/api/v1/reading-sessions/history"),
        ("POST", "/api/v1/reading-sessions/batch"),
        ("GET", "/api/v1/books"),
        ("GET", "/api/v1/books/{book_id}"),
        ("PUT", "/api/v1/books/{book_id}"),
        ("GET", "/api/v1/users/profile"),
        ("PUT", "/api/v1/users/profile"),
        ("GET", "/api/v1/users/stats/weekly"),
        ("GET", "/api/v1/users/stats/streak"),
        ("GET", "/api/v1/users/stats/patterns"),
        ("GET", "/api/v1/users/stats/overview"),
        ("GET", "/api/v1/log/events"),
        ("GET", "/api/v1/log/events/{position}"),
        ("GET", "/api/v1/log/streams/{stream}"),
        ("GET", "/api/v1/log/head"),
        ("GET", "/api/v1/log/subscribe"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    ] {
        assert!(has(method, path), "{method} {path} is not documented");
    }
}

#[tokio::test]
async fn every_operation_answers_as_documented_whoever_asks_and_whatever_is_sent() {
    let server = Server::start_with(&["--demo", "--rate-limit", "0"]).await;
    let document = document(&server).await;
    let terminal = server.stranger().with("x-device-serial", "0a1badae951f8473");
    let callers = [server.stranger(), server.reader(), server.admin(), terminal];
    for operation in operations(&document) {
        let parameters = operation.says["parameters"].as_array().cloned().unwrap_or_default();
        // As the document has it, and nonsense.
        let fill = |sensible: bool| {
            parameters.iter().filter(|parameter| parameter["in"] == "path").fold(operation.path.clone(), |path, one| {
                let name = format!("{{{}}}", one["name"].as_str().unwrap());
                let schema = resolved(&document, &one["schema"]);
                let value = match (sensible, schema["type"].as_str(), schema["format"].as_str()) {
                    (false, ..) => "nonsense",
                    (true, _, Some("uuid")) => BOOK,
                    (true, Some("integer"), _) => "2",
                    (true, ..) => "0a1badae951f8473",
                };
                path.replace(&name, value)
            })
        };
        let paths = [fill(true), fill(false), format!("{}?page=0&page_size=x&limit=x&days=0&cursor=x", fill(true))];
        let bodies: &[Option<&str>] = if operation.says["requestBody"].is_null() {
            &[None]
        } else {
            &[
                Some("{}"),
                Some("[]"),
                Some(""),
                Some("nonsense"),
                Some("{\"book_id\":1,\"sessions\":[1],\"title\":null}"),
            ]
        };
        // An answer without an end cannot be read to it; its refusals can.
        let is_endless = !operation.says["responses"]["200"]["content"]["text/event-stream"].is_null();
        for caller in &callers {
            for (path, body) in paths.iter().flat_map(|path| bodies.iter().map(move |body| (path, body))) {
                let content_type = body.map(|_| "application/json");
                if is_endless && !path.contains('?') {
                    let refused = caller.with("last-event-id", "nonsense");
                    assert_documented(&document, &operation, &refused.get(path).await);
                    continue;
                }
                let reply = caller.send(operation.method.clone(), path, content_type, body.unwrap_or_default()).await;
                assert_documented(&document, &operation, &reply);
            }
        }
    }
}

#[tokio::test]
async fn what_the_reading_surface_answers_fits_its_schemas() {
    let server = Server::start_with(&["--demo"]).await;
    let document = document(&server).await;
    let operations = operations(&document);
    let reader = server.reader();
    let mut session = String::new();
    let offline = json!({ "sessions": [
        { "client_id": uuid::Uuid::new_v4(), "book_id": BOOK, "started_at": "2025-10-28T10:30:00Z",
          "ended_at": "2025-10-28T11:00:00Z", "start_position": 0, "end_position": 100 },
        { "client_id": "x" }, 5,
    ] });
    let steps = [
        ("PUT", "/api/v1/books/{book_id}", json!({ "title": "t" }), 404),
        ("GET", "/api/v1/books/{book_id}", Value::Null, 200),
        ("GET", "/api/v1/books", Value::Null, 200),
        ("GET", "/api/v1/reading-sessions/active", Value::Null, 200),
        ("POST", "/api/v1/reading-sessions/start", json!({ "book_id": BOOK, "device_type": "mobile" }), 201),
        ("GET", "/api/v1/reading-sessions/active", Value::Null, 200),
        ("PUT", "/api/v1/reading-sessions/{session_id}/update", json!({ "current_position": 30 }), 200),
        ("PUT", "/api/v1/reading-sessions/{session_id}/end", json!({ "end_position": 40 }), 200),
        ("PUT", "/api/v1/reading-sessions/{session_id}/end", json!({ "end_position": 40 }), 400),
        ("POST", "/api/v1/reading-sessions/batch", offline, 200),
        ("GET", "/api/v1/reading-sessions/history", Value::Null, 200),
        ("PUT", "/api/v1/users/profile", json!({ "timezone": "Asia/Tokyo" }), 200),
        ("GET", "/api/v1/users/profile", Value::Null, 200),
        ("GET", "/api/v1/users/stats/weekly", Value::Null, 200),
        ("GET", "/api/v1/users/stats/streak", Value::Null, 200),
        ("GET", "/api/v1/users/stats/patterns", Value::Null, 200),
        ("GET", "/api/v1/users/stats/overview", Value::Null, 200),
    ];
    for (method, path, body, status) in steps {
        let operation = operations.iter().find(|one| one.method.as_str() == method && one.path == path).unwrap();
        let path = path.replace("{book_id}", BOOK).replace("{session_id}", &session);
        let content_type = (!body.is_null()).then_some("application/json");
        let reply = reader.send(operation.method.clone(), &path, content_type, &body.to_string()).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        assert_documented(&document, operation, &reply);
        if status == 201 {
            session = reply.json()["id"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn what_the_log_answers_fits_its_schemas() {
    let server = Server::start_with(&["--demo"]).await;
    let document = document(&server).await;
    let operations = operations(&document);
    let auditor = server.with_role("auditor");
    for (path, query) in [
        ("/api/v1/log/events", ""),
        ("/api/v1/log/events", "?order=desc&limit=2&category=shop,book&types=StockReceived,BookAdded"),
        ("/api/v1/log/events", "?from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z&stream=shop-2"),
        ("/api/v1/log/events/{position}", ""),
        ("/api/v1/log/streams/{stream}", "?after=1&order=asc"),
        ("/api/v1/log/head", ""),
    ] {
        let operation = operations.iter().find(|one| one.path == path).unwrap();
        let path = path.replace("{position}", "3").replace("{stream}", "shop-2");
        let reply = auditor.get(&format!("{path}{query}")).await;
        assert_eq!(reply.status, 200, "{path}{query}: {reply:?}");
        assert_documented(&document, operation, &reply);
        let lines = auditor.with("accept", "application/x-ndjson").get(&format!("{path}{query}")).await;
        assert_documented(&document, operation, &lines);
    }
}

#[test]
fn the_check_of_schemas_sees_what_does_not_fit() {
    let document = json!({ "components": { "schemas": { "Id": { "type": "string", "format": "uuid" } } } });
    let schema = json!({
        "type": "object", "required": ["id"],
        "properties": {
            "id": { "$ref": "#/components/schemas/Id" }, "n": { "type": ["integer", "null"], "maximum": 5 },
            "one": { "oneOf": [{ "type": "string" }, { "type": "null" }] },
        },
    });
    let fits = |value: Value| misfits(&document, &schema, &value, "$").is_empty();
    assert!(fits(json!({ "id": BOOK, "n": null, "one": null })));
    for wrong in [
        json!({}),
        json!([]),
        json!({ "id": "x" }),
        json!({ "id": BOOK, "n": 6 }),
        json!({ "id": BOOK, "n": 1.5 }),
        json!({ "id": BOOK, "one": 1 }),
        json!({ "id": BOOK, "more": 1 }),
    ] {
        assert!(!fits(wrong.clone()), "{wrong}");
    }
}
