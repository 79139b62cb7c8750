//! Resolving changes: ids to numbers, rules to numbers.

use super::actors::ActorIndex;
use super::threads::PARALLEL_CHANGES;
use crate::changes::change::{Change, ChangeBody, NamedRule, PutPerson};
use crate::consent::{Acceptance, RuleSet, RuleSlice, RuleTail};
use crate::decode::{Reason, reason};
use crate::identities::{Country, Ordinal};
use crate::register::content::Hashes;
use crate::register::state::{FarState, State, StateRule};
use crate::register::{Damage, DamagedSection, Register, SenderNumber};
use hashbrown::HashMap;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Capacity, in changes, that is kept from batch to batch.
const STEPS_KEPT: usize = 1 << 18;

/// Changes that one thread resolves at a time.
const CHUNK_CHANGES: usize = 256;

/// The key of a bad change; sorts last.
const NO_KEY: u64 = u64::MAX;

/// A rule without a number yet.
const NO_RULE: u32 = u32::MAX;

/// A resolved change of a recipient.
#[derive(Clone)]
pub(super) struct Step {
    /// Index of the change.
    pub(super) change: u32,
    pub(super) action: StepAction,
}

#[derive(Clone)]
pub(super) enum StepAction {
    /// State without the rule, rule, and both times.
    PutRecipient {
        state: State,
        rule: u32,
        times: [i64; 2],
    },
    /// State, certificate, and the person's index in the page.
    PutPerson {
        state: State,
        certificate: Option<u32>,
        person: u32,
    },
    Accept {
        rule: u32,
        changed: i64,
    },
    Remove,
}

impl Step {
    const NONE: Step = Step { change: 0, action: StepAction::Remove };
}

/// Changes of recipients, resolved and not yet applied.
#[derive(Default)]
pub(super) struct Steps {
    /// Of the register; `None` before the first changes.
    country: Option<Country>,
    /// Ordinal and index in `steps`, for sorting.
    pub(super) keys: Vec<u64>,
    pub(super) steps: Vec<Step>,
}

impl Steps {
    /// Clears the steps and reserves memory for a batch. The memory of a very large batch is not kept.
    pub(super) fn begin(&mut self, country: Country, changes: usize) {
        if self.keys.capacity() > STEPS_KEPT {
            *self = Steps::default();
        }
        self.country = Some(country);
        self.keys.clear();
        self.steps.clear();
        self.keys.reserve_exact(changes);
        self.steps.reserve_exact(changes);
    }

    /// Sorts by recipient and drops bad changes.
    pub(super) fn sort(&mut self, parallel: bool) {
        if parallel {
            self.keys.par_sort_unstable();
        } else {
            self.keys.sort_unstable();
        }
        self.keys.truncate(self.keys.partition_point(|&key| key != NO_KEY));
    }

    fn push(&mut self, recipient: Ordinal, change: usize, action: StepAction) -> Result<(), Reason> {
        self.keys.push(key(self.country, recipient, self.steps.len())?);
        self.steps.push(Step { change: change as u32, action });
        Ok(())
    }

    fn truncate(&mut self, steps: usize) {
        self.keys.truncate(steps);
        self.steps.truncate(steps);
    }
}

/// The recipient of a key.
pub(super) fn ordinal(key: u64) -> Ordinal {
    Ordinal((key >> 32) as u32)
}

/// The index of a key's step.
pub(super) fn step(key: u64) -> usize {
    key as u32 as usize
}

fn key(country: Option<Country>, recipient: Ordinal, step: usize) -> Result<u64, Reason> {
    match country.is_some_and(|country| country.has(recipient)) {
        true => Ok(u64::from(recipient.0) << 32 | step as u64),
        false => Err(reason("not_of_this_register", "")),
    }
}

/// Where the keys and the steps of a chunk of changes are written.
type StepSlots<'a> = (&'a mut [u64], &'a mut [Step]);

/// Indexes of the first change of a chunk: in its run, among the steps, among all changes.
#[derive(Clone, Copy)]
struct ChunkStart {
    run: usize,
    step: usize,
    change: usize,
}

/// What remains to be done in order, after chunks were resolved in parallel.
#[derive(Default)]
struct Unresolved {
    bad: Vec<(usize, Reason)>,
    /// Rules without a number, and the index in the run.
    new_rules: Vec<(usize, RuleSet<SenderNumber>)>,
}

/// What a register has, by content: organisations, rules, certificates.
pub(super) struct Resolver {
    pub(super) actors: ActorIndex,
    pub(super) rules: RuleTail,
    rule_numbers: HashMap<RuleSet<SenderNumber>, u32>,
    /// Number of rules, with rule 0 and duplicates.
    rule_count: u32,
    file_certificates: u32,
    pub(super) certificates: Arc<Vec<Arc<str>>>,
    certificate_numbers: HashMap<Arc<str>, u32>,
    pub(super) hashes: Hashes,
}

impl Resolver {
    pub(super) fn of(register: &Register) -> Result<Resolver, Damage> {
        let changes = register.version().changes.as_ref();
        let mut resolver = Resolver {
            actors: ActorIndex::of(register.version()),
            rules: changes.map(|changes| changes.rules.clone()).unwrap_or_default(),
            rule_numbers: HashMap::new(),
            rule_count: 0,
            file_certificates: register.parts().cold.certificates()? as u32,
            certificates: changes.map(|changes| Arc::clone(&changes.certificates)).unwrap_or_default(),
            certificate_numbers: HashMap::new(),
            hashes: Hashes::default(),
        };
        let rules = register.rules()?;
        resolver.rule_count = rules.len() as u32;
        for number in 0..resolver.rule_count {
            let rule = rules.get(number).ok_or(DamagedSection { name: "rule_heads" })?;
            resolver.hashes.add_rule(&rule);
            // Of equal rules the first counts.
            resolver.rule_numbers.entry(rule).or_insert(number);
        }
        for number in 0..resolver.file_certificates + resolver.certificates.len() as u32 {
            let text = register.certificate(Some(number))?;
            resolver.hashes.add_certificate(text);
            resolver.certificate_numbers.entry(text.into()).or_insert(number);
        }
        resolver.hash_actors();
        Ok(resolver)
    }

    /// Resolves changes in their order.
    pub(super) fn resolve_all(
        &mut self,
        changes: &[Change],
        steps: &mut Steps,
        bad: &mut Vec<(usize, Reason)>,
        without_effect: &mut u64,
    ) {
        let mut next = 0;
        while next < changes.len() {
            // Changes of FaR recipients affect nothing that others name, so a run of them is resolved in parallel.
            let rest = &changes[next..];
            let run = rest.iter().take_while(|change| is_of_far_recipient(&change.what)).count();
            self.resolve_run(changes, next..next + run, steps, bad);
            next += run;
            if let Some(change) = changes.get(next) {
                let resolved = self.resolve(next, &change.what, steps, without_effect);
                bad.extend(resolved.err().map(|why| (next, why)));
                next += 1;
            }
        }
    }

    fn resolve_run(
        &mut self,
        changes: &[Change],
        run: Range<usize>,
        steps: &mut Steps,
        bad: &mut Vec<(usize, Reason)>,
    ) {
        let first = steps.steps.len();
        steps.keys.resize(first + run.len(), NO_KEY);
        steps.steps.resize(first + run.len(), Step::NONE);
        let country = steps.country;
        let (keys, of_run) = (&mut steps.keys[first..], &mut steps.steps[first..]);
        let resolver = &*self;
        let resolve = |(chunk, (slots, changes)): (usize, (StepSlots<'_>, &[Change]))| {
            let offset = chunk * CHUNK_CHANGES;
            let start = ChunkStart { run: offset, step: first + offset, change: run.start + offset };
            resolver.resolve_chunk(country, changes, start, slots)
        };
        let changes = &changes[run.clone()];
        let unresolved: Vec<Unresolved> = if changes.len() >= PARALLEL_CHANGES {
            let slots = keys.par_chunks_mut(CHUNK_CHANGES).zip(of_run.par_chunks_mut(CHUNK_CHANGES));
            slots.zip(changes.par_chunks(CHUNK_CHANGES)).enumerate().map(resolve).collect()
        } else {
            let slots = keys.chunks_mut(CHUNK_CHANGES).zip(of_run.chunks_mut(CHUNK_CHANGES));
            slots.zip(changes.chunks(CHUNK_CHANGES)).enumerate().map(resolve).collect()
        };
        for Unresolved { bad: of_chunk, new_rules } in unresolved {
            bad.extend(of_chunk);
            for (index, new) in new_rules {
                let number = self.rule_number(new);
                if let StepAction::PutRecipient { rule, .. } | StepAction::Accept { rule, .. } =
                    &mut of_run[index].action
                {
                    *rule = number;
                }
            }
        }
    }

    /// Resolves a chunk of a run of changes of FaR recipients.
    fn resolve_chunk(
        &self,
        country: Option<Country>,
        changes: &[Change],
        first: ChunkStart,
        (keys, steps): StepSlots<'_>,
    ) -> Unresolved {
        let (mut unresolved, mut senders) = (Unresolved::default(), Vec::new());
        for (index, change) in changes.iter().enumerate() {
            let resolved =
                self.resolve_recipient(&change.what, &mut senders).and_then(|(recipient, action)| {
                    let key = key(country, recipient, first.step + index)?;
                    Ok((key, Step { change: (first.change + index) as u32, action }))
                });
            match resolved {
                Ok(resolved) => (keys[index], steps[index]) = resolved,
                Err(why) => unresolved.bad.push((first.change + index, why)),
            }
            if let StepAction::PutRecipient { rule: NO_RULE, .. } | StepAction::Accept { rule: NO_RULE, .. } =
                steps[index].action
                && let Some(named) = rule_of(&change.what)
            {
                // `senders` is still that of this change.
                let rule = RuleSet { acceptance: named.acceptance, senders: senders.clone() };
                unresolved.new_rules.push((first.run + index, rule));
            }
        }
        unresolved
    }

    /// Resolves a change of a FaR recipient. `senders` is scratch: it is left with the senders of the rule.
    fn resolve_recipient(
        &self,
        what: &ChangeBody,
        senders: &mut Vec<SenderNumber>,
    ) -> Result<(Ordinal, StepAction), Reason> {
        match what {
            ChangeBody::PutRecipient(put) => {
                let unknown = reason("unknown_operator", "operator_id");
                let operator = put.operator.map(|id| self.actors.operator(id).ok_or(unknown)).transpose()?;
                let rule = self.rule(&put.rule, senders)?;
                let state = FarState {
                    account_type: put.account_type,
                    pending: put.pending,
                    operator,
                    rule: StateRule::AcceptsAll,
                };
                let times = [put.last_registration, put.last_sender_accept_change];
                Ok((put.recipient, StepAction::PutRecipient { state: state.into(), rule, times }))
            }
            ChangeBody::SetAcceptance(set) => {
                let (rule, changed) = (self.rule(&set.rule, senders)?, set.last_sender_accept_change);
                Ok((set.recipient, StepAction::Accept { rule, changed }))
            }
            ChangeBody::Remove(recipient) => Ok((*recipient, StepAction::Remove)),
            ChangeBody::PutOperator(_)
            | ChangeBody::RemoveOperator(_)
            | ChangeBody::PutSender(_)
            | ChangeBody::RemoveSender(_)
            | ChangeBody::PutDispatcher(_)
            | ChangeBody::RemoveDispatcher(_)
            | ChangeBody::PutPerson(_)
            | ChangeBody::PutPersons { .. }
            | ChangeBody::SetAside { .. }
            | ChangeBody::Others { .. } => Err(reason("not_of_this_register", "")),
        }
    }

    /// Resolves any other change, and applies it if it concerns an organisation.
    fn resolve(
        &mut self,
        index: usize,
        what: &ChangeBody,
        steps: &mut Steps,
        without_effect: &mut u64,
    ) -> Result<(), Reason> {
        match what {
            ChangeBody::PutPerson(put) => self.resolve_person(index, 0, put, steps)?,
            ChangeBody::PutPersons { persons, .. } => {
                let before = steps.steps.len();
                let mut persons = (0..).zip(persons);
                let resolved =
                    persons.try_for_each(|(person, put)| self.resolve_person(index, person, put, steps));
                if resolved.is_err() {
                    steps.truncate(before);
                }
                resolved?;
            }
            ChangeBody::PutOperator(operator) => {
                self.actors.put_operator(operator)?;
                self.hash_actors();
            }
            ChangeBody::PutSender(sender) => {
                self.actors.put_sender(sender)?;
                self.hash_actors();
            }
            ChangeBody::PutDispatcher(put) => self.actors.put_dispatcher(put)?,
            ChangeBody::RemoveOperator(id) => *without_effect += u64::from(!self.actors.remove_operator(*id)),
            ChangeBody::RemoveSender(id) => *without_effect += u64::from(!self.actors.remove_sender(*id)),
            ChangeBody::RemoveDispatcher(id) => {
                *without_effect += u64::from(!self.actors.remove_dispatcher(*id))
            }
            ChangeBody::PutRecipient(_)
            | ChangeBody::SetAcceptance(_)
            | ChangeBody::Remove(_)
            | ChangeBody::SetAside { .. }
            | ChangeBody::Others { .. } => {}
        }
        Ok(())
    }

    fn resolve_person(
        &mut self,
        change: usize,
        person: u32,
        put: &PutPerson,
        steps: &mut Steps,
    ) -> Result<(), Reason> {
        let mut operator = None;
        if !put.operator.is_empty() {
            operator = Some(self.actors.krr_operator(&put.operator)?);
            self.hash_actors();
        }
        let state = put.state.with_operator(operator);
        let certificate = (!put.certificate.is_empty()).then(|| self.certificate(&put.certificate));
        steps.push(put.person, change, StepAction::PutPerson { state: state.into(), certificate, person })
    }

    /// Hashes new organisations.
    fn hash_actors(&mut self) {
        let ActorIndex { actors, operator_numbers, sender_numbers, .. } = &self.actors;
        self.hashes.add_actors(actors, operator_numbers, sender_numbers);
    }

    /// Number of a certificate, assigned if it is new.
    fn certificate(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.certificate_numbers.get(text) {
            return number;
        }
        let next = self.file_certificates + self.certificates.len() as u32;
        let text: Arc<str> = Arc::from(text);
        self.hashes.add_certificate(&text);
        Arc::make_mut(&mut self.certificates).push(Arc::clone(&text));
        self.certificate_numbers.insert(text, next);
        next
    }

    /// Number of a rule, [`NO_RULE`] if it is new. `senders` is left with the numbers of its senders.
    fn rule(&self, named: &NamedRule, senders: &mut Vec<SenderNumber>) -> Result<u32, Reason> {
        let unknown = reason("unknown_sender", "exceptions");
        senders.clear();
        for id in &named.senders {
            senders.push(self.actors.sender(*id).ok_or(unknown)?);
        }
        senders.sort_unstable();
        if named.acceptance == Acceptance::AllExcept && senders.is_empty() {
            return Ok(0);
        }
        let slice = RuleSlice { acceptance: named.acceptance, senders };
        Ok(self.rule_numbers.get(&slice).copied().unwrap_or(NO_RULE))
    }

    /// Number of a rule, assigned if it is new.
    fn rule_number(&mut self, rule: RuleSet<SenderNumber>) -> u32 {
        if let Some(&number) = self.rule_numbers.get(&rule) {
            return number;
        }
        self.rules.push(&rule);
        self.hashes.add_rule(&rule);
        self.rule_numbers.insert(rule, self.rule_count);
        self.rule_count += 1;
        self.rule_count - 1
    }
}

fn is_of_far_recipient(what: &ChangeBody) -> bool {
    rule_of(what).is_some() || matches!(what, ChangeBody::Remove(_))
}

/// The acceptance rule in a change of a FaR recipient.
fn rule_of(what: &ChangeBody) -> Option<&NamedRule> {
    match what {
        ChangeBody::PutRecipient(put) => Some(&put.rule),
        ChangeBody::SetAcceptance(set) => Some(&set.rule),
        _ => None,
    }
}
