//! The register of KRR's answers: contacts go from the journal to the file, and are never in memory together.

use super::{Positions, in_order, seconds};
use crate::changes::ChangeBody;
use crate::changes::encoding::StoredChange;
use crate::identities::{Country, Ordinal};
use crate::index::IndexBuilder;
use crate::limits::OPERATORS_MAX;
use crate::register::Scope;
use crate::register::contact::Contact;
use crate::register::state::State;
use crate::snapshot::krr::KrrNumbers;
use crate::snapshot::write::{AnswerTimes, ContactsDraft, Draft, StreamedContacts};
use crate::source::SourceError;
use crate::source::answer::Answer;
use crate::source::journal::Journal;
use hashbrown::HashMap;
use jiff::Timestamp;
use std::io;

/// In the place of the number of a state: the id has no answer.
const NO_ANSWER: u32 = u32::MAX;

/// The answers for some ids, without the contacts, which the journal has.
pub(in crate::source) struct KrrAnswers<'i> {
    positions: Positions<'i>,
    numbers: KrrNumbers,
    /// The number of the state of each id.
    states: Vec<u32>,
    lengths: Lengths,
    answered: Seconds,
    /// Whether an id was answered more than once.
    is_superseded: bool,
}

/// Which answers of a journal count.
#[derive(Clone, Copy)]
struct Selection<'a> {
    journal: &'a Journal,
    ids: &'a [Ordinal],
    since: Timestamp,
}

impl Selection<'_> {
    /// Calls `each` with the answer of each id that has one, in the order of the ids.
    fn for_each(
        &self,
        mut each: impl FnMut(StoredChange<'_>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let mut next = 0;
        in_order::for_each(self.journal, self.since, |id, change| {
            while self.ids.get(next).is_some_and(|other| *other < id) {
                next += 1;
            }
            if self.ids.get(next) == Some(&id) { each(change) } else { Ok(()) }
        })
    }
}

impl<'i> KrrAnswers<'i> {
    pub(super) fn new(ids: &'i [Ordinal]) -> KrrAnswers<'i> {
        KrrAnswers {
            positions: Positions::new(ids),
            numbers: KrrNumbers::default(),
            states: vec![NO_ANSWER; ids.len()],
            lengths: Lengths { short: vec![0; ids.len()], long: HashMap::new() },
            answered: Seconds::new(ids.len()),
            is_superseded: false,
        }
    }

    pub(super) fn is_answered(&self, index: usize) -> bool {
        self.states[index] != NO_ANSWER
    }

    /// Adds an answer. Of several for an id, the last one counts. Errors: there are too many operators.
    pub(super) fn add(&mut self, id: Ordinal, time: Timestamp, answer: &Answer) -> Result<(), SourceError> {
        let Some(index) = self.positions.find(id) else { return Ok(()) };
        let (state, length) = match answer {
            ChangeBody::PutPerson(put) if put.certificate.is_empty() => {
                (self.numbers.state(put.state, &put.operator), put.contact.len())
            }
            ChangeBody::PutPerson(put) => {
                self.numbers.certificate(&put.certificate);
                (self.numbers.state(put.state, &put.operator), put.contact.len() + size_of::<u32>())
            }
            ChangeBody::Remove(_) => (self.numbers.answer(State::UNREGISTERED), Contact::EMPTY.len()),
            ChangeBody::SetAside { .. } => (self.numbers.answer(State::REFUSED), Contact::EMPTY.len()),
            _ => return Err(SourceError::Inconsistent),
        };
        self.is_superseded |= self.is_answered(index);
        self.states[index] = state;
        self.lengths.set(index, length as u32);
        self.answered.set(index, seconds(time));
        // A register cannot have more, nor number them.
        if self.numbers.operators() > OPERATORS_MAX { Err(SourceError::Inconsistent) } else { Ok(()) }
    }

    /// The indexes of the ids that have an answer.
    fn indexes(&self) -> impl Iterator<Item = usize> {
        (0..self.states.len()).filter(|index| self.is_answered(*index))
    }

    /// When the ids with an answer were answered, and how many were refused. Called once.
    pub(super) fn answered(&mut self) -> (AnswerTimes, u64) {
        let refused = self.numbers.answer(State::REFUSED);
        let (mut times, answered) =
            (AnswerTimes::default(), std::mem::replace(&mut self.answered, Seconds::new(0)));
        self.indexes().for_each(|index| times.push(answered.get(index)));
        (times, self.states.iter().filter(|state| **state == refused).count() as u64)
    }

    /// The draft of a register, which reads the contacts from the journal when it is written.
    pub(super) fn draft<'a>(
        self,
        journal: &'a Journal,
        since: Timestamp,
        (scope, answered): (Scope, AnswerTimes),
    ) -> Result<Draft<'a>, SourceError>
    where
        'i: 'a,
    {
        let selection = Selection { journal, ids: self.positions.ids, since };
        let certificates = self.used_certificates(&selection)?;
        let KrrAnswers { numbers, states, lengths, .. } = self;
        let is_answer = |state: &u32| *state != NO_ANSWER;
        let tables = numbers.finish(states.iter().copied().filter(is_answer), certificates.into_iter());
        let count = states.iter().copied().filter(is_answer).count();
        let mut builder = IndexBuilder::new(Country::Norway, tables.states.len() as u32, count);
        for (id, state) in selection.ids.iter().zip(&states).filter(|(_, state)| is_answer(state)) {
            builder.push(*id, tables.state_numbers[*state as usize], 0);
        }
        let missing: Vec<usize> = (0..states.len()).filter(|index| !is_answer(&states[*index])).collect();
        // Not all of these are in memory together.
        drop(states);
        let lengths = lengths.of_records(&missing);
        let contacts = ContactsDraft::Streamed(Box::new(JournalContacts(selection)));
        let mut draft = tables.draft((0, scope.oldest()), builder.finish(), contacts, lengths);
        draft.scope = Some((scope, answered));
        Ok(draft)
    }

    /// The numbers of the certificates that the answers that count have.
    fn used_certificates(&self, selection: &Selection<'_>) -> Result<Vec<u32>, SourceError> {
        if !self.is_superseded {
            return Ok((0..self.numbers.certificates() as u32).collect());
        }
        let mut used = vec![false; self.numbers.certificates()];
        selection.for_each(|change| {
            if let StoredChange::Person(person) = change {
                let certificate = person.certificate().ok_or(SourceError::Inconsistent)?;
                if let Some(number) = self.numbers.number_of_certificate(certificate) {
                    used[number as usize] = true;
                }
            }
            Ok(())
        })?;
        Ok((0..).zip(used).filter(|(_, is_used)| *is_used).map(|(number, _)| number).collect())
    }
}

/// The length of the contact of each id in bytes.
struct Lengths {
    short: Vec<u16>,
    /// Those that do not fit, by the index of the id.
    long: HashMap<usize, u32>,
}

impl Lengths {
    fn set(&mut self, index: usize, length: u32) {
        self.short[index] = u16::try_from(length).unwrap_or(u16::MAX);
        if self.short[index] == u16::MAX {
            self.long.insert(index, length);
        }
    }

    fn get(&self, index: usize) -> u32 {
        match self.short[index] {
            u16::MAX => self.long.get(&index).copied().unwrap_or_default(),
            short => u32::from(short),
        }
    }

    /// The lengths by record, of the ids but those that are missing. Record 0 belongs to no recipient.
    fn of_records(&self, missing: &[usize]) -> Vec<u32> {
        let mut missing = missing.iter().peekable();
        let indexes = (0..self.short.len()).filter(|index| missing.next_if_eq(&index).is_none());
        let mut lengths = Vec::with_capacity(self.short.len() + 1);
        lengths.push(0);
        lengths.extend(indexes.map(|index| self.get(index)));
        lengths
    }
}

/// When each id was answered, in seconds since 1970: two bytes an id, and four if there are more than 65 536 times.
struct Seconds {
    distinct: Vec<u32>,
    number_of: HashMap<u32, u16>,
    numbers: Vec<u16>,
    wide: Vec<u32>,
}

impl Seconds {
    fn new(ids: usize) -> Seconds {
        Seconds { distinct: Vec::new(), number_of: HashMap::new(), numbers: vec![0; ids], wide: Vec::new() }
    }

    fn set(&mut self, index: usize, seconds: u32) {
        if self.wide.is_empty() {
            let next = u16::try_from(self.distinct.len());
            let number = self.number_of.get(&seconds).copied().or(next.ok());
            match number {
                Some(number) => {
                    if usize::from(number) == self.distinct.len() {
                        self.distinct.push(seconds);
                        self.number_of.insert(seconds, number);
                    }
                    self.numbers[index] = number;
                    return;
                }
                None => self.widen(),
            }
        }
        self.wide[index] = seconds;
    }

    fn widen(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        self.wide = numbers.into_iter().map(|number| self.distinct[usize::from(number)]).collect();
    }

    fn get(&self, index: usize) -> u32 {
        match self.wide.get(index) {
            Some(seconds) => *seconds,
            None => self.distinct[usize::from(self.numbers[index])],
        }
    }
}

/// The contacts of a journal's answers.
struct JournalContacts<'a>(Selection<'a>);

impl StreamedContacts for JournalContacts<'_> {
    fn for_each(
        &mut self,
        certificates: &[String],
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut packed = Vec::new();
        let read = self.0.for_each(|change| {
            let StoredChange::Person(person) = change else {
                return each(&Contact::EMPTY).map_err(SourceError::System);
            };
            let certificate = person.certificate().ok_or(SourceError::Inconsistent)?;
            if certificate.is_empty() {
                return each(person.contact).map_err(SourceError::System);
            }
            packed.clear();
            packed.extend_from_slice(person.contact);
            let number = certificates.binary_search_by(|text| (**text).cmp(certificate));
            let number = number.map_err(|_| SourceError::Inconsistent)?;
            Contact::add_certificate(&mut packed, 0, number as u32);
            each(&packed).map_err(SourceError::System)
        });
        read.map_err(|error| match error {
            SourceError::System(error) => error,
            other => io::Error::other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_also_if_there_are_many() {
        let mut times = Seconds::new(70_000);
        for index in 0..70_000 {
            times.set(index, 1_800_000_000 + index as u32 / 2);
        }
        assert!(times.wide.is_empty());
        for index in 0..70_000 {
            times.set(index, 1_900_000_000 + index as u32);
            assert_eq!(times.get(69_999), if index < 69_999 { 1_800_034_999 } else { 1_900_069_999 });
        }
        assert!((0..70_000).all(|index| times.get(index) == 1_900_000_000 + index as u32));
    }
}
