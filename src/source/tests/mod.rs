//! Asking a register: a simulation with faults and crashes, registers of answers, and their files.

mod fake;
mod file;
mod front;
mod kivra;
mod known;
pub(super) mod model;
mod retries;
mod simulation;

use super::collected::Collected;
use super::journal::Subject;
use super::{SourceError, Terms};
use crate::identities::Ordinal;
use crate::register::{Kind, Register, Scope};
use crate::snapshot::Snapshot;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

const SENDER: &str = "164821000025";
const ADDRESS: &str = "https://register.example/";

fn subject_of(kind: Kind) -> Subject {
    Subject { kind, address: ADDRESS.to_owned(), asker: sender_of(kind).unwrap_or_default().to_owned() }
}

fn sender_of(kind: Kind) -> Option<&'static str> {
    (kind == Kind::Far).then_some(SENDER)
}

/// Terms under which no file of these tests expires.
fn terms_of(kind: Kind) -> Terms<'static> {
    let (max_age, delete_after) = (Duration::from_secs(12 * 3600), Duration::from_secs(1 << 40));
    Terms {
        kind,
        address: ADDRESS,
        sender: sender_of(kind),
        tenant: None,
        on_behalf_of: "",
        max_age,
        delete_after,
    }
}

/// The answers of a journal for some ids.
fn collected<'i>(kind: Kind, path: &Path, ids: &'i [Ordinal], since: Timestamp) -> Collected<'i> {
    Collected::open(path, &subject_of(kind), ids, since).expect("consistent")
}

/// The ids without an answer.
fn left(collected: &Collected<'_>) -> Vec<Ordinal> {
    let mut from = 0;
    let next = || {
        let (index, id) = collected.unanswered(from)?;
        from = index + 1;
        Some(id)
    };
    std::iter::from_fn(next).collect()
}

/// The register of some answers, whose file is intact.
fn written(collected: Collected<'_>, path: &Path) -> Result<(Register, Scope), SourceError> {
    let kind = journal_kind(collected.ids);
    let (scope, bytes, _) = collected.write(&terms_of(kind), path)?;
    let snapshot = Snapshot::open(path).expect("a register file");
    // `verify` checks that it is 3 exactly if a contact has a time of validation.
    let version = if snapshot.header().has_validated { 3 } else { 2 };
    assert_eq!((snapshot.header().file_bytes, snapshot.header().version()), (bytes, version));
    assert_eq!(snapshot.verify(), []);
    assert!(snapshot.complete_register().is_err(), "it has some answers only");
    let register = snapshot.register().expect("a register");
    assert_eq!(register.scope(), Some(&scope));
    Ok((register, scope))
}

/// The kind of register that has these ids, of which there is at least one.
fn journal_kind(ids: &[Ordinal]) -> Kind {
    match crate::identities::Country::Norway.has(ids[0]) {
        true => Kind::Krr,
        false => Kind::Far,
    }
}
