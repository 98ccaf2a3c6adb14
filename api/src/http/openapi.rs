//! What every operation may answer besides its own, for the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::ProblemBody;

/// Problems of requests that read.
pub struct ReadProblems;

/// Of requests that need a role.
pub struct Forbidden;

/// Problems of requests that write.
pub struct WriteProblems;

/// Problems of requests that ask for something without a body.
pub struct CommandProblems;

const READ: [(&str, &str); 6] = [
    ("400", "A parameter is wrong: `errors` names it"),
    ("401", "No token, or a bad one"),
    ("404", "There is no such thing, or not for the caller"),
    ("429", "Too many requests: see Retry-After"),
    ("500", "A failure of the server"),
    ("503", "Not now: see Retry-After"),
];

const WRITE: [(&str, &str); 8] = [
    ("403", "Not for the caller"),
    ("408", "The body stopped coming"),
    ("409", "It cannot be done as things are now"),
    ("413", "The body is too large"),
    ("415", "The body is no JSON by its content type"),
    ("422", "The Idempotency-Key was used with another body"),
    ("507", "No room left to store anything"),
    ("400", "A field is wrong: `errors` names it"),
];

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.into_iter().map(problem).collect()
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        READ.into_iter().chain(WRITE).map(problem).collect()
    }
}

impl IntoResponses for CommandProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = WRITE.into_iter().filter(|(status, _)| ["403", "409", "422"].contains(status));
        READ.into_iter().chain(own).map(problem).collect()
    }
}

impl IntoResponses for Forbidden {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([problem(("403", "Not for the caller's roles"))])
    }
}

fn problem((status, description): (&str, &str)) -> (String, RefOr<Response>) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemBody::name()))).build();
    let mut response = ResponseBuilder::new().description(description).content("application/problem+json", body);
    if ["429", "503", "507"].contains(&status) {
        let seconds = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
            .description(Some("Seconds to wait"))
            .build();
        response = response.header("Retry-After", seconds);
    }
    (status.to_owned(), response.build().into())
}

/// The problem's schema, which the responses above refer to by name.
pub fn problem_schemas() -> Vec<(String, RefOr<utoipa::openapi::schema::Schema>)> {
    let mut schemas = vec![(ProblemBody::name().into_owned(), ProblemBody::schema())];
    ProblemBody::schemas(&mut schemas);
    schemas
}
