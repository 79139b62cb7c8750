//! The OpenAPI document, made from the table of routes.

use super::authorization::Requirement;
use super::operation::problem;
use super::route::Route;
use super::{krr, organisations, print_certificate, problem as problems, reachability, writing};
use hyper::Method;
use std::collections::BTreeSet;
use utoipa::OpenApi;
use utoipa::openapi::path::{OperationBuilder, PathItem};
use utoipa::openapi::{HttpMethod, RefOr, Server};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "nabar",
        description = "Which recipients can be reached digitally. WSDLs describe the SOAP services: FaR's \
                       /Recipient/v3?wsdl and /Authority?wsdl, KRR's /kontaktinfo-external/ws-v5?wsdl.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(
        problems::Problem, reachability::ReachabilityRequest<'_>, reachability::ReachabilityResponse,
        organisations::RegisterDescription, organisations::Operator<'_>, organisations::Sender<'_>,
        organisations::Dispatcher<'_>, krr::PersonsRequest, krr::PersonsResponse, krr::ChangesRequest,
        krr::ChangesPage, print_certificate::PrintCertificate, writing::WrittenBatch, writing::RejectedLine
    ))
)]
struct Document;

/// Errors of every route that reads a register.
const ERRORS: [(&str, &str); 4] = [
    ("401", "No credentials, or invalid ones"),
    ("404", "There is no such register, or one of another kind"),
    ("429", "The client has reached its limit per second"),
    ("503", "Busy, or the audit log cannot be written"),
];
/// Further errors of POST.
const ERRORS_OF_POST: [(&str, &str); 6] = [
    ("400", "Malformed"),
    ("403", "The caller is not authorized"),
    ("408", "The body arrives too slowly"),
    ("413", "Body too long"),
    ("415", "Unsupported content type"),
    ("500", "A part of the register that the request reads is damaged"),
];

/// The document of the registers with these names.
pub(super) fn document(routes: &[Route], names: &[&str]) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let mut ids = BTreeSet::new();
    for route in routes {
        let Some(operation) = route.operation else { continue };
        let mut id = route.name.replace('-', "_");
        while !ids.insert(id.clone()) {
            id.push_str("_v1");
        }
        let mut operation = operation().operation_id(Some(id)).summary(Some(route.summary));
        if route.requirement != Requirement::Public {
            operation = with_errors(operation, &ERRORS);
        }
        let method = match route.method {
            Method::POST => {
                operation = with_errors(operation, &ERRORS_OF_POST);
                HttpMethod::Post
            }
            _ => HttpMethod::Get,
        };
        let item = PathItem::new(method, operation);
        match document.paths.paths.get_mut(route.path) {
            // Another method of the same path.
            Some(others) => others.merge_operations(item),
            None => _ = document.paths.paths.insert(route.path.to_owned(), item),
        }
    }
    let servers = names.iter().filter(|name| !name.is_empty());
    let servers: Vec<Server> = servers.map(|name| Server::new(format!("/{name}"))).collect();
    document.servers = (!servers.is_empty()).then_some(servers);
    document
}

/// Adds the errors that the operation does not describe itself.
fn with_errors(operation: OperationBuilder, errors: &[(&str, &str)]) -> OperationBuilder {
    let mut operation = operation.build();
    for (status, description) in errors {
        let response = || RefOr::T(problem(description));
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(response);
    }
    operation.into()
}
