//! The organisations of a register: mailbox operators, senders, dispatchers.

use crate::organisations::SenderIndex;
use rkyv::{Archive, Deserialize, Serialize};

/// A mailbox operator (brevlådeoperatör; `ServiceSupplier` on FaR's wire).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Operator {
    /// Sweden: `16` and organisationsnummer. Norway: the nine-digit organisasjonsnummer in
    /// `postkasseleverandoeradresse`.
    pub id: String,
    /// Name.
    pub name: String,
    /// `ServiceAdress`: where messages are delivered. Blank if the operator accepts no messages.
    pub service_address: String,
    /// `UIAdress`: where recipients log in.
    pub ui_address: String,
    /// `InternalServiceAdress`.
    pub internal_service_address: String,
    /// `Logo`, an address.
    pub logo: String,
}

/// Names of mailbox operators, which KRR identifies by number only.
const KRR_OPERATORS: [(&str, &str); 3] =
    [("984661185", "Digipost"), ("922020175", "e-Boks"), ("996460320", "e-Boks")];

impl Operator {
    /// A mailbox operator of KRR.
    pub(crate) fn of_krr(id: String) -> Operator {
        let known = KRR_OPERATORS.iter().find(|(known, _)| *known == id);
        Operator { name: known.map_or(&id[..], |(_, name)| name).to_owned(), id, ..Operator::default() }
    }
}

/// A sender (avsändare, anslutet offentligt organ).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Sender {
    /// `16` and organisationsnummer.
    pub id: String,
    /// Name.
    pub name: String,
    /// `Attention`: the unit within the organisation, often empty.
    pub attention: String,
}

/// A dispatcher (förmedlare), which sends for senders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dispatcher {
    /// `16` and organisationsnummer.
    pub id: String,
    /// Name.
    pub name: String,
    /// The senders it may send for, in the given order.
    pub senders: Vec<SenderIndex>,
}

/// The organisations of a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Actors {
    /// Mailbox operators, by [`OperatorIndex`](crate::organisations::OperatorIndex).
    pub operators: Vec<Operator>,
    /// Senders, by [`SenderIndex`].
    pub senders: Vec<Sender>,
    /// Dispatchers.
    pub dispatchers: Vec<Dispatcher>,
}
