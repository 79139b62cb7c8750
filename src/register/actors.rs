//! The organisations around a register: mailbox operators, senders, dispatchers.

use rkyv::{Archive, Deserialize, Serialize};

/// A mailbox operator (brevlådeoperatör; `ServiceSupplier` on FaR's wire).
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Operator {
    /// Sweden: `16` and organisationsnummer. Norway: the nine-digit organisasjonsnummer that persons
    /// carry as `postkasseleverandoeradresse`.
    pub id: String,
    /// Name.
    pub name: String,
    /// `ServiceAdress`: where messages are delivered. Blank means that the operator takes none.
    pub service_address: String,
    /// `UIAdress`: where recipients log in.
    pub ui_address: String,
    /// `InternalServiceAdress`.
    pub internal_service_address: String,
    /// `Logo`, an address.
    pub logo: String,
}

/// Mailbox operators whose names are known: KRR itself has only their numbers.
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

/// A dispatcher (förmedlare), which sends for some senders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dispatcher {
    /// `16` and organisationsnummer.
    pub id: String,
    /// Name.
    pub name: String,
    /// Places in the list of senders, in the order in which they were given.
    pub senders: Vec<u16>,
}

/// All organisations of a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Actors {
    /// Mailbox operators; a recipient's operator is a place in this list.
    pub operators: Vec<Operator>,
    /// Senders; a rule's senders are places in this list.
    pub senders: Vec<Sender>,
    /// Dispatchers.
    pub dispatchers: Vec<Dispatcher>,
}
