//! The draft of a KRR register: persons as they come, in the order of their ordinals at the end.

use super::write::{ColdDraft, Draft, PackedContacts};
use crate::consent::RuleBook;
use crate::identities::{Country, Ordinal};
use crate::index::Builder;
use crate::register::contact::Contact;
use crate::register::state::{KrrState, State, StateBook};
use crate::register::{Actors, Operator};
use hashbrown::HashMap;
use jiff::Timestamp;

/// What is kept of a person until all are there.
pub(crate) struct KrrRow {
    pub(crate) ordinal: Ordinal,
    pub(crate) line: u32,
    /// Provisional number.
    state: u32,
    start: u64,
    length: u32,
}

/// A KRR register that takes its persons.
#[derive(Default)]
pub(crate) struct KrrDraft {
    /// In the order of coming; ascending by ordinal, each once, when the draft is finished.
    pub(crate) rows: Vec<KrrRow>,
    states: StateBook,
    contacts: PackedContacts,
    operators: HashMap<String, u16>,
    certificates: HashMap<String, u32>,
}

/// The provisional number of a text, in the order of coming.
fn number<N: Copy>(numbers: &mut HashMap<String, N>, text: &str, of_count: impl Fn(usize) -> N) -> N {
    let next = of_count(numbers.len());
    *numbers.entry_ref(text).or_insert(next)
}

/// The texts that are used, by provisional number, in ascending order, and for each provisional number
/// the place of its text.
fn in_order<N: Copy + Into<u32>>(numbers: HashMap<String, N>, used: &[bool]) -> (Vec<String>, Vec<u32>) {
    let mut finals = vec![0; numbers.len()];
    let is_used = |number: N| used[Into::<u32>::into(number) as usize];
    let mut texts: Vec<(String, N)> = numbers.into_iter().filter(|(_, number)| is_used(*number)).collect();
    texts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (place, (_, provisional)) in texts.iter().enumerate() {
        let provisional: u32 = (*provisional).into();
        finals[provisional as usize] = place as u32;
    }
    (texts.into_iter().map(|(text, _)| text).collect(), finals)
}

impl KrrDraft {
    /// Number of operators, also of those that only left-out persons have.
    pub(crate) fn operators(&self) -> usize {
        self.operators.len()
    }

    /// Adds a person: the state without its operator, the contact without its certificate, and both as
    /// texts that may be empty. `None` if the contact is too long.
    pub(crate) fn add(
        &mut self,
        ordinal: Ordinal,
        line: u64,
        mut state: KrrState,
        mut contact: Contact,
        operator: &str,
        certificate: &str,
    ) -> Option<()> {
        if !operator.is_empty() {
            state.operator = Some(number(&mut self.operators, operator, |count| count as u16));
        }
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

    /// The finished draft. What only left-out persons had leaves no trace: the same persons make the
    /// same file.
    pub(crate) fn finish(mut self, sequence: u64, as_of: Timestamp) -> Draft {
        let provisional = self.states.provisional();
        let mut used_states = vec![false; provisional.len()];
        let mut used_operators = vec![false; self.operators.len()];
        let mut used_certificates = vec![false; self.certificates.len()];
        for row in &self.rows {
            used_states[row.state as usize] = true;
            if let Some(place) = provisional[row.state as usize].operator() {
                used_operators[usize::from(place)] = true;
            }
            if let Some(number) = Contact::certificate_of(self.contacts.packed(row.start, row.length)) {
                used_certificates[number as usize] = true;
            }
        }
        let (operators, operator_places) = in_order(self.operators, &used_operators);
        let (certificates, certificate_places) = in_order(self.certificates, &used_certificates);
        let (states, state_numbers) = in_order_of_states(provisional, &used_states, |state| {
            let state = KrrState::from(state);
            let operator = state.operator.map(|place| operator_places[usize::from(place)] as u16);
            KrrState { operator, ..state }.into()
        });
        let mut builder = Builder::new(Country::Norway, states.len() as u32, self.rows.len());
        self.contacts.pieces = vec![(0, 0)];
        for row in &self.rows {
            builder.push(row.ordinal, state_numbers[row.state as usize], 0);
            self.contacts.pieces.push((row.start, row.length));
            let packed = &mut self.contacts.bytes[row.start as usize..][..row.length as usize];
            Contact::renumber_certificate(packed, &certificate_places);
        }
        let operators = operators.into_iter().map(Operator::of_krr).collect();
        let actors = Actors { operators, ..Actors::default() };
        let (rules, _) = RuleBook::default().finish(&[]);
        let cold = ColdDraft::Krr { contacts: self.contacts, certificates };
        Draft { sequence, as_of, actors, states, index: builder.finish(), rules, cold }
    }
}

/// The states that are used, each changed by `map`, in ascending order after that of nobody, and for each
/// provisional number the final one.
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
