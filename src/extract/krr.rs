//! `personer.jsonl` or `kontaktregister.xml`: a KRR register.

use super::rejected::{Reason, Rejected, reason};
use super::{
    BuildError, Description, day_of, far_actors, identity_reason, krr_xml, set_doubles_aside, source,
};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::limits::{OPERATORS_MAX, RECIPIENTS_MAX};
use crate::register::Person;
use crate::register::contact::Contact;
use crate::register::person::BadField;
use crate::register::state::KrrState;
use crate::snapshot::krr::{KrrDraft, KrrRow};
use crate::snapshot::write::Draft;
use rayon::prelude::*;
use std::io::BufRead;
use std::path::Path;

pub(super) const FILE: &str = "personer.jsonl";
/// Persons that are parsed at a time.
const BATCH: usize = 8192;

/// A person as it was read: state without operator, contact without certificate, and their texts.
pub(crate) struct Read {
    pub(crate) ordinal: Ordinal,
    pub(crate) state: KrrState,
    pub(crate) contact: Contact,
    pub(crate) operator: String,
    pub(crate) certificate: String,
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
                collector.take(FILE, parse(batch, today, |text| person_of_json(&text)), rejected)?;
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

fn person_of_json(text: &[u8]) -> Result<Person, Reason> {
    serde_json::from_slice(text).map_err(|_| reason("bad_json", ""))
}

/// Reads persons on all cores.
fn parse<T: Send>(
    batch: Vec<(u64, T)>,
    today: Today,
    read: impl Fn(T) -> Result<Person, Reason> + Sync,
) -> Vec<(u64, Result<Read, Reason>)> {
    let each = |(line, given)| (line, read(given).and_then(|given| person(in_any_case(given), today)));
    batch.into_par_iter().map(each).collect()
}

/// An extract may have been written by hand: its words are compared without case.
fn in_any_case(mut person: Person) -> Person {
    let Person { reservasjon, status, kontaktinformasjon, .. } = &mut person;
    let shared = kontaktinformasjon
        .as_mut()
        .map(|channels| [&mut channels.epostadresse_duplisert, &mut channels.mobiltelefonnummer_duplisert]);
    for word in [reservasjon, status].into_iter().chain(shared.into_iter().flatten()) {
        *word = word.trim().to_uppercase();
    }
    person
}

/// Reads a person of REST.
pub(crate) fn person(person: Person, today: Today) -> Result<Read, Reason> {
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

#[derive(Default)]
struct Collector {
    draft: KrrDraft,
    from_xml: bool,
}

impl Collector {
    fn take(
        &mut self,
        file: &'static str,
        batch: Vec<(u64, Result<Read, Reason>)>,
        rejected: &mut Rejected,
    ) -> Result<(), BuildError> {
        self.from_xml = file == krr_xml::FILE;
        rejected.count_rows(file, batch.len() as u64);
        for (line, read) in batch {
            let added = read.and_then(|read| {
                let Read { ordinal, state, contact, operator, certificate } = read;
                let added = self.draft.add(ordinal, line, state, contact, &operator, &certificate);
                added.ok_or(reason("too_long", ""))
            });
            if let Err(why) = added {
                rejected.push(file, line, why)?;
            }
        }
        far_actors::limit("operators", self.draft.operators(), OPERATORS_MAX)?;
        far_actors::limit("persons", self.draft.rows.len(), RECIPIENTS_MAX)
    }

    fn finish(
        mut self,
        sequence: u64,
        as_of: jiff::Timestamp,
        file: &'static str,
        rejected: &mut Rejected,
    ) -> Result<Draft, BuildError> {
        // Stable: of several entries for a person the first counts, also if they share a line.
        self.draft.rows.par_sort_by_key(|row| row.ordinal);
        let of = |row: &KrrRow| (row.ordinal, row.line);
        set_doubles_aside(&mut self.draft.rows, of, file, "personidentifikator", rejected)?;
        Ok(self.draft.finish(sequence, as_of))
    }
}
