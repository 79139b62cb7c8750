//! The register of KRR's answers: contacts go from the journal to the file, and are never in memory together.

use super::in_order;
use crate::changes::ChangeBody;
use crate::changes::encoding::StoredChange;
use crate::identities::{Country, Ordinal};
use crate::index::IndexBuilder;
use crate::limits::OPERATORS_MAX;
use crate::register::Scope;
use crate::register::contact::Contact;
use crate::register::moment;
use crate::register::state::State;
use crate::snapshot::krr::KrrNumbers;
use crate::snapshot::write::{AnswerTimes, ContactsDraft, Draft, StreamedContacts};
use crate::source::SourceError;
use crate::source::journal::Journal;
use hashbrown::HashMap;
use jiff::Timestamp;
use std::io;

/// The answers of a journal for some ids, without the contacts.
pub(super) struct KrrAnswers<'a> {
    selection: Selection<'a>,
    numbers: KrrNumbers,
    /// The number of the state of each answer, in the order of the ids.
    states: Vec<u32>,
    lengths: Lengths,
    pub(super) answered: AnswerTimes,
    /// Indexes of the ids without an answer.
    missing: Vec<usize>,
    refused: u32,
}

/// Which answers of a journal count.
#[derive(Clone, Copy)]
struct Selection<'a> {
    journal: &'a Journal,
    ids: &'a [Ordinal],
    since: Timestamp,
}

impl Selection<'_> {
    /// Calls `each` with the answer of each id that has one, and the index of the id, in the order of the ids.
    fn for_each(
        &self,
        mut each: impl FnMut(usize, StoredChange<'_>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let mut next = 0;
        in_order::for_each(self.journal, self.since, |id, change| {
            while self.ids.get(next).is_some_and(|other| *other < id) {
                next += 1;
            }
            if self.ids.get(next) == Some(&id) { each(next, change) } else { Ok(()) }
        })
    }
}

impl<'a> KrrAnswers<'a> {
    /// The answers for some ids, which ascend, that are not older than `since`.
    pub(super) fn read(
        journal: &'a Journal,
        ids: &'a [Ordinal],
        since: Timestamp,
    ) -> Result<KrrAnswers<'a>, SourceError> {
        let selection = Selection { journal, ids, since };
        let mut answers = KrrAnswers {
            selection,
            numbers: KrrNumbers::default(),
            states: Vec::with_capacity(ids.len()),
            lengths: Lengths { short: Vec::with_capacity(ids.len()), long: HashMap::new() },
            answered: AnswerTimes::default(),
            missing: Vec::new(),
            refused: 0,
        };
        let mut next = 0;
        selection.for_each(|index, change| {
            answers.missing.extend(next..index);
            next = index + 1;
            answers.add(&change)
        })?;
        answers.missing.extend(next..ids.len());
        Ok(answers)
    }

    fn add(&mut self, change: &StoredChange<'_>) -> Result<(), SourceError> {
        let (state, time) = match change {
            StoredChange::Person(person) => {
                let state = person.state().ok_or(SourceError::Inconsistent)?;
                (self.numbers.state(state, person.operator), person.time)
            }
            StoredChange::Other(change) => {
                let state = match change.what {
                    ChangeBody::Remove(_) => State::UNREGISTERED,
                    _ => State::REFUSED,
                };
                self.refused += u32::from(state == State::REFUSED);
                (self.numbers.answer(state), change.time)
            }
        };
        self.states.push(state);
        let length = match change {
            StoredChange::Person(person) if person.certificate.is_empty() => person.contact.len(),
            StoredChange::Person(person) => {
                self.numbers.certificate(person.certificate);
                person.contact.len() + size_of::<u32>()
            }
            StoredChange::Other(_) => Contact::EMPTY.len(),
        };
        self.lengths.push(length as u32);
        let seconds = moment::of_nanoseconds(time).as_second();
        self.answered.push(u32::try_from(seconds).unwrap_or_default().max(1));
        // A register cannot have more, nor number them.
        if self.numbers.operators() > OPERATORS_MAX { Err(SourceError::Inconsistent) } else { Ok(()) }
    }

    /// The number of ids that the register refused.
    pub(super) fn refused(&self) -> u64 {
        u64::from(self.refused)
    }

    /// The draft of a register, which reads the contacts when it is written.
    pub(super) fn draft(self, scope: Scope) -> Draft<'a> {
        let KrrAnswers { selection, numbers, states, lengths, answered, missing, .. } = self;
        let tables = numbers.finish();
        let mut builder = IndexBuilder::new(Country::Norway, tables.states.len() as u32, states.len());
        let mut missing = missing.into_iter().peekable();
        let indexes = (0..selection.ids.len()).filter(|index| missing.next_if_eq(index).is_none());
        for (index, state) in indexes.zip(states) {
            builder.push(selection.ids[index], tables.state_numbers[state as usize], 0);
        }
        let contacts = ContactsDraft::Streamed(Box::new(JournalContacts(selection)));
        let index = builder.finish();
        let mut draft = tables.draft((0, scope.oldest()), index, contacts, lengths.of_records());
        draft.scope = Some((scope, answered));
        draft
    }
}

/// The length of the contact of each answer in bytes.
struct Lengths {
    short: Vec<u16>,
    /// Those that do not fit, by the index of the answer.
    long: HashMap<usize, u32>,
}

impl Lengths {
    fn push(&mut self, length: u32) {
        let short = u16::try_from(length).unwrap_or(u16::MAX);
        if short == u16::MAX {
            self.long.insert(self.short.len(), length);
        }
        self.short.push(short);
    }

    /// The lengths by record. Record 0 belongs to no recipient.
    fn of_records(self) -> Vec<u32> {
        let mut lengths = Vec::with_capacity(self.short.len() + 1);
        lengths.push(0);
        lengths.extend(self.short.into_iter().map(u32::from));
        self.long.into_iter().for_each(|(index, length)| lengths[index + 1] = length);
        lengths
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
        let read = self.0.for_each(|_, change| {
            let StoredChange::Person(person) = change else {
                return each(&Contact::EMPTY).map_err(SourceError::System);
            };
            packed.clear();
            packed.extend_from_slice(person.contact);
            if !person.certificate.is_empty() {
                let number = certificates.binary_search_by(|text| (**text).cmp(person.certificate));
                let number = number.map_err(|_| SourceError::Inconsistent)?;
                Contact::add_certificate(&mut packed, 0, number as u32);
            }
            each(&packed).map_err(SourceError::System)
        });
        read.map_err(|error| match error {
            SourceError::System(error) => error,
            other => io::Error::other(other),
        })
    }
}
