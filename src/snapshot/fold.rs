//! The draft of a new file from a register with changes.
//!
//! The file is identical to one built from an extract of the register: unused states, duplicate rules, and operators
//! and certificates that no KRR recipient refers to are dropped.

use super::far::{FarPlan, FarRow};
use super::krr::KrrDraft;
use super::write::Draft;
use crate::consent::RuleNumbering;
use crate::identities::Ordinal;
use crate::index::{DamagedBlock, Slot};
use crate::organisations::OperatorIndex;
use crate::register::contact::Contact;
use crate::register::state::{FarState, KrrState, State, StateRule};
use crate::register::{Damage, DamagedSection, Kind, RecordPosition, Register};

impl Draft<'_> {
    /// The draft of a file with the content of a register.
    ///
    /// Cost: three passes over FaR's records, one over KRR's; memory for the arrays of the new file.
    pub(crate) fn of(register: &Register) -> Result<Draft<'static>, Damage> {
        match register.kind() {
            Kind::Far => far(register),
            Kind::Krr => krr(register),
        }
    }
}

/// The state without rule, in the numbers of the new file, and the number of the rule in the register.
fn state_and_rule(register: &Register, at: &RecordPosition<'_>) -> (State, u32) {
    let state = register.far_state(at.view.codes.get(Slot(at.record)));
    let operator = state.operator.map(OperatorIndex::in_file);
    let new = FarState { rule: StateRule::AcceptsAll, ..state.with_operator(operator) };
    (new.into(), at.rule(state))
}

fn far(register: &Register) -> Result<Draft<'static>, Damage> {
    let mut used = vec![false; register.rules()?.len()];
    register.for_each_record::<Damage>(|_, at| {
        let (_, rule) = state_and_rule(register, at);
        *used.get_mut(rule as usize).ok_or(DamagedSection { name: "exception_rules" })? = true;
        Ok(())
    })?;
    let mut book = RuleNumbering::default();
    let mut provisional = vec![0; used.len()];
    for rule in (0..used.len()).filter(|&rule| used[rule]) {
        provisional[rule] = book.number(register.rule(rule as u32)?.in_file());
    }
    let all = vec![true; book.len()];
    let (table, finals) = book.finish(&all);
    let final_rule = |rule: u32| finals[provisional[rule as usize] as usize];

    let mut plan = FarPlan::default();
    register.for_each_record::<Damage>(|_, at| {
        let (state, rule) = state_and_rule(register, at);
        plan.count(state, final_rule(rule));
        Ok(())
    })?;
    let mut draft = plan.draft();
    register.for_each_record::<Damage>(|ordinal, at| {
        let (state, rule) = state_and_rule(register, at);
        let [last_registration, last_sender_accept_change] = register.times(at)?;
        let rule = final_rule(rule);
        draft.push(&FarRow { ordinal, state, rule, last_registration, last_sender_accept_change });
        Ok(())
    })?;
    Ok(draft.finish(register.sequence(), register.as_of(), register.actors().clone(), table))
}

fn krr(register: &Register) -> Result<Draft<'static>, Damage> {
    let mut draft = KrrDraft::default();
    register.for_each_record::<Damage>(|ordinal: Ordinal, at| {
        let finding = "the contact data of a recipient cannot be read";
        let damaged = DamagedBlock { block: at.block(), finding };
        let state = register.krr_state(at.view.codes.get(Slot(at.record)));
        let mut contact = Contact::packed(register.contact(at)?).ok_or(damaged)?.to_vec();
        let certificate = register.certificate(Contact::remove_certificate(&mut contact))?;
        let operator = state.operator.and_then(|index| register.operators().get(usize::from(index)));
        let operator = operator.map_or("", |operator| operator.id.as_str());
        let state = KrrState { operator: None, ..state };
        draft.add(ordinal, 0, state, &contact, operator, certificate);
        Ok(())
    })?;
    Ok(draft.finish(register.sequence(), register.as_of()))
}
