//! XML runs: a letter is an element.

mod names;
mod propose;
mod tokens;

pub(super) use propose::propose;

use super::counts::{CountOf, CountPlace};
use super::description::{Counted, DescriptionError, XmlDescription};
use super::found_id::FoundId;
use super::{BytesEnd, Charset, Column, LetterProblem, Letters, Run, RunError, RunProblem};
use encoding_rs::Encoding;
use names::{Bindings, ElementPath, Name, NameError};
use std::borrow::Cow;
use std::ops::Range;
use tokens::{NoToken, Token, attributes, local_name};

/// Maximum number of elements that are open at a time.
const DEPTH_MAX: usize = 1000;

/// A run in XML that has been opened.
#[derive(Debug)]
pub(super) struct XmlRun {
    letter: Name,
    id_path: ElementPath,
    counts: Vec<Count>,
    encoding: &'static Encoding,
    /// Names, with prefixes, of the elements around the letters, the outermost first.
    around: Vec<Vec<u8>>,
    bindings: Bindings,
    first_letter: usize,
}

#[derive(Clone, Debug)]
struct Count {
    path: ElementPath,
    of: CountOf,
    name: String,
}

/// What a description says, in the form in which it is used.
#[derive(Debug)]
pub(super) struct Compiled {
    letter: Name,
    id_path: ElementPath,
    counts: Vec<Count>,
}

impl XmlDescription {
    /// Errors: its parts do not fit each other.
    pub(super) fn compile(&self) -> Result<Compiled, DescriptionError> {
        let wrong = |place: &str, error: NameError| DescriptionError::Wrong(format!("{place}: {error}"));
        let letter = Name::parse(&self.letter_element).map_err(|error| wrong("letter_element", error))?;
        let id_path = ElementPath::parse(&self.id_path).map_err(|error| wrong("id_path", error))?;
        let count = |count: &super::description::XmlCountDescription| {
            let path = ElementPath::parse(&count.path).map_err(|error| wrong("count", error))?;
            let of = match count.of {
                Counted::Letters => CountOf::Letters,
                _ => return Err(DescriptionError::Wrong("count: in XML, letters can be counted".to_owned())),
            };
            Ok(Count { path, of, name: format!("the number at {}", crate::plain_text::plain(&count.path)) })
        };
        let counts = self.counts.iter().map(count).collect::<Result<_, _>>()?;
        Ok(Compiled { letter, id_path, counts })
    }
}

impl NoToken {
    fn at(self, at: usize) -> RunError {
        match self {
            NoToken::CutOff => RunProblem::CutOff,
            NoToken::Malformed => RunProblem::Malformed,
            NoToken::Declarations => RunProblem::Declarations,
        }
        .at(at)
    }
}

/// The encoding that a document says, or the one of its first bytes.
fn encoding_of(bytes: &[u8]) -> Result<&'static Encoding, RunError> {
    let declaration = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.starts_with(b"\xFF\xFE")
        || bytes.starts_with(b"\xFE\xFF")
        || bytes.starts_with(b"<\0")
        || bytes.starts_with(b"\0<")
    {
        return Err(RunProblem::Encoding.at(0));
    }
    if !declaration.starts_with(b"<?xml") {
        return Ok(encoding_rs::UTF_8);
    }
    let start = bytes.len() - declaration.len() + 5;
    let end = memchr::memmem::find(&bytes[start..], b"?>").map_or(start, |length| start + length);
    let mut pairs = attributes(bytes, start..end);
    match pairs.find(|(name, _)| &bytes[name.clone()] == b"encoding") {
        None => Ok(encoding_rs::UTF_8),
        Some((_, value)) => {
            let known = Encoding::for_label(&bytes[value]);
            // In others, bytes of one character may look like a tag.
            let is_plain =
                |encoding: &&'static Encoding| *encoding == encoding_rs::UTF_8 || encoding.is_single_byte();
            known.filter(is_plain).ok_or(RunProblem::Encoding.at(0))
        }
    }
}

/// Reads tokens one after another, and keeps which elements are open.
struct Walk<'b> {
    bytes: &'b [u8],
    at: usize,
    open: Vec<Range<usize>>,
}

impl<'b> Walk<'b> {
    fn new(bytes: &'b [u8], at: usize) -> Walk<'b> {
        Walk { bytes, at, open: Vec::new() }
    }

    /// The next token and where it begins; `None` at the end. Elements that begin are opened before it is returned, and those
    /// that end are closed; an end without beginning is left to the caller.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<(Token, usize)>, RunError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let (token, end) = tokens::next(self.bytes, start).map_err(|none| none.at(start))?;
        self.at = end;
        match &token {
            Token::Start { name, is_empty: false, .. } => {
                if self.open.len() >= DEPTH_MAX {
                    return Err(RunProblem::TooDeep.at(start));
                }
                self.open.push(name.clone());
            }
            Token::End(name) => {
                if let Some(opened) = self.open.pop()
                    && self.bytes[opened] != self.bytes[name.clone()]
                {
                    return Err(RunProblem::EndTag.at(start));
                }
            }
            _ => {}
        }
        Ok(Some((token, start)))
    }
}

/// Whether a letter ends where the bytes do.
fn is_cut_off(error: &RunError) -> bool {
    error.problem == RunProblem::CutOff
}

impl XmlRun {
    pub(super) fn open(
        description: &XmlDescription,
        bytes: &[u8],
        is_whole: bool,
    ) -> Result<Option<Box<dyn Run>>, RunError> {
        // Checked when the description was read.
        let Ok(Compiled { letter, id_path, counts }) = description.compile() else {
            return Err(RunProblem::NotALetter.at(0));
        };
        let encoding = encoding_of(bytes)?;
        let mut walk = Walk::new(bytes, if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 });
        let (mut bindings, mut has_root) = (Bindings::default(), false);
        let (around, first_letter) = loop {
            let (token, start) = match walk.next() {
                Ok(Some(next)) => next,
                Ok(None) if !is_whole => return Ok(None),
                Ok(None) if has_root && walk.open.is_empty() => break (Vec::new(), bytes.len()),
                Ok(None) => return Err(RunProblem::CutOff.at(bytes.len())),
                Err(error) if is_cut_off(&error) && !is_whole => return Ok(None),
                Err(error) => return Err(error),
            };
            match token {
                Token::Start { name, attributes, is_empty } => {
                    let depth = walk.open.len() - usize::from(!is_empty);
                    if has_root && depth == 0 {
                        return Err(RunProblem::Malformed.at(start));
                    }
                    has_root = true;
                    let outer = bindings.clone();
                    bindings.open(bytes, attributes.clone(), depth);
                    if letter.is(&bytes[name], &bindings) {
                        bindings = outer;
                        walk.open.truncate(depth);
                        break (walk.open.iter().map(|name| bytes[name.clone()].to_vec()).collect(), start);
                    }
                    if !is_text(&bytes[attributes]) {
                        return Err(RunProblem::Text.at(start));
                    }
                    if is_empty {
                        bindings.close(depth);
                    }
                }
                Token::End(_) => bindings.close(walk.open.len()),
                Token::Text(ref text) | Token::Cdata(ref text) => {
                    let text_of = &bytes[text.clone()];
                    if walk.open.is_empty() && !text_of.trim_ascii().is_empty() {
                        return Err(RunProblem::Malformed.at(start));
                    }
                    if matches!(token, Token::Text(_)) && !is_text(text_of) {
                        return Err(RunProblem::Text.at(start));
                    }
                }
                Token::Other => {}
            }
        };
        if around.is_empty() && first_letter < bytes.len() {
            return Err(RunProblem::LetterIsRoot.at(first_letter));
        }
        if !is_encoded(&bytes[..first_letter], encoding) {
            return Err(RunProblem::Text.at(0));
        }
        Ok(Some(Box::new(XmlRun { letter, id_path, counts, encoding, around, bindings, first_letter })))
    }

    /// Checks what is behind the last letter: the elements around the letters end, and no other letter is there.
    fn check_rest(&self, bytes: &[u8], at: usize) -> Result<(), RunError> {
        let (mut walk, mut around) = (Walk::new(bytes, at), &self.around[..]);
        loop {
            let is_inner = !walk.open.is_empty();
            let Some((token, start)) = walk.next()? else { break };
            match token {
                Token::Start { name, .. } if self.letter.is_local(local_name(&bytes[name.clone()])) => {
                    return Err(RunProblem::LettersElsewhere.at(start));
                }
                Token::Start { .. } if around.is_empty() && !is_inner => {
                    return Err(RunProblem::Malformed.at(start));
                }
                Token::End(name) if !is_inner => match around.split_last() {
                    Some((innermost, outer)) if innermost[..] == bytes[name.clone()] => around = outer,
                    _ => return Err(RunProblem::EndTag.at(start)),
                },
                Token::Text(text) | Token::Cdata(text)
                    if around.is_empty() && !is_inner && !bytes[text.clone()].trim_ascii().is_empty() =>
                {
                    return Err(RunProblem::Malformed.at(start));
                }
                Token::Text(text) | Token::Start { attributes: text, .. }
                    if !is_text(&bytes[text.clone()]) =>
                {
                    return Err(RunProblem::Text.at(start));
                }
                _ => {}
            }
        }
        match around.is_empty() && walk.open.is_empty() {
            true if !is_encoded(&bytes[at..], self.encoding) => Err(RunProblem::Text.at(at)),
            true => Ok(()),
            false => Err(RunProblem::CutOff.at(bytes.len())),
        }
    }

    /// Text as it stands, with references resolved; `None` if one is unknown.
    fn text<'b>(&self, bytes: &'b [u8], is_cdata: bool) -> Option<Cow<'b, str>> {
        let text = self.encoding.decode_without_bom_handling(bytes).0;
        if is_cdata || memchr::memchr(b'&', text.as_bytes()).is_none() {
            return Some(text);
        }
        quick_xml::escape::unescape(&text).ok().map(|text| Cow::Owned(text.into_owned()))
    }
}

/// Reads the text at a path of each element: what an attribute has, or an element directly.
struct PathReader<'r> {
    run: &'r XmlRun,
    path: &'r ElementPath,
    /// Names of the path that the open elements have.
    matched: usize,
    text: Vec<u8>,
    is_reading: bool,
    is_unreadable: bool,
}

impl<'r> PathReader<'r> {
    fn new(run: &'r XmlRun, path: &'r ElementPath) -> PathReader<'r> {
        PathReader { run, path, matched: 0, text: Vec::new(), is_reading: false, is_unreadable: false }
    }

    /// Takes a token of a letter; `depth` elements of it were open before, the letter's own among them. Whether `text` has one
    /// that has just ended.
    #[inline(always)]
    fn take(&mut self, bytes: &[u8], token: &Token, depth: usize, bindings: &Bindings) -> bool {
        match token {
            Token::Start { name, attributes, is_empty } => {
                let is_next = match depth {
                    // The letter itself.
                    0 => true,
                    depth => {
                        let wanted = self.path.elements.get(depth - 1);
                        self.matched == depth - 1
                            && wanted.is_some_and(|wanted| wanted.is(&bytes[name.clone()], bindings))
                    }
                };
                if !is_next || depth != self.matched + usize::from(depth > 0) {
                    return false;
                }
                self.matched = depth;
                let is_whole = depth == self.path.elements.len();
                let ends = is_whole && self.begin(bytes, attributes.clone(), *is_empty);
                if *is_empty {
                    self.matched = depth.saturating_sub(1);
                }
                ends
            }
            Token::End(_) => {
                let ends = self.is_reading && depth == self.path.elements.len() + 1;
                if ends {
                    self.is_reading = false;
                }
                self.matched = self.matched.min(depth.saturating_sub(2));
                ends
            }
            Token::Text(text) | Token::Cdata(text) => {
                if self.is_reading && depth == self.path.elements.len() + 1 {
                    self.add(&bytes[text.clone()], matches!(token, Token::Cdata(_)));
                }
                false
            }
            Token::Other => false,
        }
    }

    /// Begins with an element that has the path. Whether the text is whole.
    fn begin(&mut self, bytes: &[u8], within: Range<usize>, is_empty: bool) -> bool {
        self.text.clear();
        self.is_unreadable = false;
        match &self.path.attribute {
            Some(wanted) => {
                let pairs = attributes(bytes, within);
                let mut found =
                    pairs.filter(|(name, _)| local_name(&bytes[name.clone()]) == wanted.as_bytes());
                let Some((_, value)) = found.next() else { return false };
                self.add(&bytes[value], false);
                // Which of several is meant is not known.
                self.is_unreadable |= found.next().is_some();
                true
            }
            None => {
                self.is_reading = !is_empty;
                is_empty
            }
        }
    }

    fn add(&mut self, bytes: &[u8], is_cdata: bool) {
        match self.run.text(bytes, is_cdata) {
            Some(text) => self.text.extend(text.as_bytes()),
            None => self.is_unreadable = true,
        }
    }
}

/// A letter whose end has not been found.
struct OpenLetter {
    start: usize,
    /// Where its element has ended.
    ended: Option<usize>,
    /// Whether it has text that a document in its encoding cannot have.
    is_damaged: bool,
}

/// Finds letters, one after another.
struct LetterWalk<'r, 'b> {
    run: &'r XmlRun,
    walk: Walk<'b>,
    bindings: Bindings,
    reader: PathReader<'r>,
    id: FoundId,
    letter: Option<OpenLetter>,
    found: &'b mut Letters,
}

impl LetterWalk<'_, '_> {
    fn read(mut self, until: usize, ends: BytesEnd) -> Result<(), RunError> {
        let (bytes, around) = (self.walk.bytes, self.run.around.len());
        loop {
            let depth = self.walk.open.len();
            let (token, start) = match self.walk.next() {
                Ok(Some(next)) => next,
                Ok(None) => return self.end(ends),
                Err(error) if is_cut_off(&error) && ends == BytesEnd::Anywhere => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut is_letter = false;
            if let Token::Start { name, attributes, is_empty } = &token {
                self.bindings.open(bytes, attributes.clone(), around + depth);
                is_letter = depth == 0 && self.run.letter.is(&bytes[name.clone()], &self.bindings);
                if is_letter && !self.begin(start, *is_empty, until) {
                    return Ok(());
                }
            }
            let is_outside = depth == 0 && !is_letter;
            if is_outside && is_content(bytes, &token) {
                // What is around the letters goes on, or another element.
                return self.leave(start, ends);
            }
            if !is_outside {
                self.take(&token, depth);
            }
            if matches!(token, Token::End(_) | Token::Start { is_empty: true, .. }) {
                self.bindings.close(around + self.walk.open.len());
                let ended = self.walk.open.is_empty().then_some(self.walk.at);
                if let Some(letter) = &mut self.letter {
                    letter.ended = letter.ended.or(ended);
                }
            }
        }
    }

    /// Begins with a letter, where the one before ends. False if it does not begin before `until`.
    fn begin(&mut self, start: usize, is_empty: bool, until: usize) -> bool {
        self.close(start);
        if start >= until {
            return false;
        }
        self.id.clear();
        let ended = is_empty.then_some(self.walk.at);
        self.letter = Some(OpenLetter { start, ended, is_damaged: false });
        true
    }

    /// Takes a token of a letter.
    fn take(&mut self, token: &Token, depth: usize) {
        let bytes = self.walk.bytes;
        if let (Some(letter), Token::Text(text) | Token::Start { attributes: text, .. }) =
            (&mut self.letter, token)
        {
            letter.is_damaged |= !is_text(&bytes[text.clone()]);
        }
        if self.reader.take(bytes, token, depth, &self.bindings) {
            match self.reader.is_unreadable {
                true => self.id.add(b"?"),
                false => self.id.add(&self.reader.text),
            }
        }
    }

    /// Closes the open letter, if there is one.
    fn close(&mut self, end: usize) {
        let Some(OpenLetter { start, is_damaged, .. }) = self.letter.take() else { return };
        let letter = &self.walk.bytes[start..end];
        let lines = memchr::memchr_iter(b'\n', letter).count() as u32;
        let is_damaged = is_damaged || !is_encoded(letter, self.run.encoding);
        let id = if is_damaged { Err(LetterProblem::BadText) } else { self.id.result() };
        self.found.push(end, lines, id, &[]);
    }

    /// Closes the last letter of the run, behind which something begins at `start`.
    fn leave(mut self, start: usize, ends: BytesEnd) -> Result<(), RunError> {
        let end = self.letter.as_ref().map_or(0, |letter| letter.ended.unwrap_or(start));
        self.close(end);
        (self.found.end, self.found.is_last) = (end, true);
        if ends == BytesEnd::Run { self.run.check_rest(self.walk.bytes, end) } else { Ok(()) }
    }

    /// At the end of the bytes.
    fn end(mut self, ends: BytesEnd) -> Result<(), RunError> {
        let end = self.walk.bytes.len();
        match (ends, &self.letter) {
            (BytesEnd::Anywhere, _) => {}
            (BytesEnd::Letter, Some(OpenLetter { ended: Some(_), .. })) => self.close(end),
            (BytesEnd::Letter, None) if self.walk.open.is_empty() => {}
            _ => return Err(RunProblem::CutOff.at(end)),
        }
        Ok(())
    }
}

/// Whether a token is more than white space, comments and the like.
fn is_content(bytes: &[u8], token: &Token) -> bool {
    match token {
        Token::Start { .. } | Token::End(_) => true,
        Token::Text(text) | Token::Cdata(text) => !bytes[text.clone()].trim_ascii().is_empty(),
        Token::Other => false,
    }
}

/// Whether text or attributes have only references that a document without declarations may have.
fn is_text(text: &[u8]) -> bool {
    let mut references = memchr::memchr_iter(b'&', text).map(|at| &text[at + 1..text.len().min(at + 12)]);
    memchr::memmem::find(text, b"]]>").is_none()
        && references.all(|rest| {
            let Some(length) = memchr::memchr(b';', rest) else { return false };
            let number = |digits: &[u8], radix: u32| {
                let is_plain = digits.iter().all(u8::is_ascii_alphanumeric);
                let digits = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
                char::from_u32(u32::from_str_radix(digits, radix).ok()?)
            };
            let is_allowed = |character: char| match character {
                '\t' | '\n' | '\r' => true,
                '\u{FFFE}' | '\u{FFFF}' => false,
                other => other >= ' ',
            };
            match &rest[..length] {
                b"amp" | b"lt" | b"gt" | b"quot" | b"apos" => true,
                [b'#', b'x', hexadecimal @ ..] => number(hexadecimal, 16).is_some_and(is_allowed),
                [b'#', decimal @ ..] => number(decimal, 10).is_some_and(is_allowed),
                _ => false,
            }
        })
}

/// Whether bytes are characters that a document in an encoding may have.
fn is_encoded(bytes: &[u8], encoding: &'static Encoding) -> bool {
    let is_allowed = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
    let has_none = |bytes: &[u8]| {
        memchr::memmem::find(bytes, b"\xEF\xBF\xBE").is_none()
            && memchr::memmem::find(bytes, b"\xEF\xBF\xBF").is_none()
    };
    bytes.iter().all(is_allowed)
        && (encoding != encoding_rs::UTF_8 || std::str::from_utf8(bytes).is_ok() && has_none(bytes))
}

impl Run for XmlRun {
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
        let walk = LetterWalk {
            run: self,
            walk: Walk::new(bytes, 0),
            bindings: self.bindings.clone(),
            reader: PathReader::new(self, &self.id_path),
            id: FoundId::default(),
            letter: None,
            found,
        };
        walk.read(until, ends)
    }

    fn likely_start(&self, bytes: &[u8], from: usize) -> usize {
        let name = self.letter.local();
        memchr::memmem::find_iter(&bytes[from.min(bytes.len())..], name)
            .map(|at| from + at)
            .filter(|at| {
                bytes
                    .get(at + name.len())
                    .is_some_and(|byte| matches!(byte, b'>' | b'/') || byte.is_ascii_whitespace())
            })
            .find_map(|at| {
                let before = &bytes[..at];
                let opening = match before.last()? {
                    b'<' => at - 1,
                    b':' => {
                        let prefix = before[..at - 1].iter().rev().take(100).position(|byte| {
                            !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'.')
                        })?;
                        at - 2 - prefix
                    }
                    _ => return None,
                };
                (bytes[opening] == b'<' && opening >= from).then_some(opening)
            })
            .unwrap_or(bytes.len())
    }

    fn column(&self, name: &str) -> Option<Box<dyn Column>> {
        let path = ElementPath::parse(name).ok()?;
        let run = XmlRun {
            letter: self.letter.clone(),
            id_path: path,
            counts: Vec::new(),
            encoding: self.encoding,
            around: self.around.clone(),
            bindings: self.bindings.clone(),
            first_letter: 0,
        };
        Some(Box::new(XmlColumn(run)))
    }

    fn column_names(&self) -> &'static str {
        "by their path within the letter, such as Invoice/Amount or Invoice/@currency"
    }

    fn count_names(&self) -> Vec<String> {
        self.counts.iter().map(|count| count.name.clone()).collect()
    }

    fn counts(&self, around: &[u8], is_end: bool) -> Result<Vec<CountPlace>, RunError> {
        // Elements around what is behind the letters were opened before them.
        let mut names = if is_end { self.around.clone() } else { Vec::new() };
        let (mut walk, mut bindings) = (Walk::new(around, 0), self.bindings.clone());
        let (mut found, mut text_of) = (Vec::new(), None::<usize>);
        while let Some((token, start)) = walk.next()? {
            match token {
                Token::Start { name, attributes: within, is_empty } => {
                    bindings.open(around, within.clone(), usize::MAX);
                    names.push(around[name].to_vec());
                    text_of = None;
                    for (index, count) in
                        self.counts.iter().enumerate().filter(|(_, count)| count.path.is(&names, &bindings))
                    {
                        match &count.path.attribute {
                            Some(wanted) => {
                                let mut pairs = attributes(around, within.clone());
                                let value = pairs
                                    .find(|(name, _)| local_name(&around[name.clone()]) == wanted.as_bytes());
                                let missing = || RunProblem::NoNumber(count.name.clone()).at(start);
                                found.push(count.place(value.ok_or_else(missing)?.1, 1));
                            }
                            None => text_of = Some(index),
                        }
                    }
                    if is_empty {
                        names.pop();
                    }
                }
                Token::Text(text) => {
                    if let Some(count) = text_of.take().map(|index| &self.counts[index]) {
                        let within = around[text.clone()].trim_ascii();
                        let from = within.as_ptr() as usize - around.as_ptr() as usize;
                        let tag =
                            around[text.end..].iter().position(|byte| *byte == b'>').map_or(0, |at| at + 1);
                        found.push(
                            count.place(from..from + within.len(), text.end - from - within.len() + tag),
                        );
                    }
                }
                Token::End(_) => {
                    names.pop();
                    text_of = None;
                }
                Token::Cdata(_) | Token::Other => {}
            }
        }
        Ok(found)
    }

    fn lines(&self, letter: &[u8], most: usize) -> Vec<String> {
        let text = self.encoding.decode_without_bom_handling(letter).0;
        text.lines().take(most).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Line ends: places of letters are lines.
    fn records_around(&self, around: &[u8]) -> u64 {
        memchr::memchr_iter(b'\n', around).count() as u64
    }
}

impl Count {
    fn place(&self, range: Range<usize>, movable: usize) -> CountPlace {
        CountPlace { range, of: self.of, charset: Charset::Utf8, movable, name: self.name.clone() }
    }
}

/// Reads the text at a path, which is the id path of a run of its own.
struct XmlColumn(XmlRun);

impl Column for XmlColumn {
    fn read(&self, letter: &[u8], text: &mut Vec<u8>) {
        self.visit(letter, &mut |found| {
            text.extend(found);
            false
        });
    }

    fn read_all(&self, letter: &[u8], each: &mut dyn FnMut(&[u8])) {
        self.visit(letter, &mut |found| {
            each(found);
            true
        });
    }
}

impl XmlColumn {
    /// Calls `found` with one text after another, as long as it returns true.
    fn visit(&self, letter: &[u8], found: &mut dyn FnMut(&[u8]) -> bool) {
        let (mut walk, mut bindings) = (Walk::new(letter, 0), self.0.bindings.clone());
        let mut reader = PathReader::new(&self.0, &self.0.id_path);
        loop {
            let depth = walk.open.len();
            let Ok(Some((token, _))) = walk.next() else { return };
            if let Token::Start { attributes, .. } = &token {
                bindings.open(letter, attributes.clone(), self.0.around.len() + depth);
            }
            if reader.take(letter, &token, depth, &bindings) && !found(reader.text.trim_ascii()) {
                return;
            }
            if matches!(token, Token::End(_) | Token::Start { is_empty: true, .. }) {
                bindings.close(self.0.around.len() + walk.open.len());
            }
        }
    }
}
