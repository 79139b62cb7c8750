//! A register and some changes: the register after them.
//!
//! Changes are resolved in their order (ids to places, rules to numbers), then sorted by recipient, and
//! each block that is touched is made anew, on all cores. What they decide is a state of the register's
//! table, so a new state makes the table longer, and only if that needs wider records are all blocks
//! made anew.

mod actors;

use super::{Change, NamedRule, PutPerson, Reason, What};
use crate::consent::{Acceptance, RuleSet, RuleSlice, RuleTail};
use crate::extract::reason;
use crate::identities::Ordinal;
use crate::index::{Edit, LiveBlock, Overlay, Put, Slot, Width, directory_length};
use crate::limits::BLOCK_ORDINALS;
use crate::register::cold::{entry_of_times, times_of_entry};
use crate::register::contact::Contact;
use crate::register::state::{FarState, State, StateRule};
use crate::register::{At, Changes, Damage, Register, Version};
use actors::Places;
use hashbrown::HashMap;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// Fewer changes than this are applied on one core: waking another takes longer.
const PARALLEL_CHANGES: usize = 256;

/// Most changes for whose working memory there is room from batch to batch.
const STEPS_KEPT: usize = 1 << 18;

/// Threads of their own: those that answer for a whole list may be busy for as long as that takes.
static THREADS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| ThreadPoolBuilder::new().build().ok());

/// Runs something on these threads, or here if there are none.
pub(crate) fn on_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match &*THREADS {
        Some(threads) => threads.install(work),
        None => work(),
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
    /// Senders of the rule in hand.
    senders: Vec<u16>,
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

/// A change of a recipient, resolved.
#[derive(Clone)]
struct Step {
    /// Place among the changes.
    place: u32,
    what: StepWhat,
}

#[derive(Clone)]
enum StepWhat {
    /// State without the rule, rule, and where the cold entry is.
    Put {
        state: State,
        rule: u32,
        cold: Range<usize>,
    },
    Accept {
        rule: u32,
        changed: i64,
    },
    Remove,
}

/// Changes of recipients that have been resolved and not applied.
#[derive(Default)]
struct Steps {
    /// Those of the register's country.
    ordinals: Range<u32>,
    /// Ordinal and place in `steps`, for sorting.
    keys: Vec<u64>,
    steps: Vec<Step>,
    cold: Vec<u8>,
}

impl Steps {
    /// Forgets what was there. What one great batch took is not kept.
    fn begin(&mut self, ordinals: Range<u32>) {
        if self.keys.capacity() > STEPS_KEPT {
            *self = Steps::default();
        }
        self.ordinals = ordinals;
        self.keys.clear();
        self.steps.clear();
        self.cold.clear();
    }

    fn push(&mut self, recipient: Ordinal, place: usize, what: StepWhat) -> Result<(), Reason> {
        if !self.ordinals.contains(&recipient.0) {
            return Err(reason("not_of_this_register", ""));
        }
        self.keys.push(u64::from(recipient.0) << 32 | self.steps.len() as u64);
        self.steps.push(Step { place: place as u32, what });
        Ok(())
    }

    fn truncate(&mut self, steps: usize) {
        self.keys.truncate(steps);
        self.steps.truncate(steps);
    }
}

/// What became of one block.
struct Edited {
    place: usize,
    block: LiveBlock,
    /// Recipients more than before.
    more: i64,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

/// One block's changes as far as they can be told without knowing all states.
#[derive(Default)]
struct Folded {
    edits: Vec<Edit>,
    cold: Vec<u8>,
    /// States that have no number yet.
    unknown: Vec<State>,
    bad: Vec<(usize, Reason)>,
    without_effect: u64,
}

thread_local! {
    /// Kept from block to block, so that its memory is there.
    static FOLDED: RefCell<Folded> = RefCell::default();
}

impl Folded {
    fn clear(&mut self) {
        let Folded { edits, cold, unknown, bad, without_effect } = self;
        edits.clear();
        cold.clear();
        unknown.clear();
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
            senders: Vec::new(),
            steps: Steps::default(),
        };
        // Of equal states the first counts; 0 is nobody's.
        for number in (1..editor.states.len()).rev() {
            editor.state_numbers.insert(editor.states[number], number as u32);
        }
        let rules = register.rules()?;
        editor.rule_count = rules.len() as u32;
        for number in (0..editor.rule_count).rev() {
            // Of equal rules the first counts.
            editor.rule_numbers.extend(rules.get(number).map(|rule| (rule, number)));
        }
        for number in 0..editor.file_certificates + editor.certificates.len() as u32 {
            let text = register.certificate(Some(number))?;
            editor.certificate_numbers.entry(text.into()).or_insert(number);
        }
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
        let ordinals = register.kind().country().ordinals();
        let mut steps = std::mem::take(&mut self.steps);
        steps.begin(ordinals);
        for (place, change) in changes.iter().enumerate() {
            let resolved = self.resolve(place, &change.what, &mut steps, &mut applied.without_effect);
            applied.bad.extend(resolved.err().map(|why| (place, why)));
        }
        self.flush(&mut applied, &mut steps)?;
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

    /// The register's version with the tables of this editor, and changed blocks.
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

    /// Looks up what a change names.
    fn resolve(
        &mut self,
        place: usize,
        what: &What,
        steps: &mut Steps,
        without_effect: &mut u64,
    ) -> Result<(), Reason> {
        match what {
            What::PutRecipient(put) => {
                let unknown = reason("unknown_operator", "operator_id");
                let operator = put.operator.map(|id| self.places.operator(id).ok_or(unknown)).transpose()?;
                let rule = self.rule(&put.rule)?;
                let state = FarState {
                    account_type: put.account_type,
                    pending: put.pending,
                    operator,
                    rule: StateRule::AcceptsAll,
                };
                let start = steps.cold.len();
                let times = [put.last_registration, put.last_sender_accept_change];
                steps.cold.extend_from_slice(&entry_of_times(times));
                let cold = start..steps.cold.len();
                steps.push(put.recipient, place, StepWhat::Put { state: state.into(), rule, cold })?;
            }
            What::Remove(recipient) => steps.push(*recipient, place, StepWhat::Remove)?,
            What::SetAcceptance(set) => {
                let (rule, changed) = (self.rule(&set.rule)?, set.last_sender_accept_change);
                steps.push(set.recipient, place, StepWhat::Accept { rule, changed })?;
            }
            What::PutPerson(put) => self.resolve_person(place, put, steps)?,
            What::PutPersons { persons, .. } => {
                let before = steps.steps.len();
                let resolved = persons.iter().try_for_each(|put| self.resolve_person(place, put, steps));
                if resolved.is_err() {
                    steps.truncate(before);
                }
                resolved?;
            }
            What::PutOperator(operator) => self.places.put_operator(operator)?,
            What::PutSender(sender) => self.places.put_sender(sender)?,
            What::PutDispatcher(put) => self.places.put_dispatcher(put)?,
            What::RemoveOperator(id) => *without_effect += u64::from(!self.places.remove_operator(*id)),
            What::RemoveSender(id) => *without_effect += u64::from(!self.places.remove_sender(*id)),
            What::RemoveDispatcher(id) => *without_effect += u64::from(!self.places.remove_dispatcher(*id)),
            What::SetAside { .. } => {}
        }
        Ok(())
    }

    fn resolve_person(&mut self, place: usize, put: &PutPerson, steps: &mut Steps) -> Result<(), Reason> {
        let mut state = put.state;
        if !put.operator.is_empty() {
            state.operator = Some(self.places.krr_operator(&put.operator)?);
        }
        let start = steps.cold.len();
        steps.cold.extend_from_slice(&put.contact);
        if !put.certificate.is_empty() {
            let next = self.file_certificates + self.certificates.len() as u32;
            let number = match self.certificate_numbers.get(&*put.certificate) {
                Some(&number) => number,
                None => {
                    let text: Arc<str> = Arc::from(&*put.certificate);
                    Arc::make_mut(&mut self.certificates).push(Arc::clone(&text));
                    self.certificate_numbers.insert(text, next);
                    next
                }
            };
            Contact::add_certificate(&mut steps.cold, start, number);
        }
        let cold = start..steps.cold.len();
        steps.push(put.person, place, StepWhat::Put { state: state.into(), rule: 0, cold })
    }

    /// Number of a rule.
    fn rule(&mut self, named: &NamedRule) -> Result<u32, Reason> {
        let unknown = reason("unknown_sender", "exceptions");
        self.senders.clear();
        for id in &named.senders {
            self.senders.push(self.places.sender(*id).ok_or(unknown)?);
        }
        self.senders.sort_unstable();
        let slice = RuleSlice { acceptance: named.acceptance, senders: &self.senders };
        if named.acceptance == Acceptance::AllExcept && self.senders.is_empty() {
            return Ok(0);
        }
        if let Some(&number) = self.rule_numbers.get(&slice) {
            return Ok(number);
        }
        let rule = RuleSet { acceptance: named.acceptance, senders: self.senders.clone() };
        self.rules.push(&rule);
        self.rule_numbers.insert(rule, self.rule_count);
        self.rule_count += 1;
        Ok(self.rule_count - 1)
    }

    /// Applies what has been resolved.
    fn flush(&mut self, applied: &mut Applied, steps: &mut Steps) -> Result<(), Damage> {
        if steps.keys.is_empty() {
            return Ok(());
        }
        let parallel = steps.steps.len() >= PARALLEL_CHANGES;
        if parallel {
            steps.keys.par_sort_unstable()
        } else {
            steps.keys.sort_unstable()
        }
        let start = applied.register.kind().country().ordinals().start;
        let place = |key: &u64| ((key >> 32) as u32 - start) / BLOCK_ORDINALS;
        let blocks: Vec<&[u64]> = steps.keys.chunk_by(|a, b| place(a) == place(b)).collect();
        // A batch that was thrown away may have left more states behind than the register has.
        self.widen(applied)?;
        let (mut left, mut done) = (blocks.clone(), Vec::with_capacity(blocks.len()));
        loop {
            // A block is made if all its states are known; else they are added, and it is tried again.
            let register = &applied.register;
            let steps = &*steps;
            let edit = |keys: &&[u64]| {
                FOLDED.with_borrow_mut(|folded| self.edit(register, steps, keys, start, folded))
            };
            let edited: Vec<_> = match parallel {
                true => left.par_iter().with_min_len(8).map(edit).collect(),
                false => left.iter().map(edit).collect(),
            };
            let (mut again, mut unknown) = (Vec::new(), Vec::new());
            for (keys, result) in left.iter().zip(edited) {
                match result? {
                    Ok(edited) => done.push(edited),
                    Err(states) => {
                        unknown.extend(states);
                        again.push(*keys);
                    }
                }
            }
            if again.is_empty() {
                self.take(applied, done);
                return Ok(());
            }
            self.add_states(unknown);
            left = again;
            if self.widen(applied)? {
                left.clone_from(&blocks);
                done.clear();
            }
        }
    }

    /// Puts finished blocks into the register.
    fn take(&self, applied: &mut Applied, done: Vec<Edited>) {
        let more = done.iter().map(|edited| edited.more).sum();
        let mut blocks = Vec::with_capacity(done.len());
        for edited in done {
            applied.bad.extend(edited.bad);
            applied.without_effect += edited.without_effect;
            blocks.push((edited.place, edited.block));
        }
        let before = overlay_of(&applied.register);
        let overlay = before.with(before.width(), blocks.into_iter());
        let version = self.version(&applied.register, Some((overlay, more)));
        applied.register = applied.register.at(version);
    }

    fn add_states(&mut self, unknown: Vec<State>) {
        let states = Arc::make_mut(&mut self.states);
        for state in unknown {
            self.state_numbers.entry(state).or_insert_with(|| {
                states.push(state);
                states.len() as u32 - 1
            });
        }
    }

    /// If the states have become too many for the records, makes all blocks anew in wider ones, and
    /// returns true.
    fn widen(&self, applied: &mut Applied) -> Result<bool, Damage> {
        let register = &applied.register;
        let before = overlay_of(register);
        let width = Width::of_states(self.states.len());
        if width <= before.width() {
            return Ok(false);
        }
        let places = 0..directory_length(register.kind().country());
        let wider = places.into_par_iter().filter_map(|place| match register.view(place) {
            Ok(None) => None,
            Ok(Some(view)) => Some(Ok((place, LiveBlock::edited(&view, width, &[], &[])))),
            Err(damage) => Some(Err(damage)),
        });
        let blocks: Vec<_> = wider.collect::<Result<_, _>>()?;
        let overlay = before.with(width, blocks.into_iter());
        applied.register = register.at(self.version(register, Some((overlay, 0))));
        Ok(true)
    }

    /// Makes one block anew. `Err` within: states that have no number yet.
    fn edit(
        &self,
        register: &Register,
        steps: &Steps,
        keys: &[u64],
        start: u32,
        folded: &mut Folded,
    ) -> Result<Result<Edited, Vec<State>>, Damage> {
        let place = (((keys[0] >> 32) as u32 - start) / BLOCK_ORDINALS) as usize;
        let first = start + place as u32 * BLOCK_ORDINALS;
        folded.clear();
        let view = register.view_or_empty(place)?;
        for keys in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let offset = ((keys[0] >> 32) as u32 - first) as u16;
            let (_, record) = view.rank(offset);
            let steps_of = keys.iter().map(|key| &steps.steps[*key as u32 as usize]);
            self.fold(register, folded, &At { place, offset, record, view }, steps_of, &steps.cold)?;
        }
        if !folded.unknown.is_empty() {
            return Ok(Err(std::mem::take(&mut folded.unknown)));
        }
        let changes = register.version().changes.as_ref();
        let width = changes.map_or(register.index().codes.width(), |changes| changes.overlay.width());
        let block = LiveBlock::edited(&view, width, &folded.edits, &folded.cold);
        let more = i64::from(block.records()) - i64::from(view.records());
        let bad = std::mem::take(&mut folded.bad);
        Ok(Ok(Edited { place, block, more, bad, without_effect: folded.without_effect }))
    }

    /// What one recipient's changes come to.
    fn fold<'s>(
        &self,
        register: &Register,
        folded: &mut Folded,
        at: &At<'_>,
        steps: impl Iterator<Item = &'s Step>,
        cold: &[u8],
    ) -> Result<(), Damage> {
        let (present, _) = at.view.rank(at.offset);
        // State, rule and times as they are; read from the register only if a change builds upon them.
        let mut now: Option<(State, u32)> = None;
        let (mut there, mut read, mut changed) = (present == 1, false, false);
        let entry = folded.cold.len();
        for Step { place: change, what } in steps {
            match what {
                StepWhat::Put { state, rule, cold: range } => {
                    folded.cold.truncate(entry);
                    folded.cold.extend_from_slice(&cold[range.clone()]);
                    now = Some((*state, *rule));
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
                        let code = at.view.codes.get(Slot(at.record));
                        let state =
                            FarState::from(self.states.get(code as usize).copied().unwrap_or_default());
                        now = Some((FarState { rule: StateRule::AcceptsAll, ..state }.into(), 0));
                        folded.cold.extend_from_slice(&entry_of_times(register.times(at)?));
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
    let index = register.index();
    Overlay::new(index.directory.len(), index.codes.width())
}
