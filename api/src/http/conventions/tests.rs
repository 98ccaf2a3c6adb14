//! The whole chain on a small router.

use super::*;
use crate::auth::{Caller, Role};
use crate::http::CorsHeaders;
use crate::http::body::JsonBody;
use crate::settings::{Settings, Sources};
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use std::time::Duration;
use tower::ServiceExt as _;

struct Rig {
    router: Router,
    token: String,
    _data: tempfile::TempDir,
}

fn rig(settings: &[(&'static str, &str)]) -> Rig {
    let data = tempfile::tempdir().unwrap();
    // A key is made beside a log only.
    std::fs::write(data.path().join(daybook_eventlog::LOG_FILE), "").unwrap();
    let mut sources = Sources::default();
    sources.flags.insert("data", data.path().to_str().unwrap().to_owned());
    sources.flags.extend(settings.iter().map(|(key, text)| (*key, (*text).to_owned())));
    let settings = Settings::load(&sources).unwrap();
    let verifier = TokenVerifier::open(&settings, Vec::new()).unwrap();
    let roles = [Role::Staff].into_iter().collect();
    let token = verifier.mint("u1", roles, &[7], Duration::from_secs(60)).unwrap();
    let routes = Router::new()
        .route("/healthz", get(async || "up"))
        .route("/open", get(async || "open"))
        .route("/me", get(async |caller: Caller| caller.subject))
        .route(
            "/guest",
            get(async |caller: Option<Caller>| caller.map_or("nobody".to_owned(), |caller| caller.subject)),
        )
        .route("/items/{id}", get(async || "item"))
        .route("/body", post(async |JsonBody(body): JsonBody| body))
        .route("/panic", get(async || -> String { panic!("the password is 1234") }));
    Rig {
        router: conventions(routes, &Conventions::new(&settings, verifier, None, CorsHeaders::default())),
        token,
        _data: data,
    }
}

impl Rig {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from("{\"a\": 1}")).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, 100_000).await.unwrap();
        (Response::from_parts(parts, ()), String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
        self.send(Method::GET, path, headers).await
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

#[tokio::test]
async fn a_token_names_its_caller_and_without_one_it_is_401() {
    let rig = rig(&[]);
    assert_eq!(rig.get("/me", &[("authorization", &rig.bearer())]).await.1, "u1");
    let (response, body) = rig.get("/me", &[("x-request-id", "r-1")]).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.headers()["x-request-id"], "r-1");
    assert!(body.contains("\"instance\":\"/me\"") && !body.contains("request_id"), "{body}");
}

#[tokio::test]
async fn bad_credentials_are_401_and_never_repeated() {
    let rig = rig(&[]);
    let broken = format!("Bearer {}x", rig.token);
    for credentials in [broken.as_str(), "Basic dTpw", "Bearer", "Bearer ", "Bearer a.b.c"] {
        let (response, body) = rig.get("/guest", &[("authorization", credentials)]).await;
        assert_eq!(response.status(), 401, "{credentials}");
        assert!(!body.contains(&rig.token[..20]) && !body.contains("dTpw"), "{body}");
    }
    let twice = [("authorization", &*rig.bearer()), ("authorization", "Bearer x")];
    assert_eq!(rig.get("/me", &twice).await.0.status(), 401);
    assert_eq!(rig.get("/guest", &[]).await.1, "nobody");
    assert_eq!(rig.get("/guest", &[("authorization", &rig.bearer().replace("Bearer", "bearer"))]).await.1, "u1");
}

#[tokio::test]
async fn paths_work_with_and_without_the_trailing_slash() {
    let rig = rig(&[]);
    assert_eq!(rig.get("/items/5/?a=1", &[]).await.1, "item");
    assert_eq!(rig.get("/items/5", &[]).await.1, "item");
}

#[tokio::test]
async fn nowhere_is_404_and_a_wrong_method_405_as_problems() {
    let rig = rig(&[]);
    let (response, body) = rig.get("/nowhere", &[]).await;
    assert_eq!(response.status(), 404);
    assert!(body.contains("\"instance\":\"/nowhere\""), "{body}");
    let (response, body) = rig.send(Method::DELETE, "/open", &[]).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(response.headers()["allow"].to_str().unwrap().contains("GET"), "{body}");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_panic_is_a_500_with_the_request_id_and_without_its_message() {
    let rig = rig(&[("cors_origins", "https://app.example")]);
    let (response, body) = rig.get("/panic", &[("x-request-id", "r-9"), ("origin", "https://app.example")]).await;
    assert_eq!(response.status(), 500);
    assert!(body.contains("\"request_id\":\"r-9\"") && !body.contains("1234"), "{body}");
    assert_eq!(response.headers()["x-request-id"], "r-9");
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
}

#[tokio::test]
async fn a_caller_over_the_limit_gets_429_and_operators_never_do() {
    let rig = rig(&[("rate_limit", "1")]);
    let bearer = rig.bearer();
    assert_eq!(rig.get("/open", &[("authorization", &bearer)]).await.0.status(), 200);
    let (response, _) = rig.get("/open", &[("authorization", &bearer)]).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(response.headers().contains_key("x-request-id"));
    for _ in 0..5 {
        assert_eq!(rig.get("/healthz", &[("authorization", &bearer)]).await.0.status(), 200);
    }
    assert_eq!(rig.get("/open", &[]).await.0.status(), 200, "an address has its own bucket");
}

#[tokio::test]
async fn security_headers_are_on_every_answer_and_hsts_only_behind_tls() {
    let rig = rig(&[]);
    let (response, _) = rig.get("/open", &[]).await;
    assert_eq!(response.headers()["content-security-policy"], "frame-ancestors 'none'");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    assert!(!response.headers().contains_key("strict-transport-security"));
    let (response, _) = rig.get("/nowhere", &[("x-forwarded-proto", "https")]).await;
    assert!(response.headers().contains_key("strict-transport-security"));
    let (response, _) = rig.get("/docs/", &[]).await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("style-src 'self' 'unsafe-inline'") && policy.contains("frame-ancestors 'none'"));
}

#[tokio::test]
async fn only_listed_origins_are_allowed() {
    let rig = rig(&[("cors_origins", "https://app.example"), ("rate_limit", "1")]);
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "idempotency-key"),
        ]
    };
    for _ in 0..3 {
        let (response, _) = rig.send(Method::OPTIONS, "/me", &preflight("https://app.example")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
        assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("idempotency-key"));
    }
    let (response, _) = rig.send(Method::OPTIONS, "/me", &preflight("https://evil.example")).await;
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    let (response, _) = rig.get("/open", &[("origin", "https://app.example")]).await;
    assert!(response.headers()["access-control-expose-headers"].to_str().unwrap().contains("daybook-position"));
}

#[tokio::test]
async fn the_body_limit_of_the_settings_holds() {
    let json = ("content-type", "application/json");
    assert_eq!(rig(&[]).send(Method::POST, "/body", &[json]).await.1, "{\"a\": 1}");
    let (response, body) = rig(&[("body_limit", "7")]).send(Method::POST, "/body", &[json]).await;
    assert_eq!(response.status(), 413);
    assert!(body.contains("7 bytes"), "{body}");
}

#[test]
fn requests_are_counted_by_route_and_never_by_path() {
    let recorder = crate::observability::recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let rig = rig(&[]);
            rig.get("/items/5", &[]).await;
            rig.get("/items/6/", &[]).await;
            rig.get("/secret-path", &[]).await;
            rig.send(Method::from_bytes(b"BREW").unwrap(), "/items/7", &[]).await;
        });
    });
    let text = handle.render();
    let count = "daybook_http_requests_total{method=\"GET\",route=\"/items/{id}\",status=\"200\"} 2";
    assert!(text.contains(count), "{text}");
    assert!(text.contains("route=\"unmatched\",status=\"404\"} 1") && !text.contains("secret-path"), "{text}");
    assert!(text.contains("method=\"other\"") && !text.contains("BREW"), "{text}");
    assert!(text.contains("daybook_http_request_seconds_bucket{method=\"GET\",route=\"/items/{id}\""), "{text}");
}
