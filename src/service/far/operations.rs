//! The operations of FaR's services, and what they require of a caller.

const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
const V2: &str = "http://minameddelanden.gov.se/schema/Recipient/v2";
/// Namespace of Authority's messages.
pub(super) const AUTHORITY: &str = "http://minameddelanden.gov.se/Authority";

/// A service of FaR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FarService {
    Recipient,
    Authority,
}

/// What an operation requires of a caller, beside the credentials that the route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationRequirement {
    Nothing,
    /// To be a sender, a dispatcher or a mailbox operator of the register.
    Participant,
    /// To be a mailbox operator, and the recipient's one. The operation checks it.
    Operator,
    /// To be the sender in the message, or a dispatcher of that sender.
    Sender,
}

/// An operation, the namespace of its messages, and its requirement.
pub(super) struct FarOperation {
    pub(super) name: &'static str,
    pub(super) namespace: &'static str,
    pub(super) requirement: OperationRequirement,
}

const fn operation(
    name: &'static str,
    namespace: &'static str,
    requirement: OperationRequirement,
) -> FarOperation {
    FarOperation { name, namespace, requirement }
}

static RECIPIENT_OPERATIONS: [FarOperation; 14] = {
    use OperationRequirement::{Operator, Participant, Sender};
    [
        operation("isReachable", V3, Sender),
        operation("isRegistered", V3, Participant),
        operation("getAccountPreferences", V3, Participant),
        operation("register", V3, Operator),
        operation("deregister", V3, Operator),
        operation("getPendingAccountRequest", V3, Operator),
        operation("deletePendingAccountRequest", V3, Operator),
        operation("getPendingAccountPreferences", V2, Operator),
        operation("deletePendingAccountPreferences", V2, Operator),
        operation("storeAccountPreferences", V2, Operator),
        operation("changeServiceSupplier", V2, Operator),
        operation("getPendingChangeServiceSupplier", V2, Operator),
        operation("deletePendingChangeServiceSupplier", V2, Operator),
        operation("isAuthorizedSigner", V2, Operator),
    ]
};

static AUTHORITY_OPERATIONS: [FarOperation; 7] = {
    use OperationRequirement::Nothing;
    [
        operation("getSenders", AUTHORITY, Nothing),
        operation("getDispatchers", AUTHORITY, Nothing),
        operation("isSenderAccepted", AUTHORITY, Nothing),
        operation("getUserAccessRights", AUTHORITY, Nothing),
        operation("getUserAccessRightsNoConcent", AUTHORITY, Nothing),
        operation("testNewSigner", AUTHORITY, Nothing),
        operation("verifyAuthorizedSignatures", AUTHORITY, Nothing),
    ]
};

impl FarService {
    pub(super) fn operations(self) -> &'static [FarOperation] {
        match self {
            FarService::Recipient => &RECIPIENT_OPERATIONS,
            FarService::Authority => &AUTHORITY_OPERATIONS,
        }
    }

    /// The operation of a message.
    pub(super) fn operation(self, namespace: &str, name: &str) -> Option<&'static FarOperation> {
        self.operations().iter().find(|other| (other.namespace, other.name) == (namespace, name))
    }

    /// The name of an operation; empty for any other text, which must not be repeated in log or response.
    pub(super) fn name_of(self, operation: &str) -> &'static str {
        let mut operations = self.operations().iter();
        operations.find(|other| other.name == operation).map_or("", |other| other.name)
    }
}
