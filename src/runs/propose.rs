//! Proposes a description for a run, from its bytes.

use super::charset::Charset;
use super::description::{
    MottakersplittDescription, Place, RecordsDescription, RunDescription, XmlDescription,
};
use super::proposal::{IsId, NoProposal, best_place};
use super::{BytesEnd, Letters};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a run from which its form is guessed.
const SAMPLE_BYTES: usize = 8 << 20;
/// Records from which types are guessed.
const SAMPLE_RECORDS: usize = 20_000;
/// Bytes of a record in which ids are searched for.
const RECORD_BYTES_MAX: usize = 1000;
/// Maximum number of different types of records.
const TYPES_MAX: usize = 24;
/// Letters from which a form is recognised.
const LETTERS_MIN: usize = 3;
/// Ids beside their own that letters may hold, in percent of the letters.
const OTHER_IDS_PERCENT: usize = 5;

/// Proposes a description of a whole run. `is_id` decides what an id is. Numbers around the letters are left to the user.
pub fn propose(bytes: &[u8], is_id: IsId<'_>) -> Result<RunDescription, NoProposal> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let text = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample).trim_ascii_start();
    let description = if text.starts_with(b"PK\x03\x04") {
        return Err(NoProposal::Archive);
    } else if text.starts_with(b"<") {
        match super::xml::propose(sample, is_id)? {
            xml if is_mottakersplitt(text, &xml) => RunDescription::Mottakersplitt(Default::default()),
            xml => RunDescription::Xml(xml),
        }
    } else if super::afp::is_afp(sample) {
        RunDescription::Afp(super::afp::propose(sample, is_id)?)
    } else {
        RunDescription::Records(records(bytes, sample, is_id)?)
    };
    check(&description, bytes, is_id)?;
    Ok(description)
}

/// Whether a document is what Digipost is asked with.
fn is_mottakersplitt(text: &[u8], proposed: &XmlDescription) -> bool {
    let beginning = &text[..text.len().min(1000)];
    *proposed == MottakersplittDescription::xml()
        && memchr::memmem::find(beginning, b"mottakersplitt").is_some()
}

/// Checks that a description makes letters of a run, most of them with an id, and few with several.
fn check(description: &RunDescription, bytes: &[u8], is_id: IsId<'_>) -> Result<(), NoProposal> {
    let Ok(Some(run)) = description.open(bytes, true) else { return Err(NoProposal::NoStart) };
    let (first, mut letters) = (run.first_letter(), Letters::default());
    // What is wrong at the end is shown with the proposal.
    let _ = run.letters(&bytes[first..], usize::MAX, BytesEnd::Run, &mut letters);
    let (all, mut with_id, mut others, mut start) = (letters.all(), 0, 0, first);
    if all.len() < LETTERS_MIN {
        return Err(NoProposal::TooFew);
    }
    for letter in all {
        with_id += usize::from(letters.id(letter).is_ok_and(is_id));
        if let RunDescription::Records(records) = description {
            others += other_ids(records, &bytes[start..first + letter.end], is_id)?;
        }
        start = first + letter.end;
    }
    if let RunDescription::Records(records) = description {
        for around in [&bytes[..first], &bytes[start..]] {
            other_ids(records, around, is_id)?;
        }
    }
    match () {
        () if with_id * 2 < all.len() => Err(NoProposal::NoStart),
        () if others * 100 > all.len() * OTHER_IDS_PERCENT => Err(NoProposal::SeveralIds),
        () => Ok(()),
    }
}

/// Number of ids of a letter beside its own. Errors: a record of another type has one where letters have theirs: it may begin a
/// letter.
fn other_ids(description: &RecordsDescription, letter: &[u8], is_id: IsId<'_>) -> Result<usize, NoProposal> {
    let form = RecordForm::of(description);
    let mut ids = BTreeSet::new();
    for record in form.records(letter) {
        let kind = description.record_type.and_then(|place| form.cell(&record, place));
        let has_id = kind.is_none_or(|kind| description.id_in.iter().any(|one| one.as_bytes() == kind));
        if !has_id
            && form.cell(&record, description.id_at).is_some_and(|cell| has_digits(cell) && is_id(cell))
        {
            return Err(NoProposal::SeveralIds);
        }
        // Ten digits are too often something else.
        ids.extend(form.ids(&record, is_id).into_iter().map(|(_, id)| id).filter(|id| id.len() > 10));
    }
    Ok(ids.len().saturating_sub(1))
}

fn delimiter_of(description: &RecordsDescription) -> Option<u8> {
    match description.delimiter.as_deref()? {
        "tab" => Some(b'\t'),
        text => text.bytes().next(),
    }
}

/// How records are cut, before more is known.
struct RecordForm {
    charset: Charset,
    length: Option<usize>,
    delimiter: Option<u8>,
}

impl RecordForm {
    fn of(description: &RecordsDescription) -> RecordForm {
        RecordForm {
            charset: description.charset,
            length: description.record_length,
            delimiter: delimiter_of(description),
        }
    }

    /// Records as text with one byte a character, without line ends; the last one only if it ends.
    fn records(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let ascii = |record: &[u8]| self.ascii(record);
        match self.length {
            Some(length) => bytes.chunks_exact(length).take(SAMPLE_RECORDS).map(ascii).collect(),
            None => {
                let end = if self.charset.is_ebcdic() { 0x15 } else { b'\n' };
                let lines =
                    bytes.split_inclusive(|byte| *byte == end).filter(|line| line.last() == Some(&end));
                lines
                    .take(SAMPLE_RECORDS)
                    .map(|line| ascii(line[..line.len() - 1].trim_ascii_end()))
                    .collect()
            }
        }
    }

    fn ascii(&self, record: &[u8]) -> Vec<u8> {
        if !self.charset.is_ebcdic() {
            return record.to_vec();
        }
        let mut text = Vec::new();
        self.charset.decode(record, &mut text);
        let text = String::from_utf8_lossy(&text);
        text.chars().map(|character| if character.is_ascii() { character as u8 } else { b'?' }).collect()
    }

    fn cell<'r>(&self, record: &'r [u8], place: Place) -> Option<&'r [u8]> {
        match place {
            Place::Bytes(offset, length) => {
                let rest = record.get(offset..)?;
                Some(rest[..length.min(rest.len())].trim_ascii())
            }
            Place::Column(column) => {
                let cell = super::cells::ranges(record, self.delimiter?).nth(column - 1)?;
                Some(record[cell].trim_ascii())
            }
        }
    }

    /// Where a record has ids, and their digits.
    fn ids(&self, record: &[u8], is_id: IsId<'_>) -> Vec<(Place, Vec<u8>)> {
        let digits = |text: &[u8]| text.iter().copied().filter(u8::is_ascii_digit).collect();
        if let Some(delimiter) = self.delimiter {
            let cells =
                super::cells::ranges(record, delimiter).map(|cell| record[cell].trim_ascii()).enumerate();
            let ids = cells.filter(|(_, cell)| has_digits(cell) && is_id(cell));
            return ids.map(|(index, cell)| (Place::Column(index + 1), digits(cell))).collect();
        }
        // A field of digits may be right before it.
        let starts = (0..record.len().min(RECORD_BYTES_MAX)).filter(|at| record[*at].is_ascii_digit());
        let ids = starts.filter_map(|start| {
            let is_whole = |span: &usize| {
                record.get(start..start + span).is_some_and(|text| has_digits(text) && is_id(text))
            };
            let span = [13, 12, 11, 10].into_iter().find(is_whole)?;
            Some((Place::Bytes(start, span), digits(&record[start..start + span])))
        });
        // Ten digits within twelve are no second id.
        let mut found: Vec<(Place, Vec<u8>)> = Vec::new();
        for (place, id) in ids {
            let is_within = matches!((found.last(), place), (Some((Place::Bytes(at, length), _)), Place::Bytes(start, _)) if start < at + length);
            if !is_within {
                found.push((place, id));
            }
        }
        found
    }
}

fn has_digits(text: &[u8]) -> bool {
    text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 10
}

/// The character set, and the length of records without line ends.
fn form_of(bytes: &[u8], sample: &[u8]) -> RecordForm {
    let few = &sample[..sample.len().min(1 << 16)];
    let share = |is: fn(&u8) -> bool| few.iter().filter(|byte| is(byte)).count() * 100 / few.len().max(1);
    let is_ebcdic = share(|byte| matches!(byte, 0x40 | 0xC1..=0xE9 | 0xF0..=0xF9)) > 50
        && share(|byte| *byte == b' ') < 5;
    let charset = match std::str::from_utf8(few) {
        _ if is_ebcdic => Charset::Ebcdic278,
        // A character may be cut at the end.
        Err(error) if error.error_len().is_some() => Charset::Latin1,
        Ok(_) | Err(_) => Charset::Utf8,
    };
    let line_end = if is_ebcdic { 0x15 } else { b'\n' };
    let has_lines = few.iter().filter(|byte| **byte == line_end).count() * 2000 > few.len();
    let length = if has_lines { None } else { record_length(bytes, few) };
    RecordForm { charset, length, delimiter: None }
}

/// The shortest length of records at which nearly as many bytes as at any are as in the record before. Blanks do not count.
fn record_length(bytes: &[u8], few: &[u8]) -> Option<usize> {
    let is_blank = |byte: u8| matches!(byte, b' ' | 0x40 | 0);
    let same = |length: usize| {
        let pairs = few.iter().zip(&few[length..]);
        let counted = pairs.filter(|(one, other)| !is_blank(**one) || !is_blank(**other));
        let (all, same) =
            counted.fold((1, 0), |(all, same), (one, other)| (all + 1, same + usize::from(one == other)));
        same * 1000 / all
    };
    let longest = few.len() / 3;
    let lengths: Vec<(usize, usize)> = (10..longest.min(4000))
        .filter(|length| bytes.len().is_multiple_of(*length))
        .map(|length| (same(length), length))
        .collect();
    let best = lengths.iter().map(|(same, _)| *same).max()?;
    lengths.into_iter().find(|(same, _)| same * 10 >= best * 7).map(|(_, length)| length)
}

/// The delimiter of records that begin with a short cell.
fn delimiter(records: &[Vec<u8>]) -> Option<u8> {
    let has = |delimiter: u8| {
        let begins = |record: &&Vec<u8>| {
            let first = record.iter().position(|byte| *byte == delimiter);
            first.is_some_and(|first| {
                (1..=20).contains(&first)
                    && record[..first].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            })
        };
        records.iter().filter(begins).count() * 100 >= records.len() * 95
    };
    (records.len() > 1).then(|| b";|\t,".iter().copied().find(|delimiter| has(*delimiter))).flatten()
}

/// Where the types of records are, which few of them have.
fn type_place(form: &RecordForm, records: &[Vec<u8>], ids: &[Vec<(Place, Vec<u8>)>]) -> Option<Place> {
    let filled = records.iter().filter(|record| !record.is_empty());
    let most = TYPES_MAX.min(filled.clone().count() / 3);
    let different = |place: Place| -> Option<usize> {
        let mut types = BTreeSet::new();
        for record in filled.clone() {
            let kind = form.cell(record, place)?;
            if kind.is_empty() || !kind.iter().all(u8::is_ascii_alphanumeric) {
                return None;
            }
            types.insert(kind);
        }
        Some(types.len()).filter(|count| *count <= most)
    };
    // Digits of ids are no types.
    let overlaps = |place: Place| {
        let with = ids.iter().flatten().filter(|(id, _)| id.overlaps(place));
        with.count() * 5 > records.len()
    };
    let is_type = |place: &Place| different(*place).is_some_and(|count| count > 1) && !overlaps(*place);
    if form.delimiter.is_some() {
        return (1..=3).map(Place::Column).find(is_type);
    }
    let is_text = |at: usize| filled.clone().all(|record| record.get(at).is_none_or(u8::is_ascii_alphabetic));
    (0..4).find_map(|offset| {
        // Two characters, or three letters, are usual; more only if they are letters.
        let usual = if (0..3).all(|at| is_text(offset + at)) { 3 } else { 2 };
        let mut length = [usual, 1].into_iter().find(|length| is_type(&Place::Bytes(offset, *length)))?;
        while length >= usual
            && length < 6
            && is_text(offset + length)
            && is_type(&Place::Bytes(offset, length + 1))
        {
            length += 1;
        }
        Some(Place::Bytes(offset, length))
    })
}

fn records(bytes: &[u8], sample: &[u8], is_id: IsId<'_>) -> Result<RecordsDescription, NoProposal> {
    let mut form = form_of(bytes, sample);
    let mut records = form.records(sample);
    let is_sampled = sample.len() < bytes.len() || records.len() == SAMPLE_RECORDS;
    form.delimiter = delimiter(&records);
    if form.charset.is_ebcdic() || form.length.is_some() {
        form.delimiter = None;
    }
    let tail = if is_sampled { last_records(&form, bytes) } else { Vec::new() };
    records.extend(tail.iter().cloned());
    let ids: Vec<Vec<(Place, Vec<u8>)>> = records.iter().map(|record| form.ids(record, is_id)).collect();
    let common = RecordsDescription {
        charset: form.charset,
        record_length: form.length,
        delimiter: form
            .delimiter
            .map(|byte| if byte == b'\t' { "tab".to_owned() } else { char::from(byte).to_string() }),
        ..RecordsDescription::default()
    };
    let Some(type_at) = type_place(&form, &records, &ids) else {
        return by_key(common, &records, &ids, &form);
    };
    let types: Vec<String> = records
        .iter()
        .map(|record| String::from_utf8_lossy(form.cell(record, type_at).unwrap_or_default()).into_owned())
        .collect();
    // The tail is no continuation of the sample.
    let sampled = records.len() - tail.len();
    let (id_type, id_at) = id_place(&types, &ids)?;
    let of_type = records.iter().zip(&types).filter(|(_, kind)| **kind == id_type).map(|(record, _)| record);
    let id_at = whole_field(id_at, of_type);
    let start = start_type(&types[..sampled], &id_type).ok_or(NoProposal::NoStart)?;
    let first = types.iter().position(|kind| *kind == start).unwrap_or(0);
    let last = types.iter().rposition(|kind| *kind == start).unwrap_or(0);
    let (mut header, mut trailer, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = BTreeSet::from([start.clone(), id_type.clone()]);
    for kind in types.iter().filter(|kind| !kind.is_empty()) {
        if !seen.insert(kind.clone()) {
            continue;
        }
        let mut places = types.iter().enumerate().filter(|(_, other)| *other == kind).map(|(at, _)| at);
        let lowest = places.next().unwrap_or(0);
        let highest = places.next_back().unwrap_or(lowest);
        match () {
            () if highest < first => header.push(kind.clone()),
            () if lowest > last && lowest + 4 > types.len() => trailer.push(kind.clone()),
            () => others.push(kind.clone()),
        }
    }
    Ok(RecordsDescription {
        record_type: Some(type_at),
        letter_start: vec![start],
        id_in: vec![id_type],
        id_at,
        header,
        trailer,
        records: others,
        ..common
    })
}

/// The last records of a run that is longer than the sample.
fn last_records(form: &RecordForm, bytes: &[u8]) -> Vec<Vec<u8>> {
    const TAIL_BYTES: usize = 1 << 16;
    let from = bytes.len().saturating_sub(TAIL_BYTES);
    let from = match form.length {
        Some(length) => from / length * length,
        None => {
            let end = if form.charset.is_ebcdic() { 0x15 } else { b'\n' };
            memchr::memchr(end, &bytes[from..]).map_or(bytes.len(), |line| from + line + 1)
        }
    };
    form.records(&bytes[from..])
}

/// The type of the records that have the ids, and where in them these are: shortest and longest ids together.
fn id_place(types: &[String], ids: &[Vec<(Place, Vec<u8>)>]) -> Result<(String, Place), NoProposal> {
    let mut found: BTreeMap<(usize, &str), BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut longest: BTreeMap<(usize, &str), Place> = BTreeMap::new();
    let placed =
        types.iter().zip(ids).flat_map(|(kind, places)| places.iter().map(move |place| (kind, place)));
    for (kind, (place, id)) in placed {
        let at = match *place {
            Place::Bytes(offset, _) => offset,
            Place::Column(column) => column,
        };
        found.entry((at, kind)).or_default().insert(id.clone());
        let whole = longest.entry((at, kind)).or_insert(*place);
        if let (Place::Bytes(_, length), Place::Bytes(_, other)) = (*whole, *place)
            && other > length
        {
            *whole = *place;
        }
    }
    // Ids with and without the century begin at different places of one field.
    let is_beside = |(one, of): &(usize, &str), (other, kind): &(usize, &str)| {
        of != kind || one.abs_diff(*other) > 3 || !matches!(longest.get(&(*one, *of)), Some(Place::Bytes(..)))
    };
    let shown = |(at, kind): &(usize, &str)| {
        let place = longest.get(&(*at, *kind)).map_or(String::new(), Place::to_string);
        if kind.is_empty() { place } else { format!("{kind}@{place}") }
    };
    let best = best_place(&found, is_beside, shown)?;
    let place = longest.get(&best).copied().ok_or(NoProposal::NoIds)?;
    Ok((best.1.to_owned(), place))
}

/// The field of the ids, with what is right behind the longest one in a few records: an id that is too long must not be cut to a
/// valid one.
fn whole_field<'r>(place: Place, records: impl Iterator<Item = &'r Vec<u8>> + Clone) -> Place {
    let Place::Bytes(offset, mut length) = place else { return place };
    let all = records.clone().count();
    let filled = |at: usize| {
        let is_filled = |record: &&Vec<u8>| record.get(at).is_some_and(|byte| !byte.is_ascii_whitespace());
        records.clone().filter(is_filled).count()
    };
    // Where most records have something, the next field begins.
    while (1..=all / 10).contains(&filled(offset + length)) {
        length += 1;
    }
    Place::Bytes(offset, length)
}

/// The type with which letters begin: the first one of which there is one for each record with an id.
fn start_type(types: &[String], id_type: &str) -> Option<String> {
    let mut candidates: Vec<&String> = Vec::new();
    types.iter().filter(|kind| !kind.is_empty()).for_each(|kind| {
        if !candidates.contains(&kind) {
            candidates.push(kind);
        }
    });
    let is_start = |candidate: &&&String| {
        let (mut ids, mut begun, mut letters, mut wrong) = (0usize, false, 0usize, 0usize);
        for kind in types {
            if kind == **candidate {
                wrong += usize::from(begun && ids != 1);
                (begun, ids, letters) = (true, 0, letters + 1);
            }
            if kind == id_type {
                wrong += usize::from(!begun);
                ids += 1;
            }
        }
        letters > 0 && (letters > 1 || ids == 1) && wrong * 20 <= letters
    };
    candidates.iter().find(is_start).map(|kind| (**kind).clone())
}

/// A description of records without types: a letter has the records of an id.
fn by_key(
    common: RecordsDescription,
    records: &[Vec<u8>],
    ids: &[Vec<(Place, Vec<u8>)>],
    form: &RecordForm,
) -> Result<RecordsDescription, NoProposal> {
    let none = vec![String::new(); ids.len()];
    let (_, place) = id_place(&none, ids)?;
    let place = whole_field(place, records.iter());
    let cells: Vec<Option<&[u8]>> = records.iter().map(|record| form.cell(record, place)).collect();
    let repeated = cells.windows(2).filter(|pair| pair[0].is_some() && pair[0] == pair[1]).count();
    let with_id = ids.iter().filter(|places| !places.is_empty()).count();
    match () {
        () if repeated * 10 > records.len() => {
            Ok(RecordsDescription { letter_key: Some(place), id_at: place, ..common })
        }
        () if with_id * 2 > records.len() => Err(NoProposal::OneRowALetter),
        () => Err(NoProposal::NoStart),
    }
}
