//! The print service of the configuration over REST.

use crate::service::body::RequestBody;
use crate::service::context::RequestContext;
use crate::service::operation::{json_response, operation, problem};
use crate::service::problem::Problem;
use crate::service::registers::ServedRegister;
use crate::service::response::{Body, json};
use hyper::{Request, Response, StatusCode};
use utoipa::openapi::path::OperationBuilder;

/// `GET /rest/v2/printSertifikat`.
pub(in crate::service) async fn print_certificate(
    context: &RequestContext<'_>,
    _: &ServedRegister,
    _: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    context.service.print.as_ref().map(json).ok_or_else(|| {
        let detail = "the service has no certificate of a print service: krr.print_mailbox_operator and \
                      krr.print_certificate in nabar.toml name it";
        Problem::new(StatusCode::NOT_FOUND, "no-print-certificate", detail)
    })
}

pub(in crate::service) fn print_certificate_operation() -> OperationBuilder {
    operation()
        .response("200", json_response("The print service and its certificate", "PrintCertificate"))
        .response("403", problem("The caller is not authorized"))
        .response("404", problem("No print service is configured, or there is no such register"))
}
