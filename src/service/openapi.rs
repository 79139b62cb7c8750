//! The description of nabar's own interface, made from the code.

use super::{exchange, krr, lists, reachability, replicas};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, Ref, ResponseBuilder, Server};

/// `/openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "nabar",
        description = "Who can be reached digitally. The SOAP services are described by their WSDLs: FaR's \
                       /Recipient/v3?wsdl and /Authority?wsdl, KRR's /kontaktinfo-external/ws-v5?wsdl.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        paths::reachability, paths::check, paths::register, paths::operators, paths::senders,
        paths::dispatchers, paths::snapshot, paths::changes_after, paths::persons, paths::changes, paths::healthz, paths::readyz, paths::metrics
    ),
    components(schemas(
        exchange::Problem, reachability::Asking<'_>, reachability::Answered, lists::Description,
        lists::Operator<'_>, lists::Sender<'_>, lists::Dispatcher<'_>, krr::PersonsAsked, krr::Persons,
        krr::ChangesAsked, krr::Changes
    ))
)]
struct Document;

/// What any question may be refused with.
const REFUSALS: [(&str, &str); 4] = [
    ("401", "The service asks who asks, and nobody says"),
    ("404", "No such register, or one of another kind"),
    ("429", "The client has asked for too much in this second"),
    ("503", "Busy, or the audit log cannot be written"),
];
/// What a question with a body may be refused with, besides.
const REFUSALS_OF_BODIES: [(&str, &str); 5] = [
    ("400", "Malformed"),
    ("403", "The caller may not ask that"),
    ("413", "Too long"),
    ("415", "Another content type"),
    ("500", "A part of the register that was asked for is damaged"),
];

/// The document, for the registers of these names.
pub(super) fn document(names: &[&str]) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let paths = &mut document.paths.paths;
    for (_, item) in paths.iter_mut().filter(|(path, _)| path.starts_with("/v1") || path.starts_with("/rest"))
    {
        item.get.iter_mut().for_each(|get| refuse(get, &REFUSALS));
        if let Some(post) = &mut item.post {
            refuse(post, &REFUSALS);
            refuse(post, &REFUSALS_OF_BODIES);
        }
    }
    // The first version is the second under another name.
    if let Some(mut item) = paths.get("/rest/v2/personer").cloned() {
        item.post.iter_mut().for_each(|post| post.operation_id = Some("persons_v1".to_owned()));
        paths.insert("/rest/v1/personer".to_owned(), item);
    }
    let servers = names.iter().filter(|name| !name.is_empty());
    let servers: Vec<Server> = servers.map(|name| Server::new(format!("/{name}"))).collect();
    document.servers = (!servers.is_empty()).then_some(servers);
    document
}

fn refuse(operation: &mut Operation, refusals: &[(&str, &str)]) {
    for (status, description) in refusals {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(*description);
        let response = response.content("application/problem+json", problem).build();
        operation.responses.responses.entry((*status).to_owned()).or_insert(response.into());
    }
}

/// What each address takes and gives, for the macros to read. The functions do nothing: handlers take whole
/// requests.
#[allow(dead_code)]
mod paths {
    use super::exchange::Problem;
    use super::{krr, lists, reachability, replicas};

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
            (status = 406, description = "More operators than the compact form can name", body = Problem, content_type = "application/problem+json"),
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

    /// The register file, for replicas: all of it, or the part that `Range` names
    #[utoipa::path(get, path = "/v1/snapshot", params(replicas::Of), responses(
        (status = 200, description = "The register file that the changes follow", body = String, content_type = "application/vnd.nabar.register"),
        (status = 206, description = "A part of it", body = String, content_type = "application/vnd.nabar.register"),
        (status = 304, description = "The client has it"),
        (status = 400, description = "No such part of a register can be", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not have all of the register", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "No such part")
    ))]
    pub(super) fn snapshot() {}

    /// The changes after a number, for replicas
    ///
    /// A line each, as `nabar changes` prints them and `nabar apply` takes them.
    #[utoipa::path(get, path = "/v1/changes", params(replicas::Follows), responses(
        (status = 200, description = "The changes; nothing if there are none yet", body = String, content_type = "application/jsonl"),
        (status = 400, description = "Malformed, or a number that the register does not have yet", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not have all of the register", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "They are gone: take the register file", body = Problem, content_type = "application/problem+json"),
    ))]
    pub(super) fn changes_after() {}

    /// Senders
    #[utoipa::path(get, path = "/v1/senders", responses((status = 200, description = "Senders", body = Vec<lists::Sender<'_>>)))]
    pub(super) fn senders() {}

    /// Dispatchers
    #[utoipa::path(get, path = "/v1/dispatchers", responses((status = 200, description = "Dispatchers", body = Vec<lists::Dispatcher<'_>>)))]
    pub(super) fn dispatchers() {}

    /// KRR: persons by their ids
    #[utoipa::path(
        post, path = "/rest/v2/personer", request_body = krr::PersonsAsked,
        responses(
            (status = 200, description = "Persons, in the order of the request", body = krr::Persons),
        )
    )]
    pub(super) fn persons() {}

    /// KRR: who has changed after a number
    ///
    /// Who begins with 0 is first told of everybody. All is told when `tilEndringsId` is `sisteEndringsId`.
    #[utoipa::path(
        post, path = "/rest/v2/krr/hentEndringer", request_body = krr::ChangesAsked,
        responses(
            (status = 200, description = "At most 1000 persons, each as it is now", body = krr::Changes),
            (status = 501, description = "The register's numbers are too high to begin with 0", body = Problem, content_type = "application/problem+json"),
        )
    )]
    pub(super) fn changes() {}

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
