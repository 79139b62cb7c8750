//! AFP (MO:DCA) runs: a letter is a page group, and its key is a tag in it.
//!
//! Structured fields, their types and triplets are those of the *Mixed Object Document Content Architecture Reference* (AFP
//! Consortium, AFPC-0004): a field is 5A, its length without that byte, three bytes of type, flags and two reserved bytes.

use super::charset::Charset;
use super::description::AfpDescription;
use super::found_id::FoundId;
use super::proposal::{IsId, NoProposal, best_place};
use super::{BytesEnd, Column, CountPlace, Letters, Run, RunError, RunProblem};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const CARRIAGE_CONTROL: u8 = 0x5A;
/// Bytes of a field before its type.
const CARRIAGE_CONTROL_TO_KIND: usize = 3;
/// Fields that must follow the beginning of a group where one is guessed.
const FIELDS_CHECKED: usize = 3;
/// Bytes of a field before its data.
const INTRODUCER: usize = 9;

const BEGIN_DOCUMENT: [u8; 3] = [0xD3, 0xA8, 0xA8];
const END_DOCUMENT: [u8; 3] = [0xD3, 0xA9, 0xA8];
const BEGIN_GROUP: [u8; 3] = [0xD3, 0xA8, 0xAD];
const END_GROUP: [u8; 3] = [0xD3, 0xA9, 0xAD];
const BEGIN_PAGE: [u8; 3] = [0xD3, 0xA8, 0xAF];
const END_PAGE: [u8; 3] = [0xD3, 0xA9, 0xAF];
const TEXT: [u8; 3] = [0xD3, 0xEE, 0x9B];
const BEGIN_RESOURCES: [u8; 3] = [0xD3, 0xA8, 0xC6];
const END_RESOURCES: [u8; 3] = [0xD3, 0xA9, 0xC6];
/// The second byte of all types that end something.
const END: u8 = 0xA9;
const TAG: [u8; 3] = [0xD3, 0xA0, 0x90];
/// Fields that may be before a group and belong to it: a medium map to be invoked, a link, a comment.
const BEFORE_GROUP: [[u8; 3]; 3] = [[0xD3, 0xAB, 0xCC], [0xD3, 0xB4, 0x90], [0xD3, 0xEE, 0xEE]];

/// Flags of a field.
const HAS_EXTENSION: u8 = 0x80;
const IS_SEGMENTED: u8 = 0x20;
const HAS_PADDING: u8 = 0x08;

/// Triplets of a tag.
const CODE_PAGE: u8 = 0x01;
const NAME: u8 = 0x02;
const NAME_OF_ATTRIBUTE: u8 = 0x0B;
const VALUE: u8 = 0x36;

/// A run in AFP that has been opened.
#[derive(Debug)]
pub(super) struct AfpRun {
    description: AfpDescription,
    first_letter: usize,
    /// Whether a document has begun before the first letter, which must end.
    is_in_document: bool,
}

/// A structured field.
struct Field {
    kind: [u8; 3],
    flags: u8,
    /// Its data, with extension and padding.
    data: Range<usize>,
    end: usize,
}

/// The field at `at`, which is below the length of the bytes; `None` if it does not end. Some programs put line ends behind
/// fields; they are part of the field before.
#[inline(always)]
fn field(bytes: &[u8], at: usize) -> Result<Option<Field>, RunError> {
    if bytes[at] != CARRIAGE_CONTROL {
        return Err(RunProblem::NotAField.at(at));
    }
    let Some(introducer) = bytes.get(at..at + INTRODUCER) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([introducer[1], introducer[2]]));
    if length < INTRODUCER - 1 || introducer[3] != 0xD3 {
        return Err(RunProblem::NotAField.at(at));
    }
    let end = at + 1 + length;
    if end > bytes.len() {
        return Ok(None);
    }
    let line_end = match &bytes[end..] {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] | [b'\r'] => 1,
        _ => 0,
    };
    Ok(Some(Field {
        kind: [introducer[3], introducer[4], introducer[5]],
        flags: introducer[6],
        data: at + INTRODUCER..end,
        end: end + line_end,
    }))
}

/// Where what belongs to a group begins behind the field at `at`, if that is a field and a group follows.
fn group_behind(bytes: &[u8], at: usize) -> Option<usize> {
    let start = field(bytes, at).ok()??.end;
    let mut behind = fields(&bytes[start..]).map(|field| field.kind);
    let begins = behind.find(|kind| !BEFORE_GROUP.contains(kind))? == BEGIN_GROUP;
    (begins && behind.take(FIELDS_CHECKED).count() == FIELDS_CHECKED).then_some(start)
}

/// The fields of bytes that begin with one, up to the first that is damaged or cut off.
fn fields(bytes: &[u8]) -> impl Iterator<Item = Field> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let next = if at < bytes.len() { field(bytes, at).ok()?? } else { return None };
        at = next.end;
        Some(next)
    })
}

impl Field {
    /// The data without extension and padding; `None` if their lengths are beyond it.
    fn content<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let mut data = &bytes[self.data.clone()];
        if self.flags & HAS_EXTENSION != 0 {
            data = data.get(usize::from(*data.first()?)..)?;
        }
        if self.flags & HAS_PADDING != 0 {
            // The last byte has the length; 0 says that the two bytes before it have.
            let padding = match data {
                [.., high, low, 0] => usize::from(u16::from_be_bytes([*high, *low])),
                [.., length] => usize::from(*length),
                [] => return None,
            };
            data = data.get(..data.len().checked_sub(padding)?)?;
        }
        Some(data)
    }
}

/// The triplets of a tag, one after another: kind and content.
fn triplets(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [length, kind, ..] = *data else { return None };
        let triplet = data.get(..usize::from(length)).filter(|triplet| triplet.len() >= 2)?;
        data = &data[triplet.len()..];
        Some((kind, &triplet[2..]))
    })
}

/// The character set that a code page, or a coded character set identifier, stands for.
fn charset_of(page: u16) -> Option<Charset> {
    match page {
        278 => Some(Charset::Ebcdic278),
        // Code page 1148 is 500 with the euro sign; 37 and 277 have the same letters and digits.
        500 | 1148 | 37 | 277 | 1142 => Some(Charset::Ebcdic500),
        1143 => Some(Charset::Ebcdic1143),
        819 | 850 | 1252 | 923 => Some(Charset::Latin1),
        1208 | 1209 => Some(Charset::Utf8),
        _ => None,
    }
}

/// Whether a file begins as AFP does.
pub(super) fn is_afp(bytes: &[u8]) -> bool {
    !bytes.is_empty() && matches!(field(bytes, 0), Ok(Some(_)))
}

/// Proposes a description of a run that begins with some bytes: the tag that most often has an id.
pub(super) fn propose(bytes: &[u8], is_id: IsId<'_>) -> Result<AfpDescription, NoProposal> {
    let tags = |charset: Charset| -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
        let description = AfpDescription { charset, ..AfpDescription::default() };
        let run = AfpRun { description, first_letter: 0, is_in_document: false };
        let mut names: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (name, value) in run.tags(bytes).filter(|(_, value)| is_id(value)) {
            names.entry(name).or_default().insert(value);
        }
        names
    };
    // Some programs write ASCII without saying so.
    let of = |charset: Charset| (charset, tags(charset));
    let (charset, names) = Some(of(Charset::Ebcdic500))
        .filter(|(_, names)| !names.is_empty())
        .unwrap_or_else(|| of(Charset::Latin1));
    let shown = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let name = best_place(&names, |_, _| true, shown)?;
    let id_tag = String::from_utf8(name).map_err(|_| NoProposal::NoIds)?;
    Ok(AfpDescription { id_tag, charset, ..AfpDescription::default() })
}

impl AfpRun {
    pub(super) fn open(
        description: &AfpDescription,
        bytes: &[u8],
        is_whole: bool,
    ) -> Result<Option<Box<dyn Run>>, RunError> {
        let run = |first_letter, is_in_document| -> Box<dyn Run> {
            Box::new(AfpRun { description: description.clone(), first_letter, is_in_document })
        };
        let (mut at, mut before, mut is_in_document, mut is_in_resources) = (0, None, false, false);
        while at < bytes.len() {
            let Some(found) = field(bytes, at)? else {
                return if is_whole { Err(RunProblem::CutOff.at(at)) } else { Ok(None) };
            };
            match found.kind {
                BEGIN_GROUP => return Ok(Some(run(before.unwrap_or(at), is_in_document))),
                // An overlay among the resources has text, too.
                BEGIN_PAGE | TEXT if !is_in_resources => return Err(RunProblem::PageOutside.at(at)),
                END_GROUP => return Err(RunProblem::EndTag.at(at)),
                kind if BEFORE_GROUP.contains(&kind) => before = before.or(Some(at)),
                kind => {
                    is_in_resources = (is_in_resources || kind == BEGIN_RESOURCES) && kind != END_RESOURCES;
                    is_in_document = (is_in_document || kind == BEGIN_DOCUMENT) && kind != END_DOCUMENT;
                    before = None;
                }
            }
            at = found.end;
        }
        Ok(is_whole.then(|| run(at, is_in_document)))
    }

    /// Name and value of a tag, as text.
    fn tag(&self, bytes: &[u8], field: &Field) -> Option<(Vec<u8>, Vec<u8>)> {
        let content = field.content(bytes)?;
        let mut charset = self.description.charset;
        let (mut name, mut value) = (None, None::<&[u8]>);
        for (kind, content) in triplets(content) {
            match (kind, content) {
                (CODE_PAGE, [_, _, high, low]) => {
                    charset = charset_of(u16::from_be_bytes([*high, *low])).unwrap_or(charset);
                }
                (NAME, [NAME_OF_ATTRIBUTE, _, text @ ..]) => name = Some((text, charset)),
                // Which of several is meant is not known.
                (VALUE, _) if value.is_some() => value = Some(b"?"),
                // After two reserved bytes.
                (VALUE, [_, _, text @ ..]) => value = Some(text),
                _ => {}
            }
        }
        let decoded = |bytes: &[u8], charset: Charset| {
            let mut text = Vec::new();
            charset.decode(charset.trimmed(bytes), &mut text);
            text
        };
        let (name, charset_of_name) = name?;
        Some((decoded(name, charset_of_name), value.map_or(Vec::new(), |value| decoded(value, charset))))
    }

    /// Name and value of each tag.
    fn tags(&self, bytes: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        fields(bytes).filter(|field| field.kind == TAG).filter_map(move |field| self.tag(bytes, &field))
    }

    /// The values of the tags of a name.
    fn values(&self, bytes: &[u8], wanted: &str) -> impl Iterator<Item = Vec<u8>> {
        self.tags(bytes).filter(move |(name, _)| name == wanted.as_bytes()).map(|(_, value)| value)
    }

    /// Closes the last letter, which ends at `at`, and checks what is behind it.
    fn end_letters(
        &self,
        mut groups: Groups<'_>,
        bytes: &[u8],
        at: usize,
        ends: BytesEnd,
    ) -> Result<(), RunError> {
        let has_letter = groups.group.is_some();
        groups.end_group();
        groups.close(at);
        let end = if has_letter { at } else { 0 };
        if ends != BytesEnd::Letter || at < bytes.len() {
            (groups.found.end, groups.found.is_last) = (end, true);
        }
        if ends == BytesEnd::Run { self.check_rest(bytes, end) } else { Ok(()) }
    }

    /// Adds the id of the open group, if a field has it.
    fn read_tag(
        &self,
        bytes: &[u8],
        field: &Field,
        at: usize,
        groups: &mut Groups<'_>,
    ) -> Result<(), RunError> {
        let tag = self.tag(bytes, field).filter(|(name, _)| name == self.description.id_tag.as_bytes());
        if let (Some((_, open)), Some((_, text))) = (&mut groups.group, tag) {
            if field.flags & IS_SEGMENTED != 0 {
                return Err(RunProblem::SegmentedTag.at(at));
            }
            open.id.add(&text);
        }
        Ok(())
    }

    /// Checks what is behind the last group.
    fn check_rest(&self, bytes: &[u8], mut at: usize) -> Result<(), RunError> {
        let mut has_ended = !self.is_in_document;
        while at < bytes.len() {
            let found = field(bytes, at)?.ok_or(RunProblem::CutOff.at(at))?;
            match found.kind {
                BEGIN_GROUP => return Err(RunProblem::LettersElsewhere.at(at)),
                END_DOCUMENT => has_ended = true,
                // Ends of what was begun before the groups; not of a page or a group whose beginning was lost.
                END_GROUP | END_PAGE => return Err(RunProblem::EndTag.at(at)),
                [_, END, _] => {}
                kind if BEFORE_GROUP.contains(&kind) => {}
                _ => return Err(RunProblem::PageOutside.at(at)),
            }
            at = found.end;
        }
        if has_ended { Ok(()) } else { Err(RunProblem::CutOff.at(at)) }
    }
}

/// A group or a letter while its fields are read.
#[derive(Default)]
struct OpenLetter {
    fields: u32,
    id: FoundId,
}

impl OpenLetter {
    fn close(&self, end: usize, found: &mut Letters) {
        found.push(end, self.fields, self.id.result(), &[]);
    }
}

/// The letters of a walk over fields.
struct Groups<'f> {
    joins: bool,
    until: usize,
    /// The group that is open or has ended last, and where it begins.
    group: Option<(usize, OpenLetter)>,
    /// The letter of the groups before it.
    letter: Option<OpenLetter>,
    found: &'f mut Letters,
}

impl Groups<'_> {
    /// Adds the last group to its letter. Whether all letters that begin before `until` have been found.
    fn end_group(&mut self) -> bool {
        let Some((start, ended)) = self.group.take() else { return false };
        match &mut self.letter {
            Some(whole) if self.joins && whole.id.is_same_as(&ended.id) => {
                whole.fields += ended.fields;
                false
            }
            letter => match letter.replace(ended) {
                Some(whole) => {
                    whole.close(start, self.found);
                    start >= self.until
                }
                None => false,
            },
        }
    }

    /// Begins with another group, of which some fields were before it. Whether all letters that begin before `until` have been
    /// found.
    fn begin(&mut self, (at, fields): (usize, u32)) -> bool {
        if self.end_group() {
            return true;
        }
        if !self.joins {
            self.close(at);
            if at >= self.until {
                return true;
            }
        }
        self.group = Some((at, OpenLetter { fields, ..OpenLetter::default() }));
        false
    }

    fn close(&mut self, at: usize) {
        if let Some(whole) = self.letter.take() {
            whole.close(at, self.found);
        }
    }
}

impl Run for AfpRun {
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
        let (mut at, mut depth, joins) = (0, 0u32, self.description.join_groups);
        let mut groups = Groups { joins, until, group: None, letter: None, found };
        // Where fields begin that belong to the next group.
        let mut before = None;
        while at < bytes.len() {
            let Some(next) = field(bytes, at)? else {
                return if ends == BytesEnd::Anywhere { Ok(()) } else { Err(RunProblem::CutOff.at(at)) };
            };
            match next.kind {
                BEGIN_GROUP => {
                    let start = before.take().unwrap_or((at, 0));
                    if depth == 0 && groups.begin(start) {
                        return Ok(());
                    }
                    depth += 1;
                }
                END_GROUP => depth = depth.checked_sub(1).ok_or(RunProblem::EndTag.at(at))?,
                TAG if depth > 0 => self.read_tag(bytes, &next, at, &mut groups)?,
                BEGIN_PAGE if depth == 0 => return Err(RunProblem::PageOutside.at(at)),
                _ if depth > 0 => {}
                kind if BEFORE_GROUP.contains(&kind) => {
                    let (start, fields) = before.unwrap_or((at, 0));
                    before = Some((start, fields + 1));
                    at = next.end;
                    continue;
                }
                // The document goes on around the groups.
                _ => return self.end_letters(groups, bytes, before.map_or(at, |(start, _)| start), ends),
            }
            if let Some((_, open)) = &mut groups.group {
                open.fields += 1;
            }
            at = next.end;
        }
        match ends {
            BytesEnd::Anywhere => Ok(()),
            _ if depth > 0 => Err(RunProblem::CutOff.at(at)),
            _ => self.end_letters(groups, bytes, before.map_or(at, |(start, _)| start), ends),
        }
    }

    /// Behind the first field that seems to end a group. The bytes of a field may be any, so several fields that follow must be
    /// ones; groups within groups are taken for letters.
    fn likely_start(&self, bytes: &[u8], from: usize) -> usize {
        let ends = memchr::memmem::find_iter(bytes.get(from..).unwrap_or_default(), &END_GROUP);
        let fields = ends.filter_map(|found| (from + found).checked_sub(CARRIAGE_CONTROL_TO_KIND));
        fields.filter_map(|at| group_behind(bytes, at)).find(|start| *start >= from).unwrap_or(bytes.len())
    }

    fn column(&self, name: &str) -> Option<Box<dyn Column>> {
        let description = self.description.clone();
        let run = AfpRun { description, first_letter: 0, is_in_document: false };
        Some(Box::new(TagColumn { run, name: name.to_owned() }))
    }

    fn column_names(&self) -> &'static str {
        "as the tags (TLE) of a group are"
    }

    fn count_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn counts(&self, _: &[u8], _: bool) -> Result<Vec<CountPlace>, RunError> {
        Ok(Vec::new())
    }

    fn records_around(&self, around: &[u8]) -> u64 {
        fields(around).count() as u64
    }

    /// The tags, and the number of pages.
    fn lines(&self, letter: &[u8], most: usize) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let tags = self.tags(letter).map(|(name, value)| format!("{} = {}", text(name), text(value)));
        let pages = fields(letter).filter(|field| field.kind == BEGIN_PAGE).count();
        tags.take(most.saturating_sub(1)).chain([format!("{pages} pages")]).collect()
    }

    fn ids_around(&self, around: &[u8], each: &mut dyn FnMut(&[u8])) {
        self.values(around, &self.description.id_tag).for_each(|value| each(&value));
    }

    /// The values of tags. Texts on pages are not searched: their bytes are glyphs of fonts, in commands of their own.
    fn searchable<'b>(&self, letter: &'b [u8], text: &'b mut Vec<u8>) -> &'b [u8] {
        text.clear();
        for (_, value) in self.tags(letter) {
            text.extend(value);
            text.push(b'\n');
        }
        text
    }
}

/// Reads the first tag of a name.
struct TagColumn {
    run: AfpRun,
    name: String,
}

impl Column for TagColumn {
    fn read(&self, letter: &[u8], text: &mut Vec<u8>) {
        text.extend(self.run.values(letter, &self.name).next().unwrap_or_default());
    }
}
