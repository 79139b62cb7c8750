//! Opens lists (plain and compressed files, standard input), and reads them in chunks of whole rows.

use super::error::ListError;
use super::file_kind::FileKind;
use super::list_run::ListRun;
use super::list_sheet::ListSheet;
use super::options::{Progress, StreamLimits};
use super::rows::{Layout, RowRules, RowScanner, line_end, past_line_end};
use crate::limits::{CHUNK_BYTES, ROW_BYTES_MAX, ROW_LOOKAHEAD_BYTES, SAMPLE_BYTES};
use crate::memory::{Mapped, map};
use crate::runs::{BytesEnd, Letters, RunProblem};
use crate::sheets::{WorkbookError, WorkbookLimits};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open list.
pub(super) enum Input {
    /// A plain file, mapped.
    Mapped(Mapped),
    /// A list that is read sequentially.
    Stream(ListStream),
    /// A workbook: the list is one of its sheets.
    Workbook(Option<WorkbookInput>),
}

/// A workbook of which no sheet has been chosen.
pub(super) struct WorkbookInput {
    pub(super) bytes: WorkbookBytes,
    pub(super) limits: WorkbookLimits,
}

/// The bytes of a workbook.
pub(super) enum WorkbookBytes {
    /// A file.
    Mapped(Mapped),
    /// Read from a stream, which is at its end.
    Read(Box<ListStream>),
}

impl WorkbookBytes {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            WorkbookBytes::Mapped(mapped) => mapped.as_ref(),
            WorkbookBytes::Read(stream) => &stream.buffer,
        }
    }
}

/// A list that is read sequentially, and decompressed.
pub(super) struct ListStream {
    reader: Box<dyn Read + Send>,
    /// Bytes that are read and not yet in a chunk.
    buffer: Vec<u8>,
    at_end: bool,
    /// Bytes before those of the buffer.
    done: u64,
    limits: StreamLimits,
    raw: Arc<Mutex<RawDigest>>,
    /// The file, if the list is one, to detect changes during the job.
    file: Option<Mapped>,
    /// Of a workbook, its length and hash.
    workbook: Option<(u64, blake3::Hash)>,
}

/// Hash and length of the bytes before decompression.
struct RawDigest {
    hasher: blake3::Hasher,
    bytes: u64,
}

/// A reader that hashes what it reads.
struct HashingReader<R> {
    inner: R,
    raw: Arc<Mutex<RawDigest>>,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        raw.hasher.update(&buffer[..read]);
        raw.bytes += read as u64;
        Ok(read)
    }
}

/// Bytes that are read between two checks of limits and interruption.
const STEP_BYTES: usize = 1 << 18;
/// Decompressed bytes from which on their ratio to the compressed ones is checked.
const EXPANSION_FROM: u64 = 1 << 26;

const GZIP: &[u8] = &[0x1F, 0x8B];
const ZSTANDARD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];

/// Opens a list; `-` is standard input. Compression is detected by the first bytes.
pub(super) fn open(path: &Path) -> Result<Input, ListError> {
    if path.as_os_str() == "-" {
        return stream(Box::new(io::stdin()), StreamLimits::default());
    }
    let file = File::open(path).map_err(ListError::Read)?;
    if !file.metadata().map_err(ListError::Read)?.is_file() {
        return stream(Box::new(file), StreamLimits::default());
    }
    let mapped = map(&file).map_err(ListError::Read)?;
    if is_workbook(mapped.as_ref()) {
        let bytes = WorkbookBytes::Mapped(mapped);
        return Ok(Input::Workbook(Some(WorkbookInput { bytes, limits: WorkbookLimits::default() })));
    }
    if mapped.as_ref().starts_with(GZIP) || mapped.as_ref().starts_with(ZSTANDARD) {
        let mut stream = ListStream::open(Box::new(file), StreamLimits::default())?;
        stream.file = Some(mapped);
        return stream.into_input();
    }
    Ok(Input::Mapped(mapped))
}

/// A list from a reader.
pub(super) fn stream(reader: Box<dyn Read + Send>, limits: StreamLimits) -> Result<Input, ListError> {
    ListStream::open(reader, limits)?.into_input()
}

fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK")
        && FileKind::of(&bytes[..bytes.len().min(SAMPLE_BYTES)]) == Some(FileKind::Workbook)
}

impl Input {
    /// The beginning of the list, of at least `wanted` bytes unless it is shorter, and whether it is the whole list.
    pub(super) fn beginning(
        &mut self,
        wanted: usize,
        progress: &dyn Progress,
    ) -> Result<(&[u8], bool), ListError> {
        match self {
            Input::Mapped(mapped) => {
                let mapped: &Mapped = mapped;
                Ok((mapped.as_ref(), true))
            }
            Input::Stream(stream) => {
                stream.fill(wanted, progress)?;
                Ok((&stream.buffer, stream.at_end))
            }
            Input::Workbook(_) => Err(ListError::NotAList(FileKind::Workbook)),
        }
    }

    /// Bytes of a letter of a print run, at most.
    pub(super) fn letter_bytes(&self) -> usize {
        match self {
            Input::Mapped(_) | Input::Workbook(_) => usize::MAX,
            Input::Stream(stream) => stream.limits.letter_bytes,
        }
    }

    /// The beginning of the list, and whether it is the whole list.
    pub(super) fn sample(&self) -> (&[u8], bool) {
        let (bytes, all) = match self {
            Input::Mapped(mapped) => (mapped.as_ref(), true),
            Input::Stream(stream) => (&stream.buffer[..], stream.at_end),
            // Its sheet is not chosen.
            Input::Workbook(_) => (&[][..], true),
        };
        (&bytes[..bytes.len().min(SAMPLE_BYTES)], all && bytes.len() <= SAMPLE_BYTES)
    }
}

impl ListStream {
    fn open(mut reader: Box<dyn Read + Send>, limits: StreamLimits) -> Result<ListStream, ListError> {
        let raw = Arc::new(Mutex::new(RawDigest { hasher: blake3::Hasher::new(), bytes: 0 }));
        let mut magic = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut magic).map_err(ListError::Read)?;
        let whole =
            HashingReader { inner: io::Cursor::new(magic.clone()).chain(reader), raw: Arc::clone(&raw) };
        let reader: Box<dyn Read + Send> = if magic.starts_with(GZIP) {
            Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 18, whole)))
        } else if magic.starts_with(ZSTANDARD) {
            let mut decoder = zstd::Decoder::new(whole).map_err(ListError::Read)?;
            decoder.window_log_max(limits.zstd_window_log).map_err(ListError::Read)?;
            Box::new(decoder)
        } else {
            Box::new(whole)
        };
        let buffer = Vec::new();
        let mut stream =
            ListStream { reader, buffer, at_end: false, done: 0, limits, raw, file: None, workbook: None };
        // Enough for a sample: a list can be refused as soon as this much has arrived.
        stream.fill(SAMPLE_BYTES + 1, &())?;
        Ok(stream)
    }

    /// The rows of a sheet.
    pub(super) fn of_sheet(sheet: ListSheet, workbook: WorkbookBytes) -> Result<ListStream, ListError> {
        let (file, digest) = match workbook {
            WorkbookBytes::Mapped(mapped) => {
                let digest = (mapped.as_ref().len() as u64, blake3::hash(mapped.as_ref()));
                (Some(mapped), digest)
            }
            WorkbookBytes::Read(stream) => {
                let raw = stream.raw.lock().unwrap_or_else(PoisonError::into_inner);
                (None, (raw.bytes, raw.hasher.finalize()))
            }
        };
        let rows = Box::new(io::Cursor::new(sheet));
        Ok(ListStream { file, workbook: Some(digest), ..ListStream::open(rows, StreamLimits::default())? })
    }

    /// The list, or the workbook that the stream is.
    fn into_input(mut self) -> Result<Input, ListError> {
        if !is_workbook(&self.buffer) {
            return Ok(Input::Stream(self));
        }
        let limits = self.limits.workbook;
        if limits.file_bytes == 0 {
            return Err(WorkbookError::NotAnnounced.into());
        }
        let most = usize::try_from(limits.file_bytes).unwrap_or(usize::MAX - 1);
        self.fill(most + 1, &())?;
        if self.buffer.len() > most {
            return Err(WorkbookError::TooLarge { part: "the file", limit: limits.file_bytes >> 20 }.into());
        }
        Ok(Input::Workbook(Some(WorkbookInput { bytes: WorkbookBytes::Read(Box::new(self)), limits })))
    }

    /// Reads until the buffer holds `wanted` bytes or the list ends.
    fn fill(&mut self, wanted: usize, progress: &dyn Progress) -> Result<(), ListError> {
        while !self.at_end && self.buffer.len() < wanted {
            if progress.interrupted() {
                return Err(ListError::Interrupted);
            }
            let missing = (wanted - self.buffer.len()).min(STEP_BYTES);
            let read = self.reader.by_ref().take(missing as u64).read_to_end(&mut self.buffer);
            self.at_end = read.map_err(ListError::Read)? < missing;
            self.check_limits()?;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ListError> {
        let StreamLimits { bytes, expansion, .. } = self.limits;
        let read = self.done + self.buffer.len() as u64;
        if read > bytes {
            return Err(ListError::TooLong(bytes));
        }
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        match read > EXPANSION_FROM && read / expansion > raw {
            true => Err(ListError::ExpandsTooMuch(expansion)),
            false => Ok(()),
        }
    }

    /// Skips the first bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.done += bytes as u64;
    }

    /// The next whole rows, about [`CHUNK_BYTES`]. `None` at the end.
    pub(super) fn chunk(
        &mut self,
        rules: &RowRules,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<u8>>, ListError> {
        let mut wanted = CHUNK_BYTES + ROW_LOOKAHEAD_BYTES;
        loop {
            self.fill(wanted, progress)?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if let Some(end) = self.cut(rules) {
                let rest = self.buffer.split_off(end);
                self.done += end as u64;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > CHUNK_BYTES + ROW_LOOKAHEAD_BYTES {
                return Err(ListError::RowTooLong(self.done));
            }
            wanted += 2; // a line end may continue after the buffer
        }
    }

    /// The next whole letters of a print run, about [`CHUNK_BYTES`]. `None` at the end, when `after_letters` has what is after
    /// the last one.
    ///
    /// Errors: the run is not as described; a letter is longer than one may be.
    pub(super) fn letters(
        &mut self,
        run: &ListRun,
        after_letters: &mut Vec<u8>,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<u8>>, ListError> {
        let (mut wanted, mut found) = (2 * CHUNK_BYTES, Letters::default());
        loop {
            self.fill(wanted, progress)?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let ends = if self.at_end { BytesEnd::Run } else { BytesEnd::Anywhere };
            found.clear();
            // Letters before an error are read first.
            match run
                .letters(&self.buffer, CHUNK_BYTES, ends, &mut found)
                .map_err(|error| error.moved(self.done))
            {
                Err(error) if found.end == 0 => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            if found.is_last && self.at_end && found.end == 0 {
                self.done += self.buffer.len() as u64;
                *after_letters = std::mem::take(&mut self.buffer);
                return Ok(None);
            }
            if found.end > 0 {
                let rest = self.buffer.split_off(found.end);
                self.done += found.end as u64;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > self.limits.letter_bytes {
                return Err(RunProblem::LetterTooLong.at(0).moved(self.done).into());
            }
            wanted = (self.buffer.len() * 2).min(self.limits.letter_bytes + 1);
        }
    }

    /// Where the rows in the first [`CHUNK_BYTES`] end; `None` if more must be read to decide.
    fn cut(&self, rules: &RowRules) -> Option<usize> {
        let bytes = &self.buffer[..];
        if memchr::memchr(b'"', bytes).is_none() || matches!(rules.layout, Layout::Fixed { .. }) {
            return self.cut_lines(bytes.len().min(CHUNK_BYTES));
        }
        let mut scanner = RowScanner::new(bytes, rules, 0, CHUNK_BYTES);
        let (mut end, mut at) = (None, 0);
        while at < bytes.len() && at < CHUNK_BYTES {
            // A row is certain if the buffer has the whole lookahead, or the end of the list.
            if !self.at_end && at + ROW_LOOKAHEAD_BYTES > bytes.len() {
                break;
            }
            at = scanner.row_at(at).end;
            if at < bytes.len() || self.at_end {
                end = Some(at);
            }
        }
        end
    }

    /// The last line end before `from`, or else the first one after it.
    fn cut_lines(&self, from: usize) -> Option<usize> {
        let bytes = &self.buffer[..];
        // The buffer may end within a line end.
        let known = |end: usize| (end + 2 <= bytes.len() || self.at_end).then_some(end);
        let whole = |at: usize| known(past_line_end(bytes, first_of_line_end(bytes, at)));
        let before = memchr::memrchr2_iter(b'\n', b'\r', &bytes[..from]).find_map(whole);
        let after = || {
            let at = line_end(bytes, from);
            (at < bytes.len()).then(|| known(at)).flatten()
        };
        before.or_else(after).or(self.at_end.then_some(bytes.len()))
    }

    /// Length and hash of the file before decompression. Reads it to the end.
    pub(super) fn finish(mut self) -> Result<(u64, blake3::Hash), ListError> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(ListError::Read)?;
        if self.file.is_some_and(|file| !file.is_intact()) {
            return Err(ListError::ListChanged);
        }
        if let Some(digest) = self.workbook {
            return Ok(digest);
        }
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((raw.bytes, raw.hasher.finalize()))
    }
}

/// The first byte of the line end that contains the byte at `at`.
fn first_of_line_end(bytes: &[u8], at: usize) -> usize {
    let carriage_returns = bytes[..at].iter().rev().take(2).take_while(|&&byte| byte == b'\r').count();
    if bytes[at] == b'\n' { at - carriage_returns } else { at }
}

/// Guesses the end of a row near `start + CHUNK_BYTES`, for rows that begin at `start`: assumes that a row begins at
/// one of the lines shortly before.
///
/// Quoted cells rarely have many line ends, so the guess is nearly always right. The guess is wrong if no row ends
/// there, which shows when the rows are read.
///
/// Errors: the line at `start + CHUNK_BYTES` is longer than a row may be.
pub(super) fn guess_cut(bytes: &[u8], start: usize, rules: &RowRules) -> Result<usize, ListError> {
    const LINES_BEFORE: usize = 16;
    const LOOK_BACK: usize = 1 << 14;
    let target = start + CHUNK_BYTES;
    if target >= bytes.len() {
        return Ok(bytes.len());
    }
    check_line(bytes, start, target)?;
    let first = target.saturating_sub(LOOK_BACK).max(start);
    let lines = memchr::memrchr2_iter(b'\n', b'\r', &bytes[first..target]);
    let mut at = lines.take(LINES_BEFORE).last().map_or(first, |at| past_line_end(bytes, first + at));
    let mut scanner = RowScanner::new(bytes, rules, at, target);
    while at < target {
        at = scanner.row_at(at).end;
    }
    Ok(at)
}

/// Checks that the line at `target` ends within the length of a row, and so that no more than that is searched for its
/// end: a list without line ends may have any length. `start` is a beginning of a row before it.
pub(super) fn check_line(bytes: &[u8], start: usize, target: usize) -> Result<(), ListError> {
    let Some(ahead) = bytes.get(target..=target + ROW_BYTES_MAX) else { return Ok(()) };
    if memchr::memchr2(b'\n', b'\r', ahead).is_some() {
        return Ok(());
    }
    let before = memchr::memrchr2(b'\n', b'\r', &bytes[start..target]);
    Err(ListError::RowTooLong(before.map_or(start, |at| start + at + 1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> RowRules {
        let layout = Layout::Delimited { delimiter: Some(b';'), column: 0 };
        let today = crate::identities::Today::CONTRACT;
        let ids = super::super::id_numbers::IdNumbers {
            country: crate::identities::Country::Sweden,
            other: None,
            today,
        };
        RowRules { layout, columns: 0, ids, is_sheet: false }
    }

    fn row_end(bytes: &[u8], at: usize) -> usize {
        RowScanner::new(bytes, &rules(), at, at).row_at(at).end
    }

    /// Rows of all kinds, several chunks of them.
    fn list(quotes: bool, line_end: &str) -> Vec<u8> {
        let mut list = Vec::new();
        for number in 0..60_000 {
            let row = match (quotes, number % 50) {
                (true, 0) => format!("{number};\"two\nlines; and \"\"more\"\"\";x\n"),
                (true, 1) => format!("{number};5\" pipe;x\n"),
                (true, 2) => format!("{number};\"never closed;x\n"),
                _ => format!("{number};some text that fills the row;and some more of it\n"),
            };
            list.extend_from_slice(row.replace('\n', line_end).as_bytes());
        }
        list
    }

    #[test]
    fn chunks_of_a_stream_are_whole_rows_and_cover_it() {
        for (quotes, line_end) in
            [(false, "\n"), (true, "\n"), (false, "\r"), (true, "\r"), (false, "\r\r\n")]
        {
            let list = list(quotes, line_end);
            let mut stream =
                ListStream::open(Box::new(io::Cursor::new(list.clone())), StreamLimits::default())
                    .expect("opened");
            let (mut joined, mut chunks) = (Vec::new(), 0);
            while let Some(chunk) = stream.chunk(&rules(), &()).expect("read") {
                let mut at = 0;
                while at < chunk.len() {
                    let alone = row_end(&chunk, at);
                    assert_eq!(alone, row_end(&list, joined.len() + at) - joined.len(), "the same row");
                    at = alone;
                }
                joined.extend_from_slice(&chunk);
                chunks += 1;
            }
            assert!(chunks > 2 && joined == list);
            let (bytes, hash) = stream.finish().expect("finished");
            assert_eq!((bytes, hash), (list.len() as u64, blake3::hash(&list)));
        }
    }

    #[test]
    fn guesses_are_ends_of_rows() {
        let list = list(true, "\n");
        let mut ends = std::collections::HashSet::from([list.len()]);
        let mut at = 0;
        while at < list.len() {
            at = row_end(&list, at);
            ends.insert(at);
        }
        let wrong =
            (0..200).filter(|n| !ends.contains(&guess_cut(&list, n * 997, &rules()).expect("a cut"))).count();
        assert!(wrong < 10, "{wrong} of 200 guesses were wrong");
    }
}
