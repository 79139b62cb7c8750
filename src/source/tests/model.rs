//! What a register knows, drawn at random, and the naive model of what a register file says of it.

use super::super::answer::{Answer, Answers, canonical, refused};
use super::{SENDER, sender_of};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutRecipient, json};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal, Space, Today};
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{
    AccountType, DigitalPost, Kind, Kontaktinformasjon, Operator, Outcome, Person, Recipient, Register,
};
use crate::replica::tests::random::Random;
use jiff::civil::date;
use std::collections::BTreeSet;

/// Times of contact information: never, long ago, shortly before the day of the questions.
const TIMES: [&str; 3] = ["", "2019-01-02T03:04:05Z", FRESH];
const FRESH: &str = "2026-05-04T03:02:01Z";
/// FaR's times; the last but one needs nanoseconds, the last seconds beyond 32 bits.
const FAR_TIMES: [i64; 4] =
    [NO_NANOSECONDS, 1_700_000_000_000_000_000, 1_700_000_001_000_000_007, -3_000_000_000];
/// The third has no address.
const OPERATORS: [(&str, &str); 4] = [
    ("164821000033", "https://a.example"),
    ("164821000041", "https://b.example"),
    ("164821000058", " "),
    ("164821000066", "https://c.example"),
];

/// What the register knows of an id.
#[derive(Clone, Debug)]
pub(in crate::source) enum Truth {
    Recipient(PutRecipient),
    Person(Box<Person>),
    /// It does not have the person.
    Absent,
    /// It refuses the id.
    Refused,
}

/// What a register file says of an id.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) outcome: &'static str,
    pub(super) operator: Option<String>,
    stored: Option<Stored>,
}

#[derive(Debug, PartialEq)]
enum Stored {
    Far {
        account_type: AccountType,
        pending: bool,
        operator: Option<Operator>,
        accepted: bool,
        times: [i64; 2],
    },
    Krr(Box<Person>),
}

/// Ids of a kind of register, ascending, some of them neighbours.
pub(in crate::source) fn ids(kind: Kind, random: &mut Random, count: usize) -> Vec<Ordinal> {
    let spaces = match kind {
        Kind::Far => [Space::Personnummer, Space::Samordningsnummer, Space::Organisationsnummer],
        Kind::Krr => [Space::Fodselsnummer, Space::DNummer, Space::Fodselsnummer80],
    };
    let mut ids = BTreeSet::new();
    while ids.len() < count {
        let space = random.one_of(&spaces);
        let all = if random.chance(500) { u64::from(space.size()) } else { 2000 };
        let ordinal = Ordinal(space.ordinals().start + random.below(all) as u32);
        if let Some(identity) = Identity::from_ordinal(ordinal) {
            assert!(canonical(identity.as_str()) == Some(ordinal), "an id that cannot be read back");
            ids.insert(ordinal);
        }
    }
    ids.into_iter().collect()
}

fn operator(number: usize) -> Operator {
    let (id, address) = OPERATORS[number];
    Operator {
        id: id.to_owned(),
        name: format!("Operator {number}"),
        service_address: address.to_owned(),
        ..Operator::default()
    }
}

pub(super) fn organisation(id: &str) -> OrganisationId {
    OrganisationId::parse(id).expect("an organisation")
}

impl Truth {
    /// What is known of an id that is refused with a probability in thousandths.
    pub(in crate::source) fn random(
        kind: Kind,
        ordinal: Ordinal,
        random: &mut Random,
        refused: u64,
    ) -> Truth {
        if random.chance(refused) {
            return Truth::Refused;
        }
        match kind {
            Kind::Krr if random.chance(200) => Truth::Absent,
            Kind::Krr => Truth::Person(Box::new(person(ordinal, random))),
            Kind::Far => Truth::Recipient(recipient(ordinal, random)),
        }
    }

    /// The answer of the register, and the operators that it names.
    pub(in crate::source) fn answer(&self, ordinal: Ordinal, operators: &mut Vec<Operator>) -> Answer {
        match self {
            Truth::Recipient(put) => {
                let named = (0..OPERATORS.len()).map(operator);
                let named = named.filter(|named| put.operator == Some(organisation(&named.id)));
                operators.extend(named);
                ChangeBody::PutRecipient(put.clone())
            }
            Truth::Person(person) => {
                let put = json::put_person(person, Today::CONTRACT).expect("a person");
                ChangeBody::PutPerson(Box::new(put))
            }
            Truth::Absent => ChangeBody::Remove(ordinal),
            Truth::Refused => refused(&Identity::from_ordinal(ordinal).expect("an identity")),
        }
    }

    /// The answers of a call for one id.
    pub(super) fn answers(&self, ordinal: Ordinal) -> Answers {
        let mut answers = Answers::default();
        answers.answers.push(self.answer(ordinal, &mut answers.operators));
        answers
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Truth::Refused)
    }
}

fn recipient(ordinal: Ordinal, random: &mut Random) -> PutRecipient {
    let accepts = if random.chance(700) { vec![organisation(SENDER)] } else { Vec::new() };
    PutRecipient {
        recipient: ordinal,
        account_type: random.one_of(&AccountType::ALL),
        pending: random.chance(200),
        operator: match random.below(1 + OPERATORS.len() as u64) as usize {
            0 => None,
            number => Some(organisation(OPERATORS[number - 1].0)),
        },
        last_registration: random.one_of(&FAR_TIMES[..3]),
        last_sender_accept_change: random.one_of(&FAR_TIMES),
        rule: NamedRule::new(Acceptance::Only, accepts),
    }
}

fn person(ordinal: Ordinal, random: &mut Random) -> Person {
    let mut text = |texts: &[&str]| random.one_of(texts).to_owned();
    let channels = Kontaktinformasjon {
        epostadresse: text(&["", "a@example.no", "b@example.no"]),
        epostadresse_oppdatert: text(&TIMES),
        epostadresse_sist_verifisert: text(&TIMES),
        epostadresse_sist_validert: text(&TIMES),
        epostadresse_duplisert: text(&["", "JA", "NEI"]),
        mobiltelefonnummer: text(&["", "+4799999999"]),
        mobiltelefonnummer_oppdatert: text(&TIMES),
        mobiltelefonnummer_sist_verifisert: text(&TIMES),
        mobiltelefonnummer_sist_validert: text(&TIMES),
        mobiltelefonnummer_duplisert: text(&["", "JA", "NEI"]),
    };
    let post = DigitalPost {
        postkasseadresse: text(&["", "a.b#1234", "c.d#5678"]),
        postkasseleverandoeradresse: text(&["", "984661185", "996460320", "922020175"]),
    };
    Person {
        personidentifikator: Identity::from_ordinal(ordinal).expect("an identity").as_str().to_owned(),
        reservasjon: text(&["NEI", "NEI", "NEI", "JA"]),
        reservasjonstidspunkt: text(&TIMES),
        reservasjon_oppdatert: text(&TIMES),
        status: text(&["AKTIV", "AKTIV", "AKTIV", "SLETTET"]),
        varslingsstatus: String::new(),
        kontaktinformasjon: (channels != Kontaktinformasjon::default()).then_some(channels),
        digital_post: (post != DigitalPost::default()).then_some(post),
        sertifikat: text(&["", "TUlJ", "QUJD"]),
        spraak: text(&["", "nb", "se"]),
        spraak_oppdatert: text(&TIMES),
    }
}

/// What a register file must say of an id; `None` if it was not asked.
pub(super) fn expected(truth: Option<&Truth>) -> Said {
    let without = |outcome| Said { outcome, operator: None, stored: None };
    match truth {
        None => without("not_asked"),
        Some(Truth::Refused) => without("rejected"),
        Some(Truth::Absent) => without("not_registered"),
        Some(Truth::Recipient(put)) => expected_recipient(put),
        Some(Truth::Person(person)) => expected_person(person),
    }
}

fn expected_recipient(put: &PutRecipient) -> Said {
    let named = (0..OPERATORS.len()).map(operator);
    let named = named.into_iter().find(|named| put.operator == Some(organisation(&named.id)));
    let accepted = !put.rule.senders.is_empty();
    let address = named.as_ref().filter(|named| !named.service_address.trim().is_empty());
    let outcome = match (put.account_type, accepted, put.pending, address) {
        (AccountType::Not, ..) => "not_registered",
        (_, false, ..) => "sender_declined",
        (_, _, true, _) => "pending",
        (AccountType::Anonymous, ..) => "anonymous_account",
        (_, _, _, None) => "operator_without_address",
        (AccountType::Secure, true, false, Some(_)) => "digital",
    };
    let is_digital = outcome == "digital";
    Said {
        outcome,
        operator: named.as_ref().filter(|_| is_digital).map(|named| named.id.clone()),
        stored: Some(Stored::Far {
            account_type: put.account_type,
            pending: put.pending,
            operator: named,
            accepted,
            // A mailing needs no times: they are not kept.
            times: [NO_NANOSECONDS; 2],
        }),
    }
}

fn expected_person(person: &Person) -> Said {
    let channels = person.kontaktinformasjon.clone().unwrap_or_default();
    let fresh = |address: &str, times: [&str; 2]| !address.is_empty() && times.contains(&FRESH);
    let email = [&channels.epostadresse_oppdatert[..], &channels.epostadresse_sist_verifisert];
    let mobile = [&channels.mobiltelefonnummer_oppdatert[..], &channels.mobiltelefonnummer_sist_verifisert];
    let is_fresh = fresh(&channels.epostadresse, email) || fresh(&channels.mobiltelefonnummer, mobile);
    let post = person.digital_post.clone().unwrap_or_default();
    let has_mailbox = !post.postkasseadresse.is_empty() && !post.postkasseleverandoeradresse.is_empty();
    let outcome = match (&*person.status, &*person.reservasjon, is_fresh, has_mailbox) {
        ("SLETTET", ..) => "deleted",
        (_, "JA", ..) => "reserved",
        (_, _, false, _) => "not_notifiable",
        (_, _, true, true) => "digital",
        (_, _, true, false) => "notify",
    };
    Said {
        outcome,
        operator: (outcome == "digital").then_some(post.postkasseleverandoeradresse),
        stored: Some(Stored::Krr(Box::new(person.clone()))),
    }
}

/// What a register says of an id.
pub(super) fn said(register: &Register, ordinal: Ordinal) -> Said {
    let identity = Identity::from_ordinal(ordinal).expect("an identity");
    let question = register.question(sender_of(register.kind()), date(2026, 6, 1)).expect("a question");
    let outcome = question.ask(&identity).expect("intact");
    let nanoseconds = |time: Option<_>| time.and_then(moment::nanoseconds).unwrap_or(NO_NANOSECONDS);
    let stored = register.recipient(&identity).expect("intact").map(|recipient| match recipient {
        Recipient::Far { state, rule, last_registration, last_sender_accept_change } => Stored::Far {
            account_type: state.account_type,
            pending: state.pending,
            operator: state.operator.map(|index| register.operator(index).clone()),
            accepted: rule.accepts_all(),
            times: [nanoseconds(last_registration), nanoseconds(last_sender_accept_change)],
        },
        Recipient::Krr { person, .. } => Stored::Krr(person),
    });
    let operator = match outcome {
        Outcome::Digital(index) => Some(register.operator(index).id.clone()),
        _ => None,
    };
    let outcome = match outcome {
        Outcome::Paper(reason) => reason.name(),
        other => other.name(),
    };
    Said { outcome, operator, stored }
}
