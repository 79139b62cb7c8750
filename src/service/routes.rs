//! The table of routes.

use super::authorization::Requirement::{
    Authenticated, FarOperation, KrrFeed, KrrScope, Outcomes, Owner, Public, Replica,
};
use super::context::RequestContext;
use super::registers::ServedRegister;
use super::response::{Body, json};
use super::route::AppliesTo::{EveryRegister, Only, Service};
use super::route::{Handler, Route};
use super::{check, far, health, krr, openapi, organisations, reachability, replicas, writing};
use crate::register::Kind::{Far, Krr};
use hyper::{Method, Response};

const GET: Method = Method::GET;
const POST: Method = Method::POST;

/// An asynchronous function as a [`Handler`].
macro_rules! asynchronous {
    ($function:path) => {
        Handler::Request(|context, served, request| Box::pin($function(context, served, request)))
    };
}

/// All routes. A path may have several.
#[rustfmt::skip]
pub(super) static ROUTES: [Route; 24] = [
    Route::new(POST, "/v1/reachability", "reachability", EveryRegister, Outcomes,
        asynchronous!(reachability::reachability), "an outcome for each id")
        .for_live().described_by(reachability::operation_of_reachability),
    Route::new(POST, "/v1/check", "check", EveryRegister, Outcomes,
        asynchronous!(check::check), "the report of a list, as `nabar check --json` prints it")
        .described_by(check::operation_of_check),
    Route::new(GET, "/v1/register", "register", EveryRegister, Authenticated,
        Handler::Register(organisations::register), "kind, sequence number, as-of time, numbers of recipients and organisations")
        .for_live().described_by(organisations::register_operation),
    Route::new(GET, "/v1/operators", "operators", EveryRegister, Authenticated,
        Handler::Register(organisations::operators), "mailbox operators")
        .described_by(organisations::operators_operation),
    Route::new(GET, "/v1/senders", "senders", EveryRegister, Authenticated,
        Handler::Register(organisations::senders), "senders")
        .described_by(organisations::senders_operation),
    Route::new(GET, "/v1/dispatchers", "dispatchers", EveryRegister, Authenticated,
        Handler::Register(organisations::dispatchers), "dispatchers, and the senders that they send for")
        .described_by(organisations::dispatchers_operation),
    Route::new(GET, "/v1/snapshot", "snapshot", EveryRegister, Replica,
        asynchronous!(replicas::snapshot), "the register file, for [replicas](replicas.md)")
        .described_by(replicas::snapshot_operation),
    Route::new(GET, "/v1/changes", "changes", EveryRegister, Replica,
        asynchronous!(replicas::changes), "the changes after a sequence number, for [replicas](replicas.md)")
        .described_by(replicas::changes_operation),
    Route::new(POST, "/v1/changes", "write", EveryRegister, Owner,
        asynchronous!(writing::write), "applies [changes](changes.md) to a data directory, durably")
        .described_by(writing::write_operation),
    Route::new(POST, "/Recipient/v3", "far-recipient", Only(Far), FarOperation,
        asynchronous!(far::recipient), "FaR's service Recipient")
        .for_live().refused_by(far::refuse_recipient),
    Route::new(GET, "/Recipient/v3", "far-recipient", Only(Far), Authenticated,
        Handler::Wsdl(far::RECIPIENT_WSDL), "its WSDL").for_live().with_query("wsdl"),
    Route::new(POST, "/Authority", "far-authority", Only(Far), FarOperation,
        asynchronous!(far::authority), "FaR's service Authority")
        .refused_by(far::refuse_authority),
    Route::new(GET, "/Authority", "far-authority", Only(Far), Authenticated,
        Handler::Wsdl(far::AUTHORITY_WSDL), "its WSDL").for_live().with_query("wsdl"),
    Route::new(POST, "/rest/v2/personer", "krr-personer", Only(Krr), KrrScope,
        asynchronous!(krr::persons), "KRR's persons by their ids")
        .for_live().described_by(krr::persons_operation),
    Route::new(POST, "/rest/v1/personer", "krr-personer", Only(Krr), KrrScope,
        asynchronous!(krr::persons), "the same as `/rest/v2/personer`")
        .for_live().described_by(krr::persons_operation),
    Route::new(POST, "/rest/v2/krr/hentEndringer", "krr-endringer", Only(Krr), KrrFeed,
        asynchronous!(krr::changes), "KRR's feed of changes")
        .described_by(krr::changes_operation),
    Route::new(GET, "/rest/v2/printSertifikat", "krr-print-sertifikat", Only(Krr), KrrScope,
        asynchronous!(krr::print_certificate), "the print service of the configuration and its certificate")
        .described_by(krr::print_certificate_operation),
    Route::new(POST, "/kontaktinfo-external/ws-v5", "krr-oppslagstjeneste", Only(Krr), KrrScope,
        asynchronous!(krr::oppslagstjeneste), "KRR's SOAP service of contract 16-02")
        .refused_by(krr::refuse_oppslagstjeneste),
    Route::new(GET, "/kontaktinfo-external/ws-v5", "krr-oppslagstjeneste", Only(Krr), Authenticated,
        Handler::Wsdl(krr::OPPSLAGSTJENESTE_WSDL), "its WSDL").for_live().with_query("wsdl"),
    Route::new(GET, "/openapi.json", "openapi", EveryRegister, Authenticated,
        Handler::Register(openapi_of_register), "the OpenAPI description of all routes but SOAP, with the register's name").for_live(),
    Route::new(GET, "/openapi.json", "openapi", Service, Public,
        Handler::Service(openapi_of_service), "the OpenAPI description of all routes but SOAP"),
    Route::new(GET, "/healthz", "healthz", Service, Public,
        Handler::Service(health::healthz), "200 while the service runs")
        .for_admin().described_by(health::healthz_operation),
    Route::new(GET, "/readyz", "readyz", Service, Public,
        Handler::Service(health::readyz), "200 if all works: registers, audit log, credentials, threads; 503 otherwise, with what does not")
        .for_admin().described_by(health::readyz_operation),
    Route::new(GET, "/metrics", "metrics", Service, Public,
        Handler::Service(health::metrics), "metrics for Prometheus (OpenMetrics)")
        .for_admin().described_by(health::metrics_operation),
];

fn openapi_of_service(context: &RequestContext<'_>) -> Response<Body> {
    json(&openapi::document(&ROUTES, &context.service.registers.names()))
}

fn openapi_of_register(served: &ServedRegister) -> Response<Body> {
    json(&openapi::document(&ROUTES, &[served.name.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The table in `docs/service.md`.
    fn table() -> String {
        let rows = ROUTES.iter().map(|route| {
            let query = route.query.map(|query| format!("?{query}")).unwrap_or_default();
            let register = match route.applies_to {
                Service => "–",
                EveryRegister => "every",
                Only(Far) => "FaR",
                Only(Krr) => "KRR",
            };
            let requirement = route.requirement.description();
            format!(
                "| `{}{query}` | {} | {register} | {requirement} | {} |\n",
                route.path, route.method, route.summary
            )
        });
        let head = "| path | method | register | caller | response |\n|---|---|---|---|---|\n";
        std::iter::once(head.to_owned()).chain(rows).collect()
    }

    #[test]
    fn the_documented_table_is_the_table_of_routes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/service.md");
        let text = std::fs::read_to_string(path).expect("the documentation");
        assert!(text.contains(&table()), "docs/service.md has another table; it should be:\n{}", table());
    }

    #[test]
    fn handlers_get_a_register_where_they_need_one() {
        for route in &ROUTES {
            let needs_register = matches!(route.handler, Handler::Register(_) | Handler::Request(_));
            assert!(!needs_register || route.applies_to != Service, "{}", route.path);
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        for (index, one) in ROUTES.iter().enumerate() {
            for other in &ROUTES[..index] {
                let same =
                    (one.path, &one.method, one.applies_to) == (other.path, &other.method, other.applies_to);
                assert!(!same, "{} {}", one.method, one.path);
            }
        }
    }
}
