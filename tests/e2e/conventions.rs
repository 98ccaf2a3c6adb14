//! What holds for every route: operations, headers, limits, problems.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Caller, Reply, Server};

const READS: [&str; 8] = [
    "/api/v1/reading-sessions/active",
    "/api/v1/reading-sessions/history",
    "/api/v1/books",
    "/api/v1/users/profile",
    "/api/v1/users/stats/weekly",
    "/api/v1/users/stats/streak",
    "/api/v1/users/stats/patterns",
    "/api/v1/users/stats/overview",
];

#[tokio::test]
async fn health_readiness_and_measurements_are_for_everybody() {
    let server = Server::start().await;
    let anybody = server.stranger();
    assert_eq!(anybody.get("/healthz").await.expect(200), json!({ "status": "ok" }));

    let reader = server.reader();
    reader.add_book().await;
    reader.get("/api/v1/books").await.expect(200);
    let ready = anybody.get("/readyz").await.expect(200);
    assert_eq!(ready["status"], "ready");
    assert_eq!((&ready["log"]["writable"], &ready["log"]["head"]), (&json!(true), &json!(1)));
    let models = ready["read_models"].as_array().unwrap();
    assert!(models.len() >= 4);
    for model in models {
        assert_eq!((&model["ready"], &model["state"]), (&json!(true), &json!("live")), "{model}");
    }

    let metrics = anybody.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let request = r#"daybook_http_requests_total{method="GET",route="/api/v1/books",status="200"} 1"#;
    for line in ["daybook_log_head_position 1", request] {
        assert!(metrics.text.lines().any(|found| found == line), "{line} is not in {}", metrics.text);
    }
    // Name, labels, value: what Prometheus reads.
    for line in metrics.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("daybook_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let id = Uuid::new_v4().to_string();
    reader.get(&format!("/api/v1/books/{id}")).await.problem(404);
    let metrics = anybody.get("/metrics").await.text;
    assert!(!metrics.contains(&id) && metrics.contains("/api/v1/books/{book_id}"), "ids are no labels");
}

#[tokio::test]
async fn the_docs_are_served_from_the_binary() {
    let server = Server::start().await;
    let anybody = server.stranger();
    for path in ["/docs", "/docs/"] {
        let docs = anybody.get(path).await;
        assert_eq!(docs.status, 200, "{path}");
        assert!(docs.header("content-type").starts_with("text/html"));
        assert!(!docs.text.contains("//unpkg") && !docs.text.contains("https://"), "{}", docs.text);
        for part in docs.text.split('"').filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
            let part = anybody.get(&format!("/docs/{}", part.trim_start_matches("./"))).await;
            assert_eq!(part.status, 200);
            assert!(part.text.len() > 50);
        }
    }
    assert!(anybody.get("/docs/swagger-initializer.js").await.text.contains("/api/openapi.json"));
    assert_eq!(anybody.get("/docs/nothing.js").await.status, 404);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start().await;
    let reader = server.reader();
    for path in READS.into_iter().chain(["/healthz", "/metrics", "/api/openapi.json", "/docs/"]) {
        let (head, get) = (reader.send(Method::HEAD, path, None, "").await, reader.get(path).await);
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let missing = reader.send(Method::HEAD, "/nowhere", None, "").await;
    assert_eq!((missing.status, missing.text.as_str()), (404, ""));
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = Server::start().await;
    let reader = server.reader();
    for path in ["/", "/nowhere", "/api", "/api/v1", "/api/v2/books", "/api/v1/reading-sessions", "/API/V1/BOOKS"] {
        let problem = reader.get(path).await.problem(404);
        assert_eq!(problem["instance"], path);
        assert_eq!(problem["title"], "Not Found");
    }
    for (method, path) in [
        (Method::DELETE, "/api/v1/books"),
        (Method::POST, "/api/v1/reading-sessions/active"),
        (Method::GET, "/api/v1/reading-sessions/start"),
        (Method::PATCH, "/api/v1/users/profile"),
        (Method::POST, "/healthz"),
        (Method::PUT, "/api/openapi.json"),
        (Method::from_bytes(b"BREW").unwrap(), "/api/v1/books"),
    ] {
        let reply = reader.send(method.clone(), path, Some("application/json"), "{}").await;
        reply.problem(405);
        assert!(!reply.header("allow").is_empty(), "{method} {path}");
        assert!(!reply.header("allow").contains(method.as_str()), "{method} {path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::start().await;
    let (reader, stranger) = (server.reader(), server.stranger());
    let replies = [
        reader.get("/api/v1/books").await,
        stranger.get("/api/v1/books").await,
        reader.get("/api/v1/books?page=0").await,
        reader.get("/nowhere").await,
        reader.send(Method::DELETE, "/healthz", None, "").await,
        stranger.get("/healthz").await,
        stranger.get("/docs/").await,
        stranger.get("/api/openapi.json").await,
        reader.put_text("/api/v1/users/profile", &"x".repeat(3 << 20)).await,
    ];
    for reply in replies {
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        assert!(!reply.headers.contains_key("strict-transport-security"), "not behind TLS");
        assert!(!reply.headers.contains_key("server"));
    }
    let behind_tls = reader.with("x-forwarded-proto", "https").get("/api/v1/books").await;
    assert!(behind_tls.header("strict-transport-security").starts_with("max-age="));
}

#[tokio::test]
async fn browsers_may_call_from_the_origins_on_the_list_only() {
    let server = Server::start_with(&["--cors-origins", "https://app.example.com,http://localhost:3000"]).await;
    let preflight = async |origin: &str| {
        server
            .stranger()
            .with("origin", origin)
            .with("access-control-request-method", "PUT")
            .with("access-control-request-headers", "authorization,content-type,idempotency-key,x-timezone")
            .send(Method::OPTIONS, "/api/v1/users/profile", None, "")
            .await
    };
    for origin in ["https://app.example.com", "http://localhost:3000"] {
        let allowed = preflight(origin).await;
        assert_eq!(allowed.status, 200);
        assert_eq!(allowed.header("access-control-allow-origin"), origin);
        assert!(allowed.header("access-control-allow-methods").contains("PUT"));
        for header in ["authorization", "content-type", "idempotency-key", "x-timezone", "daybook-after"] {
            assert!(allowed.header("access-control-allow-headers").contains(header), "{header}");
        }
        let caller = server.reader().with("origin", origin);
        for reply in [caller.get("/api/v1/books").await, caller.get("/api/v1/books?page=0").await] {
            assert_eq!(reply.header("access-control-allow-origin"), origin, "also a refusal can be read");
            assert!(reply.header("access-control-expose-headers").contains("daybook-position"));
        }
    }
    let origin_of = |reply: &Reply| reply.headers.get("access-control-allow-origin").cloned();
    for origin in ["https://evil.example.com", "http://app.example.com", "https://app.example.com:8443", "null"] {
        assert_eq!(origin_of(&preflight(origin).await), None, "{origin}");
        assert_eq!(origin_of(&server.reader().with("origin", origin).get("/api/v1/books").await), None, "{origin}");
    }
    let closed = Server::start().await;
    let reply = closed.reader().with("origin", "https://app.example.com").get("/api/v1/books").await;
    assert_eq!((reply.status, origin_of(&reply)), (200, None));
}

#[tokio::test]
async fn browsers_may_send_every_header_that_a_route_reads_and_read_every_one_that_it_answers() {
    let server = Server::start_with(&["--cors-origins", "https://app.example.com"]).await;
    let page = server.stranger().with("origin", "https://app.example.com");
    let preflight =
        page.with("access-control-request-method", "GET").send(Method::OPTIONS, "/api/v1/books", None, "").await;
    let names = |reply: &Reply, header: &str| -> BTreeSet<String> {
        reply.header(header).split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
    };
    let allowed = names(&preflight, "access-control-allow-headers");
    let exposed = names(&page.get("/healthz").await, "access-control-expose-headers");

    let document = server.stranger().get("/api/openapi.json").await.expect(200);
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let (mut read, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for operation in operations {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "header" {
                read.insert(parameter["name"].as_str().unwrap().to_ascii_lowercase());
            }
        }
        for response in operation["responses"].as_object().unwrap().values() {
            answered.extend(
                response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.to_ascii_lowercase()),
            );
        }
    }
    assert!(read.contains("if-none-match") && answered.contains("etag"), "{read:?} {answered:?}");
    // Those that the conventions or a surface read, without a parameter in the document.
    let others = [
        "authorization",
        "content-type",
        "idempotency-key",
        "daybook-after",
        "x-request-id",
        "x-device-serial",
        "x-device-key",
    ];
    read.extend(others.map(str::to_owned));
    answered.extend(["x-request-id", "daybook-position", "retry-after", "www-authenticate"].map(str::to_owned));
    assert_eq!(read.difference(&allowed).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(answered.difference(&exposed).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Asks until it is refused; how often it was not.
async fn until_refused(caller: &Caller, path: &str) -> (usize, Reply) {
    for answered in 0..1_000 {
        let reply = caller.get(path).await;
        if reply.status == 429 {
            return (answered, reply);
        }
    }
    panic!("a thousand requests went through");
}

#[tokio::test]
async fn over_the_rate_limit_is_429_for_that_caller_alone() {
    let server = Server::start_with(&["--rate-limit", "5"]).await;
    let hasty = server.reader();
    let (answered, refused) = until_refused(&hasty, "/api/v1/reading-sessions/active").await;
    assert!(answered >= 5, "{answered}");
    refused.problem(429);
    assert!((1..=2).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    server.reader().get("/api/v1/reading-sessions/active").await.expect(200);

    // Without a token it is the address that is counted.
    let (answered, refused) = until_refused(&server.stranger(), "/api/v1/books").await;
    assert!(answered >= 1, "{answered}");
    refused.problem(429);
    for _ in 0..30 {
        server.stranger().get("/healthz").await.expect(200);
        assert_eq!(server.stranger().get("/metrics").await.status, 200);
    }
    server.reader().get("/api/v1/reading-sessions/active").await.expect(200);
}

#[tokio::test]
async fn a_rate_limit_of_0_is_none() {
    let server = Server::start_with(&["--rate-limit", "0"]).await;
    let reader = server.reader();
    for _ in 0..300 {
        reader.get("/api/v1/users/profile").await.expect(200);
    }
}

#[tokio::test]
async fn the_body_limit_is_a_setting() {
    let server = Server::start_with(&["--body-limit", "1KiB"]).await;
    let reader = server.reader();
    let body = |bytes: usize| {
        let name = json!({ "display_name": "x" }).to_string();
        format!("{}{name}", " ".repeat(bytes - name.len()))
    };
    reader.put_text("/api/v1/users/profile", &body(1024)).await.expect(200);
    reader.put_text("/api/v1/users/profile", &body(1025)).await.problem(413);
}
