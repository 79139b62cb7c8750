//! What requests do to a register, what is pending, and what a crash leaves.

use super::*;
use crate::register::{AccountType, Recipient};
use crate::store::{Lines, init};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const OPERATOR: &str = "164921000016";
const OTHER: &str = "164921079770";
const COMPANY: &str = "165560000167";
const ANNA: &str = "197509029810";
const BO: &str = "194908079819";
const PERSON: &str = "189001019802";

/// A data directory of the fixture whose only known company is [`COMPANY`]: Anna and Bo sign together.
struct World {
    work: TempDir,
    data: PathBuf,
    signatories: PathBuf,
}

impl World {
    fn new() -> World {
        let work = tempfile::tempdir().expect("a directory");
        let (data, signatories) = (work.path().join("far"), work.path().join("signatories.toml"));
        init(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far"), &data).expect("a data directory");
        let signers = [(ANNA, "Anna Ek"), (BO, "Bo Lind")];
        let company = Company {
            id: COMPANY.to_owned(),
            name: "Exempelbolaget AB".to_owned(),
            rule: String::new(),
            signatures: 2,
            signers: signers.map(|(id, name)| Person { id: id.to_owned(), name: name.to_owned() }).to_vec(),
        };
        fs::write(&signatories, Signatories::text(&[company])).expect("written");
        World { work, data, signatories }
    }

    fn open(&self) -> Registrations {
        let writer = Arc::new(Writer::open(&self.data).expect("a writer"));
        Registrations::open(writer, Some(&self.signatories)).expect("opened")
    }

    fn pending_text(&self) -> String {
        fs::read_to_string(self.data.join(pending::PENDING)).expect("read")
    }
}

fn submit(
    registrations: &Registrations,
    acting: &str,
    recipient: &str,
    requested: &Requested,
    signer: &str,
) -> Result<Authorization, RegistrationError> {
    let signers = [Person { id: signer.to_owned(), name: String::new() }];
    let supplier = (!matches!(requested, Requested::Preferences(_))).then_some(acting);
    let submission =
        Submission { recipient, supplier, agreement: "text", date: "2026-06-01", signers: &signers };
    registrations.submit(Acting::Operator(acting), requested, &submission)
}

fn create() -> Requested {
    Requested::Create("Secure".to_owned())
}

/// Type, whether the registration is pending, and the operator.
fn account(registrations: &Registrations, id: &str) -> Option<(AccountType, bool, String)> {
    let register = registrations.writer.register();
    match register.recipient(&recipient(id).expect("an identity")).expect("undamaged")? {
        Recipient::Far { state, .. } => {
            let operator = state.operator.map(|index| register.operator(index).id.clone());
            Some((state.account_type, state.pending, operator.unwrap_or_default()))
        }
        Recipient::Krr { .. } => None,
    }
}

#[test]
fn a_person_registers_moves_and_leaves() {
    let world = World::new();
    let registrations = world.open();
    let complete = |done: Result<Authorization, RegistrationError>| {
        assert_eq!(done.expect("carried out").status, AuthorizationStatus::Complete);
    };
    complete(submit(&registrations, OPERATOR, PERSON, &create(), PERSON));
    let secure = |operator: &str| Some((AccountType::Secure, false, operator.to_owned()));
    assert_eq!(account(&registrations, PERSON), secure(OPERATOR));
    let before = registrations.writer.register().sequence();
    complete(submit(&registrations, OPERATOR, PERSON, &create(), PERSON));
    assert_eq!(registrations.writer.register().sequence(), before, "it is so already");
    let refused = submit(&registrations, OTHER, PERSON, &create(), PERSON);
    assert!(matches!(refused, Err(RegistrationError::NotAuthorised(_))));
    complete(submit(&registrations, OTHER, PERSON, &Requested::Operator, PERSON));
    assert_eq!(account(&registrations, PERSON), secure(OTHER));
    let refused = submit(&registrations, OPERATOR, PERSON, &Requested::Delete, PERSON);
    assert!(matches!(refused, Err(RegistrationError::NotAuthorised(_))));
    complete(submit(&registrations, OTHER, PERSON, &Requested::Delete, PERSON));
    assert_eq!(account(&registrations, PERSON), None);
    let refused = submit(&registrations, OTHER, PERSON, &Requested::Delete, PERSON);
    assert!(matches!(refused, Err(RegistrationError::Missing(_))));
    let refused = submit(&registrations, OPERATOR, PERSON, &create(), ANNA);
    assert!(matches!(refused, Err(RegistrationError::NotAuthorised(_))), "another one's signature");
    let refused = submit(&registrations, OPERATOR, "189001019803", &create(), "189001019803");
    assert!(matches!(refused, Err(RegistrationError::NoSuchPerson)));
}

/// Accepted senders become a rule that accepts those who join later.
#[test]
fn preferences_are_the_accepted_senders() {
    let world = World::new();
    let registrations = world.open();
    submit(&registrations, OPERATOR, PERSON, &create(), PERSON).expect("registered");
    let register = registrations.writer.register();
    let mut accepted: Vec<String> =
        register.senders().iter().skip(1).map(|sender| sender.id.clone()).collect();
    let declined = register.senders()[0].id.clone();
    accepted.sort_unstable();
    let requested = Requested::Preferences(accepted);
    submit(&registrations, OPERATOR, PERSON, &requested, PERSON).expect("stored");
    let line = br#"{"put_sender":{"id":"164821720663","name":"New"}}"#;
    let writer = &registrations.writer;
    let lines = Lines::parse_unnumbered(line, Timestamp::now(), Kind::Far);
    let (_, pending) =
        writer.append_after(|sequence| lines.numbered_after(sequence), None).expect("appended");
    writer.wait(pending).expect("durable");
    let register = registrations.writer.register();
    let Some(Recipient::Far { rule, .. }) =
        register.recipient(&recipient(PERSON).expect("an identity")).expect("undamaged")
    else {
        panic!("no recipient");
    };
    for (index, sender) in (0..).map(crate::register::SenderIndex::new).zip(register.senders()) {
        assert_eq!(rule.accepts(index), sender.id != declined, "{}", sender.id);
    }
    let unknown = Requested::Preferences(vec!["165560000167".to_owned()]);
    let refused = submit(&registrations, OPERATOR, PERSON, &unknown, PERSON);
    assert!(matches!(refused, Err(RegistrationError::BadInput(_))));
}

#[test]
fn a_company_needs_the_signatures_of_its_rule() {
    let world = World::new();
    let registrations = world.open();
    let first = submit(&registrations, OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    assert_eq!(first.status, AuthorizationStatus::Incomplete);
    let ids = |persons: &[Person]| persons.iter().map(|person| person.id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&first.signed_by), ids(&first.possible_signers)),
        (vec![ANNA.to_owned()], vec![BO.to_owned()])
    );
    assert_eq!(account(&registrations, COMPANY), Some((AccountType::Secure, true, OPERATOR.to_owned())));
    drop(registrations);
    // Also after a new start.
    let registrations = world.open();
    let acting = Acting::Operator(OPERATOR);
    assert_eq!(registrations.pending_accounts(acting, &[], BO).expect("read").len(), 1);
    assert!(registrations.pending_accounts(Acting::Operator(OTHER), &[], BO).expect("read").is_empty());
    let again = submit(&registrations, OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    assert_eq!(again.status, AuthorizationStatus::Incomplete, "the same signature twice");
    let second = submit(&registrations, OPERATOR, COMPANY, &create(), BO).expect("carried out");
    assert_eq!((second.status, second.signed_by.len()), (AuthorizationStatus::Complete, 2));
    assert_eq!(second.signed_by[0].name, "Anna Ek", "from the file");
    assert_eq!(account(&registrations, COMPANY), Some((AccountType::Secure, false, OPERATOR.to_owned())));
    assert!(registrations.pending_accounts(acting, &[], BO).expect("read").is_empty());
    // Another content begins again.
    let all: Vec<String> = Vec::new();
    let none = Requested::Preferences(all);
    let one = Requested::Preferences(vec!["164821000025".to_owned()]);
    submit(&registrations, OPERATOR, COMPANY, &none, ANNA).expect("kept");
    let other = submit(&registrations, OPERATOR, COMPANY, &one, BO).expect("kept");
    assert_eq!((other.status, other.signed_by.len()), (AuthorizationStatus::Incomplete, 1));
    registrations.delete_pending(acting, COMPANY, ANNA, PendingKind::Preferences).expect("given up");
    let missing = registrations.delete_pending(acting, COMPANY, ANNA, PendingKind::Preferences);
    assert!(matches!(missing, Err(RegistrationError::Missing(_))));
    // Leaving gives up what is pending.
    submit(&registrations, OPERATOR, COMPANY, &none, ANNA).expect("kept");
    submit(&registrations, OPERATOR, COMPANY, &Requested::Delete, ANNA).expect("kept");
    submit(&registrations, OPERATOR, COMPANY, &Requested::Delete, BO).expect("carried out");
    assert_eq!(account(&registrations, COMPANY), None);
    assert!(!world.pending_text().contains(COMPANY));
    let unknown = submit(&registrations, OPERATOR, "164560149462", &create(), ANNA);
    assert!(unknown.is_ok_and(|unknown| unknown.status == AuthorizationStatus::RulesNotSupported));
}

/// A registration that is given up leaves the register.
#[test]
fn a_pending_registration_is_given_up() {
    let world = World::new();
    let registrations = world.open();
    submit(&registrations, OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    let others = registrations.delete_pending(Acting::Operator(OTHER), COMPANY, ANNA, PendingKind::Account);
    assert!(matches!(others, Err(RegistrationError::Missing(_))));
    let stranger =
        registrations.delete_pending(Acting::Operator(OPERATOR), COMPANY, PERSON, PendingKind::Account);
    assert!(matches!(stranger, Err(RegistrationError::NotAuthorised(_))));
    registrations
        .delete_pending(Acting::Operator(OPERATOR), COMPANY, BO, PendingKind::Account)
        .expect("given up");
    assert_eq!(account(&registrations, COMPANY), None);
}

/// A crash after the change and before the pending request was removed.
#[test]
fn what_was_completed_is_not_pending_after_a_crash() {
    let world = World::new();
    let registrations = world.open();
    submit(&registrations, OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    let kept = world.pending_text();
    submit(&registrations, OPERATOR, COMPANY, &create(), BO).expect("carried out");
    drop(registrations);
    fs::write(world.data.join(pending::PENDING), &kept).expect("written");
    let registrations = world.open();
    assert!(registrations.pending_accounts(Acting::Anybody, &[], ANNA).expect("read").is_empty());
    drop(registrations);
    for damaged in [&kept[..kept.len() / 2], "", &kept.replace("\"version\": 1", "\"version\": 2")] {
        fs::write(world.data.join(pending::PENDING), damaged).expect("written");
        let writer = Arc::new(Writer::open(&world.data).expect("a writer"));
        let error = Registrations::open(writer, None).err().expect("refused").to_string();
        assert!(error.contains("pending.json") && !error.contains(COMPANY), "{error}");
    }
    assert!(world.work.path().exists());
}

/// With as many pending requests as are kept, one more is refused and changes nothing; one that completes is carried out.
#[test]
fn pending_requests_are_limited() {
    let world = World::new();
    let registrations = world.open();
    submit(&registrations, OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    let request = registrations.pending().of(COMPANY, PendingKind::Account).expect("pending").clone();
    let other = |number: usize| PendingRequest { recipient: format!("16{number:010}"), ..request.clone() };
    for (agreement, others) in [(4, pending::REQUESTS_MAX), (60_000, 280)] {
        let full = (0..others).map(|number| PendingRequest {
            agreement: "x".repeat(agreement),
            requested: Requested::Delete,
            ..other(number)
        });
        let full = full.chain([request.clone()]).collect();
        registrations.pending().set(full).expect("written");
        let sequence = registrations.writer.register().sequence();
        let none = Requested::Preferences(Vec::new());
        submit(&registrations, OPERATOR, COMPANY, &none, ANNA).expect_err("not registered yet");
        let refused =
            submit(&registrations, OPERATOR, COMPANY, &Requested::Create("Anonymous".to_owned()), ANNA);
        assert!(matches!(refused, Err(RegistrationError::Busy(_))), "{others}");
        assert_eq!(registrations.writer.register().sequence(), sequence);
    }
    let done = submit(&registrations, OPERATOR, COMPANY, &create(), BO).expect("carried out");
    assert_eq!(done.status, AuthorizationStatus::Complete);
}

/// A signatory who has left the file of signatories no longer counts.
#[test]
fn signatures_of_those_who_have_left_do_not_count() {
    let world = World::new();
    submit(&world.open(), OPERATOR, COMPANY, &create(), ANNA).expect("kept");
    let text = fs::read_to_string(&world.signatories).expect("read").replace(ANNA, PERSON);
    fs::write(&world.signatories, text).expect("written");
    let registrations = world.open();
    let second = submit(&registrations, OPERATOR, COMPANY, &create(), BO).expect("kept");
    assert_eq!((second.status, second.signed_by.len()), (AuthorizationStatus::Incomplete, 1));
}

/// Each of many requests at a time is one change.
#[test]
fn requests_at_a_time_are_all_carried_out() {
    let world = World::new();
    let registrations = world.open();
    let register = registrations.writer.register();
    let mut ids = Vec::new();
    let read = register.for_each::<crate::register::Damage>(|identity, found| {
        if let Recipient::Far { state, .. } = found
            && state.account_type != AccountType::Not
            && !state.pending
            && state.operator.is_some_and(|index| register.operator(index).id == OPERATOR)
            && identity.space() != Space::Organisationsnummer
        {
            ids.push(identity.as_str().to_owned());
        }
        Ok(())
    });
    read.expect("undamaged");
    ids.truncate(64);
    let before = register.sequence();
    std::thread::scope(|scope| {
        for part in ids.chunks(8) {
            let registrations = &registrations;
            scope.spawn(move || {
                for round in 0..3 {
                    for id in part {
                        let accepted =
                            ["164821000025", "164821000108"][..round % 3].iter().map(|id| (*id).to_owned());
                        let requested = Requested::Preferences(accepted.collect());
                        submit(registrations, OPERATOR, id, &requested, id).expect("stored");
                    }
                }
            });
        }
    });
    let after = registrations.writer.register();
    assert_eq!(after.sequence() - before, 3 * ids.len() as u64);
    for id in &ids {
        let found = after.recipient(&recipient(id).expect("an identity")).expect("undamaged");
        let Some(Recipient::Far { rule, .. }) = found else { panic!("it has gone") };
        let accepted = (0..).map(crate::register::SenderIndex::new).zip(after.senders());
        let accepted: Vec<&str> = accepted
            .filter(|(index, _)| rule.accepts(*index))
            .map(|(_, sender)| sender.id.as_str())
            .collect();
        assert_eq!(accepted, ["164821000025", "164821000108"]);
    }
}
