//! Parts of OpenAPI operations.

use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, ResponseBuilder, Schema};

pub(super) fn operation() -> OperationBuilder {
    OperationBuilder::new()
}

pub(super) fn string_schema() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// A schema of the document's components.
pub(super) fn schema(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

pub(super) fn array_of(name: &str) -> RefOr<Schema> {
    ArrayBuilder::new().items(Ref::from_schema_name(name)).into()
}

/// A response with a body in one of some content types.
pub(super) fn response(description: &str, contents: &[(&str, RefOr<Schema>)]) -> Response {
    let response = ResponseBuilder::new().description(description);
    let add = |response: ResponseBuilder, (kind, schema): &(&str, RefOr<Schema>)| {
        response.content(*kind, Content::new(Some(schema.clone())))
    };
    contents.iter().fold(response, add).build()
}

pub(super) fn json_response(description: &str, schema_name: &str) -> Response {
    response(description, &[("application/json", schema(schema_name))])
}

/// A response with a JSON object that has no schema in the document.
pub(super) fn json_object(description: &str) -> Response {
    response(description, &[("application/json", ObjectBuilder::new().build().into())])
}

pub(super) fn text(description: &str, content_type: &str) -> Response {
    response(description, &[(content_type, string_schema())])
}

pub(super) fn problem(description: &str) -> Response {
    response(description, &[("application/problem+json", schema("Problem"))])
}

/// A required body in one of some content types.
pub(super) fn request_body(contents: &[(&str, RefOr<Schema>)]) -> Option<RequestBody> {
    let body = RequestBodyBuilder::new().required(Some(Required::True));
    let add = |body: RequestBodyBuilder, (kind, schema): &(&str, RefOr<Schema>)| {
        body.content(*kind, Content::new(Some(schema.clone())))
    };
    Some(contents.iter().fold(body, add).build())
}
