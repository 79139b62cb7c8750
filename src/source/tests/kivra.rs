//! Registers of Kivra's answers: kept as those of FaR, for a tenant in the place of a sender.

use super::super::answer::{Answers, canonical};
use super::super::asking::Job;
use super::super::collected::Collected;
use super::super::journal::Subject;
use super::super::kivra;
use super::super::known::take_over;
use super::super::{SourceError, Terms, register};
use super::{ADDRESS, SENDER, terms_of};
use crate::changes::OrganisationId;
use crate::identities::{Identity, Ordinal};
use crate::register::{Kind, Outcome, PaperReason, QuestionError, Register};
use crate::replica::tests::fast_directory;
use crate::snapshot::Snapshot;
use jiff::Timestamp;
use jiff::civil::date;
use std::path::Path;

const REACHABLE: &str = "196810199809";
const OTHER: &str = "199001022384";

fn terms(tenant: &'static str) -> Terms<'static> {
    Terms { sender: None, tenant: Some(tenant), ..terms_of(Kind::Far) }
}

fn collected_for<'i>(path: &Path, ids: &'i [Ordinal], tenant: &'static str) -> Collected<'i> {
    let subject =
        Subject { kind: Kind::Far, address: ADDRESS.to_owned(), asker: terms(tenant).scope_sender() };
    Collected::open(path, &subject, ids, Timestamp::MIN).expect("a journal")
}

fn ids() -> Vec<Ordinal> {
    let mut ids = [REACHABLE, OTHER, SENDER].map(|id| canonical(id).expect("an id")).to_vec();
    ids.sort_unstable();
    ids
}

/// What Kivra answers when only [`REACHABLE`] and the organisation can be reached.
fn answers(ids: &[Ordinal]) -> Vec<Answers> {
    let operator = (OrganisationId::parse(kivra::OPERATOR).expect("an organisation"), ADDRESS);
    let (persons, organisations) = ids.split_at(kivra::together(ids));
    [
        (persons, format!("{{\"list\":[\"{REACHABLE}\"]}}")),
        (organisations, "{\"list\":[\"SE482100002501\"]}".to_owned()),
    ]
    .map(|(ids, body)| kivra::read(body.as_bytes(), kivra::request(ids).0, ids, operator).expect("an answer"))
    .into()
}

fn written(collected: Collected<'_>, tenant: &'static str, path: &Path) -> Register {
    collected.write(&terms(tenant), path).expect("consistent");
    let snapshot = Snapshot::open(path).expect("a register file");
    assert_eq!((snapshot.header().version(), snapshot.verify()), (2, vec![]));
    snapshot.register().expect("a register")
}

fn outcome(register: &Register, id: &str) -> Outcome {
    let question = register.question(None, date(2026, 6, 1)).expect("a question without a sender");
    assert_eq!(question.sender(), None);
    let identity = Identity::from_ordinal(canonical(id).expect("an id")).expect("an identity");
    question.ask(&identity).expect("intact")
}

fn check(register: &Register) {
    assert_eq!((register.source_name(), register.kind()), ("kivra", Kind::Far));
    for id in [REACHABLE, SENDER] {
        let Outcome::Digital(operator) = outcome(register, id) else { panic!("digital") };
        let operator = register.operator(operator);
        assert_eq!((&*operator.id, &*operator.name), (kivra::OPERATOR, "Kivra"));
    }
    assert_eq!(outcome(register, OTHER), Outcome::Paper(PaperReason::NotRegistered));
    assert_eq!(outcome(register, "195904109807"), Outcome::NotAsked);
    let refused = register.question(Some(SENDER), date(2026, 6, 1)).err();
    assert_eq!(refused, Some(QuestionError::SenderUnwanted), "the answers are those for a tenant");
}

#[test]
fn answers_of_kivra_hold_for_their_tenant() {
    let directory = fast_directory();
    let path = |name: &str| directory.path().join(name);
    let ids = ids();
    let mut first = collected_for(&path("first.journal"), &ids, "a");
    for answers in answers(&ids) {
        first.append(Timestamp::now(), answers).expect("appended");
    }
    first.sync().expect("synced");
    let known = written(first, "a", &path("first.nabar"));
    check(&known);
    assert_eq!(known.scope().and_then(|scope| scope.tenant()), Some("a"));

    let take = |tenant, name: &str| {
        let mut collected = collected_for(&path(name), &ids, tenant);
        let taken = take_over(&known, &terms(tenant), &mut collected);
        taken.map(|()| collected)
    };
    let second = take("a", "second.journal").expect("the same tenant");
    assert_eq!(second.left(), 0);
    check(&written(second, "a", &path("second.nabar")));
    assert!(matches!(take("b", "third.journal"), Err(SourceError::OtherScope)), "another tenant");
    // Nor are they those of FaR.
    let mut far = super::collected(Kind::Far, &path("far.journal"), &ids, Timestamp::MIN);
    let taken = take_over(&known, &terms_of(Kind::Far), &mut far);
    assert!(matches!(taken, Err(SourceError::OtherScope)), "a sender of FaR");
}

/// Without any answer, a list is read as with answers.
#[test]
fn an_empty_register_of_kivra_takes_no_sender() {
    let empty = register::empty(Kind::Far, None, Some("a")).expect("a register");
    assert_eq!(outcome(&empty, REACHABLE), Outcome::NotAsked);
    assert!(empty.question(Some(SENDER), date(2026, 6, 1)).is_err());
    let far = register::empty(Kind::Far, Some(SENDER), None).expect("a register");
    assert!(
        far.question(None, date(2026, 6, 1)).is_err() && far.question(Some(SENDER), date(2026, 6, 1)).is_ok()
    );
}
