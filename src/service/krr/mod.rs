//! KRR's contracts: persons and changes over REST, and the SOAP service of contract 16-02.

mod feed;
mod person;
mod print;
mod rest;
mod scopes;
mod soap;

pub(super) use print::{print_certificate, print_certificate_operation};
pub(super) use rest::{
    ChangesPage, ChangesRequest, PersonsRequest, PersonsResponse, changes, changes_operation, persons,
    persons_operation,
};
pub(super) use soap::{WSDL as OPPSLAGSTJENESTE_WSDL, oppslagstjeneste, refuse as refuse_oppslagstjeneste};
