//! The OpenAPI document: made from the routes that are served, so that it cannot know others.

use std::collections::BTreeMap;

use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi, RefOr, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;

use crate::surface::UnknownFields;
use crate::{http, ops, shop, surfaces};

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Daybook",
    description = "An event-sourced backend on an append-only log.\n\nEvery write that answers success is on disk, and \
                   every read after it shows it. The answer to a write carries `Daybook-Position`; a read may carry \
                   `Daybook-After` to wait for a position. Writes may carry `Idempotency-Key`. Errors are RFC 9457 \
                   problems.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Document;

/// The whole document.
pub fn document() -> OpenApi {
    let operations = OpenApiRouter::new().merge(ops::routes()).to_openapi();
    let mut document = Document::openapi();
    document.merge(surfaces::routes().to_openapi());
    document.merge(operations);
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.extend(http::openapi::problem_schemas());
    components.schemas.extend(shop::schemas());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let serial = ApiKeyValue::with_description("X-Device-Serial", "The terminal's serial number");
    components.add_security_scheme("terminal", SecurityScheme::ApiKey(ApiKey::Header(serial)));
    for body in strict_bodies() {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&body) {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    document
}

/// The names of the schemas of bodies in which an unknown field is an error.
fn strict_bodies() -> Vec<String> {
    let strict = surfaces::ALL.iter().filter(|surface| surface.unknown_fields == UnknownFields::Refused);
    strict.flat_map(|surface| request_bodies(&(surface.routes)().to_openapi().paths)).collect()
}

/// The names of the schemas of bodies.
fn request_bodies(paths: &Paths) -> Vec<String> {
    let operations = |item: &PathItem| [item.post.clone(), item.put.clone()].into_iter().flatten();
    let bodies = paths.paths.values().flat_map(operations).filter_map(|operation: Operation| operation.request_body);
    let inline = bodies.filter_map(|body| match body {
        RefOr::T(body) => Some(body.content),
        RefOr::Ref(_) => None,
    });
    let schemas = inline.flat_map(BTreeMap::into_values).filter_map(|content| match content {
        RefOr::T(content) => content.schema,
        RefOr::Ref(_) => None,
    });
    let name = |schema: RefOr<Schema>| match schema {
        RefOr::Ref(reference) => reference.ref_location.rsplit('/').next().map(str::to_owned),
        RefOr::T(_) => None,
    };
    schemas.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    fn each<'a>(value: &'a Value, visit: &mut impl FnMut(&'a str, &'a Value)) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                visit(name, value);
                each(value, visit);
            }),
            Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
        let document = serde_json::to_value(super::document()).unwrap();
        let schemas: BTreeSet<&str> =
            document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
        let (mut references, mut operations) = (BTreeSet::new(), Vec::new());
        each(&document, &mut |name, value| match (name, value.as_str()) {
            ("$ref", Some(path)) => drop(references.insert(path.trim_start_matches("#/components/schemas/"))),
            ("operationId", Some(id)) => operations.push(id),
            _ => {}
        });
        assert_eq!(references.difference(&schemas).collect::<Vec<_>>(), Vec::<&&str>::new());
        let unique: BTreeSet<_> = operations.iter().collect();
        assert_eq!(unique.len(), operations.len(), "{operations:?}");
        assert!(operations.len() > 40);
    }
}
