//! The description of nabar's own interface, made from the code.

use super::{exchange, krr, lists, reachability};
use utoipa::OpenApi;
use utoipa::openapi::Server;

/// `/openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "nabar",
        description = "Who can be reached digitally. FaR's SOAP services are described by their WSDLs: \
                       /Recipient/v3?wsdl and /Authority?wsdl.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        paths::reachability, paths::check, paths::register, paths::operators, paths::senders,
        paths::dispatchers, paths::persons_v1, paths::persons, paths::healthz, paths::readyz, paths::metrics
    ),
    components(schemas(
        exchange::Problem, reachability::Asking<'_>, reachability::Answered, lists::Description,
        lists::Operator<'_>, lists::Sender<'_>, lists::Dispatcher<'_>, krr::PersonsAsked, krr::Persons
    ))
)]
struct Document;

/// The document, for the registers of these names.
pub(super) fn document(names: &[&str]) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let servers = names.iter().filter(|name| !name.is_empty());
    let servers: Vec<Server> = servers.map(|name| Server::new(format!("/{name}"))).collect();
    document.servers = (!servers.is_empty()).then_some(servers);
    document
}

/// What each address takes and gives, for the macros to read. The functions do nothing: handlers take whole
/// requests.
#[allow(dead_code)]
mod paths {
    use super::exchange::Problem;
    use super::{krr, lists, reachability};

    /// Who can be reached, for any number of ids
    ///
    /// Ids come as JSON; one a line (answered one a line, and streamed for any length); or as digits with
    /// nothing between them (answered with a byte each).
    #[utoipa::path(
        post, path = "/v1/reachability", params(reachability::Asks),
        request_body(content(
            (reachability::Asking<'_> = "application/json"),
            (String = "text/csv"), (String = "text/plain"), (String = "application/vnd.nabar.ids")
        )),
        responses(
            (status = 200, description = "An answer for each id, in the order of the request", content(
                (reachability::Answered = "application/json"),
                (String = "text/csv"), (String = "application/vnd.nabar.answers")
            )),
            (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
            (status = 406, description = "More operators than the compact form can name", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "Too long", body = Problem, content_type = "application/problem+json"),
            (status = 415, description = "Another content type", body = Problem, content_type = "application/problem+json"),
            (status = 422, description = "No such sender, or one where none is wanted", body = Problem, content_type = "application/problem+json"),
        )
    )]
    pub(super) fn reachability() {}

    /// The report of a whole list, as `nabar check --json` makes it
    #[utoipa::path(
        post, path = "/v1/check", params(lists::Checks),
        request_body(content((String = "text/csv"), (String = "text/plain"), (String = "application/octet-stream"))),
        responses(
            (status = 200, description = "The report; docs/report.md describes it", body = Object),
            (status = 400, description = "Malformed", body = Problem, content_type = "application/problem+json"),
            (status = 415, description = "A form", body = Problem, content_type = "application/problem+json"),
            (status = 422, description = "No such sender, or a list that cannot be read", body = Problem, content_type = "application/problem+json"),
        )
    )]
    pub(super) fn check() {}

    /// The register
    #[utoipa::path(get, path = "/v1/register", responses((status = 200, description = "The register", body = lists::Description)))]
    pub(super) fn register() {}

    /// Mailbox operators
    #[utoipa::path(get, path = "/v1/operators", responses((status = 200, description = "Mailbox operators", body = Vec<lists::Operator<'_>>)))]
    pub(super) fn operators() {}

    /// Senders
    #[utoipa::path(get, path = "/v1/senders", responses((status = 200, description = "Senders", body = Vec<lists::Sender<'_>>)))]
    pub(super) fn senders() {}

    /// Dispatchers
    #[utoipa::path(get, path = "/v1/dispatchers", responses((status = 200, description = "Dispatchers", body = Vec<lists::Dispatcher<'_>>)))]
    pub(super) fn dispatchers() {}

    /// KRR: persons by their ids, first version
    ///
    /// The same as the second.
    #[utoipa::path(
        post, path = "/rest/v1/personer", request_body = krr::PersonsAsked,
        responses(
            (status = 200, description = "Persons, in the order of the request", body = krr::Persons),
            (status = 400, description = "Malformed, or not 1 to 1000 ids", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "The register is not KRR", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "Too long", body = Problem, content_type = "application/problem+json"),
            (status = 415, description = "Another content type", body = Problem, content_type = "application/problem+json"),
        )
    )]
    pub(super) fn persons_v1() {}

    /// KRR: persons by their ids
    #[utoipa::path(
        post, path = "/rest/v2/personer", request_body = krr::PersonsAsked,
        responses(
            (status = 200, description = "Persons, in the order of the request", body = krr::Persons),
            (status = 400, description = "Malformed, or not 1 to 1000 ids", body = Problem, content_type = "application/problem+json"),
            (status = 404, description = "The register is not KRR", body = Problem, content_type = "application/problem+json"),
            (status = 413, description = "Too long", body = Problem, content_type = "application/problem+json"),
            (status = 415, description = "Another content type", body = Problem, content_type = "application/problem+json"),
        )
    )]
    pub(super) fn persons() {}

    /// Whether the service runs
    #[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
    pub(super) fn healthz() {}

    /// Whether all registers may be asked
    #[utoipa::path(get, path = "/readyz", responses(
        (status = 200, description = "They may", body = Object),
        (status = 503, description = "One is too old", body = Object)
    ))]
    pub(super) fn readyz() {}

    /// Metrics for Prometheus
    #[utoipa::path(get, path = "/metrics", responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")))]
    pub(super) fn metrics() {}
}
