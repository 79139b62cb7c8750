//! Line data: a letter is one or several records, from one that begins it to the next.

use super::charset::Charset;
use super::counts::{CountOf, CountPlace, value_of};
use super::description::{Counted, DescriptionError, Place, RecordsDescription};
use super::found_id::FoundId;
use super::{BytesEnd, Column, LetterProblem, Letters, Run, RunError, RunProblem};
use crate::limits::ROW_BYTES_MAX;
use memchr::memchr;
use regex::bytes::Regex;
use std::ops::Range;

/// Bytes at the beginning of a record that a regular expression sees.
const MATCHED_BYTES: usize = 1000;
/// Maximum size in bytes of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 16;

/// Uses of a record, by its type.
mod uses {
    pub(super) const START: u8 = 1;
    pub(super) const ID: u8 = 2;
    pub(super) const HEADER: u8 = 4;
    pub(super) const TRAILER: u8 = 8;
    pub(super) const SUM: u8 = 16;
}

/// Uses of records that are around the letters.
const AROUND: u8 = uses::HEADER | uses::TRAILER;

/// How records are read.
#[derive(Clone, Debug)]
pub(super) struct Records {
    charset: Charset,
    length: Option<usize>,
    delimiter: Option<u8>,
    type_at: Option<Place>,
    start: Start,
    id_at: Place,
    /// Types that are named, and what their records are used for.
    types: Vec<(Vec<u8>, u8)>,
    /// Whether letters with other types are rejected.
    only_named: bool,
    /// Whether each record may have the id.
    any_has_id: bool,
    /// What a record with the id matches.
    id_match: Option<Regex>,
    has_header_types: bool,
    has_trailer_types: bool,
    counts: Vec<Count>,
    sums: Vec<Sum>,
}

/// Types of the records with the values of a sum, and their place.
type Sum = (Vec<Vec<u8>>, Place);

/// How a letter begins.
#[derive(Clone, Debug)]
enum Start {
    Type,
    Key(Place),
    Match(Regex),
}

#[derive(Clone, Debug)]
struct Count {
    within: Vec<u8>,
    at: Place,
    of: CountOf,
    name: String,
}

/// A description that makes no sense.
fn wrong<T>(text: impl Into<String>) -> Result<T, DescriptionError> {
    Err(DescriptionError::Wrong(text.into()))
}

impl RecordsDescription {
    /// Errors: its parts do not fit each other.
    pub(super) fn compile(&self) -> Result<Records, DescriptionError> {
        let delimiter = self.delimiter()?;
        self.check_places(delimiter)?;
        let start = self.start()?;
        let id_match = match &self.id_match {
            Some(_) if !self.id_in.is_empty() => return wrong("id_in and id_match exclude each other"),
            pattern => pattern.as_deref().map(|pattern| regex("id_match", pattern)).transpose()?,
        };
        let types = self.types()?;
        let (counts, sums) = self.counts(&types)?;
        Ok(Records {
            charset: self.charset,
            length: self.record_length,
            delimiter,
            type_at: self.record_type,
            start,
            id_at: self.id_at,
            types,
            only_named: !self.records.is_empty(),
            any_has_id: self.id_in.is_empty() && id_match.is_none(),
            id_match,
            has_header_types: !self.header.is_empty(),
            has_trailer_types: !self.trailer.is_empty(),
            counts,
            sums,
        })
    }

    fn delimiter(&self) -> Result<Option<u8>, DescriptionError> {
        let delimiter = match self.delimiter.as_deref() {
            None => return Ok(None),
            Some("tab" | "\t") => b'\t',
            Some(text) => match text.as_bytes() {
                [byte] if byte.is_ascii_punctuation() && *byte != b'"' => *byte,
                _ => return wrong("delimiter: write one character, such as \";\", or \"tab\""),
            },
        };
        match self.charset.is_ebcdic() || self.record_length.is_some() {
            true => wrong("delimiter: records in EBCDIC or of fixed length have places in bytes"),
            false => Ok(Some(delimiter)),
        }
    }

    fn start(&self) -> Result<Start, DescriptionError> {
        match (&self.letter_start[..], self.letter_key, &self.letter_match) {
            ([_, ..], None, None) => Ok(Start::Type),
            ([], Some(place), None) => Ok(Start::Key(place)),
            ([], None, Some(pattern)) => regex("letter_match", pattern).map(Start::Match),
            ([], None, None) => {
                wrong("say how a letter begins: letter_start (with record_type), letter_key or letter_match")
            }
            _ => wrong("letter_start, letter_key and letter_match exclude each other"),
        }
    }

    /// Checks that places are columns or bytes as the records have them, and that there is one for types if they are named.
    fn check_places(&self, delimiter: Option<u8>) -> Result<(), DescriptionError> {
        let RecordsDescription { record_length, record_type, .. } = *self;
        if record_length.is_some_and(|length| length == 0 || length > ROW_BYTES_MAX) {
            return wrong("record_length: write a number of bytes up to 1 048 576");
        }
        let named = [&self.letter_start, &self.id_in, &self.header, &self.trailer, &self.records];
        let has_types = named.iter().any(|types| !types.is_empty()) || !self.counts.is_empty();
        if has_types && record_type.is_none() {
            return wrong("record_type: say where records have their type, such as \"0:2\"");
        }
        let of_counts = self.counts.iter().flat_map(|count| [Some(count.at), count.sum_at]);
        let places = [record_type, self.letter_key, Some(self.id_at)].into_iter().chain(of_counts);
        let is_fitting = |place: &Place| matches!(place, Place::Column(_)) == delimiter.is_some();
        if let Some(place) = places.flatten().find(|place| !is_fitting(place)) {
            let as_written = match delimiter {
                Some(_) => "the number of a column, from 1, for delimited records",
                None => "OFFSET:LENGTH, or name the delimiter",
            };
            return wrong(format!("{place}: write {as_written}"));
        }
        let is_beyond = |place: Place| match (place, record_length) {
            (Place::Bytes(offset, length), Some(all)) => offset + length > all,
            _ => false,
        };
        match is_beyond(self.id_at) || record_type.is_some_and(is_beyond) {
            true => wrong("id_at or record_type is beyond record_length"),
            false => Ok(()),
        }
    }

    /// A type as records have it.
    fn encoded(&self, text: &str) -> Result<Vec<u8>, DescriptionError> {
        let encoded = self.charset.encode(text).map(|bytes| self.charset.trimmed(&bytes).to_vec());
        match encoded.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => Ok(bytes),
            None => wrong("a type of records is empty, or has characters of another charset"),
        }
    }

    /// The types that are named, and what their records are used for.
    fn types(&self) -> Result<Vec<(Vec<u8>, u8)>, DescriptionError> {
        let sums = self.counts.iter().flat_map(|count| &count.sum_in).cloned().collect();
        let used = [
            (&self.letter_start, uses::START),
            (&self.id_in, uses::ID),
            (&self.header, uses::HEADER),
            (&self.trailer, uses::TRAILER),
            (&self.records, 0),
            (&sums, uses::SUM),
        ];
        let mut types: Vec<(Vec<u8>, u8)> = Vec::new();
        for (text, uses) in used.iter().flat_map(|(texts, uses)| texts.iter().map(move |text| (text, *uses)))
        {
            let text = self.encoded(text)?;
            match types.iter_mut().find(|(other, _)| *other == text) {
                Some((_, all)) => *all |= uses,
                None => types.push((text, uses)),
            }
        }
        let room = match self.record_type {
            Some(Place::Bytes(_, length)) => length,
            _ => usize::MAX,
        };
        let is_mixed = |uses: u8| uses & AROUND != 0 && uses & !AROUND != 0 || uses & AROUND == AROUND;
        match () {
            () if types.iter().any(|(text, _)| text.len() > room) => {
                wrong("a type of records is longer than record_type says")
            }
            () if types.iter().any(|(_, uses)| is_mixed(*uses)) => {
                wrong("a type in header or trailer is named as one of letters, or as both")
            }
            () => Ok(types),
        }
    }

    /// The numbers around the letters, and the sums that some of them are.
    fn counts(&self, types: &[(Vec<u8>, u8)]) -> Result<(Vec<Count>, Vec<Sum>), DescriptionError> {
        let (mut counts, mut sums): (Vec<Count>, Vec<Sum>) = (Vec::new(), Vec::new());
        for count in &self.counts {
            let within = self.encoded(&count.within)?;
            if !types.iter().any(|(text, uses)| *text == within && uses & AROUND != 0) {
                return wrong("count: `in` is a type of header or trailer records");
            }
            let of = match (count.of, &count.sum_in[..], count.sum_at) {
                (Counted::Letters, [], None) => CountOf::Letters,
                (Counted::Records, [], None) => CountOf::Records,
                (Counted::AllRecords, [], None) => CountOf::AllRecords,
                (Counted::Sum, [_, ..], Some(place)) => {
                    let types =
                        count.sum_in.iter().map(|text| self.encoded(text)).collect::<Result<_, _>>()?;
                    sums.push((types, place));
                    CountOf::Sum(sums.len() - 1)
                }
                _ => return wrong("count: a sum has sum_in and sum_at, other counts have none"),
            };
            if counts.iter().any(|other| other.within == within && other.at.overlaps(count.at)) {
                return wrong("count: two numbers have places in common");
            }
            let kind = crate::plain_text::plain(&count.within);
            let name = format!("the number at {} of records {kind}", count.at);
            counts.push(Count { within, at: count.at, of, name });
        }
        Ok((counts, sums))
    }
}

/// A regular expression; one that would be slow is refused.
fn regex(name: &str, pattern: &str) -> Result<Regex, DescriptionError> {
    let built = regex::bytes::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    built.or_else(|error| wrong(format!("{name}: {error}")))
}

impl Records {
    /// The record that begins at `at`: its end, after a line end. `None` if it does not end.
    #[inline(always)]
    fn end(&self, bytes: &[u8], at: usize, is_whole: bool) -> Result<Option<usize>, RunError> {
        match self.length {
            Some(length) if at + length <= bytes.len() => Ok(Some(at + length)),
            Some(_) if is_whole => Err(RunProblem::PartialRecord.at(at)),
            Some(_) => Ok(None),
            None => {
                let line_end = if self.charset.is_ebcdic() { 0x15 } else { b'\n' };
                let ahead = &bytes[at..bytes.len().min(at + ROW_BYTES_MAX + 2)];
                match memchr(line_end, ahead) {
                    Some(length) => Ok(Some(at + length + 1)),
                    None if ahead.len() > ROW_BYTES_MAX + 1 => Err(RunProblem::RecordTooLong.at(at)),
                    None => Ok(is_whole.then_some(bytes.len())),
                }
            }
        }
    }

    /// A record without its line end.
    #[inline(always)]
    fn text<'b>(&self, record: &'b [u8]) -> &'b [u8] {
        match (self.length, record) {
            (Some(_), record) => record,
            (None, [text @ .., 0x15]) if self.charset.is_ebcdic() => text,
            (None, record) if self.charset.is_ebcdic() => record,
            (None, [text @ .., b'\r', b'\n'] | [text @ .., b'\n']) => text,
            (None, record) => record,
        }
    }

    /// The records of whole letters or of what is around them: where each begins, and its text.
    fn each<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = (usize, &'b [u8])> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let at = next;
            if at >= bytes.len() {
                return None;
            }
            next = self.end(bytes, at, true).ok().flatten().unwrap_or(bytes.len());
            Some((at, self.text(&bytes[at..next])))
        })
    }

    /// The type of a record; `None` if it has none.
    fn kind<'b>(&self, record: &'b [u8], unquoted: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        self.type_at.and_then(|place| self.cell(record, place, unquoted))
    }

    /// Appends the text at a place of a record.
    fn decode(&self, record: &[u8], place: Place, text: &mut Vec<u8>) {
        let mut unquoted = Vec::new();
        self.charset.decode(self.cell(record, place, &mut unquoted).unwrap_or_default(), text);
    }

    /// What is at a place of a record, without blanks; `None` if the record ends before it.
    #[inline(always)]
    fn cell<'b>(&self, record: &'b [u8], place: Place, unquoted: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        match place {
            Place::Bytes(offset, length) => {
                let cell = record.get(offset..)?;
                Some(self.charset.trimmed(&cell[..length.min(cell.len())]))
            }
            Place::Column(column) => column_of(record, self.delimiter.unwrap_or(b';'), column, unquoted),
        }
    }

    /// What a record is used for; `None` if its type is not named.
    #[inline(always)]
    fn uses(&self, record: &[u8]) -> Option<u8> {
        let Some(place) = self.type_at else { return Some(0) };
        let mut unquoted = Vec::new();
        let kind = self.cell(record, place, &mut unquoted)?;
        self.types.iter().find(|(text, _)| text == kind).map(|(_, uses)| *uses)
    }

    fn is_blank(&self, record: &[u8]) -> bool {
        // The end of a file of DOS is control-Z.
        self.charset.trimmed(record).iter().all(|byte| *byte == 0x1A)
    }

    /// Whether a letter begins with a record, of which the uses and the key of the record before it are known.
    #[inline(always)]
    fn begins(&self, record: &[u8], uses: u8, key: &mut Option<Vec<u8>>) -> bool {
        match &self.start {
            Start::Type => uses & uses::START != 0,
            Start::Key(place) => {
                let mut unquoted = Vec::new();
                let own = self.cell(record, *place, &mut unquoted).unwrap_or_default();
                if key.as_deref() == Some(own) {
                    return false;
                }
                let key = key.get_or_insert_default();
                key.clear();
                key.extend_from_slice(own);
                true
            }
            Start::Match(regex) => self.matches(regex, record),
        }
    }

    fn matches(&self, regex: &Regex, record: &[u8]) -> bool {
        let record = &record[..record.len().min(MATCHED_BYTES)];
        if !self.charset.is_ebcdic() {
            return regex.is_match(record);
        }
        let mut text = Vec::new();
        self.charset.decode(record, &mut text);
        regex.is_match(&text)
    }
}

/// A column of a delimited record, from 1, without blanks and quotation marks around it.
fn column_of<'b>(
    record: &'b [u8],
    delimiter: u8,
    column: usize,
    unquoted: &'b mut Vec<u8>,
) -> Option<&'b [u8]> {
    let cell = record[super::cells::ranges(record, delimiter).nth(column - 1)?].trim_ascii();
    if memchr::memmem::find(cell, b"\"\"").is_none() {
        return Some(cell);
    }
    unquoted.clear();
    let mut rest = cell;
    while let Some(mark) = memchr::memmem::find(rest, b"\"\"") {
        unquoted.extend_from_slice(&rest[..=mark]);
        rest = &rest[mark + 2..];
    }
    unquoted.extend_from_slice(rest);
    Some(unquoted)
}

/// A run of records that has been opened.
#[derive(Debug)]
pub(super) struct RecordsRun {
    records: Records,
    first_letter: usize,
}

impl RecordsRun {
    pub(super) fn open(
        description: &RecordsDescription,
        bytes: &[u8],
        is_whole: bool,
    ) -> Result<Option<Box<dyn Run>>, RunError> {
        // Checked when the description was read.
        let Ok(records) = description.compile() else { return Err(RunProblem::NotALetter.at(0)) };
        let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let mut key = None;
        while at < bytes.len() {
            let Some(end) = records.end(bytes, at, is_whole)? else { return Ok(None) };
            let record = records.text(&bytes[at..end]);
            let uses = records.uses(record).unwrap_or(0);
            let is_header = uses & uses::HEADER != 0;
            if !is_header && (uses & uses::TRAILER != 0 || records.begins(record, uses, &mut key)) {
                break;
            }
            if !is_header && records.has_header_types && !records.is_blank(record) {
                return Err(RunProblem::BeforeFirst.at(at));
            }
            at = end;
        }
        let is_found = at < bytes.len() || is_whole;
        Ok(is_found.then(|| Box::new(RecordsRun { records, first_letter: at }) as Box<dyn Run>))
    }

    /// Checks what is after the last letter.
    fn check_trailer(&self, bytes: &[u8], mut at: usize) -> Result<(), RunError> {
        let records = &self.records;
        while at < bytes.len() {
            let end = records.end(bytes, at, true)?.unwrap_or(bytes.len());
            let record = records.text(&bytes[at..end]);
            let is_trailer = records.uses(record).is_some_and(|uses| uses & uses::TRAILER != 0);
            if !is_trailer && !records.is_blank(record) {
                return Err(RunProblem::AfterTrailer.at(at));
            }
            at = end;
        }
        Ok(())
    }
}

/// A letter while its records are read.
#[derive(Default)]
struct OpenLetter {
    records: u32,
    id: FoundId,
    /// Why it has no id, if it does not get one.
    missing: Option<LetterProblem>,
    has_unknown: bool,
    has_blank: bool,
    sums: Vec<i64>,
}

impl OpenLetter {
    fn begin(&mut self, sums: usize) {
        (self.records, self.missing) = (0, None);
        (self.has_unknown, self.has_blank) = (false, false);
        self.id.clear();
        self.sums.clear();
        self.sums.resize(sums, 0);
    }

    fn close(&self, end: usize, found: &mut Letters) {
        let id = match (self.id.result(), self.missing) {
            _ if self.has_unknown => Err(LetterProblem::UnknownRecord),
            (Err(LetterProblem::NoId), Some(missing)) => Err(missing),
            (id, _) => id,
        };
        found.push(end, self.records, id, &self.sums);
    }

    fn add(&mut self, records: &Records, record: &[u8], uses: Option<u8>) -> Result<(), RunProblem> {
        self.records += 1;
        if records.only_named {
            // Blank records may be behind a letter, but not within one: they may have been its beginning.
            let is_blank = records.is_blank(record);
            self.has_unknown |= !is_blank && (uses.is_none() || self.has_blank);
            self.has_blank |= is_blank;
        }
        let uses = uses.unwrap_or(0);
        let has_id = || records.id_match.as_ref().is_some_and(|regex| records.matches(regex, record));
        if records.any_has_id || uses & uses::ID != 0 || has_id() {
            let mut unquoted = Vec::new();
            match records.cell(record, records.id_at, &mut unquoted) {
                None if !records.any_has_id => self.missing = Some(LetterProblem::MissingColumn),
                None => {}
                Some([]) if records.any_has_id => {}
                Some(cell) if records.charset.is_ebcdic() => {
                    let mut text = Vec::new();
                    records.charset.decode(cell, &mut text);
                    self.id.add(&text);
                }
                Some(cell) => self.id.add(cell),
            }
        }
        if uses & uses::SUM != 0 {
            self.sum(records, record)?;
        }
        Ok(())
    }

    fn sum(&mut self, records: &Records, record: &[u8]) -> Result<(), RunProblem> {
        let mut unquoted = Vec::new();
        let kind = records.kind(record, &mut unquoted).unwrap_or_default();
        for (index, (types, place)) in records.sums.iter().enumerate() {
            if !types.iter().any(|one| one == kind) {
                continue;
            }
            let mut text = Vec::new();
            records.decode(record, *place, &mut text);
            let value = if text.is_empty() { Some(0) } else { value_of(&text) };
            let sum = value.and_then(|value| self.sums[index].checked_add(value));
            self.sums[index] = sum.ok_or_else(|| RunProblem::NotSummable(place.to_string()))?;
        }
        Ok(())
    }
}

impl Run for RecordsRun {
    fn first_letter(&self) -> usize {
        self.first_letter
    }

    fn letters(
        &self,
        bytes: &[u8],
        until: usize,
        ends: BytesEnd,
        found: &mut Letters,
    ) -> Result<(), RunError> {
        let (records, is_whole) = (&self.records, ends != BytesEnd::Anywhere);
        let (mut at, mut begun, mut key, mut letter) = (0, false, None, OpenLetter::default());
        while at < bytes.len() {
            let Some(end) = records.end(bytes, at, is_whole)? else { return Ok(()) };
            let record = records.text(&bytes[at..end]);
            let uses = records.uses(record);
            let all = uses.unwrap_or(0);
            if all & AROUND != 0 {
                if begun {
                    letter.close(at, found);
                }
                (found.end, found.is_last) = (at, true);
                return match all & uses::HEADER != 0 {
                    true => Err(RunProblem::HeaderWithin.at(at)),
                    false if ends == BytesEnd::Run => self.check_trailer(bytes, at),
                    false => Ok(()),
                };
            }
            if records.begins(record, all, &mut key) {
                if begun {
                    letter.close(at, found);
                }
                if at >= until {
                    return Ok(());
                }
                begun = true;
                letter.begin(records.sums.len());
            } else if !begun {
                return Err(RunProblem::NotALetter.at(at));
            }
            letter.add(records, record, uses).map_err(|problem| problem.at(at))?;
            at = end;
        }
        if is_whole {
            if begun {
                letter.close(at, found);
            }
            (found.end, found.is_last) = (at, ends == BytesEnd::Run);
            if found.is_last && records.has_trailer_types {
                return Err(RunProblem::NoTrailer.at(at));
            }
        }
        Ok(())
    }

    fn likely_start(&self, bytes: &[u8], from: usize) -> usize {
        let records = &self.records;
        let next = |at: usize| records.end(bytes, at, true).ok().flatten().unwrap_or(bytes.len());
        let (mut at, mut key) = match records.length {
            Some(length) => (from / length * length, None),
            None => {
                // The record with the byte before `from`, which does not end a record unless a record begins there.
                let line_end = if records.charset.is_ebcdic() { 0x15 } else { b'\n' };
                let before = memchr::memrchr(line_end, &bytes[..from.saturating_sub(1)]);
                (before.map_or(0, |before| before + 1), None)
            }
        };
        while at < bytes.len() {
            let end = next(at);
            let record = records.text(&bytes[at..end]);
            let uses = records.uses(record).unwrap_or(0);
            let begins = uses & AROUND != 0 || records.begins(record, uses, &mut key);
            if begins && at >= from {
                return at;
            }
            at = end;
        }
        bytes.len()
    }

    fn column(&self, name: &str) -> Option<Box<dyn Column>> {
        let records = &self.records;
        let (kind, place) = match name.rsplit_once('@') {
            Some((kind, place)) => (Some(records.charset.encode(kind)?), place),
            None => (None, name),
        };
        let place: Place = place.parse().ok()?;
        let is_fitting = matches!(place, Place::Column(_)) == records.delimiter.is_some();
        let is_typed = kind.is_none() || records.type_at.is_some();
        (is_fitting && is_typed)
            .then(|| Box::new(RecordColumn { records: records.clone(), kind, place }) as _)
    }

    fn column_names(&self) -> &'static str {
        "TYPE@OFFSET:LENGTH, or TYPE@NUMBER of a delimited record; without TYPE@ the first record"
    }

    fn count_names(&self) -> Vec<String> {
        self.records.counts.iter().map(|count| count.name.clone()).collect()
    }

    fn counts(&self, around: &[u8], is_end: bool) -> Result<Vec<CountPlace>, RunError> {
        let (records, mut found) = (&self.records, Vec::new());
        let mark = if !is_end && around.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        for (at, record) in records.each(&around[mark..]) {
            let (at, mut unquoted) = (mark + at, Vec::new());
            let kind = records.kind(record, &mut unquoted);
            for count in records.counts.iter().filter(|count| Some(&count.within[..]) == kind) {
                let missing = || RunProblem::NoNumber(count.name.clone()).at(at);
                let within = range_of(record, count.at, records.delimiter).ok_or_else(missing)?;
                found.push(CountPlace {
                    range: at + within.start..at + within.end,
                    of: count.of,
                    charset: records.charset,
                    movable: 0,
                    name: count.name.clone(),
                });
            }
        }
        Ok(found)
    }

    fn records_around(&self, around: &[u8]) -> u64 {
        self.records.each(around).filter(|(_, record)| !self.records.is_blank(record)).count() as u64
    }

    fn ids_around(&self, around: &[u8], each: &mut dyn FnMut(&[u8])) {
        for (_, record) in self.records.each(around) {
            let mut text = Vec::new();
            self.records.decode(record, self.records.id_at, &mut text);
            each(&text);
        }
    }

    fn searchable<'b>(&self, letter: &'b [u8], text: &'b mut Vec<u8>) -> &'b [u8] {
        if !self.records.charset.is_ebcdic() {
            return letter;
        }
        text.clear();
        self.records.charset.decode(letter, text);
        text
    }

    fn lines(&self, letter: &[u8], most: usize) -> Vec<String> {
        let line = |(_, record): (usize, &[u8])| {
            let mut text = Vec::new();
            self.records.charset.decode(record, &mut text);
            super::line(&text)
        };
        self.records.each(letter).take(most).map(line).collect()
    }

    fn sums(&self) -> usize {
        self.records.sums.len()
    }
}

/// The bytes of a number in a record, as it stands.
fn range_of(record: &[u8], place: Place, delimiter: Option<u8>) -> Option<Range<usize>> {
    match place {
        Place::Bytes(offset, length) => {
            let end = record.len().min(offset + length);
            (offset < end).then_some(offset..end)
        }
        Place::Column(column) => super::cells::ranges(record, delimiter?).nth(column - 1),
    }
}

/// Reads a place in the first record of a type.
struct RecordColumn {
    records: Records,
    kind: Option<Vec<u8>>,
    place: Place,
}

impl Column for RecordColumn {
    fn read(&self, letter: &[u8], text: &mut Vec<u8>) {
        let is_of_type = |record: &[u8]| {
            let mut unquoted = Vec::new();
            self.kind.is_none() || self.kind.as_deref() == self.records.kind(record, &mut unquoted)
        };
        if let Some((_, record)) = self.records.each(letter).find(|(_, record)| is_of_type(record)) {
            self.records.decode(record, self.place, text);
        }
    }
}
