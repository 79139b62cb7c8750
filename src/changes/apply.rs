//! A register and some changes: the register after them.
//!
//! Changes are resolved in their order (ids to places, rules to numbers), then sorted by recipient, and
//! each part that is touched is made anew, on all cores. What they decide is a state of the register's
//! table, so a new state makes the table longer, and only if that needs wider records are all parts
//! made anew.

mod actors;
mod steps;

use super::{Change, Reason};
use crate::consent::{RuleSet, RuleTail};
use crate::cpu::prefetch;
use crate::extract::reason;
use crate::identities::Ordinal;
use crate::index::{Edit, Index, LivePart, Overlay, Put, Slot, Width};
use crate::register::cold::{entry_of_times, times_of_entry};
use crate::register::contact::Contact;
use crate::register::content::{Hashes, Of, Sum};
use crate::register::state::{FarState, State, StateRule};
use crate::register::{At, Changes, Damage, DamagedSection, Register, Version};
use actors::Places;
use hashbrown::HashMap;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use steps::{Step, StepWhat, Steps, ordinal, step};

/// Fewer changes than this are applied on one core: waking another takes longer.
const PARALLEL_CHANGES: usize = 256;

/// Parts that are asked for at a time: what they are made of fits the nearest cache.
const GROUP_PARTS: usize = 16;
/// Parts that one thread makes at a time.
const JOB_PARTS: usize = 4 * GROUP_PARTS;

/// Threads of their own: those that answer for a whole list may be busy for as long as that takes.
static THREADS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| ThreadPoolBuilder::new().build().ok());

/// Runs something for so many changes on these threads; here if they are few, or there are no threads.
pub(crate) fn on_threads<R: Send>(changes: usize, work: impl FnOnce() -> R + Send) -> R {
    match &*THREADS {
        Some(threads) if changes >= PARALLEL_CHANGES => threads.install(work),
        _ => work(),
    }
}

/// Runs two things for so many changes, at the same time unless these are few.
pub(crate) fn both<A: Send, B: Send>(
    changes: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    match changes >= PARALLEL_CHANGES {
        true => on_threads(changes, || rayon::join(one, other)),
        false => (one(), other()),
    }
}

/// Applies changes to the versions of one register, one after another. Knows what the register has by
/// content: states, rules, certificates, organisations.
pub(crate) struct Editor {
    states: Arc<Vec<State>>,
    state_numbers: HashMap<State, u32>,
    rules: RuleTail,
    rule_numbers: HashMap<RuleSet, u32>,
    /// Number of rules, with rule 0 and those that are there twice.
    rule_count: u32,
    file_certificates: u32,
    certificates: Arc<Vec<Arc<str>>>,
    certificate_numbers: HashMap<Arc<str>, u32>,
    places: Places,
    hashes: Hashes,
    /// Kept from batch to batch, so that its memory is there.
    steps: Steps,
}

/// What came of some changes.
pub(crate) struct Applied {
    /// The register after those that could be applied.
    pub(crate) register: Register,
    /// Those that could not, by their places, and why.
    pub(crate) bad: Vec<(usize, Reason)>,
    /// Removals of what was not there.
    pub(crate) without_effect: u64,
}

/// What parts are made of.
#[derive(Clone, Copy)]
struct Batch<'a> {
    register: &'a Register,
    index: &'a Index<'a>,
    changes: &'a [Change],
    steps: &'a Steps,
}

impl Batch<'_> {
    /// Asks for the memory that some parts will be made of: each stage for what the next one reads.
    fn ask_for(&self, parts: &[&[u64]]) {
        let Batch { register, index, steps, .. } = *self;
        for keys in parts {
            keys.iter().for_each(|key| prefetch(&steps.steps, step(*key)));
            index.ask_for(index.part_of(ordinal(keys[0])));
        }
        // What the recipients have, for the sums of the content and for changes that build upon it.
        let recipients = || parts.iter().copied().flatten().map(|key| ordinal(*key));
        recipients().for_each(|recipient| index.ask_for_page(register.trust(), recipient));
        recipients().for_each(|recipient| register.ask_for_times(index, recipient));
    }
}

/// What became of one part.
struct Edited {
    part: usize,
    made: LivePart,
    /// Recipients more than before.
    more: i64,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

/// One part's changes as far as they can be told without knowing all states.
#[derive(Default)]
struct Folded {
    edits: Vec<Edit>,
    cold: Vec<u8>,
    /// States that have no number yet.
    unknown: Vec<State>,
    /// By how much the sums of the content differ.
    sums: Vec<(Of, Sum)>,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

/// What became of some parts.
#[derive(Default)]
struct Done<'k> {
    edited: Vec<Edited>,
    /// Those with states that have no number yet.
    again: Vec<&'k [u64]>,
    unknown: Vec<State>,
    /// By how much the sums of the content differ. A list: sums for each sender are too long for each job.
    sums: Vec<(Of, Sum)>,
}

thread_local! {
    /// Kept from part to part, so that its memory is there.
    static FOLDED: RefCell<Folded> = RefCell::default();
}

impl Folded {
    fn clear(&mut self) {
        let Folded { edits, cold, unknown, sums, bad, without_effect } = self;
        edits.clear();
        cold.clear();
        unknown.clear();
        sums.clear();
        bad.clear();
        *without_effect = 0;
    }
}

impl Editor {
    /// Reads a register's tables. Cost: some milliseconds.
    pub(crate) fn of(register: &Register) -> Result<Editor, Damage> {
        let changes = register.version().changes.as_ref();
        let mut editor = Editor {
            states: Arc::clone(&register.version().states),
            state_numbers: HashMap::new(),
            rules: changes.map(|changes| changes.rules.clone()).unwrap_or_default(),
            rule_numbers: HashMap::new(),
            rule_count: 0,
            file_certificates: register.parts().cold.certificates()? as u32,
            certificates: changes.map(|changes| Arc::clone(&changes.certificates)).unwrap_or_default(),
            certificate_numbers: HashMap::new(),
            places: Places::of(register.version()),
            hashes: Hashes::default(),
            steps: Steps::default(),
        };
        // Of equal states the first counts; 0 is nobody's.
        for number in (1..editor.states.len()).rev() {
            editor.state_numbers.insert(editor.states[number], number as u32);
        }
        let rules = register.rules()?;
        editor.rule_count = rules.len() as u32;
        for number in 0..editor.rule_count {
            let rule = rules.get(number).ok_or(DamagedSection { name: "rule_heads" })?;
            editor.hashes.add_rule(&rule);
            // Of equal rules the first counts.
            editor.rule_numbers.entry(rule).or_insert(number);
        }
        for number in 0..editor.file_certificates + editor.certificates.len() as u32 {
            let text = register.certificate(Some(number))?;
            editor.hashes.add_certificate(text);
            editor.certificate_numbers.entry(text.into()).or_insert(number);
        }
        editor.hash_actors();
        Ok(editor)
    }

    /// Applies `changes` in their order to a version of the register that this editor knows.
    ///
    /// `bad` changes are left out of the result; whoever does not want that throws it away, with
    /// this editor if the changes were not only of recipients.
    ///
    /// Errors: a block of the register is damaged.
    pub(crate) fn apply(&mut self, register: &Register, changes: &[Change]) -> Result<Applied, Damage> {
        let mut applied =
            Applied { register: register.at(register.version().clone()), bad: Vec::new(), without_effect: 0 };
        let mut steps = std::mem::take(&mut self.steps);
        steps.begin(register.kind().country(), changes.len());
        self.resolve_all(changes, &mut steps, &mut applied.bad, &mut applied.without_effect);
        self.flush(&mut applied, changes, &mut steps)?;
        self.steps = steps;
        applied.bad.sort_unstable_by_key(|(place, _)| *place);
        let before = register.version();
        let last = changes.last();
        applied.register = applied.register.at(Version {
            sequence: last.map_or(before.sequence, |change| change.sequence),
            as_of: changes.iter().map(|change| change.time()).fold(before.as_of, Ord::max),
            ..self.version(&applied.register, None)
        });
        Ok(applied)
    }

    /// The register's version with the tables of this editor, and changed parts.
    fn version(&self, register: &Register, overlay: Option<(Overlay, i64)>) -> Version {
        let before = register.version();
        let (overlay, more) = match (overlay, &before.changes) {
            (Some((overlay, more)), _) => (overlay, more),
            (None, Some(changes)) => (changes.overlay.clone(), 0),
            (None, None) => (nothing_changed(register), 0),
        };
        Version {
            recipients: (i64::from(before.recipients) + more) as u32,
            actors: Arc::clone(&self.places.actors),
            operators: Arc::clone(&self.places.operator_numbers),
            senders: Arc::clone(&self.places.sender_numbers),
            states: Arc::clone(&self.states),
            changes: Some(Changes {
                overlay,
                rules: self.rules.clone(),
                certificates: Arc::clone(&self.certificates),
            }),
            ..before.clone()
        }
    }

    /// Applies what has been resolved.
    fn flush(&mut self, applied: &mut Applied, changes: &[Change], steps: &mut Steps) -> Result<(), Damage> {
        let parallel = steps.steps.len() >= PARALLEL_CHANGES;
        steps.sort(parallel);
        if steps.keys.is_empty() {
            return Ok(());
        }
        let index = applied.register.index();
        let part = |key: &u64| index.part_of(ordinal(*key));
        let parts: Vec<&[u64]> = steps.keys.chunk_by(|a, b| part(a) == part(b)).collect();
        // A batch that was thrown away may have left more states behind than the register has.
        self.widen(applied)?;
        let (mut left, mut all) = (parts.clone(), Vec::new());
        loop {
            // A part is made if all its states are known; else they are added, and it is tried again.
            let register = &applied.register;
            let batch = &Batch { register, index: &register.index(), changes, steps };
            let mut done = self.edit_all(batch, &left, parallel)?;
            left = done.iter_mut().flat_map(|done| std::mem::take(&mut done.again)).collect();
            let unknown = done.iter_mut().flat_map(|done| std::mem::take(&mut done.unknown));
            self.add_states(unknown);
            all.append(&mut done);
            if left.is_empty() {
                self.take(applied, all);
                return Ok(());
            }
            if self.widen(applied)? {
                left.clone_from(&parts);
                all.clear();
            }
        }
    }

    /// Puts finished parts into the register.
    fn take(&self, applied: &mut Applied, all: Vec<Done<'_>>) {
        let mut more = 0;
        let mut parts = Vec::with_capacity(all.iter().map(|done| done.edited.len()).sum());
        let mut sums = Arc::clone(&applied.register.version().sums);
        let adding = Arc::make_mut(&mut sums);
        for done in all {
            for edited in done.edited {
                more += edited.more;
                applied.bad.extend(edited.bad);
                applied.without_effect += edited.without_effect;
                parts.push((edited.part, edited.made));
            }
            done.sums.into_iter().for_each(|(of, sum)| adding.add(of, sum));
        }
        let before = overlay_of(&applied.register);
        let overlay = before.with(before.width(), parts);
        let version = Version { sums, ..self.version(&applied.register, Some((overlay, more))) };
        applied.register = applied.register.at(version);
    }

    fn add_states(&mut self, unknown: impl Iterator<Item = State>) {
        let states = Arc::make_mut(&mut self.states);
        for state in unknown {
            self.state_numbers.entry(state).or_insert_with(|| {
                states.push(state);
                states.len() as u32 - 1
            });
        }
    }

    /// If the states have become too many for the records, makes all parts anew in wider ones, and
    /// returns true.
    fn widen(&self, applied: &mut Applied) -> Result<bool, Damage> {
        let register = &applied.register;
        let before = overlay_of(register);
        let width = Width::of_states(self.states.len());
        if width <= before.width() {
            return Ok(false);
        }
        let index = register.index();
        let parts = (0..index.parts()).into_par_iter();
        let wider = parts.filter_map(|part| match index.view(register.trust(), part) {
            Ok(None) => None,
            Ok(Some(view)) => Some(Ok((part, LivePart::edited(&view, width, &[], &[])))),
            Err(damage) => Some(Err(damage)),
        });
        let parts: Vec<_> = wider.collect::<Result<_, _>>()?;
        let overlay = before.with(width, parts);
        applied.register = register.at(self.version(register, Some((overlay, 0))));
        Ok(true)
    }

    /// Makes parts anew. What became of them stays in the lists of the jobs: putting these together costs more than
    /// all that is done with them.
    fn edit_all<'k>(
        &self,
        batch: &Batch<'_>,
        parts: &[&'k [u64]],
        parallel: bool,
    ) -> Result<Vec<Done<'k>>, Damage> {
        let edit = |parts: &[&'k [u64]]| self.edit_some(batch, parts);
        match parallel {
            true => parts.par_chunks(JOB_PARTS).map(edit).collect(),
            false => parts.chunks(JOB_PARTS).map(edit).collect(),
        }
    }

    /// Makes some parts anew.
    fn edit_some<'k>(&self, batch: &Batch<'_>, parts: &[&'k [u64]]) -> Result<Done<'k>, Damage> {
        let mut done = Done { edited: Vec::with_capacity(parts.len()), ..Done::default() };
        FOLDED.with_borrow_mut(|folded| {
            for group in parts.chunks(GROUP_PARTS) {
                batch.ask_for(group);
                for keys in group {
                    match self.edit(batch, keys, folded)? {
                        Some(edited) => {
                            done.edited.push(edited);
                            done.sums.append(&mut folded.sums);
                        }
                        None => {
                            done.again.push(keys);
                            done.unknown.append(&mut folded.unknown);
                        }
                    }
                }
            }
            Ok(done)
        })
    }

    /// Makes one part anew. `None` if there are states that have no number yet.
    fn edit(&self, batch: &Batch<'_>, keys: &[u64], folded: &mut Folded) -> Result<Option<Edited>, Damage> {
        let Batch { register, index, steps, .. } = *batch;
        let part = index.part_of(ordinal(keys[0]));
        let first = index.first_of(part).0;
        folded.clear();
        let view = index.view_or_empty(register.trust(), part)?;
        for keys in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let offset = (ordinal(keys[0]).0 - first) as u16;
            let (_, record) = view.rank(offset);
            let steps_of = keys.iter().map(|key| &steps.steps[step(*key)]);
            self.fold(batch, folded, &At { index, part, offset, record, view }, steps_of)?;
        }
        if !folded.unknown.is_empty() {
            return Ok(None);
        }
        let changes = register.version().changes.as_ref();
        let width = changes.map_or(index.codes.width(), |changes| changes.overlay.width());
        let made = LivePart::edited(&view, width, &folded.edits, &folded.cold);
        let more = i64::from(made.records()) - i64::from(view.records());
        let bad = std::mem::take(&mut folded.bad);
        Ok(Some(Edited { part, made, more, bad, without_effect: folded.without_effect }))
    }

    /// What one recipient's changes come to.
    fn fold<'s>(
        &self,
        batch: &Batch<'_>,
        folded: &mut Folded,
        at: &At<'_>,
        steps: impl Iterator<Item = &'s Step>,
    ) -> Result<(), Damage> {
        let (present, _) = at.view.rank(at.offset);
        // State, rule and times as they are; read from the register only if a change builds upon them.
        let mut now: Option<(State, u32)> = None;
        let (mut there, mut read, mut changed) = (present == 1, false, false);
        let entry = folded.cold.len();
        for Step { place: change, what } in steps {
            match what {
                StepWhat::PutRecipient { state, rule, times } => {
                    folded.cold.truncate(entry);
                    folded.cold.extend_from_slice(&entry_of_times(*times));
                    now = Some((*state, *rule));
                    (there, read, changed) = (true, true, true);
                }
                StepWhat::PutPerson { state, certificate, person } => {
                    folded.cold.truncate(entry);
                    let put = batch.changes[*change as usize].what.person(*person as usize);
                    folded.cold.extend_from_slice(put.map_or(&[], |put| &put.contact));
                    if let Some(number) = certificate {
                        Contact::add_certificate(&mut folded.cold, entry, *number);
                    }
                    now = Some((*state, 0));
                    (there, read, changed) = (true, true, true);
                }
                StepWhat::Remove => {
                    folded.without_effect += u64::from(!there);
                    folded.cold.truncate(entry);
                    changed |= there;
                    (there, read, now) = (false, true, None);
                }
                StepWhat::Accept { .. } if !there => {
                    folded.bad.push((*change as usize, reason("unknown_recipient", "recipient_id")));
                }
                StepWhat::Accept { rule, changed: time } => {
                    if !read {
                        let state = FarState::from(self.state(at.view.codes.get(Slot(at.record))));
                        now = Some((FarState { rule: StateRule::AcceptsAll, ..state }.into(), 0));
                        folded.cold.extend_from_slice(&entry_of_times(batch.register.times(at)?));
                    }
                    let [registration, _] = times_of_entry(&folded.cold[entry..]);
                    folded.cold.truncate(entry);
                    folded.cold.extend_from_slice(&entry_of_times([registration, *time]));
                    now = now.map(|(state, _)| (state, *rule));
                    (read, changed) = (true, true);
                }
            }
        }
        if changed {
            let put = now.and_then(|(state, rule)| {
                self.put(state, rule, entry..folded.cold.len(), &mut folded.unknown)
            });
            let ordinal = Ordinal(at.index.first_of(at.part).0 + u32::from(at.offset));
            let Folded { cold, sums, .. } = &mut *folded;
            if present == 1 {
                let state = self.state(at.view.codes.get(Slot(at.record)));
                let take = |of, sum| sums.push((of, Sum::default() - sum));
                self.hashes.record(batch.register, (ordinal, state), at, take)?;
            }
            if let Some(Put { code, rule, cold: range }) = &put {
                let (kind, cold) = (batch.register.kind(), &cold[range.clone()]);
                let add = |of, sum| sums.push((of, sum));
                self.hashes.made(kind, (ordinal, self.state(*code)), (*rule, cold), add);
            }
            folded.edits.push(Edit { offset: at.offset, put });
        }
        Ok(())
    }

    /// The record of a recipient in a state with a rule: a state that shares the rule, or the list.
    fn put(&self, state: State, rule: u32, cold: Range<usize>, unknown: &mut Vec<State>) -> Option<Put> {
        if rule == 0 {
            return self.code(state, unknown).map(|code| Put { code, rule, cold });
        }
        let with = |rule| State::from(FarState { rule, ..FarState::from(state) });
        match self.state_numbers.get(&with(StateRule::Shared(rule))) {
            Some(&code) => Some(Put { code, rule: 0, cold }),
            None => self.code(with(StateRule::Listed), unknown).map(|code| Put { code, rule, cold }),
        }
    }

    fn state(&self, code: u32) -> State {
        self.states.get(code as usize).copied().unwrap_or_default()
    }

    fn code(&self, state: State, unknown: &mut Vec<State>) -> Option<u32> {
        let code = self.state_numbers.get(&state).copied();
        if code.is_none() {
            unknown.push(state);
        }
        code
    }
}

/// The overlay of a register that may have none yet.
fn overlay_of(register: &Register) -> Overlay {
    let changes = register.version().changes.as_ref();
    changes.map_or_else(|| nothing_changed(register), |changes| changes.overlay.clone())
}

fn nothing_changed(register: &Register) -> Overlay {
    Overlay::new(register.index().codes.width())
}
