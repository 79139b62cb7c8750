//! Changes compared with a model: each version of a register must equal a map to which the same changes were
//! applied, and must not change later.

mod far;
mod frames;
mod krr;
mod lines;

use super::apply::Editor;
use super::encoding::{ChangeDecoder, encode};
use super::*;
use crate::consent::Acceptance;
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::limits::BLOCK_ORDINALS;
use crate::register::{
    Answer, Damage, Dispatcher, Kind, Operator, Outcome, PaperReason, QuestionError, Recipient, Register,
    Sender, moment,
};
use crate::snapshot::Snapshot;
use jiff::Timestamp;
use jiff::civil::Date;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// Sequence number and time (seconds since 1970) of the registers that are changed.
const SEQUENCE: u64 = 1000;
const AS_OF: i64 = 1_780_286_400;

/// Expected effect of an operation. `Ok(false)`: there was nothing to remove; `Err`: reason and column.
type Effect = Result<bool, (&'static str, &'static str)>;

trait Model: Clone {
    const KIND: Kind;
    type Op: Debug;

    fn extract(&self) -> Vec<(&'static str, String)>;
    /// The operation as a line of JSON, after the change with sequence number `previous`.
    fn write(&self, op: &Self::Op, previous: u64) -> Value;
    fn apply(&mut self, op: &Self::Op) -> Effect;
    fn agrees(&self, register: &Register);

    fn register(&self) -> Register {
        let directory = tempfile::tempdir().expect("directory");
        let extract = directory.path().join("extract");
        std::fs::create_dir(&extract).expect("created");
        let description =
            format!("kind = \"{}\"\nsequence = 1000\nas_of = \"2026-06-01T04:00:00Z\"\n", Self::KIND.name());
        for (name, content) in self.extract().into_iter().chain([("register.toml", description)]) {
            std::fs::write(extract.join(name), content).expect("written");
        }
        let file = directory.path().join("register.nabar");
        crate::extract::build(
            &extract,
            &file,
            &crate::extract::BuildOptions { allow_empty: true, ..crate::extract::BuildOptions::strict() },
        )
        .expect("built");
        Snapshot::open(&file).expect("opens").register().expect("whole")
    }
}

#[derive(Clone, Debug)]
struct Batch<O> {
    ops: Vec<O>,
    /// A new editor is made before it.
    new_editor: bool,
    /// It is applied twice, and the first result dropped, if the editor allows that.
    drop_first: bool,
}

fn batch<O: Debug>(ops: impl Strategy<Value = Vec<O>>) -> impl Strategy<Value = Batch<O>> {
    (ops, any::<bool>(), any::<bool>()).prop_map(|(ops, new_editor, drop_first)| Batch {
        ops,
        new_editor,
        drop_first,
    })
}

fn applied_twice<O>(batches: impl IntoIterator<Item = Vec<O>>) -> Vec<Batch<O>> {
    batches.into_iter().map(|ops| Batch { ops, new_editor: false, drop_first: true }).collect()
}

/// Applies batches one by one, and all as one batch.
fn check<M: Model>(first: M, batches: Vec<Batch<M::Op>>) {
    let register = first.register();
    let mut editor = Editor::of(&register).expect("undamaged");
    let (mut model, mut sequence, mut as_of) = (first.clone(), SEQUENCE, AS_OF);
    let (mut all, mut all_bad, mut all_without_effect) = (Vec::new(), Vec::new(), 0);
    let mut versions = vec![(register, first, sequence, as_of)];
    for Batch { ops, new_editor, drop_first } in batches {
        let (mut changes, mut bad, mut without_effect) = (Vec::new(), Vec::new(), 0);
        for (index, op) in ops.iter().enumerate() {
            let change = written(&model, op, &mut sequence);
            as_of = as_of.max(change.time().as_second());
            changes.push(change);
            match model.apply(op) {
                Ok(effect) => without_effect += u64::from(!effect),
                Err(why) => bad.push((index, why)),
            }
        }
        let (before, ..) = versions.last().expect("the first");
        if new_editor {
            editor = Editor::of(before).expect("undamaged");
        }
        if drop_first && !changes.iter().any(is_of_organisations) {
            drop(editor.apply(before, &changes).expect("undamaged"));
        }
        let applied = editor.apply(before, &changes).expect("undamaged");
        assert_eq!((reasons(&applied.bad), applied.without_effect), (bad.clone(), without_effect));
        agrees(&applied.register, &model, sequence, as_of);
        all_bad.extend(bad.into_iter().map(|(index, why)| (all.len() + index, why)));
        all_without_effect += without_effect;
        all.extend(changes);
        versions.push((applied.register, model.clone(), sequence, as_of));
    }
    let mut bytes = Vec::new();
    all.iter().for_each(|change| encode(change, &mut bytes));
    let decoded: Option<Vec<Change>> = ChangeDecoder::new(&bytes, SEQUENCE).collect();
    assert_eq!(decoded.as_ref(), Some(&all));
    let at_once = Editor::of(&versions[0].0).and_then(|mut editor| editor.apply(&versions[0].0, &all));
    let at_once = at_once.expect("undamaged");
    assert_eq!((reasons(&at_once.bad), at_once.without_effect), (all_bad, all_without_effect));
    agrees(&at_once.register, &model, sequence, as_of);
    if let Some((last, ..)) = versions.last() {
        assert_eq!(at_once.register.content().expect("undamaged"), last.content().expect("undamaged"));
    }
    for (register, model, sequence, as_of) in &versions {
        agrees(register, model, *sequence, *as_of);
    }
}

/// Parses the line of an operation, and checks that the change is written as the same line.
fn written<M: Model>(model: &M, op: &M::Op, sequence: &mut u64) -> Change {
    let mut line = model.write(op, *sequence);
    let persons = line["put_persons"]["persons"].as_array();
    let previous = *sequence;
    *sequence += persons.map_or(1, |persons| persons.len() as u64 + 7);
    let time = AS_OF + (*sequence * 7919 % 5000) as i64 - 1000;
    (line["sequence"], line["time"]) =
        ((*sequence).into(), moment::of_nanoseconds(time * 1_000_000_000).to_string().into());
    let change = json::parse(line.to_string().as_bytes(), M::KIND).expect("a change");
    assert_eq!(
        (change.sequence(), change.time().as_second(), change.previous()),
        (*sequence, time, previous)
    );
    assert_eq!(json::parse(json::text(&change).as_bytes(), M::KIND), Ok(change.clone()));
    change
}

fn is_of_organisations(change: &Change) -> bool {
    ["operator", "sender", "dispatcher"].iter().any(|part| change.what.name().ends_with(part))
}

fn reasons(bad: &[(usize, Reason)]) -> Vec<(usize, (&'static str, &'static str))> {
    bad.iter().map(|(index, Reason { name, column })| (*index, (*name, *column))).collect()
}

fn agrees<M: Model>(register: &Register, model: &M, sequence: u64, as_of: i64) {
    assert_eq!((register.sequence(), register.as_of().as_second()), (sequence, as_of));
    assert_eq!(register.content().expect("undamaged"), register.recompute_content().expect("undamaged"));
    model.agrees(register);
}

/// Recipients are numbered by their index in ascending identities.
#[derive(Clone)]
struct People(Arc<[Identity]>);

impl People {
    fn of_ordinals(ordinals: impl Iterator<Item = u32>) -> People {
        People(ordinals.filter_map(|ordinal| Identity::from_ordinal(Ordinal(ordinal))).collect())
    }

    /// Both ends of each space, and crowds in neighbouring blocks.
    fn of(country: Country) -> People {
        let spaces = Space::ALL.into_iter().filter(|space| space.country() == country);
        let spaces = spaces.take(4);
        People::of_ordinals(spaces.flat_map(|space| {
            let Range { start, end } = space.ordinals();
            let crowd = start + space.size() / BLOCK_ORDINALS / 2 * BLOCK_ORDINALS - 10;
            [start, start + 1].into_iter().chain((0..130).map(move |n| crowd + n * n)).chain([end - 1])
        }))
    }

    fn id(&self, who: usize) -> &str {
        self.0[who].as_str()
    }

    /// Compares all recipients, one by one and in order. Of very many only a sample is compared.
    fn known<K: PartialEq + Debug, T>(
        &self,
        register: &Register,
        expected: &BTreeMap<usize, T>,
        expect: impl Fn(usize, &T) -> K,
        read: impl Fn(Recipient) -> K,
    ) {
        assert_eq!(register.recipients() as usize, expected.len());
        let step = 1 + self.0.len() / 1000;
        for (who, identity) in self.0.iter().enumerate().step_by(step) {
            let found = register.recipient(identity).expect("undamaged").map(&read);
            assert_eq!(found, expected.get(&who).map(|known| expect(who, known)), "{who}");
        }
        let mut in_order = expected.iter();
        let each = register.for_each::<Damage>(|identity, recipient| {
            let (who, known) = in_order.next().expect("no more than expected");
            assert!(*identity == self.0[*who]);
            if who % step == 0 {
                assert_eq!(read(recipient), expect(*who, known));
            }
            Ok(())
        });
        each.expect("undamaged");
        assert_eq!(in_order.next().map(|(who, _)| who), None);
        let census = register.census().expect("undamaged");
        let mut spaces = BTreeMap::new();
        expected.keys().for_each(|who| *spaces.entry(self.0[*who].space()).or_insert(0) += 1);
        assert_eq!((census.recipients, census.spaces), (expected.len() as u64, spaces));
    }

    /// Compares the outcomes of recipients and of others, one by one and in groups.
    fn asked(
        &self,
        register: &Register,
        sender: Option<&str>,
        date: Date,
        outcome: impl Fn(usize) -> Outcome,
    ) {
        let question = register.question(sender, date).expect("asked");
        let foreign = if sender.is_some() { Space::Fodselsnummer } else { Space::Personnummer };
        let mut ordinals = vec![Ordinal::ABSENT, Ordinal(u32::MAX - 1), Ordinal(foreign.ordinals().start)];
        let mut outcomes = vec![Outcome::Paper(PaperReason::NotRegistered); 3];
        for (who, identity) in self.0.iter().enumerate().chain(self.0.iter().enumerate().rev()) {
            ordinals.push(identity.ordinal());
            outcomes.push(outcome(who));
            assert_eq!(question.ask(identity).ok(), outcomes.last().copied());
        }
        let mut answers = vec![Answer::default(); ordinals.len()];
        question.ask_all(&ordinals, &mut answers).expect("undamaged");
        assert!(answers.into_iter().map(|answer| answer.outcome()).eq(outcomes));
    }
}

/// Mostly one of a few recipients, sometimes another.
fn who(people: usize) -> impl Strategy<Value = usize> {
    prop_oneof![5 => (0..30usize).prop_map(move |n| n * 13 % people), 1 => 0..people]
}

/// One of several spellings.
fn spelled(id: &str, spelling: u64) -> String {
    let sign = if id.len() == 12 { 8 } else { 6 };
    match spelling % 3 {
        0 => format!("{}-{}", &id[..sign], &id[sign..]),
        1 if id.len() == 12 && id.starts_with("16") => id[2..].to_owned(),
        _ => id.to_owned(),
    }
}
