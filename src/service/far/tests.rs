//! Every operation of FaR's services with every kind of caller.

use super::*;
use crate::service::caller::Caller;
use crate::service::dispatch::tests::{OPERATORS, PARTICIPANTS, SENDERS, callers, organisations, service};
use std::collections::BTreeSet;

/// Who may call an operation, of the callers whom the route admits.
const EXPECTED: [(&str, Option<&[&str]>); 21] = [
    ("isReachable", Some(SENDERS)),
    ("isRegistered", Some(PARTICIPANTS)),
    ("getAccountPreferences", Some(PARTICIPANTS)),
    ("register", Some(OPERATORS)),
    ("deregister", Some(OPERATORS)),
    ("getPendingAccountRequest", Some(OPERATORS)),
    ("deletePendingAccountRequest", Some(OPERATORS)),
    ("getPendingAccountPreferences", Some(OPERATORS)),
    ("deletePendingAccountPreferences", Some(OPERATORS)),
    ("storeAccountPreferences", Some(OPERATORS)),
    ("changeServiceSupplier", Some(OPERATORS)),
    ("getPendingChangeServiceSupplier", Some(OPERATORS)),
    ("deletePendingChangeServiceSupplier", Some(OPERATORS)),
    ("isAuthorizedSigner", Some(OPERATORS)),
    ("getSenders", None),
    ("getDispatchers", None),
    ("isSenderAccepted", None),
    ("getUserAccessRights", None),
    ("getUserAccessRightsNoConcent", None),
    ("testNewSigner", None),
    ("verifyAuthorizedSignatures", None),
];

#[test]
fn every_operation_admits_the_callers_that_it_should() {
    let (test, service) = service();
    let [sender, ..] = organisations(&service);
    let register = service.registers.all[0].register();
    let services = [FarService::Recipient, FarService::Authority];
    let operations: Vec<_> = services.into_iter().flat_map(FarService::operations).collect();
    let names: BTreeSet<&str> = operations.iter().map(|operation| operation.name).collect();
    assert_eq!(names, EXPECTED.iter().map(|(name, _)| *name).collect(), "an operation without a row");
    for operation in operations {
        let (_, allowed) = EXPECTED.iter().find(|(name, _)| *name == operation.name).expect("a row");
        let call = Call {
            namespace: operation.namespace.to_owned(),
            operation: operation.name.to_owned(),
            arguments: vec![("senderOrgNr".to_owned(), vec![sender.clone()])],
            ..Call::default()
        };
        for (name, caller) in callers(&test, &service) {
            // Others are refused by the route.
            let Ok(caller) = caller else { continue };
            let context = RequestContext {
                service: &service,
                id: String::new(),
                caller,
                client: String::new(),
                stream: None,
            };
            let admitted = authorize(&context, operation, &register, &call).is_ok();
            assert_eq!(
                admitted,
                allowed.is_none_or(|names| names.contains(&name)),
                "{}: {name}",
                operation.name
            );
        }
    }
    let context = RequestContext {
        service: &service,
        id: String::new(),
        caller: Caller::Unauthenticated,
        client: String::new(),
        stream: None,
    };
    let first = &FarService::Recipient.operations()[0];
    assert!(authorize(&context, first, &register, &Call::default()).is_err());
}
