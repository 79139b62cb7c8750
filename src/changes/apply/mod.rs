//! Applying changes to a version of a register.
//!
//! Changes are resolved in their order (ids and rules to numbers), then sorted by recipient. Each part that they
//! touch is copied with its edits, on all cores. A record is the number of a state in the register's table:
//! a new state makes the table longer, and only if that needs wider records are all parts copied.

mod actors;
mod resolve;
mod threads;

pub(crate) use threads::{join, on_threads};

use super::change::Change;
use crate::cpu::prefetch;
use crate::decode::{Reason, reason};
use crate::identities::Ordinal;
use crate::index::{Edit, Index, LivePart, Overlay, PutRecord, Slot, Width};
use crate::register::cold::{entry_of_times, times_of_entry};
use crate::register::contact::Contact;
use crate::register::content::{ContentSum, HashSubject};
use crate::register::state::{FarState, State, StateRule};
use crate::register::{Changes, Damage, RecordPosition, Register, Version};
use hashbrown::HashMap;
use rayon::prelude::*;
use resolve::{Resolver, Step, StepAction, Steps, ordinal, step};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use threads::PARALLEL_CHANGES;

/// Parts that are prefetched together: their inputs fit the nearest cache.
const GROUP_PARTS: usize = 16;
/// Parts of one job of a thread.
const JOB_PARTS: usize = 4 * GROUP_PARTS;

/// Applies changes to the versions of one register, one after another. It indexes the register's states, rules,
/// certificates and organisations by content.
pub(crate) struct Editor {
    states: Arc<Vec<State>>,
    state_numbers: HashMap<State, u32>,
    resolver: Resolver,
    /// Kept from batch to batch for its memory.
    steps: Steps,
}

/// Result of applying changes.
pub(crate) struct Applied {
    /// The register after the good changes.
    pub(crate) register: Register,
    /// Indexes of the bad changes, and reasons.
    pub(crate) bad: Vec<(usize, Reason)>,
    /// Removals of what did not exist.
    pub(crate) without_effect: u64,
}

/// Inputs of all parts.
#[derive(Clone, Copy)]
struct EditInputs<'a> {
    register: &'a Register,
    index: &'a Index<'a>,
    changes: &'a [Change],
    steps: &'a Steps,
}

impl EditInputs<'_> {
    /// Prefetches the inputs of some parts: each stage what the next one reads.
    fn prefetch(&self, parts: &[&[u64]]) {
        let EditInputs { register, index, steps, .. } = *self;
        for keys in parts {
            keys.iter().for_each(|key| prefetch(&steps.steps, step(*key)));
            index.prefetch_part(index.part_of(ordinal(keys[0])));
        }
        // Records as they are, for the sums of the content and for changes that depend on them.
        let recipients = || parts.iter().copied().flatten().map(|key| ordinal(*key));
        recipients().for_each(|recipient| index.prefetch_page(register.trust(), recipient));
        recipients().for_each(|recipient| register.prefetch_times(index, recipient));
    }
}

/// An edited part.
struct EditedPart {
    part: usize,
    made: LivePart,
    /// By how much the number of recipients grew.
    more: i64,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

/// Scratch of one part: its edits, as far as they are known without numbers for new states.
#[derive(Default)]
struct PartScratch {
    edits: Vec<Edit>,
    cold: Vec<u8>,
    /// States without a number yet.
    unknown: Vec<State>,
    /// By how much the sums of the content differ.
    sums: Vec<(HashSubject, ContentSum)>,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

/// Result of one job.
#[derive(Default)]
struct JobResult<'k> {
    edited: Vec<EditedPart>,
    /// Parts with states that have no number yet.
    again: Vec<&'k [u64]>,
    unknown: Vec<State>,
    /// By how much the sums of the content differ. A list: a job has no memory for sums of all senders.
    sums: Vec<(HashSubject, ContentSum)>,
}

thread_local! {
    /// Kept from part to part for its memory.
    static SCRATCH: RefCell<PartScratch> = RefCell::default();
}

impl PartScratch {
    fn clear(&mut self) {
        let PartScratch { edits, cold, unknown, sums, bad, without_effect } = self;
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
        let states = Arc::clone(&register.version().states);
        let mut state_numbers = HashMap::new();
        // Of equal states the first counts; state 0 has no recipients.
        for number in (1..states.len()).rev() {
            state_numbers.insert(states[number], number as u32);
        }
        let resolver = Resolver::of(register)?;
        Ok(Editor { states, state_numbers, resolver, steps: Steps::default() })
    }

    /// Applies `changes` in their order to a version of the register that this editor was made for.
    ///
    /// `bad` changes are left out of the result. A caller that does not accept that drops the result, and also this
    /// editor unless all changes were of recipients.
    ///
    /// Errors: a block of the register is damaged.
    pub(crate) fn apply(&mut self, register: &Register, changes: &[Change]) -> Result<Applied, Damage> {
        let mut applied =
            Applied { register: register.at(register.version().clone()), bad: Vec::new(), without_effect: 0 };
        let mut steps = std::mem::take(&mut self.steps);
        steps.begin(register.kind().country(), changes.len());
        self.resolver.resolve_all(changes, &mut steps, &mut applied.bad, &mut applied.without_effect);
        self.flush(&mut applied, changes, &mut steps)?;
        self.steps = steps;
        applied.bad.sort_unstable_by_key(|(index, _)| *index);
        let before = register.version();
        let last = changes.last();
        applied.register = applied.register.at(Version {
            sequence: last.map_or(before.sequence, |change| change.sequence),
            as_of: changes.iter().map(|change| change.time()).fold(before.as_of, Ord::max),
            ..self.version(&applied.register, None)
        });
        Ok(applied)
    }

    /// The register's version with the tables of this editor and changed parts.
    fn version(&self, register: &Register, overlay: Option<(Overlay, i64)>) -> Version {
        let before = register.version();
        let (overlay, more) = match (overlay, &before.changes) {
            (Some((overlay, more)), _) => (overlay, more),
            (None, Some(changes)) => (changes.overlay.clone(), 0),
            (None, None) => (nothing_changed(register), 0),
        };
        Version {
            recipients: (i64::from(before.recipients) + more) as u32,
            actors: Arc::clone(&self.resolver.actors.actors),
            operators: Arc::clone(&self.resolver.actors.operator_numbers),
            senders: Arc::clone(&self.resolver.actors.sender_numbers),
            states: Arc::clone(&self.states),
            changes: Some(Changes {
                overlay,
                rules: self.resolver.rules.clone(),
                certificates: Arc::clone(&self.resolver.certificates),
            }),
            ..before.clone()
        }
    }

    /// Applies resolved changes.
    fn flush(&mut self, applied: &mut Applied, changes: &[Change], steps: &mut Steps) -> Result<(), Damage> {
        let parallel = steps.steps.len() >= PARALLEL_CHANGES;
        steps.sort(parallel);
        if steps.keys.is_empty() {
            return Ok(());
        }
        let index = applied.register.index();
        let part = |key: &u64| index.part_of(ordinal(*key));
        let parts: Vec<&[u64]> = steps.keys.chunk_by(|a, b| part(a) == part(b)).collect();
        // A dropped batch may have left more states in the table than the register has.
        self.widen(applied)?;
        let (mut left, mut all) = (parts.clone(), Vec::new());
        loop {
            // A part is made if all its states have numbers; otherwise they are assigned and the part is retried.
            let register = &applied.register;
            let batch = &EditInputs { register, index: &register.index(), changes, steps };
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
    fn take(&self, applied: &mut Applied, all: Vec<JobResult<'_>>) {
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

    /// If there are too many states for the width of the records, copies all parts with wider ones and returns true.
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

    /// Edits parts. The results stay in one list per job: joining the lists would cost more than using them.
    fn edit_all<'k>(
        &self,
        batch: &EditInputs<'_>,
        parts: &[&'k [u64]],
        parallel: bool,
    ) -> Result<Vec<JobResult<'k>>, Damage> {
        let edit = |parts: &[&'k [u64]]| self.edit_some(batch, parts);
        match parallel {
            true => parts.par_chunks(JOB_PARTS).map(edit).collect(),
            false => parts.chunks(JOB_PARTS).map(edit).collect(),
        }
    }

    /// Edits the parts of one job.
    fn edit_some<'k>(&self, batch: &EditInputs<'_>, parts: &[&'k [u64]]) -> Result<JobResult<'k>, Damage> {
        let mut done = JobResult { edited: Vec::with_capacity(parts.len()), ..JobResult::default() };
        SCRATCH.with_borrow_mut(|scratch| {
            for group in parts.chunks(GROUP_PARTS) {
                batch.prefetch(group);
                for keys in group {
                    match self.edit(batch, keys, scratch)? {
                        Some(edited) => {
                            done.edited.push(edited);
                            done.sums.append(&mut scratch.sums);
                        }
                        None => {
                            done.again.push(keys);
                            done.unknown.append(&mut scratch.unknown);
                        }
                    }
                }
            }
            Ok(done)
        })
    }

    /// Edits one part. `None` if it has states without a number.
    fn edit(
        &self,
        batch: &EditInputs<'_>,
        keys: &[u64],
        scratch: &mut PartScratch,
    ) -> Result<Option<EditedPart>, Damage> {
        let EditInputs { register, index, steps, .. } = *batch;
        let part = index.part_of(ordinal(keys[0]));
        let first = index.first_of(part).0;
        scratch.clear();
        let view = index.view_or_empty(register.trust(), part)?;
        for keys in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let offset = (ordinal(keys[0]).0 - first) as u16;
            let (_, record) = view.rank(offset);
            let steps_of = keys.iter().map(|key| &steps.steps[step(*key)]);
            self.fold(batch, scratch, &RecordPosition { index, part, offset, record, view }, steps_of)?;
        }
        if !scratch.unknown.is_empty() {
            return Ok(None);
        }
        let changes = register.version().changes.as_ref();
        let width = changes.map_or(index.codes.width(), |changes| changes.overlay.width());
        let made = LivePart::edited(&view, width, &scratch.edits, &scratch.cold);
        let more = i64::from(made.records()) - i64::from(view.records());
        let bad = std::mem::take(&mut scratch.bad);
        Ok(Some(EditedPart { part, made, more, bad, without_effect: scratch.without_effect }))
    }

    /// Folds the changes of one recipient to one edit.
    fn fold<'s>(
        &self,
        batch: &EditInputs<'_>,
        scratch: &mut PartScratch,
        at: &RecordPosition<'_>,
        steps: impl Iterator<Item = &'s Step>,
    ) -> Result<(), Damage> {
        let (present, _) = at.view.rank(at.offset);
        // Current state and rule; read from the register only if a change depends on them.
        let mut now: Option<(State, u32)> = None;
        let (mut exists, mut read, mut changed) = (present == 1, false, false);
        let entry = scratch.cold.len();
        for Step { change, action } in steps {
            match action {
                StepAction::PutRecipient { state, rule, times } => {
                    scratch.cold.truncate(entry);
                    scratch.cold.extend_from_slice(&entry_of_times(*times));
                    now = Some((*state, *rule));
                    (exists, read, changed) = (true, true, true);
                }
                StepAction::PutPerson { state, certificate, person } => {
                    scratch.cold.truncate(entry);
                    let put = batch.changes[*change as usize].what.person(*person as usize);
                    scratch.cold.extend_from_slice(put.map_or(&[], |put| &put.contact));
                    if let Some(number) = certificate {
                        Contact::add_certificate(&mut scratch.cold, entry, *number);
                    }
                    now = Some((*state, 0));
                    (exists, read, changed) = (true, true, true);
                }
                StepAction::Remove => {
                    scratch.without_effect += u64::from(!exists);
                    scratch.cold.truncate(entry);
                    changed |= exists;
                    (exists, read, now) = (false, true, None);
                }
                StepAction::Accept { .. } if !exists => {
                    scratch.bad.push((*change as usize, reason("unknown_recipient", "recipient_id")));
                }
                StepAction::Accept { rule, changed: time } => {
                    if !read {
                        let state = FarState::from(self.state(at.view.codes.get(Slot(at.record))));
                        now = Some((FarState { rule: StateRule::AcceptsAll, ..state }.into(), 0));
                        scratch.cold.extend_from_slice(&entry_of_times(batch.register.times(at)?));
                    }
                    let [registration, _] = times_of_entry(&scratch.cold[entry..]);
                    scratch.cold.truncate(entry);
                    scratch.cold.extend_from_slice(&entry_of_times([registration, *time]));
                    now = now.map(|(state, _)| (state, *rule));
                    (read, changed) = (true, true);
                }
            }
        }
        if changed {
            let put = now.and_then(|(state, rule)| {
                self.put(state, rule, entry..scratch.cold.len(), &mut scratch.unknown)
            });
            let ordinal = Ordinal(at.index.first_of(at.part).0 + u32::from(at.offset));
            let PartScratch { cold, sums, .. } = &mut *scratch;
            if present == 1 {
                let state = self.state(at.view.codes.get(Slot(at.record)));
                let take = |of, sum| sums.push((of, ContentSum::default() - sum));
                self.resolver.hashes.record(batch.register, (ordinal, state), at, take)?;
            }
            if let Some(PutRecord { code, rule, cold: range }) = &put {
                let (kind, cold) = (batch.register.kind(), &cold[range.clone()]);
                let add = |of, sum| sums.push((of, sum));
                self.resolver.hashes.made(kind, (ordinal, self.state(*code)), (*rule, cold), add);
            }
            scratch.edits.push(Edit { offset: at.offset, put });
        }
        Ok(())
    }

    /// The record of a recipient: its state includes the rule, or the rule is in the list.
    fn put(
        &self,
        state: State,
        rule: u32,
        cold: Range<usize>,
        unknown: &mut Vec<State>,
    ) -> Option<PutRecord> {
        if rule == 0 {
            return self.code(state, unknown).map(|code| PutRecord { code, rule, cold });
        }
        let with = |rule| State::from(FarState { rule, ..FarState::from(state) });
        match self.state_numbers.get(&with(StateRule::Shared(rule))) {
            Some(&code) => Some(PutRecord { code, rule: 0, cold }),
            None => self.code(with(StateRule::Listed), unknown).map(|code| PutRecord { code, rule, cold }),
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
