//! The draft of a KRR register: recipients are added in any order and sorted by ordinal at the end.

use super::write::{ColdDraft, ContactsDraft, Draft, PackedContacts};
use crate::consent::RuleNumbering;
use crate::identities::{Country, Ordinal};
use crate::index::{BuiltIndex, IndexBuilder};
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

/// Numbers of states, operators and certificates, in order of first occurrence.
#[derive(Default)]
pub(crate) struct KrrNumbers {
    states: StateNumbering,
    operators: HashMap<String, u16>,
    certificates: HashMap<String, u32>,
}

/// What is used of the [`KrrNumbers`], each indexed by provisional number.
struct Used {
    states: Vec<bool>,
    operators: Vec<bool>,
    certificates: Vec<bool>,
}

/// What is used, in ascending order, and the final number of each provisional one.
pub(crate) struct KrrTables {
    pub(crate) states: Vec<State>,
    pub(crate) state_numbers: Vec<u32>,
    operators: Vec<String>,
    pub(crate) certificates: Vec<String>,
    pub(crate) certificate_numbers: Vec<u32>,
}

impl KrrNumbers {
    /// Number of operators.
    pub(crate) fn operators(&self) -> usize {
        self.operators.len()
    }

    /// The number of a state, given without the operator, whose id may be empty.
    pub(crate) fn state(&mut self, state: KrrState, operator: &str) -> u32 {
        let operator =
            (!operator.is_empty()).then(|| number(&mut self.operators, operator, |count| count as u16));
        self.states.number(state.with_operator(operator.map(OperatorNumber::new)).into())
    }

    /// The number of [`State::UNREGISTERED`] or [`State::REFUSED`].
    pub(crate) fn answer(&mut self, state: State) -> u32 {
        self.states.number(state)
    }

    /// The number of a certificate, which is not empty.
    pub(crate) fn certificate(&mut self, text: &str) -> u32 {
        number(&mut self.certificates, text, |count| count as u32)
    }

    /// The final tables of what some rows use: the numbers of their states and of their certificates.
    pub(crate) fn finish(
        self,
        states: impl Iterator<Item = u32>,
        certificates: impl Iterator<Item = u32>,
    ) -> KrrTables {
        let provisional = self.states.provisional();
        let mut used = Used {
            states: vec![false; provisional.len()],
            operators: vec![false; self.operators.len()],
            certificates: vec![false; self.certificates.len()],
        };
        states.for_each(|state| used.states[state as usize] = true);
        for (state, _) in provisional.iter().zip(&used.states).filter(|(_, is_used)| **is_used) {
            if let Some(number) = state.operator() {
                used.operators[usize::from(number)] = true;
            }
        }
        certificates.for_each(|number| used.certificates[number as usize] = true);
        self.finish_used(&used)
    }

    /// The number of a certificate that has one.
    pub(crate) fn number_of_certificate(&self, text: &str) -> Option<u32> {
        self.certificates.get(text).copied()
    }

    /// Number of certificates.
    pub(crate) fn certificates(&self) -> usize {
        self.certificates.len()
    }

    fn finish_used(self, used: &Used) -> KrrTables {
        let (operators, operator_numbers) = in_order(self.operators, &used.operators);
        let (certificates, certificate_numbers) = in_order(self.certificates, &used.certificates);
        let (states, state_numbers) = in_order_of_states(self.states.provisional(), &used.states, |state| {
            if state.is_answer_only() {
                return state;
            }
            let state = KrrState::from(state);
            let operator = state.operator.map(|number| operator_numbers[usize::from(number)] as u16);
            KrrState { operator: operator.map(OperatorNumber::new), ..state }.into()
        });
        KrrTables { states, state_numbers, operators, certificates, certificate_numbers }
    }
}

impl KrrTables {
    /// The draft of a register with these tables.
    pub(crate) fn draft<'a>(
        self,
        (sequence, as_of): (u64, Timestamp),
        index: BuiltIndex,
        contacts: ContactsDraft<'a>,
        places: Vec<u32>,
    ) -> Draft<'a> {
        let operators = self.operators.into_iter().map(Operator::of_krr).collect();
        let (rules, _) = RuleNumbering::default().finish(&[]);
        Draft {
            sequence,
            as_of,
            actors: Actors { operators, ..Actors::default() },
            states: self.states,
            index,
            rules,
            cold: ColdDraft::Krr { contacts, places, certificates: self.certificates },
            scope: None,
        }
    }
}

/// A KRR register under construction.
#[derive(Default)]
pub(crate) struct KrrDraft {
    /// In the order of insertion. The caller sorts and deduplicates them by ordinal before [`finish`](Self::finish).
    pub(crate) rows: Vec<KrrRow>,
    numbers: KrrNumbers,
    contacts: PackedContacts,
}

impl KrrDraft {
    /// Number of operators, including those of rejected recipients.
    pub(crate) fn operators(&self) -> usize {
        self.numbers.operators()
    }

    /// Adds a recipient: its state without operator, its packed contact without certificate, and the operator and
    /// certificate as texts, which may be empty.
    pub(crate) fn add(
        &mut self,
        ordinal: Ordinal,
        line: u64,
        state: KrrState,
        contact: &[u8],
        operator: &str,
        certificate: &str,
    ) {
        let start = self.contacts.bytes.len();
        self.contacts.bytes.extend_from_slice(contact);
        if !certificate.is_empty() {
            let number = self.numbers.certificate(certificate);
            Contact::add_certificate(&mut self.contacts.bytes, start, number);
        }
        let state = self.numbers.state(state, operator);
        self.push(ordinal, line.min(u64::from(u32::MAX)) as u32, state, start);
    }

    /// Adds an id without a recipient: [`State::UNREGISTERED`] or [`State::REFUSED`].
    pub(crate) fn add_answer(&mut self, ordinal: Ordinal, state: State) {
        let start = self.contacts.bytes.len();
        self.contacts.bytes.extend_from_slice(&Contact::EMPTY);
        let state = self.numbers.answer(state);
        self.push(ordinal, self.rows.len() as u32, state, start);
    }

    /// Adds a row whose contact begins at `start` and is the last one.
    fn push(&mut self, ordinal: Ordinal, line: u32, state: u32, start: usize) {
        let length = (self.contacts.bytes.len() - start) as u32;
        self.rows.push(KrrRow { ordinal, line, state, start: start as u64, length });
    }

    /// Sorts the recipients, and keeps of several with the same ordinal the one with the highest line.
    pub(crate) fn keep_last(&mut self) {
        self.rows.sort_unstable_by_key(|row| (row.ordinal, std::cmp::Reverse(row.line)));
        self.rows.dedup_by_key(|row| row.ordinal);
    }

    /// The number of recipients with a state that is only an answer.
    pub(crate) fn count(&self, state: State) -> u64 {
        let states = self.numbers.states.provisional();
        self.rows.iter().filter(|row| states[row.state as usize] == state).count() as u64
    }

    /// The finished draft. States, operators and certificates of rejected recipients only are dropped, so that equal
    /// recipients give equal files.
    pub(crate) fn finish(mut self, sequence: u64, as_of: Timestamp) -> Draft<'static> {
        let packed = |row: &KrrRow| self.contacts.packed(row.start, row.length);
        let certificates = self.rows.iter().filter_map(|row| Contact::certificate_of(packed(row)));
        let tables = self.numbers.finish(self.rows.iter().map(|row| row.state), certificates);
        let mut builder = IndexBuilder::new(Country::Norway, tables.states.len() as u32, self.rows.len());
        let mut places = Vec::with_capacity(self.rows.len() + 1);
        places.push(0);
        for row in &self.rows {
            builder.push(row.ordinal, tables.state_numbers[row.state as usize], 0);
            self.contacts.pieces.push((row.start, row.length));
            places.push(row.length);
            let packed = &mut self.contacts.bytes[row.start as usize..][..row.length as usize];
            Contact::renumber_certificate(packed, &tables.certificate_numbers);
        }
        tables.draft((sequence, as_of), builder.finish(), ContactsDraft::Packed(self.contacts), places)
    }
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
