//! Synthetic recipients of FaR. Personal numbers have the birth numbers 980 to 999, which no person has; the organisation
//! numbers begin with 4, which no organisation has.

use super::super::error::SandboxError;
use super::super::place::Place;
use super::super::random::Random;
use super::{Drawn, Resident, State, drawn, state};
use crate::identities::Country;
use crate::registration::{self, Company, PendingRequest, Person, Requested, Signatories};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Recipients.
const COUNT: usize = 10_000;

/// A sender that some recipients decline, another one, and the dispatcher of both.
pub(in crate::sandbox) const SENDER: (&str, &str) = ("164821000025", "Skattemyndigheten");
const OTHER_SENDER: (&str, &str) = ("164821000108", "Björklunda kommun");
const THIRD_SENDER: (&str, &str) = ("164821000181", "Ekbro kommun");
pub(in crate::sandbox) const DISPATCHER: (&str, &str) = ("164727000046", "Björkutskick AB");
/// Mailbox operators; the third has no service address.
pub(in crate::sandbox) const OPERATOR: (&str, &str) = ("164921000016", "Brevia AB");
pub(in crate::sandbox) const OTHER_OPERATOR: (&str, &str) = ("164921079770", "Min samhällspost");
const CLOSED_OPERATOR: (&str, &str) = ("164921159564", "Mejlo Sverige AB");

pub(super) static STATES: [State; 12] = [
    state("digital", 40, "mailbox at Brevia AB, accepts all senders"),
    state("digital-other-operator", 20, "mailbox at Min samhällspost, accepts all senders"),
    state("digital-coordination-number", 4, "a coordination number (day + 60) with a mailbox at Brevia AB"),
    state(
        "digital-company",
        5,
        "an organisation with a mailbox at Brevia AB; two of its three signatories sign",
    ),
    state("declines-the-sender", 8, "accepts all senders but Skattemyndigheten"),
    state("accepts-one-sender", 4, "accepts Ekbro kommun only"),
    state("anonymous", 4, "an account with user name and password: not reachable"),
    state("pending", 3, "a registration under way: not reachable"),
    state("pending-company", 2, "an organisation whose registration lacks a signature"),
    state("operator-without-address", 3, "mailbox at Mejlo Sverige AB, which has no service address"),
    state("no-account", 5, "was deregistered: the register has it with the type Not"),
    state("not-in-the-register", 2, "a valid number that the register does not have"),
];

/// Writes the extract and the file of signatories. Returns all recipients.
pub(super) fn make(
    place: &Place,
    random: &mut Random,
    now: Timestamp,
) -> Result<Vec<Resident>, SandboxError> {
    let states = drawn(&STATES, COUNT, random);
    let mut ids = Drawn { random, taken: BTreeSet::new() };
    let mut rows = "recipient_id,type,pending,operator_id,last_registration,acceptance,exceptions,\
                    last_sender_accept_change\n"
        .to_owned();
    let (mut residents, mut companies) = (Vec::with_capacity(COUNT), Vec::new());
    for state in states {
        let id = id_of(state, &mut ids);
        if id.starts_with("16") {
            companies.push(company(&id, companies.len(), &mut ids));
        }
        let days = ids.random.below(2000) as i64;
        let registered = now - SignedDuration::from_hours(24 * (days + 1));
        rows.push_str(&row(state, &id, registered));
        residents.push(Resident { register: "far", state, id });
    }
    let organisations = |heads: &str, rows: &[String]| [heads, &rows.concat()].concat();
    let operator = |(id, name): (&str, &str), host: &str, has_address: bool| {
        let service = if has_address { format!("https://mm.{host}/service/v3") } else { String::new() };
        format!("{id},{name},{service},https://www.{host}/,,\n")
    };
    let operators = [
        operator(OPERATOR, "brevia.example", true),
        operator(OTHER_OPERATOR, "samhallspost.example", true),
        operator(CLOSED_OPERATOR, "mejlo.example", false),
    ];
    let sender = |(id, name): (&str, &str)| format!("{id},{name},\n");
    let senders = [SENDER, OTHER_SENDER, THIRD_SENDER].map(sender);
    let dispatchers = [format!("{},{},{} {}\n", DISPATCHER.0, DISPATCHER.1, SENDER.0, OTHER_SENDER.0)];
    for (name, text) in [
        ("recipients.csv", rows),
        (
            "operators.csv",
            organisations("id,name,service_address,ui_address,internal_service_address,logo\n", &operators),
        ),
        ("senders.csv", organisations("id,name,attention\n", &senders)),
        ("dispatchers.csv", organisations("id,name,senders\n", &dispatchers)),
        ("register.toml", format!("kind = \"far\"\nsequence = 1000\nas_of = \"{now}\"\n")),
    ] {
        place.write(&format!("extract/far/{name}"), text.as_bytes())?;
    }
    place.write("signatories.toml", Signatories::text(&companies).as_bytes())?;
    Ok(residents)
}

/// The requests of the companies whose registration is pending: the first of three signatories has signed.
pub(super) fn make_pending(
    place: &Place,
    residents: &[Resident],
    now: Timestamp,
) -> Result<(), SandboxError> {
    let text = place.read("signatories.toml")?.unwrap_or_default();
    let signatories = Signatories::parse(&text, &place.join("signatories.toml"))?;
    let pending = residents.iter().filter(|resident| resident.state == "pending-company");
    let request = |resident: &Resident| PendingRequest {
        recipient: resident.id.clone(),
        requested: Requested::Create("Secure".to_owned()),
        operator: OPERATOR.0.to_owned(),
        supplier: OPERATOR.0.to_owned(),
        agreement: "Avtal".to_owned(),
        date: "2026-06-01".to_owned(),
        signed_by: signatories
            .company(&resident.id)
            .map_or(Vec::new(), |company| company.signers[..1].to_vec()),
        time: now,
    };
    Ok(registration::write_pending(&place.join("data/far"), pending.map(request).collect())?)
}

fn id_of(state: &str, ids: &mut Drawn<'_>) -> String {
    match state {
        "digital-company" | "pending-company" => {
            ids.next(Country::Sweden, |random| format!("164{:08}", 50_000_000 + random.below(9_999_999)))
        }
        "digital-coordination-number" => person(ids, 60),
        _ => person(ids, 0),
    }
}

fn person(ids: &mut Drawn<'_>, more_days: usize) -> String {
    ids.next(Country::Sweden, |random| {
        let (year, month) = (1930 + random.below(85), 1 + random.below(12));
        let (day, number) = (1 + random.below(28) + more_days, 980 + random.below(20));
        format!("{year}{month:02}{day:02}{number}")
    })
}

/// A company with three signatories, two of whom sign together.
fn company(id: &str, number: usize, ids: &mut Drawn<'_>) -> Company {
    let signer = |nth: usize, ids: &mut Drawn<'_>| {
        let name = ["Anna Ek", "Bo Lind", "Eva Björk"][nth].to_owned();
        Person { id: person(ids, 0), name }
    };
    Company {
        id: id.to_owned(),
        name: format!("Sandlådan {number} AB"),
        rule: "Firman tecknas av två styrelseledamöter i förening.".to_owned(),
        signatures: 2,
        signers: (0..3).map(|nth| signer(nth, ids)).collect(),
    }
}

fn row(state: &str, id: &str, registered: Timestamp) -> String {
    let (account_type, pending, operator, acceptance, exceptions) = match state {
        "digital" | "digital-coordination-number" | "digital-company" => {
            ("Secure", false, OPERATOR.0, "all-except", "")
        }
        "digital-other-operator" => ("Secure", false, OTHER_OPERATOR.0, "all-except", ""),
        "declines-the-sender" => ("Secure", false, OPERATOR.0, "all-except", SENDER.0),
        "accepts-one-sender" => ("Secure", false, OPERATOR.0, "only", THIRD_SENDER.0),
        "anonymous" => ("Anonymous", false, OPERATOR.0, "all-except", ""),
        "pending" | "pending-company" => ("Secure", true, OPERATOR.0, "all-except", ""),
        "operator-without-address" => ("Secure", false, CLOSED_OPERATOR.0, "all-except", ""),
        "no-account" => ("Not", false, "", "all-except", ""),
        _ => return String::new(),
    };
    format!("{id},{account_type},{pending},{operator},{registered},{acceptance},{exceptions},\n")
}
