//! The rows of a chunk: found, parsed, looked up.

use super::ListError;
use super::guard::{Further, Guard};
use super::lines::{Lines, Window, runs_in};
use super::rows::{RowProblem, Scanner, cell_of_row};
use super::sniff::{Form, TwoIds};
use super::tally::{Tally, Verdicts};
use crate::cpu::{self, BaselineScan, BlockScan, ScanWork};
use crate::identities::{Identity, Ordinal};
use crate::register::{Answer, Question};
use std::ops::Range;

/// A length that most rows have at least: memory for so many rows is reserved.
const ROW_BYTES: usize = 48;

/// Rows that are read one by one are searched for runs of digits together, so many bytes at a time.
const TOGETHER_BYTES: usize = 1 << 13;

/// Marks a row whose verdict the register gives.
const UNDECIDED: u16 = u16::MAX;

/// What the rows of a list are read with.
pub(super) struct Reading<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) form: &'a Form,
    /// Whether rows with another identity are rejected.
    pub(super) strict_rows: bool,
}

/// The rows of a chunk, column by column. Reused from chunk to chunk.
///
/// Where a row is a letter for each of two identities it stands here twice, with the same end.
pub(super) struct Rows {
    /// Past the last byte of each row, from the beginning of the chunk.
    pub(super) ends: Vec<usize>,
    /// Canonical digits; zeros for a rejected row, a zero at the end for a Norwegian identity.
    pub(super) identities: Vec<[u8; 12]>,
    pub(super) ordinals: Vec<Ordinal>,
    pub(super) verdicts: Vec<u16>,
    answers: Vec<Answer>,
    pub(super) tally: Tally,
    /// Past the last row.
    pub(super) end: usize,
    numbering: Verdicts,
    lines: Lines,
    /// Rows with an identity where there are two columns of them, and what stands in each.
    pairs: Vec<(usize, [Option<Identity>; 2])>,
    /// Rows with another identity that were let through.
    further: u64,
}

/// Finding and parsing the rows of a chunk.
struct Parse<'a, 's> {
    rows: &'a mut Rows,
    reading: &'a Reading<'s>,
    bytes: &'a [u8],
    length: usize,
}

impl ScanWork for Parse<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: BlockScan>(self, scan: S) {
        self.rows.parse(scan, self.reading, self.bytes, self.length);
    }
}

impl Rows {
    pub(super) fn new(numbering: Verdicts) -> Rows {
        Rows {
            ends: Vec::new(),
            identities: Vec::new(),
            ordinals: Vec::new(),
            verdicts: Vec::new(),
            answers: Vec::new(),
            tally: Tally::new(numbering),
            end: 0,
            numbering,
            lines: Lines::new(),
            pairs: Vec::new(),
            further: 0,
        }
    }

    /// Finds, parses and looks up the rows of a chunk: those that begin in the first `length` of `bytes`.
    pub(super) fn read(
        &mut self,
        reading: &Reading<'_>,
        bytes: &[u8],
        length: usize,
    ) -> Result<(), ListError> {
        self.ends.clear();
        self.identities.clear();
        self.ordinals.clear();
        self.verdicts.clear();
        self.further = 0;
        self.tally.clear();
        if let Some((column, two_ids)) = reading.form.second {
            self.parse_two(reading, bytes, length, column);
            self.choose(reading, two_ids)?;
            self.tally.further = self.further;
            for letter in 0..self.ends.len() {
                self.tally.count(self.verdicts[letter], self.bytes_of(letter).len());
            }
            return Ok(());
        }
        cpu::scanned(Parse { rows: self, reading, bytes, length });
        self.answers.resize(self.ordinals.len(), Answer::default());
        reading.question.ask_all(&self.ordinals, &mut self.answers)?;
        self.tally.further = self.further;
        let mut start = 0;
        for ((verdict, &answer), &end) in self.verdicts.iter_mut().zip(&self.answers).zip(&self.ends) {
            if *verdict == UNDECIDED {
                *verdict = self.numbering.answered(answer);
            }
            self.tally.count(*verdict, end - start);
            start = end;
        }
        Ok(())
    }

    /// Whether a letter is the second one of its row.
    #[inline(always)]
    pub(super) fn is_repeated(&self, letter: usize) -> bool {
        letter > 0 && self.ends[letter] == self.ends[letter - 1]
    }

    /// Counts the digits of the numbers of rows that are letters twice, now that the first one's number is known.
    pub(super) fn number_repeats(&mut self, first_row: u64) {
        let (mut row, mut digits) = (first_row, 0);
        for letter in 0..if self.tally.repeats > 0 { self.ends.len() } else { 0 } {
            if self.is_repeated(letter) {
                digits += u64::from((row - 1).checked_ilog10().unwrap_or(0)) + 1;
            } else {
                row += 1;
            }
        }
        self.tally.repeat_digits = digits;
    }

    /// The row of a letter.
    pub(super) fn bytes_of(&self, letter: usize) -> Range<usize> {
        let end = self.ends[letter];
        let mut before = letter;
        while before > 0 && self.ends[before - 1] == end {
            before -= 1;
        }
        before.checked_sub(1).map_or(0, |before| self.ends[before])..end
    }

    #[inline(always)]
    fn parse<S: BlockScan>(&mut self, scan: S, reading: &Reading<'_>, bytes: &[u8], length: usize) {
        let guard = &reading.form.guard;
        let (rules, is_guarded) = (&guard.rules, guard.is_needed());
        let (layout, country) = (&rules.layout, rules.country);
        let (mut lines, mut scanner) = (std::mem::take(&mut self.lines), None);
        let rows = length / ROW_BYTES;
        self.ends.reserve(rows);
        self.identities.reserve(rows);
        self.ordinals.reserve(rows);
        self.verdicts.reserve(rows);
        let mut at = 0;
        // Rows that are read one by one, since the last line of a window: where they begin, and runs of digits that
        // their identities have.
        let (mut first, mut first_row, mut own_runs) = (0, 0, 0);
        while at < length {
            // A row that begins with a quotation mark is no line of a window.
            let window = match layout.quote() == Some(bytes[at]) {
                true => Window::NOTHING,
                false => lines.find(scan, &bytes[at..], length - at, layout.quote()),
            };
            if window.ends.is_empty() {
                // A quotation mark, a lone CR, a line longer than a window, or the end of the list.
                let scanner = scanner.get_or_insert_with(|| Scanner::new(bytes, rules, at, length));
                let row = scanner.row_at(at);
                let (identity, runs) = read_cell(guard, bytes, at..row.end, row.id);
                match identity {
                    Ok(identity) => self.push_letter(Some(identity), UNDECIDED, row.end),
                    Err(problem) => self.push_rejected_as(problem, row.end),
                }
                own_runs += runs;
                at = row.end;
                if at - first < TOGETHER_BYTES && at < length {
                    continue;
                }
            }
            if is_guarded && at > first && runs_in(scan, bytes, first..at) != own_runs {
                self.search_rows(reading, bytes, first..at, first_row);
            }
            (first, first_row) = (at, self.ends.len());
            let rows = first_row..first_row + window.ends.len();
            self.ends.extend(window.ends.iter().map(|&end| first + end as usize));
            self.identities.resize(rows.end, [0; 12]);
            self.ordinals.resize(rows.end, Ordinal::NOBODY);
            self.verdicts.resize(rows.end, UNDECIDED);
            own_runs = rows.len();
            let letters = self.identities[rows.clone()].iter_mut().zip(&mut self.ordinals[rows.clone()]);
            let letters = letters.zip(&mut self.verdicts[rows.clone()]).zip(&self.ends[rows]);
            for (((padded, ordinal), verdict), &end) in letters {
                // No closure: it would be compiled by itself, without the newer instructions.
                if let Some(twelve) = layout.twelve(bytes, at)
                    && let Some(identity) = Identity::of_twelve(twelve, country)
                {
                    (*padded, *ordinal) = (identity.padded(), identity.ordinal());
                } else {
                    let cell = layout.plain_cell(bytes, at..end);
                    let (identity, runs) = read_cell(guard, bytes, at..end, cell);
                    own_runs = own_runs + runs - 1;
                    match identity {
                        Ok(identity) => (*padded, *ordinal) = (identity.padded(), identity.ordinal()),
                        Err(problem) => *verdict = self.numbering.rejected(problem),
                    }
                }
                at = end;
            }
            if is_guarded && window.runs != own_runs {
                self.search_rows(reading, bytes, first..at, first_row);
            }
            (first, first_row, own_runs) = (at, self.ends.len(), 0);
        }
        self.lines = lines;
        self.end = at;
    }

    fn push_rejected_as(&mut self, problem: RowProblem, end: usize) {
        self.push_letter(None, self.numbering.rejected(problem), end);
    }

    /// Searches rows that were parsed, the first of them number `first_row`, for other identities.
    #[inline(never)]
    fn search_rows(&mut self, reading: &Reading<'_>, bytes: &[u8], part: Range<usize>, first_row: usize) {
        let mut scanner = Scanner::new(bytes, &reading.form.guard.rules, part.start, part.end);
        let mut start = part.start;
        for row in first_row..self.ends.len() {
            let found = scanner.row_at(start);
            if let Ok(cell) = found.id {
                self.search_row(reading, bytes, start..found.end, row, cell);
            }
            start = found.end;
        }
    }

    /// Searches a row for other identities than that of its cell.
    fn search_row(
        &mut self,
        reading: &Reading<'_>,
        bytes: &[u8],
        row: Range<usize>,
        at: usize,
        cell: Range<usize>,
    ) {
        if self.verdicts[at] == UNDECIDED
            && let Ok((own, cell)) = identity_of(&reading.form.guard, bytes, cell)
            && let Some(problem) = self.search(reading, bytes, row, &[own], &[cell])
        {
            self.identities[at] = [0; 12];
            self.ordinals[at] = Ordinal::NOBODY;
            self.verdicts[at] = self.numbering.rejected(problem);
        }
    }

    /// Why a row is rejected for what it holds beside its own identities, if it is. Counts those that are let through.
    fn search(
        &mut self,
        reading: &Reading<'_>,
        bytes: &[u8],
        row: Range<usize>,
        own: &[Identity],
        known: &[Range<usize>],
    ) -> Option<RowProblem> {
        match reading.form.guard.search(bytes, row, own, known) {
            Further::Nothing => None,
            Further::Identity if reading.strict_rows => Some(RowProblem::MoreThanOneIdentity),
            Further::Identity => {
                self.further += 1;
                None
            }
            Further::JoinedRows => Some(RowProblem::JoinedRows),
        }
    }

    /// Finds and parses rows with two identities.
    fn parse_two(&mut self, reading: &Reading<'_>, bytes: &[u8], length: usize, column: usize) {
        let guard = &reading.form.guard;
        let mut scanner = Scanner::new(bytes, &guard.rules, 0, length);
        let mut at = 0;
        while at < length {
            let found = scanner.row_at(at);
            let row = at..found.end;
            at = row.end;
            let second_cell = match found.id {
                Err(RowProblem::BadQuoting) => None,
                _ => cell_of_row(bytes, row.clone(), &guard.rules.layout, column).ok(),
            };
            let cells: Vec<_> = found.id.iter().chain(&second_cell).cloned().collect();
            let first =
                found.id.and_then(|cell| identity_of(guard, bytes, cell)).map(|(identity, _)| identity);
            let second = second_cell.and_then(|cell| identity_of(guard, bytes, cell).ok());
            let second = second.map(|(identity, _)| identity);
            let own: Vec<Identity> = first.iter().chain(&second).copied().collect();
            let search = |rows: &mut Rows| rows.search(reading, bytes, row.clone(), &own, &cells);
            let further = if own.is_empty() { None } else { search(self) };
            match (first, second, further) {
                (_, _, Some(problem)) => self.push_rejected_as(problem, row.end),
                (Err(problem), None, None) => {
                    self.push_rejected_as(problem_of(guard, problem, bytes, &row), row.end);
                }
                (first, second, None) => {
                    self.pairs.push((self.ends.len(), [first.ok(), second]));
                    // Replaced when the register has answered.
                    self.push_rejected_as(RowProblem::MissingColumn, row.end);
                }
            }
        }
        self.end = at;
    }

    /// Gives each row with two identities its letter or letters.
    fn choose(&mut self, reading: &Reading<'_>, two_ids: TwoIds) -> Result<(), ListError> {
        let pairs = std::mem::take(&mut self.pairs);
        let mut answers = [Vec::new(), Vec::new()];
        for (column, answers) in answers.iter_mut().enumerate() {
            let ordinal =
                |pair: &[Option<Identity>; 2]| pair[column].map_or(Ordinal::NOBODY, |id| id.ordinal());
            let ordinals: Vec<Ordinal> = pairs.iter().map(|(_, pair)| ordinal(pair)).collect();
            answers.resize(ordinals.len(), Answer::default());
            reading.question.ask_all(&ordinals, answers)?;
        }
        let (ends, verdicts) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.verdicts));
        self.identities.clear();
        self.ordinals.clear();
        let mut next = pairs.iter().zip(answers[0].iter().zip(&answers[1])).peekable();
        for (row, (end, verdict)) in ends.into_iter().zip(verdicts).enumerate() {
            let Some(((_, pair), answers)) = next.next_if(|((of, _), _)| *of == row) else {
                self.push_letter(None, verdict, end);
                continue;
            };
            let (first, second) = (self.numbering.answered(*answers.0), self.numbering.answered(*answers.1));
            let takes_second = match pair {
                [None, _] => true,
                [Some(_), None] => false,
                [Some(one), Some(other)] if one == other => false,
                _ if two_ids == TwoIds::Both => {
                    self.push_letter(pair[0], first, end);
                    self.tally.repeats += 1;
                    true
                }
                _ => answers.1.kind() > answers.0.kind(),
            };
            let verdict = if takes_second { second } else { first };
            self.push_letter(pair[usize::from(takes_second)], verdict, end);
            self.tally.second_ids += u64::from(takes_second);
        }
        Ok(())
    }

    fn push_letter(&mut self, identity: Option<Identity>, verdict: u16, end: usize) {
        self.identities.push(identity.map_or([0; 12], |identity| identity.padded()));
        self.ordinals.push(identity.map_or(Ordinal::NOBODY, |identity| identity.ordinal()));
        self.verdicts.push(verdict);
        self.ends.push(end);
    }
}

/// The identity of a cell, and the cell.
#[inline(always)]
fn identity_of(
    guard: &Guard,
    bytes: &[u8],
    cell: Range<usize>,
) -> Result<(Identity, Range<usize>), RowProblem> {
    match guard.rules.identity(&bytes[cell.clone()]) {
        Ok(identity) => Ok((identity, cell)),
        Err(rejection) => Err(RowProblem::Identity(rejection)),
    }
}

/// Reads a row whose identity has another form than most, or none. Also returns the number of runs of digits that the
/// identity has; of a rejected row, of all its runs.
#[inline(never)]
fn read_cell(
    guard: &Guard,
    bytes: &[u8],
    row: Range<usize>,
    cell: Result<Range<usize>, RowProblem>,
) -> (Result<Identity, RowProblem>, usize) {
    match cell.and_then(|cell| identity_of(guard, bytes, cell)) {
        Ok((identity, cell)) if identity.is_spelt(&bytes[cell.clone()]) => (Ok(identity), 1),
        Ok((identity, cell)) => (Ok(identity), runs_in(BaselineScan, bytes, cell)),
        Err(problem) => (Err(problem_of(guard, problem, bytes, &row)), runs_in(BaselineScan, bytes, row)),
    }
}

/// Why a row without identity is rejected: a row that is no letter has a reason of its own.
fn problem_of(guard: &Guard, problem: RowProblem, bytes: &[u8], row: &Range<usize>) -> RowProblem {
    match problem {
        RowProblem::BadQuoting => problem,
        _ => guard.no_letter(&bytes[row.clone()]).unwrap_or(problem),
    }
}
