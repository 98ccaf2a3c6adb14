//! Paths: with and without the trailing slash, and those that lead nowhere.

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Request, StatusCode, Uri};

use super::Problem;

/// Paths that are answered to machines which watch the server, whatever else is going on.
pub(super) fn is_for_operators(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// The tills' surface: its callers are terminals, which are recognised there and nowhere else.
pub(super) fn is_for_tills(path: &str) -> bool {
    path.starts_with("/api/v2/simple/")
}

/// Takes the slash off the end of the path, before routing. Swagger UI keeps its own: its page is at `/docs/`, and its
/// relative links need the slash.
pub(super) fn without_trailing_slash(mut request: Request<Body>) -> Request<Body> {
    let path = request.uri().path();
    if path.len() > 1 && path.ends_with('/') && !path.starts_with("/docs/") {
        let trimmed = path.trim_end_matches('/');
        let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
        let path_and_query = match request.uri().query() {
            Some(query) => format!("{trimmed}?{query}"),
            None => trimmed.to_owned(),
        };
        let mut parts = request.uri().clone().into_parts();
        if let Ok(path_and_query) = PathAndQuery::try_from(path_and_query) {
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

pub(super) async fn not_found() -> Problem {
    Problem::not_found("There is nothing at this path. GET /api/openapi.json lists what there is.")
}

pub(super) async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("This path does not take {method}: see the Allow header.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(uri: &str) -> String {
        without_trailing_slash(Request::builder().uri(uri).body(Body::empty()).unwrap()).uri().to_string()
    }

    #[test]
    fn the_trailing_slash_is_no_part_of_a_path() {
        assert_eq!(trimmed("/books/"), "/books");
        assert_eq!(trimmed("/books/?page=1/"), "/books?page=1/");
        assert_eq!(trimmed("/books//"), "/books");
        assert_eq!(trimmed("/books"), "/books");
        assert_eq!(trimmed("/"), "/");
        assert_eq!(trimmed("//"), "/");
        assert_eq!(trimmed("/docs/"), "/docs/");
    }
}
