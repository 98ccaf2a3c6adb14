//! Query parameters that a route does not know.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;
use crate::support::till::{HISTORY, usual_shop};

/// The path with something that fits in each of its places.
fn filled(path: &str, says: &Value) -> String {
    let mut path = path.to_owned();
    for parameter in says["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path") {
        let schema = &parameter["schema"];
        let value = match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("integer"), _) => "1",
            (_, Some("uuid")) => "123e4567-e89b-12d3-a456-426614174000",
            _ => "x",
        };
        path = path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), value);
    }
    assert!(!path.contains('{'), "{path}");
    path
}

#[tokio::test]
async fn every_route_but_those_of_tills_and_operators_names_a_parameter_that_it_does_not_know() {
    let server = Server::start().await;
    let document = server.stranger().get("/api/openapi.json").await.expect(200);
    let id = Uuid::new_v4();
    let roles = ["admin", "staff", "analyst", "auditor"];
    let caller = server.caller_claiming(id, &json!({ "sub": id, "roles": roles }));
    let mut looked_at = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, says) in item.as_object().unwrap() {
            if [json!(["Tills"]), json!(["Operations"])].contains(&says["tags"]) {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = if method == Method::GET { "" } else { "{}" };
            for query in ["nonsense=1", "nonsense=1&nonsense=2", "nonsense"] {
                let path = format!("{}?{query}", filled(path, says));
                let reply = caller.send(method.clone(), &path, Some("application/json"), body).await;
                assert_eq!(reply.wrong_fields(), ["nonsense"], "{method} {path}");
            }
            for parameter in says["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
                let name = parameter["name"].as_str().unwrap();
                let path = format!("{}?{name}=1&{name}=1", filled(path, says));
                let reply = caller.send(method.clone(), &path, Some("application/json"), body).await;
                assert_eq!(reply.wrong_fields(), [name], "{method} {path}");
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 40, "{looked_at}");
}

#[tokio::test]
async fn tills_may_send_parameters_that_nobody_knows() {
    let server = Server::start().await;
    let (_, till) = usual_shop(&server).await;
    for path in [HISTORY, "/api/v2/simple/statistiques", "/api/v2/simple/articles"] {
        till.get(&format!("{path}?version=2.1&version=2.2")).await.expect(200);
    }
}
