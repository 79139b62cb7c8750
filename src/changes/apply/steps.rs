//! Changes of recipients, resolved: what they name has been looked up.

use super::actors::Places;
use super::{Editor, PARALLEL_CHANGES};
use crate::changes::{Change, NamedRule, PutPerson, Reason, What};
use crate::consent::{Acceptance, RuleSet, RuleSlice};
use crate::extract::reason;
use crate::identities::{Country, Ordinal};
use crate::register::state::{FarState, State, StateRule};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Most changes for whose working memory there is room from batch to batch.
const STEPS_KEPT: usize = 1 << 18;

/// Changes that one thread resolves at a time.
const CHUNK_CHANGES: usize = 256;

/// The key of a change that is bad; behind all others.
const NO_KEY: u64 = u64::MAX;

/// A rule that has no number yet.
const NO_RULE: u32 = u32::MAX;

/// A change of a recipient, resolved.
#[derive(Clone)]
pub(super) struct Step {
    /// Place among the changes.
    pub(super) place: u32,
    pub(super) what: StepWhat,
}

#[derive(Clone)]
pub(super) enum StepWhat {
    /// State without the rule, rule, and both times.
    PutRecipient {
        state: State,
        rule: u32,
        times: [i64; 2],
    },
    /// State, certificate, and the person's place in the page.
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
    const NONE: Step = Step { place: 0, what: StepWhat::Remove };
}

/// Changes of recipients that have been resolved and not applied.
#[derive(Default)]
pub(super) struct Steps {
    /// That of the register; `None` before the first changes.
    country: Option<Country>,
    /// Ordinal and place in `steps`, for sorting.
    pub(super) keys: Vec<u64>,
    pub(super) steps: Vec<Step>,
}

impl Steps {
    /// Forgets what was there, and makes room for some changes. What one great batch took is not kept.
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

    /// Sorts by recipient; what is bad is left out.
    pub(super) fn sort(&mut self, parallel: bool) {
        if parallel {
            self.keys.par_sort_unstable();
        } else {
            self.keys.sort_unstable();
        }
        self.keys.truncate(self.keys.partition_point(|&key| key != NO_KEY));
    }

    fn push(&mut self, recipient: Ordinal, place: usize, what: StepWhat) -> Result<(), Reason> {
        self.keys.push(key(self.country, recipient, self.steps.len())?);
        self.steps.push(Step { place: place as u32, what });
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

/// The place of a key's step.
pub(super) fn step(key: u64) -> usize {
    key as u32 as usize
}

fn key(country: Option<Country>, recipient: Ordinal, step: usize) -> Result<u64, Reason> {
    match country.is_some_and(|country| country.has(recipient)) {
        true => Ok(u64::from(recipient.0) << 32 | step as u64),
        false => Err(reason("not_of_this_register", "")),
    }
}

/// Where the keys and the steps of some changes go.
type To<'a> = (&'a mut [u64], &'a mut [Step]);

/// Where the first of some changes is: in its run, among the steps, among all changes.
#[derive(Clone, Copy)]
struct At {
    run: usize,
    step: usize,
    place: usize,
}

/// What is left to do of some changes that were resolved at the same time as others.
#[derive(Default)]
struct Left {
    bad: Vec<(usize, Reason)>,
    /// Rules that have no number, and where in the run.
    new_rules: Vec<(usize, RuleSet)>,
}

impl Editor {
    /// Looks up what changes name, in their order.
    pub(super) fn resolve_all(
        &mut self,
        changes: &[Change],
        steps: &mut Steps,
        bad: &mut Vec<(usize, Reason)>,
        without_effect: &mut u64,
    ) {
        let mut place = 0;
        while place < changes.len() {
            // Recipients of FaR change nothing that others name, so those between two other changes are
            // looked up at the same time.
            let rest = &changes[place..];
            let run = rest.iter().take_while(|change| of_recipient(&change.what).is_some()).count();
            self.resolve_recipients(changes, place..place + run, steps, bad);
            place += run;
            if let Some(change) = changes.get(place) {
                let resolved = self.resolve(place, &change.what, steps, without_effect);
                bad.extend(resolved.err().map(|why| (place, why)));
                place += 1;
            }
        }
    }

    fn resolve_recipients(
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
        let editor = &*self;
        let resolve = |(chunk, (to, changes)): (usize, (To<'_>, &[Change]))| {
            let at = chunk * CHUNK_CHANGES;
            editor.resolve_chunk(
                country,
                changes,
                At { run: at, step: first + at, place: run.start + at },
                to,
            )
        };
        let changes = &changes[run.clone()];
        let left: Vec<Left> = if changes.len() >= PARALLEL_CHANGES {
            let to = keys.par_chunks_mut(CHUNK_CHANGES).zip(of_run.par_chunks_mut(CHUNK_CHANGES));
            to.zip(changes.par_chunks(CHUNK_CHANGES)).enumerate().map(resolve).collect()
        } else {
            let to = keys.chunks_mut(CHUNK_CHANGES).zip(of_run.chunks_mut(CHUNK_CHANGES));
            to.zip(changes.chunks(CHUNK_CHANGES)).enumerate().map(resolve).collect()
        };
        for Left { bad: of_chunk, new_rules } in left {
            bad.extend(of_chunk);
            for (at, new) in new_rules {
                let number = self.rule_number(new);
                if let StepWhat::PutRecipient { rule, .. } | StepWhat::Accept { rule, .. } =
                    &mut of_run[at].what
                {
                    *rule = number;
                }
            }
        }
    }

    /// Looks up what some changes of FaR recipients name that follow one another.
    fn resolve_chunk(
        &self,
        country: Option<Country>,
        changes: &[Change],
        first: At,
        (keys, steps): To<'_>,
    ) -> Left {
        let (mut left, mut senders) = (Left::default(), Vec::new());
        for (at, change) in changes.iter().enumerate() {
            let resolved = self.recipient(&change.what, &mut senders).and_then(|(recipient, what)| {
                let place = (first.place + at) as u32;
                Ok((key(country, recipient, first.step + at)?, Step { place, what }))
            });
            match resolved {
                Ok(resolved) => (keys[at], steps[at]) = resolved,
                Err(why) => left.bad.push((first.place + at, why)),
            }
            if let StepWhat::PutRecipient { rule: NO_RULE, .. } | StepWhat::Accept { rule: NO_RULE, .. } =
                steps[at].what
                && let Some(Some(named)) = of_recipient(&change.what)
            {
                // The senders are still those that have just been looked up.
                let rule = RuleSet { acceptance: named.acceptance, senders: senders.clone() };
                left.new_rules.push((first.run + at, rule));
            }
        }
        left
    }

    /// Looks up what a change of a FaR recipient names.
    fn recipient(&self, what: &What, senders: &mut Vec<u16>) -> Result<(Ordinal, StepWhat), Reason> {
        match what {
            What::PutRecipient(put) => {
                let unknown = reason("unknown_operator", "operator_id");
                let operator = put.operator.map(|id| self.places.operator(id).ok_or(unknown)).transpose()?;
                let rule = self.rule(&put.rule, senders)?;
                let state = FarState {
                    account_type: put.account_type,
                    pending: put.pending,
                    operator,
                    rule: StateRule::AcceptsAll,
                };
                let times = [put.last_registration, put.last_sender_accept_change];
                Ok((put.recipient, StepWhat::PutRecipient { state: state.into(), rule, times }))
            }
            What::SetAcceptance(set) => {
                let (rule, changed) = (self.rule(&set.rule, senders)?, set.last_sender_accept_change);
                Ok((set.recipient, StepWhat::Accept { rule, changed }))
            }
            What::Remove(recipient) => Ok((*recipient, StepWhat::Remove)),
            _ => Err(reason("not_of_this_register", "")),
        }
    }

    /// Looks up what another change names, and changes what is no recipient.
    fn resolve(
        &mut self,
        place: usize,
        what: &What,
        steps: &mut Steps,
        without_effect: &mut u64,
    ) -> Result<(), Reason> {
        match what {
            What::PutPerson(put) => self.resolve_person(place, 0, put, steps)?,
            What::PutPersons { persons, .. } => {
                let before = steps.steps.len();
                let mut persons = (0..).zip(persons);
                let resolved = persons.try_for_each(|(at, put)| self.resolve_person(place, at, put, steps));
                if resolved.is_err() {
                    steps.truncate(before);
                }
                resolved?;
            }
            What::PutOperator(operator) => {
                self.places.put_operator(operator)?;
                self.hash_actors();
            }
            What::PutSender(sender) => {
                self.places.put_sender(sender)?;
                self.hash_actors();
            }
            What::PutDispatcher(put) => self.places.put_dispatcher(put)?,
            What::RemoveOperator(id) => *without_effect += u64::from(!self.places.remove_operator(*id)),
            What::RemoveSender(id) => *without_effect += u64::from(!self.places.remove_sender(*id)),
            What::RemoveDispatcher(id) => *without_effect += u64::from(!self.places.remove_dispatcher(*id)),
            What::PutRecipient(_)
            | What::SetAcceptance(_)
            | What::Remove(_)
            | What::SetAside { .. }
            | What::Others { .. } => {}
        }
        Ok(())
    }

    fn resolve_person(
        &mut self,
        place: usize,
        person: u32,
        put: &PutPerson,
        steps: &mut Steps,
    ) -> Result<(), Reason> {
        let mut state = put.state;
        if !put.operator.is_empty() {
            state.operator = Some(self.places.krr_operator(&put.operator)?);
            self.hash_actors();
        }
        let certificate = (!put.certificate.is_empty()).then(|| self.certificate(&put.certificate));
        steps.push(put.person, place, StepWhat::PutPerson { state: state.into(), certificate, person })
    }

    /// Hashes organisations that are new.
    pub(super) fn hash_actors(&mut self) {
        let Places { actors, operator_numbers, sender_numbers, .. } = &self.places;
        self.hashes.add_actors(actors, operator_numbers, sender_numbers);
    }

    /// Number of a certificate.
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

    /// Number of a rule, [`NO_RULE`] if it has none. `senders` is left with the numbers of its senders.
    fn rule(&self, named: &NamedRule, senders: &mut Vec<u16>) -> Result<u32, Reason> {
        let unknown = reason("unknown_sender", "exceptions");
        senders.clear();
        for id in &named.senders {
            senders.push(self.places.sender(*id).ok_or(unknown)?);
        }
        senders.sort_unstable();
        if named.acceptance == Acceptance::AllExcept && senders.is_empty() {
            return Ok(0);
        }
        let slice = RuleSlice { acceptance: named.acceptance, senders };
        Ok(self.rule_numbers.get(&slice).copied().unwrap_or(NO_RULE))
    }

    /// Number of a rule, which gets one if it has none.
    fn rule_number(&mut self, rule: RuleSet) -> u32 {
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

/// The rule that a change of a FaR recipient brings, if it is one and brings one.
fn of_recipient(what: &What) -> Option<Option<&NamedRule>> {
    match what {
        What::PutRecipient(put) => Some(Some(&put.rule)),
        What::SetAcceptance(set) => Some(Some(&set.rule)),
        What::Remove(_) => Some(None),
        _ => None,
    }
}
