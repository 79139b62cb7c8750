//! Forged files, whose checksums are valid: they are refused on opening, or give errors, and never a panic.

use super::model::fixture;
use crate::changes::apply::Editor;
use crate::changes::encoding::encode;
use crate::changes::{Change, ChangeBody, NamedRule, OrganisationId, SetAcceptance, difference, json};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal, Space};
use crate::index::OwnedCodes;
use crate::limits::{OPERATORS_MAX, SEQUENCE_MAX};
use crate::organisations::{OperatorNumber, SenderIndex, SenderNumber};
use crate::register::state::{FarState, State, StateRule};
use crate::register::{AccountType, Damage, Operator, Register, Sender};
use crate::snapshot::format::{HEADER_BYTES, OpenError};
use crate::snapshot::write::{ColdDraft, ContactsDraft, Draft};
use crate::snapshot::{Snapshot, write};
use crate::store::format::{FRAME_HEAD_BYTES, root_sum, seal_frame};
use crate::store::{Reader, StoreError, Writer, init, names};
use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn genuine(name: &str) -> Register {
    let bytes = super::model::built(&fixture(name));
    Snapshot::from_bytes(&bytes).and_then(|file| file.register()).expect("a register")
}

/// The file of a register that a forger has changed before its checksums were computed.
fn forged(register: &Register, forge: impl FnOnce(&mut Draft<'_>)) -> Vec<u8> {
    let mut draft = Draft::of(register).expect("undamaged");
    forge(&mut draft);
    let mut file = Cursor::new(Vec::new());
    draft.write_to(&mut file).expect("written");
    file.into_inner()
}

fn opened(bytes: &[u8]) -> Result<Register, OpenError> {
    Snapshot::from_bytes(bytes).and_then(|file| file.register())
}

#[test]
fn forged_organisations_and_states_are_refused_on_opening() {
    let far = genuine("far");
    let state = |operator, rule| {
        let operator = Some(OperatorNumber::new(operator));
        State::from(FarState { account_type: AccountType::Secure, pending: false, operator, rule })
    };
    type Forge = Box<dyn FnOnce(&mut Draft<'_>)>;
    let forgeries: Vec<(&str, Forge)> = vec![
        (
            "a dispatcher refers to a sender that does not exist",
            Box::new(|draft| draft.actors.dispatchers[0].senders[0] = SenderIndex::new(65_280)),
        ),
        (
            "more organisations",
            Box::new(|draft| draft.actors.operators = vec![Operator::default(); OPERATORS_MAX + 1]),
        ),
        (
            "more organisations",
            Box::new(|draft| draft.actors.senders = vec![Sender::default(); u16::MAX as usize + 2]),
        ),
        (
            "occurs twice",
            Box::new(|draft| {
                let twice = draft.actors.senders[0].clone();
                draft.actors.senders.push(twice);
            }),
        ),
        ("is invalid", Box::new(|draft| draft.actors.operators[0].id = "5566".to_owned())),
        (
            "an operator that does not exist",
            Box::new(move |draft| draft.states.push(state(4000, StateRule::AcceptsAll))),
        ),
        (
            "a rule that does not exist",
            Box::new(move |draft| draft.states.push(state(0, StateRule::Shared(1 << 30)))),
        ),
        (
            "is not possible",
            Box::new(|draft| draft.states.push(bytemuck::cast([0u8, 0, 0, 0, 0, 0, 3, 0x80]))),
        ),
        (
            "state 0 is not that of absent recipients",
            Box::new(|draft| draft.states[0] = bytemuck::cast([0u8, 0, 0, 0, 0, 0, 2, 0x80])),
        ),
        ("higher than any register can have", Box::new(|draft| draft.sequence = SEQUENCE_MAX + 1)),
        ("higher than any register can have", Box::new(|draft| draft.sequence = u64::MAX)),
    ];
    for (why, forge) in forgeries {
        let error = opened(&forged(&far, forge)).err().unwrap_or_else(|| panic!("opened: {why}")).to_string();
        assert!(error.contains(why), "{error}");
    }
    let krr = genuine("krr");
    let error = opened(&forged(&krr, |draft| draft.actors.senders.push(Sender::default()))).err();
    assert!(error.expect("senders in Norway").to_string().contains("more organisations"));
    assert!(opened(&forged(&far, |draft| draft.sequence = SEQUENCE_MAX)).is_ok());
}

/// Uses everything of a register that may be forged, also as `verify`, a checkpoint and `export` do.
fn use_all(bytes: &[u8], genuine: &Register, identities: &[Identity], changes: &[Change]) -> bool {
    let Ok(register) = opened(bytes) else { return false };
    let date = jiff::civil::date(2026, 6, 1);
    let senders = register.senders().iter().map(|sender| Some(sender.id.clone())).chain([None]);
    for sender in senders {
        let Ok(question) = register.question(sender.as_deref(), date) else { continue };
        identities.iter().for_each(|identity| _ = question.ask(identity));
    }
    identities.iter().for_each(|identity| drop(register.recipient(identity)));
    let _ = (register.content(), register.census());
    let _ = register.for_each::<Damage>(|_, _| Ok(()));
    let _ = difference::<Damage>(&register, genuine, |_| Ok(()));
    let checkpoint = |register: &Register| {
        Draft::of(register).is_ok_and(|draft| draft.write_to(Cursor::new(Vec::new())).is_ok())
    };
    checkpoint(&register);
    if let Ok(mut editor) = Editor::of(&register)
        && let Ok(applied) = editor.apply(&register, changes)
    {
        let _ = applied.register.content();
        let _ = applied.register.for_each::<Damage>(|_, _| Ok(()));
        checkpoint(&applied.register);
    }
    Snapshot::from_bytes(bytes).is_ok_and(|file| file.verify().is_empty())
}

/// Sets one element to a value, in one of the arrays that refer to others. Returns the name of the array.
fn change_one(draft: &mut Draft<'_>, nth: usize, value: u32) -> &'static str {
    fn set<T>(list: &mut [T], nth: usize, value: T) {
        if !list.is_empty() {
            let at = nth % list.len();
            list[at] = value;
        }
    }
    match nth % 9 {
        0 => set(&mut draft.index.exception_rules, nth / 9, value),
        1 => set(&mut draft.index.exception_places, nth / 9, value as u16),
        2 => set(&mut draft.rules.heads, nth / 9, value),
        3 => set(&mut draft.rules.members, nth / 9, SenderNumber::new(value as u16)),
        4 => set(bytemuck::cast_slice_mut::<State, u32>(&mut draft.states[1..]), nth / 9, value),
        5 => match &mut draft.index.codes {
            OwnedCodes::One(codes) => set(&mut codes[1..], nth / 9, value as u8),
            OwnedCodes::Two(codes) => set(&mut codes[1..], nth / 9, value as u16),
            OwnedCodes::Four(codes) => set(&mut codes[1..], nth / 9, value),
        },
        6 => set(&mut draft.index.directory, nth / 9 * 977, value % 3),
        7 => match &mut draft.cold {
            ColdDraft::Krr { contacts: ContactsDraft::Packed(contacts), .. } => {
                set(&mut contacts.bytes, nth / 9 * 31, value as u8)
            }
            ColdDraft::Far { last_registration: write::Times::Seconds(times), .. } => {
                set(times, nth / 9, value);
            }
            _ => {}
        },
        _ => {
            if let Some(dispatcher) = draft.actors.dispatchers.first_mut() {
                set(&mut dispatcher.senders, nth / 9, SenderIndex::new(value as u16));
            }
        }
    }
    ["rules", "places", "heads", "members", "states", "codes", "directory", "cold", "dispatchers"][nth % 9]
}

#[test]
fn forged_positions_and_numbers_never_panic() {
    for name in ["far", "krr"] {
        let register = genuine(name);
        let mut identities = Vec::new();
        let all = register.for_each::<Damage>(|identity, _| {
            identities.push(*identity);
            Ok(())
        });
        all.expect("undamaged");
        let text = fs::read_to_string(fixture(&format!("changes/{name}.jsonl"))).expect("the fixture");
        let parsed = text.lines().map(|line| json::parse(line.as_bytes(), register.kind()));
        let changes: Vec<Change> = parsed.collect::<Result<_, _>>().expect("changes");
        assert!(use_all(&forged(&register, |_| ()), &register, &identities, &changes), "{name} is whole");
        for nth in 0..54 {
            let value = [u32::MAX, 65_280, 0, 256, 1, u32::MAX - 1][nth / 9];
            let mut what = "";
            let bytes = catch_unwind(AssertUnwindSafe(|| {
                forged(&register, |draft| what = change_one(draft, nth, value))
            }));
            // A directory that refers to a block twice cannot even be sealed.
            let Ok(bytes) = bytes else { continue };
            let used = catch_unwind(AssertUnwindSafe(|| use_all(&bytes, &register, &identities, &changes)));
            assert!(used.is_ok(), "{name}: {what} {nth} set to {value}");
        }
    }
}

/// Appends a batch with a valid sum to the log of a data directory.
fn append(data: &Path, change: &Change) {
    let file = fs::read(data.join(names::register(1000))).expect("the register file");
    let segment = data.join(names::segment(1000));
    let mut log = fs::read(&segment).expect("the log");
    let mut frame = vec![0; FRAME_HEAD_BYTES];
    encode(change, &mut frame);
    let durable = log.len() as u64;
    seal_frame(&mut frame, 1000, change.sequence, 1, durable, &root_sum(&file[..HEADER_BYTES]));
    log.extend(frame);
    fs::write(segment, log).expect("written");
}

/// A forged batch is damage for every reader and writer of the directory: `verify`, `checkpoint`, `export` and replicas agree.
#[test]
fn a_forged_batch_is_damage_for_every_reader() {
    let id = |text: &str| OrganisationId::parse(text).expect("an organisation");
    let change = |what| Change { sequence: 1001, time: 0, what };
    let accept = |senders: [&str; 2]| {
        let rule = NamedRule { acceptance: Acceptance::Only, senders: senders.map(id).into() };
        let recipient = Space::Personnummer.ordinals().start;
        change(ChangeBody::SetAcceptance(SetAcceptance {
            recipient: Ordinal(recipient),
            last_sender_accept_change: 0,
            rule,
        }))
    };
    let operator = Operator { id: "492000-0009".to_owned(), ..Operator::default() };
    let has_identity = |ordinal: &u32| Identity::from_ordinal(Ordinal(*ordinal)).is_some();
    let norwegian = Space::Fodselsnummer.ordinals().find(has_identity).expect("a person");
    let others = |sequence| Change { sequence, time: 0, what: ChangeBody::Others { previous: 1000 } };
    let cases = [
        (None, others(1001)),
        (None, others(SEQUENCE_MAX)),
        (Some("not valid"), others(u64::MAX)),
        (Some("not valid"), change(ChangeBody::PutOperator(Box::new(operator)))),
        (Some("not valid"), accept(["164830000008", "164820000000"])),
        (Some("does not fit the register"), change(ChangeBody::Remove(Ordinal(norwegian)))),
    ];
    for (why, change) in cases {
        let work = tempfile::tempdir().expect("directory");
        let data = work.path().join("far");
        init(fixture("far"), &data).expect("a data directory");
        append(&data, &change);
        let errors = [Reader::open(&data).err(), Writer::open(&data).err()];
        for error in errors {
            match (why, error) {
                (None, None) => {}
                (Some(why), Some(StoreError::Damaged { finding, .. })) if finding.contains(why) => {}
                (why, error) => panic!("expected {why:?}: {error:?}"),
            }
        }
    }
}
