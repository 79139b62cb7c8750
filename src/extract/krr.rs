//! `personer.jsonl` or `kontaktregister.xml`: a KRR register.

use super::rejected::{Reason, Rejected, reason};
use super::{
    BuildError, Description, StateBook, day_of, far_actors, identity_reason, krr_xml, set_doubles_aside,
    source,
};
use crate::consent::RuleBook;
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::index::Builder;
use crate::limits::{OPERATORS_MAX, RECIPIENTS_MAX};
use crate::register::contact::Contact;
use crate::register::person::BadField;
use crate::register::state::{KrrState, State};
use crate::register::{Actors, Operator, Person};
use crate::snapshot::write::{ColdDraft, Draft, PackedContacts};
use hashbrown::HashMap;
use rayon::prelude::*;
use std::io::BufRead;
use std::path::Path;

pub(super) const FILE: &str = "personer.jsonl";
/// Persons that are parsed at a time.
const BATCH: usize = 8192;
/// Mailbox operators whose names are known: KRR itself has only their numbers.
const OPERATOR_NAMES: [(&str, &str); 3] =
    [("984661185", "Digipost"), ("922020175", "e-Boks"), ("996460320", "e-Boks")];

/// A person as it was read.
pub(super) struct Read {
    ordinal: Ordinal,
    state: KrrState,
    contact: Contact,
    operator: String,
    certificate: String,
}

/// What is kept of a person until all are read.
struct Row {
    ordinal: Ordinal,
    line: u32,
    state: u32,
    start: u64,
    length: u32,
}

pub(super) fn read(
    extract: &Path,
    description: &Description,
    rejected: &mut Rejected,
) -> Result<Draft, BuildError> {
    let xml = source::open_if_there(extract, krr_xml::FILE)?;
    let lines = source::open_if_there(extract, FILE)?;
    let mut collector = Collector::default();
    let (sequence, as_of) = match (xml, lines) {
        (Some(_), Some(_)) => {
            return Err(
                description.error(format!("the extract has both {FILE} and {}: leave one", krr_xml::FILE))
            );
        }
        (None, None) => return Err(BuildError::Missing { extract: extract.to_owned(), name: FILE }),
        (Some(xml), None) => {
            let mut export = krr_xml::Export::open(xml)?;
            let (sequence, as_of) = description.version(Some((export.sequence(), export.as_of())))?;
            let today = day_of(as_of);
            while let Some(batch) = export.persons(BATCH)? {
                collector.take(krr_xml::FILE, parse(batch, today, Ok), rejected)?;
            }
            (sequence, as_of)
        }
        (None, Some(lines)) => {
            let (sequence, as_of) = description.version(None)?;
            let today = day_of(as_of);
            let mut lines = Lines { source: lines, line: 0 };
            while let Some(batch) = lines.batch(BATCH)? {
                collector.take(FILE, parse(batch, today, |text| person(&text)), rejected)?;
            }
            (sequence, as_of)
        }
    };
    let file = if collector.from_xml { krr_xml::FILE } else { FILE };
    collector.finish(sequence, as_of, file, rejected)
}

/// A line and its number, from 1.
type Line = (u64, Vec<u8>);

struct Lines {
    source: source::Source,
    line: u64,
}

impl Lines {
    /// Some lines that are not blank, each with its number. `None` at the end.
    fn batch(&mut self, count: usize) -> Result<Option<Vec<Line>>, BuildError> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count {
            let mut text = Vec::new();
            let read = self.source.reader.read_until(b'\n', &mut text);
            let read = read.map_err(|error| BuildError::Read { path: self.source.path.clone(), error })?;
            if read == 0 {
                break;
            }
            self.line += 1;
            if self.line == 1 && text.starts_with(b"\xEF\xBB\xBF") {
                text.drain(..3);
            }
            if !text.trim_ascii().is_empty() {
                batch.push((self.line, text));
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

fn person(text: &[u8]) -> Result<Person, Reason> {
    serde_json::from_slice(text).map_err(|_| reason("bad_json", ""))
}

/// Reads persons on all cores.
fn parse<T: Send>(
    batch: Vec<(u64, T)>,
    today: Today,
    person: impl Fn(T) -> Result<Person, Reason> + Sync,
) -> Vec<(u64, Result<Read, Reason>)> {
    let read = |(line, given)| (line, person(given).and_then(|person| Read::of(person, today)));
    batch.into_par_iter().map(read).collect()
}

impl Read {
    fn of(person: Person, today: Today) -> Result<Read, Reason> {
        let identity = Identity::parse(person.personidentifikator.as_bytes(), Country::Norway, today)
            .map_err(|rejection| identity_reason(rejection, "personidentifikator"))?;
        if person.status == "IKKE_REGISTRERT" {
            return Err(reason("not_registered", "status"));
        }
        let (state, contact) = person.parts().map_err(|BadField(name)| match name {
            "status" | "reservasjon" => reason("bad_value", name),
            name if name.ends_with("_duplisert") => reason("bad_value", name),
            name => reason("bad_time", name),
        })?;
        let operator = person.digital_post.map(|post| post.postkasseleverandoeradresse.trim().to_owned());
        let operator = operator.unwrap_or_default();
        Ok(Read { ordinal: identity.ordinal(), state, contact, operator, certificate: person.sertifikat })
    }
}

#[derive(Default)]
struct Collector {
    rows: Vec<Row>,
    states: StateBook,
    contacts: PackedContacts,
    operators: HashMap<String, u16>,
    certificates: HashMap<String, u32>,
    from_xml: bool,
}

/// The provisional number of a text, in the order of coming.
fn number<N: Copy>(numbers: &mut HashMap<String, N>, text: String, of_count: impl Fn(usize) -> N) -> N {
    let next = of_count(numbers.len());
    *numbers.entry(text).or_insert(next)
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

impl Collector {
    fn take(
        &mut self,
        file: &'static str,
        batch: Vec<(u64, Result<Read, Reason>)>,
        rejected: &mut Rejected,
    ) -> Result<(), BuildError> {
        self.from_xml = file == krr_xml::FILE;
        for (line, read) in batch {
            if let Err(why) = read.and_then(|read| self.add(line, read)) {
                rejected.push(file, line, why)?;
            }
        }
        far_actors::limit("operators", self.operators.len(), OPERATORS_MAX)?;
        far_actors::limit("persons", self.rows.len(), RECIPIENTS_MAX)
    }

    fn add(&mut self, line: u64, read: Read) -> Result<(), Reason> {
        let Read { ordinal, mut state, mut contact, operator, certificate } = read;
        if !operator.is_empty() {
            state.operator = Some(number(&mut self.operators, operator, |count| count as u16));
        }
        if !certificate.is_empty() {
            contact.certificate = Some(number(&mut self.certificates, certificate, |count| count as u32));
        }
        let start = self.contacts.bytes.len();
        contact.pack(&mut self.contacts.bytes).ok_or(reason("too_long", ""))?;
        self.rows.push(Row {
            ordinal,
            line: line.min(u64::from(u32::MAX)) as u32,
            state: self.states.number(state.into()),
            start: start as u64,
            length: (self.contacts.bytes.len() - start) as u32,
        });
        Ok(())
    }

    fn finish(
        mut self,
        sequence: u64,
        as_of: jiff::Timestamp,
        file: &'static str,
        rejected: &mut Rejected,
    ) -> Result<Draft, BuildError> {
        // Stable: of several entries for a person the first counts, also if they share a line.
        self.rows.par_sort_by_key(|row| row.ordinal);
        let of = |row: &Row| (row.ordinal, row.line);
        set_doubles_aside(&mut self.rows, of, file, "personidentifikator", rejected)?;

        // What only set-aside rows had must leave no trace: the same persons make the same file.
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
        let actors = Actors { operators: operators.into_iter().map(operator).collect(), ..Actors::default() };
        let (rules, _) = RuleBook::default().finish(&[]);
        let cold = ColdDraft::Krr { contacts: self.contacts, certificates };
        Ok(Draft { sequence, as_of, actors, states, index: builder.finish(), rules, cold })
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

fn operator(id: String) -> Operator {
    let known = OPERATOR_NAMES.iter().find(|(known, _)| *known == id);
    Operator { name: known.map_or(&id[..], |(_, name)| name).to_owned(), id, ..Operator::default() }
}
