//! A row of the table of routes.

use super::authorization::Requirement;
use super::body::RequestBody;
use super::context::RequestContext;
use super::problem::Problem;
use super::registers::ServedRegister;
use super::response::{self, Body};
use crate::register::Kind;
use hyper::{Method, Request, Response};
use std::pin::Pin;
use utoipa::openapi::path::OperationBuilder;

pub(super) type HandlerResult = Result<Response<Body>, Problem>;
pub(super) type HandlerFuture<'r> = Pin<Box<dyn Future<Output = HandlerResult> + Send + 'r>>;

/// The code that answers a request.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Needs no register.
    Service(fn(&RequestContext<'_>) -> Response<Body>),
    /// Needs only the register.
    Register(fn(&ServedRegister) -> Response<Body>),
    /// Returns a WSDL.
    Wsdl(&'static str),
    /// Reads the request.
    Request(
        for<'r> fn(&'r RequestContext<'r>, &'r ServedRegister, Request<RequestBody>) -> HandlerFuture<'r>,
    ),
}

/// Which registers have a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AppliesTo {
    /// The service itself: the path has no name of a register before it.
    Service,
    EveryRegister,
    Only(Kind),
}

/// A row of the table of routes. Routing, `405` and `Allow`, authorization, the names in metrics and audit log, the
/// OpenAPI description and the table in `docs/service.md` follow from it.
pub(super) struct Route {
    /// The endpoint in metrics and audit log.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// `GET`, which includes `HEAD`, or `POST`.
    pub(super) method: Method,
    /// The query string that the route is for; any if `None`.
    pub(super) query: Option<&'static str>,
    pub(super) applies_to: AppliesTo,
    pub(super) requirement: Requirement,
    pub(super) handler: Handler,
    /// As in `docs/service.md` and OpenAPI.
    pub(super) summary: &'static str,
    /// Parameters, body and responses in OpenAPI; `None` for SOAP, which WSDLs describe.
    pub(super) operation: Option<fn() -> OperationBuilder>,
    /// Whether it is for probes and metrics, which may have an address of their own.
    pub(super) is_admin: bool,
    /// Whether it can be answered by asking a live register.
    pub(super) is_live: bool,
    /// Turns a refusal into a response of the route's protocol.
    pub(super) refuse: fn(&RequestContext<'_>, &Problem) -> Response<Body>,
}

impl Route {
    pub(super) const fn new(
        method: Method,
        path: &'static str,
        name: &'static str,
        applies_to: AppliesTo,
        requirement: Requirement,
        handler: Handler,
        summary: &'static str,
    ) -> Route {
        Route {
            name,
            path,
            method,
            query: None,
            applies_to,
            requirement,
            handler,
            summary,
            operation: None,
            is_admin: false,
            is_live: false,
            refuse: refuse_with_problem,
        }
    }

    pub(super) const fn with_query(mut self, query: &'static str) -> Route {
        self.query = Some(query);
        self
    }

    pub(super) const fn described_by(mut self, operation: fn() -> OperationBuilder) -> Route {
        self.operation = Some(operation);
        self
    }

    pub(super) const fn for_admin(mut self) -> Route {
        self.is_admin = true;
        self
    }

    pub(super) const fn for_live(mut self) -> Route {
        self.is_live = true;
        self
    }

    pub(super) const fn refused_by(
        mut self,
        refuse: fn(&RequestContext<'_>, &Problem) -> Response<Body>,
    ) -> Route {
        self.refuse = refuse;
        self
    }

    /// Whether the route is for a path and query string, of a register of a kind or of the service.
    pub(super) fn is_at(&self, kind: Option<Kind>, path: &str, query: Option<&str>) -> bool {
        let applies = match (self.applies_to, kind) {
            (AppliesTo::Service, None) | (AppliesTo::EveryRegister, Some(_)) => true,
            (AppliesTo::Only(only), Some(kind)) => only == kind,
            _ => false,
        };
        applies
            && self.path == path
            && self.query.is_none_or(|only| query.is_some_and(|query| query.eq_ignore_ascii_case(only)))
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        self.method == *method || self.method == Method::GET && *method == Method::HEAD
    }
}

fn refuse_with_problem(_: &RequestContext<'_>, problem: &Problem) -> Response<Body> {
    response::problem(problem)
}
