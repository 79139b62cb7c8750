//! The draft of a KRR register: recipients are added in any order and sorted by ordinal at the end.

use super::write::{ColdDraft, Draft, PackedContacts};
use crate::consent::RuleNumbering;
use crate::identities::{Country, Ordinal};
use crate::index::IndexBuilder;
use crate::organisations::OperatorNumber;
use crate::register::contact::Contact;
use crate::register::state::{KrrState, State, StateNumbering};
use crate::register::{Actors, Operator};
use hashbrown::HashMap;
use jiff::Timestamp;

/// A recipient of the draft.
pub(crate) struct KrrRow {
    pub(crate) ordinal: Ordinal,
    pub(crate) line: u32,
    /// Provisional number of the state.
    state: u32,
    start: u64,
    length: u32,
}

/// A KRR register under construction.
#[derive(Default)]
pub(crate) struct KrrDraft {
    /// In the order of insertion. The caller sorts and deduplicates them by ordinal before [`finish`](Self::finish).
    pub(crate) rows: Vec<KrrRow>,
    states: StateNumbering,
    contacts: PackedContacts,
    /// Provisional numbers by id.
    operators: HashMap<String, u16>,
    /// Provisional numbers by text.
    certificates: HashMap<String, u32>,
}

/// The provisional number of a text, in order of first occurrence.
fn number<N: Copy>(numbers: &mut HashMap<String, N>, text: &str, of_count: impl Fn(usize) -> N) -> N {
    let next = of_count(numbers.len());
    *numbers.entry_ref(text).or_insert(next)
}

/// The used texts in ascending order, and the index of the text of each provisional number. `used` is indexed by
/// provisional number.
fn in_order<N: Copy + Into<u32>>(numbers: HashMap<String, N>, used: &[bool]) -> (Vec<String>, Vec<u32>) {
    let mut finals = vec![0; numbers.len()];
    let is_used = |number: N| used[Into::<u32>::into(number) as usize];
    let mut texts: Vec<(String, N)> = numbers.into_iter().filter(|(_, number)| is_used(*number)).collect();
    texts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (index, (_, provisional)) in texts.iter().enumerate() {
        let provisional: u32 = (*provisional).into();
        finals[provisional as usize] = index as u32;
    }
    (texts.into_iter().map(|(text, _)| text).collect(), finals)
}

impl KrrDraft {
    /// Number of operators, including those of rejected recipients.
    pub(crate) fn operators(&self) -> usize {
        self.operators.len()
    }

    /// Adds a recipient: its state without operator, its contact without certificate, and the operator and certificate
    /// as texts, which may be empty. `None` if the contact is too long.
    pub(crate) fn add(
        &mut self,
        ordinal: Ordinal,
        line: u64,
        state: KrrState,
        mut contact: Contact,
        operator: &str,
        certificate: &str,
    ) -> Option<()> {
        let operator =
            (!operator.is_empty()).then(|| number(&mut self.operators, operator, |count| count as u16));
        let state = state.with_operator(operator.map(OperatorNumber::new));
        if !certificate.is_empty() {
            contact.certificate = Some(number(&mut self.certificates, certificate, |count| count as u32));
        }
        let start = self.contacts.bytes.len();
        contact.pack(&mut self.contacts.bytes)?;
        self.rows.push(KrrRow {
            ordinal,
            line: line.min(u64::from(u32::MAX)) as u32,
            state: self.states.number(state.into()),
            start: start as u64,
            length: (self.contacts.bytes.len() - start) as u32,
        });
        Some(())
    }

    /// Adds an id without a recipient: [`State::UNREGISTERED`] or [`State::REFUSED`].
    pub(crate) fn add_answer(&mut self, ordinal: Ordinal, state: State) {
        let start = self.contacts.bytes.len();
        // An empty contact is never too long.
        let _ = Contact::default().pack(&mut self.contacts.bytes);
        self.rows.push(KrrRow {
            ordinal,
            line: self.rows.len() as u32,
            state: self.states.number(state),
            start: start as u64,
            length: (self.contacts.bytes.len() - start) as u32,
        });
    }

    /// Sorts the recipients, and keeps of several with the same ordinal the one with the highest line.
    pub(crate) fn keep_last(&mut self) {
        self.rows.sort_unstable_by_key(|row| (row.ordinal, std::cmp::Reverse(row.line)));
        self.rows.dedup_by_key(|row| row.ordinal);
    }

    /// The number of recipients with a state that is only an answer.
    pub(crate) fn count(&self, state: State) -> u64 {
        let states = self.states.provisional();
        self.rows.iter().filter(|row| states[row.state as usize] == state).count() as u64
    }

    /// The finished draft. States, operators and certificates of rejected recipients only are dropped, so that equal
    /// recipients give equal files.
    pub(crate) fn finish(mut self, sequence: u64, as_of: Timestamp) -> Draft {
        let provisional = self.states.provisional();
        let mut used_states = vec![false; provisional.len()];
        let mut used_operators = vec![false; self.operators.len()];
        let mut used_certificates = vec![false; self.certificates.len()];
        for row in &self.rows {
            used_states[row.state as usize] = true;
            if let Some(number) = provisional[row.state as usize].operator() {
                used_operators[usize::from(number)] = true;
            }
            if let Some(number) = Contact::certificate_of(self.contacts.packed(row.start, row.length)) {
                used_certificates[number as usize] = true;
            }
        }
        let (operators, operator_numbers) = in_order(self.operators, &used_operators);
        let (certificates, certificate_numbers) = in_order(self.certificates, &used_certificates);
        let (states, state_numbers) = in_order_of_states(provisional, &used_states, |state| {
            if state.is_answer_only() {
                return state;
            }
            let state = KrrState::from(state);
            let operator = state.operator.map(|number| operator_numbers[usize::from(number)] as u16);
            KrrState { operator: operator.map(OperatorNumber::new), ..state }.into()
        });
        let mut builder = IndexBuilder::new(Country::Norway, states.len() as u32, self.rows.len());
        self.contacts.pieces = vec![(0, 0)];
        for row in &self.rows {
            builder.push(row.ordinal, state_numbers[row.state as usize], 0);
            self.contacts.pieces.push((row.start, row.length));
            let packed = &mut self.contacts.bytes[row.start as usize..][..row.length as usize];
            Contact::renumber_certificate(packed, &certificate_numbers);
        }
        let operators = operators.into_iter().map(Operator::of_krr).collect();
        let actors = Actors { operators, ..Actors::default() };
        let (rules, _) = RuleNumbering::default().finish(&[]);
        let cold = ColdDraft::Krr { contacts: self.contacts, certificates };
        Draft { sequence, as_of, actors, states, index: builder.finish(), rules, cold, scope: None }
    }
}

/// The used states, each changed by `map`, in ascending order after the state of absent recipients; and the final
/// number of each provisional number.
fn in_order_of_states(
    provisional: Vec<State>,
    used: &[bool],
    map: impl Fn(State) -> State,
) -> (Vec<State>, Vec<u32>) {
    let provisional: Vec<State> = provisional.into_iter().map(map).collect();
    let used = provisional.iter().zip(used).filter(|(_, used)| **used).map(|(state, _)| *state);
    let mut states: Vec<State> = std::iter::once(State::default()).chain(used).collect();
    states.sort_unstable();
    states.dedup();
    let finals = provisional.iter().map(|state| states.binary_search(state).unwrap_or(0) as u32).collect();
    (states, finals)
}
