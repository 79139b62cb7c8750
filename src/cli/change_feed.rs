//! The changes that `apply` reads, in batches of bounded size.

use super::Failure;
use super::args::Apply;
use jiff::Timestamp;
use nabar::limits::{
    BATCH_LINES_MAX, BATCH_TEXT_BYTES, BATCH_TEXT_BYTES_MAX, LINE_BYTES_MAX, PAGES_BYTES_MAX,
    UNNUMBERED_LINES_MAX,
};
use nabar::line_reader::{LineReader, ReadLine};
use nabar::register::Kind;
use nabar::store::{self, Lines};
use std::io::{self, BufRead, Read};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

/// Bytes and lines of text that are parsed at a time.
const PIECE_BYTES: usize = 4 << 20;
const PIECE_LINES: u64 = 1 << 16;

/// The source of changes.
pub(super) struct ChangeFeed {
    changes: PathBuf,
    kind: Kind,
    batch: Option<NonZeroU64>,
    skip_bad: bool,
    time: Option<Timestamp>,
}

/// A batch that is being read.
#[derive(Default)]
struct Draft {
    /// Parsed.
    lines: Lines,
    /// Text of the lines after these, and the number of the first of them.
    text: Vec<u8>,
    first: u64,
    /// Lines and bytes of all, blank lines included.
    count: u64,
    bytes: u64,
    /// Whether one of the parsed lines is not a change.
    has_bad: bool,
}

type Input = LineReader<Box<dyn BufRead + Send>>;

impl ChangeFeed {
    pub(super) fn of(args: &Apply, kind: Kind) -> ChangeFeed {
        let Apply { batch, skip_bad, time, .. } = *args;
        ChangeFeed { changes: args.changes.clone(), kind, batch, skip_bad, time }
    }

    /// Reads batches of lines until the end of the input, or until the receiver is gone.
    pub(super) fn read(&self, batches: &SyncSender<Result<Lines, Failure>>) {
        // The receiver is gone only if something else has failed.
        if let Err(failure) = self.read_all(batches) {
            let _ = batches.send(Err(failure));
        }
    }

    fn read_all(&self, batches: &SyncSender<Result<Lines, Failure>>) -> Result<(), Failure> {
        let input: Box<dyn BufRead + Send> = match self.changes.as_os_str() == "-" {
            true => Box::new(io::BufReader::with_capacity(1 << 18, io::stdin())),
            false => store::input(&self.changes).map_err(unreadable)?,
        };
        let mut input = LineReader::new(input, LINE_BYTES_MAX);
        let mut carried = Lines::default();
        while let Some(lines) = self.batch(&mut input)? {
            let mut lines = std::mem::take(&mut carried).followed_by(lines);
            check_numbered(&lines)?;
            if self.skip_bad && self.batch.is_some() {
                carried = lines.split_unnumbered();
            }
            if batches.send(Ok(lines)).is_err() {
                return Ok(());
            }
        }
        if !carried.is_empty() {
            let _ = batches.send(Ok(carried));
        }
        Ok(())
    }

    /// Reads a batch: its number of lines, all lines, or pages. `None` at the end of the input.
    fn batch(&self, input: &mut Input) -> Result<Option<Lines>, Failure> {
        let mut draft = Draft { first: input.number() + 1, ..Draft::default() };
        let mut is_decided = draft.first > 1;
        loop {
            let has_all = self.batch.is_some_and(|lines| draft.count >= lines.get() || draft.is_large());
            let is_long = draft.text.len() >= PIECE_BYTES || input.number() + 1 - draft.first >= PIECE_LINES;
            if !is_decided && (is_long || has_all && !Lines::may_be_pages(&draft.text)) {
                if Lines::are_pages(&draft.text) {
                    return self.pages(input, draft.text).map(Some);
                }
                is_decided = true;
            }
            if has_all && is_decided {
                break;
            }
            if is_long {
                draft.parse(self.kind);
                if self.is_refused(&draft) {
                    return Ok(Some(draft.lines));
                }
                check_numbered(&draft.lines)?;
                self.check_size(&draft)?;
            }
            let begin = draft.text.len();
            match input.read(&mut draft.text).map_err(unreadable)? {
                ReadLine::End => break,
                ReadLine::Whole => {}
                ReadLine::TooLong => {
                    if !is_decided && Lines::are_pages(&draft.text) {
                        return self.pages(input, draft.text).map(Some);
                    }
                    is_decided = true;
                    self.long_line(input, &mut draft, begin)?;
                    if self.is_refused(&draft) {
                        return Ok(Some(draft.lines));
                    }
                }
            }
            draft.count += 1;
            draft.bytes += draft.text.len().saturating_sub(begin) as u64;
        }
        if !is_decided && Lines::are_pages(&draft.text) {
            return self.pages(input, draft.text).map(Some);
        }
        draft.parse(self.kind);
        self.check_size(&draft)?;
        Ok((draft.count > 0).then_some(draft.lines))
    }

    /// Whether a batch is refused already, because of a line in it.
    fn is_refused(&self, draft: &Draft) -> bool {
        !self.skip_bad && draft.has_bad
    }

    /// Reads the rest of a line that is longer than others may be, and begins at `begin`: a page, or a bad line.
    fn long_line(&self, input: &mut Input, draft: &mut Draft, begin: usize) -> Result<(), Failure> {
        if Lines::holds_page(&draft.text[begin..]) {
            let read = input.read_on(PAGES_BYTES_MAX - LINE_BYTES_MAX, &mut draft.text);
            if read.map_err(unreadable)? == ReadLine::Whole {
                return Ok(());
            }
        }
        draft.text.truncate(begin);
        draft.parse(self.kind);
        draft.lines = std::mem::take(&mut draft.lines).followed_by(Lines::too_long(draft.first));
        draft.has_bad = true;
        draft.first += 1;
        Ok(())
    }

    /// Errors: an input that is applied as one batch is too long for that.
    fn check_size(&self, draft: &Draft) -> Result<(), Failure> {
        let is_too_long = draft.bytes > BATCH_TEXT_BYTES_MAX || draft.lines.len() > BATCH_LINES_MAX;
        match is_too_long && self.batch.is_none() {
            true => Err(Failure::Failed(format!(
                "the changes have more than {BATCH_TEXT_BYTES_MAX} bytes or {BATCH_LINES_MAX} lines, too many for one batch: \
                 apply them in parts with --batch"
            ))),
            false => Ok(()),
        }
    }

    /// Parses pages of which the beginning has been read.
    fn pages(&self, input: &mut Input, mut text: Vec<u8>) -> Result<Lines, Failure> {
        let more = (PAGES_BYTES_MAX + 1).saturating_sub(text.len()) as u64;
        input.input().take(more).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() > PAGES_BYTES_MAX {
            return Err(Failure::Failed(format!(
                "the pages have more than {PAGES_BYTES_MAX} bytes: apply them in several files"
            )));
        }
        let time = self.time.unwrap_or_else(Timestamp::now);
        Ok(Lines::of_pages(&text, &self.changes, time)?)
    }
}

impl Draft {
    /// Whether the batch takes so much memory that it ends before it has all its lines.
    fn is_large(&self) -> bool {
        self.bytes >= BATCH_TEXT_BYTES || self.lines.len() >= BATCH_LINES_MAX
    }

    /// Parses the text.
    fn parse(&mut self, kind: Kind) {
        let parsed = Lines::parse_from(&self.text, self.first, kind);
        self.has_bad |= parsed.has_bad();
        self.lines = std::mem::take(&mut self.lines).followed_by(parsed);
        self.first += memchr::memchr_iter(b'\n', &self.text).count() as u64;
        self.text.clear();
    }
}

/// Errors: too many lines without a legible sequence number have to be held until one with a number follows.
fn check_numbered(lines: &Lines) -> Result<(), Failure> {
    match lines.unnumbered() > UNNUMBERED_LINES_MAX {
        true => Err(Failure::Failed(format!(
            "more than {UNNUMBERED_LINES_MAX} lines in succession have no legible sequence number: is this a file of changes?"
        ))),
        false => Ok(()),
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Failed(format!("cannot read the changes: {error}"))
}
